"""Sweep: when would other settings have acted on a log? Nothing is trained, and nothing is judged by what came later.

How well they acted is said in hindsight, by the threshold of the settings as they are. They are chosen on the first two
thirds of the windows and reported on the last: what is best of many on the same windows is so by luck as well.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import BinaryIO, NamedTuple

from retrain_trigger.config import load as settings
from retrain_trigger.config.load import Config
from retrain_trigger.core.errors import CannotJudgeError, UsageError
from retrain_trigger.core.events import Limited
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.core.records import Json
from retrain_trigger.counts.cells import summed
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.judge.checks.evidence import counts_of
from retrain_trigger.judge.checks.point import value_of
from retrain_trigger.judge.memory import Memory
from retrain_trigger.judge.metrics import METRICS, Measure
from retrain_trigger.judge.policy import Action
from retrain_trigger.pipeline import threshold
from retrain_trigger.questions.simulate import Replay, Step, replays
from retrain_trigger.questions.tried import DEFAULTS, choices

SOON = 5
"""Windows that say, together, whether the metric stays on its side of the threshold: at most so many, those that follow."""

LEAST = 15
"""Windows that a log must have, to choose on two thirds of them and report on the rest."""

REPLAYED = ("performance_threshold", "drift_threshold", "drift.ignore", "trigger.", "promotion.margin")
MEASURES = "trigger.window"
"""A log can show what the settings change that begin so, except what says over which windows it is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What settings came to in a part of the windows.

    `falls` begin in it. So many `trainings` would have started, the first of each fall; `again` counts further ones. Those
    were `needless` after which the metric was on the right side all the same. `waited` counts the windows of falls on the
    wrong side before a training started, `after` how many these were in the median fall in which one did, None without.
    """

    falls: int
    trainings: int
    needless: int
    again: int
    waited: int
    after: float | None

    def beats(self, other: "Part") -> bool:
        """Say whether these needed no more trainings and waited no longer, and one of both less."""
        mine, theirs = (self.trainings, self.waited), (other.trainings, other.waited)
        return mine != theirs and all(one <= another for one, another in zip(mine, theirs, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Settings that were tried: what they came to in the first two thirds and in the last, and when they would have acted.

    The `best` ones are those that none of all beats on the first two thirds.
    """

    given: tuple[str, ...]
    first: Part
    last: Part
    acts: tuple[str, ...]
    best: bool

    @property
    def name(self) -> str:
        """The settings in words."""
        return ", ".join(self.given) or "as configured"

    def to_json(self) -> dict[str, Json]:
        """Return the settings and what became of them as a JSON object."""
        chosen = dict(each.split("=", 1) for each in self.given)
        return {
            "settings": chosen,
            "best": self.best,
            "first": asdict(self.first),
            "last": asdict(self.last),
            "triggers": list(self.acts),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep came to: the settings as they are, those tried, and which of these was `chosen` on the first two thirds.

    None is chosen if none beats the settings as they are. `times` are the first window, the first of the last third and
    the last, `idle` the keys that made no difference.
    """

    metric: str
    threshold: float
    windows: int
    times: tuple[str, str, str]
    own: Tried
    tried: tuple[Tried, ...]
    chosen: Tried | None
    idle: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def change(self) -> Tried | None:
        """The settings to change to: those chosen, if they are better on the last third as well."""
        return self.chosen if self.chosen and self.chosen.last.beats(self.own.last) else None

    def to_json(self) -> dict[str, Json]:
        """Return the sweep as a JSON object."""
        begin, cut, end = self.times
        return {
            "metric": self.metric,
            "threshold": self.threshold,
            "windows": self.windows,
            "from": begin,
            "last_third_from": cut,
            "to": end,
            "as_configured": self.own.to_json(),
            "tried": [each.to_json() for each in self.tried],
            "chosen": self.chosen.to_json()["settings"] if self.chosen else None,
            "change": self.change.to_json()["settings"] if self.change else None,
            "no_difference": list(self.idle),
        }


class _Window(NamedTuple):
    """A window in hindsight.

    Its metric is on the wrong side of the threshold (`under`); what follows is on the right side (`calm`); and it is the
    first of another model (`new`).
    """

    under: bool
    calm: bool
    new: bool


def sweep(path: Path | None, logs: Sequence[Path | BinaryIO], tried: Sequence[str]) -> Sweep:
    """Replay logs under every combination of the settings tried, and under those that hold. Raises RetrainCheckError."""
    if not tried:
        raise UsageError(
            "name the settings to try, such as --try trigger.patience='1 of 1,2 of 3'; `simulate` replays a log as it is"
        )
    given = [(), *choices(tried)]
    configs = [_config(path, each) for each in given]
    _check(tried)
    played = replays(configs, logs)
    config, own = configs[0], played[0]
    limit, cut = _threshold(config, own), len(own.steps) * 2 // 3
    windows = list(_windows(own.measured, config.measure(), limit, cut))
    acts = [[step.decision.action is Action.RETRAIN for step in each.steps] for each in played]
    parts = [_parts(windows, each, cut) for each in acts]
    firsts = [first for first, _ in parts]
    found = [
        Tried(
            given=settings_of,
            first=first,
            last=last,
            acts=tuple(_when(step) for step, acted in zip(own.steps, each, strict=True) if acted),
            best=not any(other.beats(first) for other in firsts),
        )
        for settings_of, each, (first, last) in zip(given, acts, parts, strict=True)
    ]
    return Sweep(
        metric=config.metric,
        threshold=limit,
        windows=len(windows),
        times=(_when(own.steps[0]), _when(own.steps[cut]), _when(own.steps[-1])),
        own=found[0],
        tried=tuple(found[1:]),
        chosen=_chosen(found[0], found[1:]),
        idle=tuple(_idle(found[1:])),
        notes=own.notes,
    )


def _config(path: Path | None, given: tuple[str, ...]) -> Config:
    if path is None:
        return settings.defaults((*DEFAULTS, *given), option="--try")
    return settings.load(path, given, option="--try")


def _check(tried: Sequence[str]) -> None:
    """Refuse keys that are known and of which a log can show nothing."""
    for each in tried:
        key = each.partition("=")[0].strip()
        if key == MEASURES or not key.startswith(REPLAYED):
            raise UsageError(
                f"--try {key}: a log cannot show what that changes; it can for performance_threshold, drift_threshold, "
                f"drift.ignore, promotion.margin and what trigger has besides window. `backtest --data` plays the others"
            )


def _threshold(config: Config, own: Replay) -> float:
    """Return the threshold by which all are judged in hindsight. Raises CannotJudgeError where too few windows tell it."""
    if len(own.steps) < LEAST:
        raise CannotJudgeError(
            f"the log has {len(own.steps)} of at least {LEAST} windows that a sweep needs: two thirds to choose on, one to report on"
        )
    found = threshold.known(config, Memory(), [each for each in own.measured if each is not None])
    if isinstance(found, int):
        raise CannotJudgeError(
            f"performance_threshold: auto follows from the first judged windows, and the log has {found} too few; name a number"
        )
    return found.threshold if isinstance(found, Limited) else config.threshold


def _windows(measured: Sequence[Measurement | None], measure: Measure, limit: float, cut: int) -> Iterator[_Window]:
    """Look at each window in hindsight, which for the first two thirds ends with them."""

    def is_under(value: float | None) -> bool:
        return value is not None and measure.sign * (value - limit) < 0

    model = None
    for place, each in enumerate(measured):
        seen = each.model if each else None
        following = list(islice(_of_same_model(measured, place, cut if place < cut else len(measured)), SOON))
        soon = _together(following, measure)
        yield _Window(
            under=each is not None and is_under(value_of(each, measure)),
            calm=soon is not None and not is_under(soon),
            new=None not in (model, seen) and model != seen,
        )
        model = seen or model


def _of_same_model(measured: Sequence[Measurement | None], place: int, end: int) -> Iterator[Measurement]:
    """Yield what was measured after a place, up to where another model begins."""
    first = measured[place]
    for each in measured[place + 1 : end]:
        if each is None:
            continue
        if first is not None and None not in (first.model, each.model) and first.model != each.model:
            return
        yield each


def _together(measured: Sequence[Measurement], measure: Measure) -> float | None:
    """Return the metric over the rows of several windows; the mean of their values if the rows are not counted."""
    known = [each for each in measured if value_of(each, measure) is not None]
    if not known:
        return None
    tables = [counts_of(measure.metric, each) for each in known] if measure.metric in METRICS else [None]
    confusions = [table for table in tables if isinstance(table, Confusion)]
    counts = [table for table in tables if isinstance(table, tuple)]
    first = known[0]
    if len(confusions) == len(known):
        pooled = Confusion(summed(cell for table in confusions for cell in table.cells.items()))
        return value_of(replace(first, value=None, confusion=pooled), measure)
    if len(counts) == len(known):
        tp, fp, fn, tn = (sum(cell) for cell in zip(*counts, strict=True))
        return value_of(replace(first, value=None, confusion=None, counts=(tp, fp, fn, tn)), measure)
    return fmean(value for each in known if (value := value_of(each, measure)) is not None)


def _parts(windows: Sequence[_Window], acts: Sequence[bool], cut: int) -> tuple[Part, Part]:
    """Count what became of the falls before and after the cut.

    A fall begins with a window on the wrong side that is not calm, and ends with a calm one on the right side, or with
    another model.
    """
    counts = (Counter[str](), Counter[str]())
    after: tuple[list[int], list[int]] = ([], [])
    waited: int | None = None  # in the present fall; None if there is none
    answered = False
    for place, (window, acted) in enumerate(zip(windows, acts, strict=True)):
        part = place >= cut
        if window.new or (window.calm and not window.under):
            waited, answered = None, False
        if waited is None and window.under and not window.calm:
            waited = 0
            counts[part]["falls"] += 1
        if waited is not None and not answered:
            waited += window.under
            counts[part]["waited"] += window.under
        if acted:
            counts[part]["again" if answered else "trainings"] += 1
            counts[part]["needless"] += window.calm and not answered
            if waited is not None and not answered:
                after[part].append(waited)
                answered = True
    first, last = (
        Part(
            falls=count["falls"],
            trainings=count["trainings"],
            needless=count["needless"],
            again=count["again"],
            waited=count["waited"],
            after=median(some) if some else None,
        )
        for count, some in zip(counts, after, strict=True)
    )
    return first, last


def _chosen(own: Tried, tried: Sequence[Tried]) -> Tried | None:
    """Choose on the first two thirds what beats the settings as they are: of several, what waited least.

    Without a fall there, nothing is chosen: what never acts would be best.
    """
    better = [each for each in tried if own.first.falls and each.first.beats(own.first)]
    return min(better, key=lambda each: (each.first.waited, each.first.trainings), default=None)


def _idle(tried: Sequence[Tried]) -> Iterator[str]:
    """Yield the keys of which no value made a difference, whatever the others were."""
    for place, setting in enumerate(tried[0].given if tried else ()):
        rest: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for each in tried:
            rest.setdefault(each.given[:place] + each.given[place + 1 :], set()).add(each.acts)
        several = len({each.given[place] for each in tried}) > 1
        if several and all(len(acts) == 1 for acts in rest.values()):
            yield setting.partition("=")[0]


def _when(step: Step) -> str:
    return step.at.isoformat() if step.at else step.where
