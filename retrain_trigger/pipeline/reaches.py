"""How far back trainings reach, and which of these rows are fit to train on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from retrain_trigger import engines
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.counts.table import TableCounts
from retrain_trigger.judge import policy, rules
from retrain_trigger.judge.memory import Champion
from retrain_trigger.pipeline.tick import Tick

if TYPE_CHECKING:
    from retrain_trigger.engines.description import Known
    from retrain_trigger.engines.labelled import LabelledRows

AUTO_WINDOWS = (10, 3)
"""`data.windows: auto`: challengers that reach so many windows back, beside one that learns from all rows."""

LONG_TRAINING = timedelta(minutes=10)
"""`data.windows: auto`: where the champion took longer to train, only its own reach is trained."""

AWAITED = frozenset({"rows", "classes"})
"""Rules that the newest windows need not fulfil by themselves: rows of another class are waited for, as they decide."""


@dataclass(frozen=True, slots=True)
class Described:
    """What the data is like: a table for each stage and reach, the reaches that are fit, and all that was found of them.

    `left_out` says of the other reaches why they are not trained on; no reach is fit where the data is refused.
    """

    tables: Mapping[str, TableCounts]
    reaches: tuple[str, ...]
    findings: tuple[Finding, ...]
    left_out: Mapping[str, str]


def wheres(tick: Tick, rows: "LabelledRows", champion: Champion | None, *, until: datetime | None) -> dict[str, str]:
    """Return the rows of each reach as SQL. A reach counts back from `until`: a recipe stays as long in both trainings."""
    end = until or tick.now
    return {
        _named(reach): rows.training(since=end - reach if reach else None, until=until)
        for reach in _reaches(tick, champion)
    }


def described(
    tick: Tick,
    rows: "LabelledRows",
    champion: Champion | None,
    newest: str | None,
    stages: Mapping[str, Mapping[str, str]],
    *,
    max_age: timedelta | None,
) -> Described:
    """Describe the rows of each reach, and judge them; what is trained on in the end must have new rows.

    So must the `newest` windows, of which old rows may hide the faults. A reach with unfit rows is left out as long as
    another is fit, and so is one with the very rows of a wider one.
    """
    own = _trained_on(tick, champion)
    known = engines.description.Known(rules.bands(own), rules.categories(own))
    tables = {
        f"{stage}-{reach}": rows.describe(where, known)
        for stage, each in stages.items()
        for reach, where in each.items()
    }
    quality = partial(_quality, tick, champion, own)
    recent = quality(_recent(tick, rows, newest, known), max_age=max_age)
    recent = tuple(finding for finding in recent if finding.name not in AWAITED)
    found: dict[str, tuple[Finding, ...]] = {}
    for reach in stages["train"]:
        first, last = (tables[f"{stage}-{reach}"] for stage in ("train", list(stages)[-1]))
        found[reach] = (
            *quality([last], max_age=max_age),
            *(quality([first], max_age=None) if first is not last else ()),
        )
    fit = [reach for reach, each in found.items() if all_pass(each)] if all_pass(recent) else []
    sizes = {reach: tables[f"train-{reach}"].rows for reach in fit}
    distinct = [reach for reach in fit if sizes[reach] not in [sizes[wider] for wider in fit[: fit.index(reach)]]]
    judged = {
        finding.because: finding
        for each in (recent, *(found[reach] for reach in distinct or found))
        for finding in each
    }
    unfit = {reach: reasons(found[reach]) for reach in found if distinct and reach not in fit}
    return Described(tables, tuple(distinct), tuple(judged.values()), unfit)


def all_pass(findings: Sequence[Finding]) -> bool:
    """Say whether data is fit: no rule refuses it, and none is unknown."""
    return all(finding.verdict is Verdict.PASS for finding in findings)


def reasons(findings: Sequence[Finding]) -> str:
    """Say why data is not fit."""
    return "; ".join(finding.because for finding in findings if finding.verdict is not Verdict.PASS)


def _reaches(tick: Tick, champion: Champion | None) -> tuple[timedelta | None, ...]:
    """Return how far back trainings reach, the widest first; that alone for a first champion, which is compared with none.

    `data.windows: auto` is all rows, and those of the last windows; where a training takes long, only the champion's reach.
    """
    config = tick.config
    asked = config.data.windows or (None, *(number * config.trigger.window for number in AUTO_WINDOWS))
    asked = tuple(sorted(asked, key=lambda reach: reach or timedelta.max, reverse=True))
    if champion is None:
        return asked[:1]
    card = tick.registry.card(champion.version)
    if config.data.windows or (card.seconds or 0.0) <= LONG_TRAINING.total_seconds():
        return asked
    return tuple(reach for reach in asked if _named(reach) == card.reach) or (None,)


def _trained_on(tick: Tick, champion: Champion | None) -> TableCounts | None:
    """Return what is known of the champion's training data; None for a model that was adopted."""
    return tick.registry.profile(champion.version) if champion else None


def _quality(
    tick: Tick,
    champion: Champion | None,
    own: TableCounts | None,
    tables: Sequence[TableCounts],
    *,
    max_age: timedelta | None,
) -> tuple[Finding, ...]:
    features = tick.registry.card(champion.version).features if champion else None
    found: dict[str, Finding] = {}
    for table in tables:
        case = rules.Case(
            split=table,
            profile=own,
            features=features,
            max_missing=tick.config.data.max_missing,
            label=tick.config.logs.columns.label,
            unchecked=frozenset(tick.config.data.unchecked),
            now=tick.now,
            max_age=max_age,
        )
        for finding in rules.check(case):
            found.setdefault(finding.because, finding)
    return tuple(found.values())


def _recent(tick: Tick, rows: "LabelledRows", newest: str | None, known: "Known") -> list[TableCounts]:
    """Describe the newest windows, if they have enough rows to be one."""
    enough = newest is not None and rows.count(newest) >= tick.config.trigger.min_rows
    return [rows.describe(newest, known)] if newest and enough else []


def _named(reach: timedelta | None) -> str:
    return policy.length(reach) if reach else "all"
