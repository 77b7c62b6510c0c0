"""Before a training starts: is the data fit, can a challenger be judged, and which rows does it get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain_trigger.config import BUILT_IN_METRICS
from retrain_trigger.errors import PromotionError, UsageError
from retrain_trigger.findings import Finding, Verdict
from retrain_trigger.judge import performance, policy, quality
from retrain_trigger.judge.counts import TableCounts
from retrain_trigger.judge.memory import Champion
from retrain_trigger.outcomes import ExitCode, Outcome, Word
from retrain_trigger.tick import Tick
from retrain_trigger.world import files

if TYPE_CHECKING:
    from retrain_trigger.world.labelled import LabelledRows

NO_HOLDOUT = "no hold-out: set data.labelled or data.holdout_file, or `retrain-check promote VERSION --reason ...`"
BINARY_METRICS = frozenset({"f1", "precision", "recall"})
_BINARY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What one challenger is trained on: how far back it reaches, the rows (None: `make` finds its own)."""

    reach: str
    rows: Path | None
    profile: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Fit data, split. `uncompared` says why no comparison will be possible; None where `holdout` decides."""

    splits: tuple[Split, ...]
    holdout: Path | None = None
    label: str = ""
    features: tuple[str, ...] = ()
    positive: str = ""
    reserved: float = 0.0
    uncompared: str | None = None
    findings: tuple[Finding, ...] = ()


def prepare(tick: Tick, champion: Champion | None, *, breached: Sequence[datetime], forced: bool) -> Prepared | Outcome:
    """Validate and split the data; an Outcome where it is refused (exit 4), or too little of it is there yet (a wait).

    `breached` are the starts of the windows that the hold-out must contain. `forced` trains even where too few rows
    can decide. Raises DataError where the data cannot be read, PromotionError where it is too old to judge by.
    """
    files.remove_folder(tick.scratch.parent)
    files.make_folder(tick.scratch, mode=0o700)
    data = tick.config.data
    own = Split(reach="all", rows=None, profile=None)
    if data.labelled is None and data.holdout_file is None:
        return Prepared(splits=(own,), uncompared=NO_HOLDOUT)
    if tick.config.metric not in BUILT_IN_METRICS:
        because = f"metric {tick.config.metric!r} cannot be computed from predictions: promote VERSION by hand"
        return Prepared(splits=(own,), uncompared=because)
    from retrain_trigger.world import labelled  # noqa: PLC0415  (DuckDB: not on the healthy path)

    source = data.labelled or data.holdout_file or ""
    with labelled.opened(source, columns=tick.config.logs.columns.model_dump(), now=tick.now) as rows:
        if data.labelled is None:
            return _own_holdout(tick, rows, champion, own, breached, forced=forced)
        return _split(tick, rows, champion, breached, forced=forced)


def _own_holdout(
    tick: Tick,
    rows: "LabelledRows",
    champion: Champion | None,
    own: Split,
    breached: Sequence[datetime],
    *,
    forced: bool,
) -> Prepared | Outcome:
    deciding = rows.newer(champion.since if champion else None)
    missing = None if champion is None else _too_little(tick, rows, deciding, breached, forced=forced)
    if missing is not None:
        return missing
    return _with_holdout(tick, rows, champion, deciding, (own,), reserved=0.0, findings=())


def _split(
    tick: Tick, rows: "LabelledRows", champion: Champion | None, breached: Sequence[datetime], *, forced: bool
) -> Prepared | Outcome:
    share = max(tick.config.data.holdout, tick.past.reserved)
    reaches = tick.config.data.windows if champion else (_widest(tick.config.data.windows),)
    wheres = {_named(reach): rows.training(share=share, since=tick.now - reach if reach else None) for reach in reaches}
    tables = {name: rows.describe(where) for name, where in wheres.items()}
    until = trained_until(tick, champion)
    findings = _quality(tick, champion, [*tables.values(), *_recent(tick, rows, until)])
    if any(finding.verdict is not Verdict.PASS for finding in findings):
        return _refused(findings)
    deciding = rows.deciding(share=share, after=until)
    missing = None if champion is None else _too_little(tick, rows, deciding, breached, forced=forced)
    if missing is not None:
        return missing
    splits = []
    for name, where in wheres.items():
        target = tick.scratch / f"train-{name}.parquet"
        rows.write(where, target)
        splits.append(Split(reach=name, rows=target, profile=tables[name]))
    return _with_holdout(tick, rows, champion, deciding, tuple(splits), reserved=share, findings=findings)


def _with_holdout(
    tick: Tick,
    rows: "LabelledRows",
    champion: Champion | None,
    deciding: str,
    splits: tuple[Split, ...],
    *,
    reserved: float,
    findings: tuple[Finding, ...],
) -> Prepared:
    labels = rows.labels()
    if len(labels) > _BINARY and tick.config.metric in BINARY_METRICS:
        raise UsageError(
            f"metric {tick.config.metric} is for two classes, and the labels are {', '.join(labels)}: "
            f"set `metric: f1_macro`"
        )
    holdout = None
    if champion is not None:
        holdout = tick.scratch / "holdout.parquet"
        rows.write(deciding, holdout)
    return Prepared(
        splits=splits,
        holdout=holdout,
        label=rows.columns["label"],
        features=rows.features,
        positive=_positive(tick, champion, labels),
        reserved=reserved,
        findings=findings,
    )


def _quality(tick: Tick, champion: Champion | None, tables: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
    card = tick.registry.card(champion.version) if champion else {}
    known = tick.registry.profile(champion.version) if champion else None
    profile = TableCounts.from_json(known) if known else None
    found: dict[str, Finding] = {}
    for table in tables:
        for finding in quality.check(
            TableCounts.from_json(table),
            profile,
            features=card.get("features"),
            max_missing=tick.config.data.max_missing,
        ):
            found.setdefault(finding.because, finding)
    return tuple(found.values())


def _recent(tick: Tick, rows: "LabelledRows", until: datetime | None) -> list[Mapping[str, Any]]:
    """Describe the rows newer than the champion's, where they are enough to be a window: old rows may hide their faults."""
    newer = rows.newer(until)
    return [rows.describe(newer)] if until and rows.count(newer) >= tick.config.trigger.min_rows else []


def _refused(findings: Sequence[Finding]) -> Outcome:
    reasons = [finding.because for finding in findings if finding.verdict is not Verdict.PASS]
    because = f"the training data is refused: {'; '.join(reasons)}. Nothing was trained"
    return Outcome(word=Word.DATA_REFUSED, code=ExitCode.DATA_REFUSED, because=because, findings=tuple(findings))


def _too_little(
    tick: Tick, rows: "LabelledRows", deciding: str, breached: Sequence[datetime], *, forced: bool
) -> Outcome | None:
    """Say what is missing for a comparison; training now would spend the evidence on a challenger nobody can judge."""
    absent = [start for start in breached if not rows.within("true", start=start, length=tick.config.trigger.window)]
    short = tick.config.promotion.min_rows - rows.count(deciding)
    if absent:
        reason = f"the labelled rows have none of the breached window of {policy.stamp(absent[-1])}"
    elif short > 0 and not forced:
        reason = f"{short:,} rows more needed on the hold-out (promotion.min_rows {tick.config.promotion.min_rows:,})"
    else:
        return None
    newest = rows.newest()
    if newest is None or tick.now - newest > tick.config.trigger.max_age:
        seen = f"their newest is of {policy.stamp(newest)}" if newest else "there are none"
        raise PromotionError(
            f"no challenger could be judged: {reason}, and {seen}; trigger.max_age is "
            f"{policy.length(tick.config.trigger.max_age)}. Nothing was trained; are labelled rows still written?"
        )
    return Outcome(word=Word.WAITING, code=ExitCode.OK, because=f"{reason}; training waits for them")


def trained_until(tick: Tick, champion: Champion | None) -> datetime | None:
    """Return the time of the newest row that the champion was trained on; its promotion where that is not known."""
    if champion is None:
        return None
    profile = tick.registry.profile(champion.version)
    newest = profile.get("newest") if profile else None
    return datetime.fromisoformat(newest) if newest else champion.since


def _positive(tick: Tick, champion: Champion | None, labels: Mapping[str, int]) -> str:
    configured = tick.config.positive
    fixed = tick.registry.card(champion.version).get("positive") if champion else None
    if configured is not None:
        fixed = str(int(configured)) if isinstance(configured, bool) else str(configured)
    return performance.positive_label(labels, fixed or None)


def _widest(windows: Sequence[timedelta | None]) -> timedelta | None:
    """Return the widest reach: a first champion is not compared, so it learns from all there is."""
    spans = [window for window in windows if window is not None]
    return max(spans) if len(spans) == len(windows) else None


def _named(reach: timedelta | None) -> str:
    return policy.length(reach) if reach else "all"
