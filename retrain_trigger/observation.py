"""What a tick can know now: the metrics log, the prediction log with the labels that have come, and the reference."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from retrain_trigger import drifting
from retrain_trigger.config import Config
from retrain_trigger.judge import lateness
from retrain_trigger.judge.estimate import EDGES
from retrain_trigger.judge.memory import Champion
from retrain_trigger.judge.windows import WindowCounts, merged
from retrain_trigger.judgement import Observed, counts_judge
from retrain_trigger.measurements import Mark
from retrain_trigger.profile import Reference, of_source, plan, reference
from retrain_trigger.tick import nearby
from retrain_trigger.world import files, metrics_log
from retrain_trigger.world.ledger import Ledger
from retrain_trigger.world.metrics_log import MetricsLog
from retrain_trigger.world.registry import Registry

if TYPE_CHECKING:
    from retrain_trigger.world.tally import Plan

EMPTY_LOG = MetricsLog(measurements=(), mark=Mark(), newest=None, notes=())


@dataclass(frozen=True, slots=True)
class Reading:
    """What was observed, how far the logs have been read, and what to tell the person about lines left out."""

    observed: Observed
    mark: Mark
    notes: tuple[str, ...] = ()


def read(config: Config, registry: Registry, champion: Champion | None, ledger: Ledger, *, now: datetime) -> Reading:
    """Read all logs as known at `now`; what was counted before is taken from the ledger, and kept there.

    Raises CannotJudgeError where a log that judges is missing or cannot be read.
    """
    log = _metrics(config, champion, now)
    if config.logs.predictions is None:
        return Reading(
            Observed(measurements=log.measurements, newest=log.newest, latest=log.latest), log.mark, log.notes
        )
    from retrain_trigger.world import prediction_log  # noqa: PLC0415  (DuckDB: not on the path of a metrics log)

    found, positive = _reference(config, registry, champion, ledger, now)
    wanted = _plan(config, champion, found)
    known = ledger.counted(wanted.digest())
    pieces = prediction_log.count(wanted, now=now, known=known)
    if pieces != known:
        ledger.keep_counted(wanted.digest(), pieces)
    observed = _observed(wanted, list(pieces.values()), log, found, positive, now=now)
    starts = [window.start for window in observed.windows or ()]
    times = [at for at in (log.mark.at, max(starts, default=None)) if at is not None]
    return Reading(observed, Mark(max(times, default=None), log.mark.ends), (*log.notes, *_late(config, observed)))


def _late(config: Config, observed: Observed) -> Iterator[str]:
    """Say how long labels take, while windows wait for theirs."""
    waits = any(window.coverage < config.trigger.label_coverage for window in observed.windows or ())
    if observed.delay is not None and waits:
        yield str(observed.delay)


@contextmanager
def replaying(
    config: Config, registry: Registry, champion: Champion | None, ledger: Ledger, *, until: datetime
) -> Iterator[tuple[list[datetime], Any]]:
    """Open the prediction log for a replay: the ends of its windows, and a function that tells what was known then."""
    from retrain_trigger.world import past  # noqa: PLC0415  (DuckDB: not on the path of a metrics log)

    found, positive = _reference(config, registry, champion, ledger, until)
    wanted = replace(_plan(config, champion, found), since=None)
    with past.replaying(wanted, until=until) as known:
        yield known.ends(), lambda now: _observed(wanted, [known.at(now)], EMPTY_LOG, found, positive, now=now)


def _metrics(config: Config, champion: Champion | None, now: datetime) -> MetricsLog:
    """Read the metrics log; it may be missing where a prediction log judges, and empty soon after a promotion."""
    path = config.logs.metrics
    if counts_judge(config) and not path.exists():
        return EMPTY_LOG
    if champion is not None and now - champion.since <= config.trigger.max_age and files.is_empty(path):
        return EMPTY_LOG
    log = metrics_log.read([nearby(path)], wanted=config.wanted, now=now)
    return replace(log, measurements=drifting.stated(config, log.measurements))


def _reference(
    config: Config, registry: Registry, champion: Champion | None, ledger: Ledger, now: datetime
) -> tuple[Reference, str]:
    """Return what drift is measured from, and the positive label."""
    profile: Mapping[str, Any] = {}
    positive = config.positive_label
    if champion is not None:
        profile = registry.profile(champion.version) or {}
        positive = positive or registry.card(champion.version).get("positive")
    if config.logs.reference is not None:
        profile = _profiled(config, ledger, now)
    return reference(profile.get("watched", {})), positive or "1"


def _profiled(config: Config, ledger: Ledger, now: datetime) -> Mapping[str, Any]:
    """Count the reference that the settings name; once for as long as its files stay as they are."""
    from retrain_trigger.world import tables  # noqa: PLC0415

    source = config.logs.reference or ""
    state = [file.to_json() for file in tables.files_of(source, key="logs.reference")]
    known: dict[str, Any] | None = ledger.counted("reference").get(source)
    if known is not None and known["files"] == state:
        return known
    columns = config.logs.columns.model_dump()
    profile: dict[str, Any] = {"files": state, "watched": of_source(source, columns=columns, now=now)}
    ledger.keep_counted("reference", {source: profile})
    return profile


def _plan(config: Config, champion: Champion | None, found: Reference) -> "Plan":
    from retrain_trigger.world.tally import Plan  # noqa: PLC0415  (DuckDB: not on the path of a metrics log)

    return Plan(
        predictions=config.logs.predictions or "",
        labels=config.logs.labels,
        columns=config.logs.columns.model_dump(),
        window=config.trigger.window,
        bins=plan(found),
        score_edges=EDGES,
        since=champion.since if champion else None,
        version=champion.version if champion else None,
        slices=config.trigger.slices,
        known_as=champion.known_as if champion else None,
    )


def _observed(
    plan: "Plan", pieces: Sequence[Any], log: MetricsLog, found: Reference, positive: str, *, now: datetime
) -> Observed:
    windows = merged(WindowCounts.from_json(window) for piece in pieces for window in piece["windows"])
    newest = [piece["newest"] for piece in pieces if piece["newest"]]
    latest = [piece["latest"] for piece in pieces if piece.get("latest")]
    labels = [piece["newest_label"] for piece in pieces if piece["newest_label"]]
    return Observed(
        measurements=log.measurements,
        windows=windows,
        reference=found,
        labelled=any(piece.get("truth") for piece in pieces),
        positive=positive,
        newest=max(map(datetime.fromisoformat, newest), default=log.newest),
        newest_label=max(map(datetime.fromisoformat, labels), default=None),
        latest=max(map(datetime.fromisoformat, latest), default=log.latest),
        delay=lateness.of_labels((hours, n) for piece in pieces for hours, n in piece["delays"])
        or lateness.of_windows(windows, length=plan.window, now=now),
    )
