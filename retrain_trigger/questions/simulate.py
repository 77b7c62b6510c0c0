"""Simulate: the same judgement as a tick's, over every window of a log, at each window's own time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, NamedTuple

from retrain_trigger.config.load import Config
from retrain_trigger.core.errors import CannotJudgeError, PromotionError, UsageError
from retrain_trigger.core.findings import Finding, drifted_alone
from retrain_trigger.core.lines import Log
from retrain_trigger.core.measurements import Mark, Measurement
from retrain_trigger.core.records import Json, encoded
from retrain_trigger.judge import policy
from retrain_trigger.judge.memory import Attempt, Champion, Memory
from retrain_trigger.judge.policy import Action, Decision
from retrain_trigger.logs import metrics_log
from retrain_trigger.logs.metrics_log import MetricsLog
from retrain_trigger.pipeline import drifting, evaluate, probation
from retrain_trigger.pipeline.check import Memo, Observed, champion_measurements, judged, unused
from retrain_trigger.pipeline.evaluate import Replayed
from retrain_trigger.pipeline.tick import nearby, registry
from retrain_trigger.questions.named import is_prediction_log
from retrain_trigger.store.ledger import Ledger

_DAY_ONE = datetime(2000, 1, 1, tzinfo=UTC)
_LAST_DAY = datetime(9000, 1, 1, tzinfo=UTC)
_FAR = timedelta(days=366 * 100)


class Measured(NamedTuple):
    """The metric as it was judged at one moment, and the threshold that it was held against."""

    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Step:
    """What would have been decided at one moment: when `where`, dated `at` (None without a time), had been logged."""

    where: str
    at: datetime | None
    findings: tuple[Finding, ...]
    decision: Decision

    def measured(self, metric: str) -> Measured | None:
        """Return the newest value of the metric then, by whichever rule it was judged; None if it was not known."""
        found = next((finding for finding in self.findings if finding.name == metric), None)
        if found is None or found.value is None or found.limit is None:
            return None
        if found.evidence.get("rule") == "sequential":
            return Measured(found.evidence["latest"], found.evidence["threshold"])
        return Measured(found.value, found.limit)

    def to_json(self) -> dict[str, Json]:
        """Return the step as a JSON object."""
        until = self.decision.until
        return {
            "where": self.where,
            "at": self.at.isoformat() if self.at else None,
            "action": self.decision.action.value,
            "because": self.decision.because,
            "until": until.isoformat() if until else None,
            "findings": encoded(self.findings),
        }


@dataclass(frozen=True, slots=True)
class Replay:
    """Every step of a replay, oldest first, and what the log had besides.

    `measured` has what each step's line or window came to once all was known, None where nothing was measured.
    """

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = field(default=())
    measured: tuple[Measurement | None, ...] = field(default=())

    def to_json(self) -> dict[str, Json]:
        """Return the replay as a JSON object."""
        return {"steps": [step.to_json() for step in self.steps], "would_retrain_now": self.would_retrain_now}

    def count(self, action: Action) -> int:
        """Count the steps that came to an action."""
        return sum(step.decision.action is action for step in self.steps)

    @property
    def would_retrain_now(self) -> bool:
        """Say whether the last measurement triggers."""
        return bool(self.steps) and self.steps[-1].decision.action is Action.RETRAIN


@dataclass(frozen=True, slots=True)
class _Moment:
    """One step to judge: what was known then, and what a training started then would use up."""

    now: datetime
    where: str
    at: datetime | None
    observed: Observed
    mark: Mark


@dataclass(slots=True)
class _Judge:
    """Settings that judge one moment after another, with what they remember of those before."""

    config: Config
    past: Memory = field(default_factory=Memory)
    memo: Memo = field(default_factory=Memo)
    steps: list[Step] = field(default_factory=list)

    def judge(self, moment: _Moment) -> None:
        """Come to a decision; a training that it starts leaves the champion as it is."""
        judgement = judged(self.config, moment.observed, self.past, now=moment.now, memo=self.memo)
        self.steps.append(Step(moment.where, moment.at, judgement.findings, judgement.decision))
        if judgement.decision.action is Action.RETRAIN:
            used = replace(moment.mark, ends=dict(moment.mark.ends))
            attempt = Attempt(moment.now, used, drifted_alone(judgement.findings))
            standing = probation.standing(self.config, moment.observed, self.past)
            self.past = replace(
                policy.replayed(self.past, attempt, budget=self.config.trigger.budget), standing=standing
            )


def simulate(config: Config, logs: Sequence[Path | BinaryIO]) -> Replay:
    """Replay metrics logs or a prediction log, whichever are named; with none, the log of the settings that judges.

    After a trigger, cooldown, budget and evidence go on as if the champion had been kept. Lines without a time are
    taken to be `trigger.window` apart. Raises CannotJudgeError if a log cannot be read.
    """
    (replay,) = replays([config], logs)
    return replay


def replays(configs: Sequence[Config], logs: Sequence[Path | BinaryIO]) -> list[Replay]:
    """Replay the same logs under each of several settings, which measure alike: a log is read once, as for `simulate`.

    They differ in no setting of what is measured: the metric, the logs, the length of a window.
    """
    config = configs[0]
    tables = [log for log in logs if isinstance(log, Path) and is_prediction_log(config, log)]
    if tables and len(logs) > 1:
        raise UsageError(
            f"{tables[0]} is a prediction log, and those are replayed one at a time: name a file, a folder, or a glob in "
            "quotation marks"
        )
    if tables:
        configs = [_with_predictions(each, str(tables[0].absolute())) for each in configs]
    if tables or (not logs and config.logs.predictions is not None):
        return _of_windows(configs)
    log = metrics_log.read(logs or [nearby(config.logs.metrics)], wanted=config.wanted, now=None, final=True)
    return [_of_lines(_with_predictions(each, None), log) for each in configs]


def _with_predictions(config: Config, source: str | None) -> Config:
    return config.model_copy(update={"logs": config.logs.model_copy(update={"predictions": source})})


def _of_lines(config: Config, log: MetricsLog) -> Replay:
    measurements, judge = drifting.stated(config, log.measurements), _Judge(config)
    for moment in _lines(config, measurements):
        judge.judge(moment)
    return Replay(tuple(judge.steps), log.notes, measurements)


def _lines(config: Config, measurements: Sequence[Measurement]) -> Iterator[_Moment]:
    """Yield one moment for each line, at its own time."""
    log = Log(measurements)
    ends: dict[str, int] = {}
    now = _DAY_ONE
    for place, line in enumerate(log.all, start=1):
        now = line.at or now + config.trigger.window
        if now > _LAST_DAY:
            raise CannotJudgeError(
                f"{line.where}: lines without a time are taken to be trigger.window {policy.length(config.trigger.window)} "
                f"apart, which reaches beyond the year {_LAST_DAY.year} here; write times, or set a shorter trigger.window"
            )
        ends[line.file] = line.end
        yield _Moment(now, line.where, line.at, Observed(measurements=log.until(place)), Mark(line.at, ends))


def _of_windows(configs: Sequence[Config]) -> list[Replay]:
    """Replay a prediction log, which is counted once for all settings that count alike."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for place, config in enumerate(configs):
        alike.setdefault((config.trigger.label_coverage, config.trigger.slices), []).append(place)
    found: dict[int, Replay] = {}
    for places in alike.values():
        found |= zip(places, _side_by_side([configs[place] for place in places]), strict=True)
    return [found[place] for place in range(len(configs))]


def _side_by_side(configs: Sequence[Config]) -> list[Replay]:
    """Replay a prediction log: all settings judge a moment before the next is counted, which takes longer than to judge."""
    config, until, shared = configs[0], datetime.now(UTC) + _FAR, Memo().measured
    judges = [_Judge(each, memo=Memo(measured=shared)) for each in configs]
    with (
        Ledger.reading(config.state / "ledger.sqlite") as ledger,
        evaluate.replaying(config, registry(config), _champion(config), ledger, until=until) as log,
    ):
        for moment in _windows(config, log):
            for judge in judges:
                judge.judge(moment)
        known, nothing = log.known_at(until), Memory()
        notes = (*log.notes, *unused(config, known, nothing))
        most_last = sorted(champion_measurements(config, known, nothing), key=lambda each: each.rows or 0)
        of_window = {each.at: each for each in most_last}  # of several models in a window, the one of the most rows
        measured = tuple(of_window.get(end - config.trigger.window) for end in log.ends)
    return [Replay(tuple(judge.steps), notes, measured) for judge in judges]


def _windows(config: Config, log: Replayed) -> Iterator[_Moment]:
    """Yield one moment for each window of the prediction log, when it has just closed."""
    for end in log.ends:
        observed = replace(log.known_at(end), newest=None)
        start = end - config.trigger.window
        mark = Mark(start, judged=evaluate.judged_until(config, observed.windows or ()))
        yield _Moment(end, f"window {start:%Y-%m-%d %H:%M}Z", start, observed, mark)


def _champion(config: Config) -> Champion | None:
    """Return the champion whose profile drift is measured from; none is needed."""
    try:
        pointer = registry(config).champion()
    except PromotionError:
        return None
    return None if pointer is None else Champion(pointer.version, datetime.fromisoformat(pointer.promoted_at))
