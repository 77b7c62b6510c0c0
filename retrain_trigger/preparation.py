"""Before a training starts: is the data fit, can a challenger be judged, and which rows does it get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain_trigger import data_check, profile, trial
from retrain_trigger.errors import PromotionError, UsageError
from retrain_trigger.findings import Finding, Verdict
from retrain_trigger.judge import performance, policy, quality
from retrain_trigger.judge.counts import TableCounts
from retrain_trigger.judge.memory import Champion
from retrain_trigger.outcomes import ExitCode, Outcome, Word
from retrain_trigger.tick import Tick
from retrain_trigger.world import files

if TYPE_CHECKING:
    from retrain_trigger.world.description import Known
    from retrain_trigger.world.labelled import LabelledRows

NO_HOLDOUT = "no hold-out: set data.labelled or data.holdout_file, or `retrain-check promote VERSION --reason ...`"
BINARY_METRICS = frozenset({"f1", "precision", "recall", "cost"})
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


def prepare(
    tick: Tick, champion: Champion | None, *, breached: Sequence[datetime], forced: bool, because: str
) -> Prepared | Outcome:
    """Validate and split the data; an Outcome where it is refused (exit 4), or too little of it is there yet (a wait).

    `breached` are the starts of the windows that the hold-out must contain. `forced` trains even where too few rows
    can decide. `because` is told to a check of the user's own. Raises DataError where the data cannot be read,
    PromotionError where it is too old to judge by.
    """
    prepared = _prepared(tick, champion, breached, forced=forced)
    if isinstance(prepared, Outcome):
        return prepared
    found = [finding.to_json() for finding in prepared.findings]
    reason = {"because": because, "forced": forced, "findings": found}
    checked = data_check.judged(tick, {split.reach: split.rows for split in prepared.splits}, reason=reason)
    findings = (*prepared.findings, *checked)
    fit = all(finding.verdict is Verdict.PASS for finding in checked)
    return replace(prepared, findings=findings) if fit else _refused(findings)


def _prepared(
    tick: Tick, champion: Champion | None, breached: Sequence[datetime], *, forced: bool
) -> Prepared | Outcome:
    files.remove_folder(tick.scratch.parent)
    files.make_folder(tick.scratch, mode=0o700)
    data = tick.config.data
    own = Split(reach="all", rows=None, profile=None)
    logs = tick.config.logs
    if data.labelled is None and data.holdout_file is None and logs.predictions is None:
        return Prepared(splits=(own,), uncompared=NO_HOLDOUT)
    if tick.config.metric not in performance.METRICS:
        because = f"metric {tick.config.metric!r} cannot be computed from predictions: promote VERSION by hand"
        return Prepared(splits=(own,), uncompared=because)
    from retrain_trigger.world import labelled  # noqa: PLC0415  (DuckDB: not on the healthy path)

    source = data.labelled or data.holdout_file or logs.predictions or ""
    truth = logs.labels if source == logs.predictions else None
    columns = logs.columns.model_dump()
    with labelled.opened(source, labels=truth, columns=columns, now=tick.now) as rows:
        if source == data.holdout_file:
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
    from retrain_trigger.world.description import Known  # noqa: PLC0415  (DuckDB: not on the healthy path)

    until, own = trained_until(tick, champion), _trained_on(tick, champion)
    known = Known(quality.bands(own), quality.categories(own))
    tables = {name: rows.describe(where, known) for name, where in wheres.items()}
    findings = _quality(tick, champion, own, [*tables.values(), *_recent(tick, rows, until, known)], forced=forced)
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
        watched = profile.of_training(rows, where)
        splits.append(Split(reach=name, rows=target, profile={**tables[name], "watched": watched}))
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
        trial.check_settings(tick, rows.types)
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


def _trained_on(tick: Tick, champion: Champion | None) -> TableCounts | None:
    """Return what is known of the champion's training data; None for a model that was adopted."""
    known = tick.registry.profile(champion.version) if champion else None
    return TableCounts.from_json(known) if known else None


def _quality(
    tick: Tick,
    champion: Champion | None,
    own: TableCounts | None,
    tables: Sequence[Mapping[str, Any]],
    *,
    forced: bool,
) -> tuple[Finding, ...]:
    card = tick.registry.card(champion.version) if champion else {}
    found: dict[str, Finding] = {}
    for table in tables:
        for finding in quality.check(
            TableCounts.from_json(table),
            own,
            features=card.get("features"),
            max_missing=tick.config.data.max_missing,
            label=tick.config.logs.columns.label,
            unchecked=tick.config.data.unchecked,
            now=tick.now,
            max_age=None if forced else tick.config.trigger.max_age,
        ):
            found.setdefault(finding.because, finding)
    return tuple(found.values())


def _recent(tick: Tick, rows: "LabelledRows", until: datetime | None, known: "Known") -> list[Mapping[str, Any]]:
    """Describe the rows newer than the champion's, where they are enough to be a window: old rows may hide their faults."""
    newer = rows.newer(until)
    return [rows.describe(newer, known)] if until and rows.count(newer) >= tick.config.trigger.min_rows else []


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
    fixed = tick.config.positive_label
    if fixed is None and champion is not None:
        fixed = tick.registry.card(champion.version).get("positive")
    return performance.positive_label(labels, fixed or None)


def _widest(windows: Sequence[timedelta | None]) -> timedelta | None:
    """Return the widest reach: a first champion is not compared, so it learns from all there is."""
    spans = [window for window in windows if window is not None]
    return max(spans) if len(spans) == len(windows) else None


def _named(reach: timedelta | None) -> str:
    return policy.length(reach) if reach else "all"
