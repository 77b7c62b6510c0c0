"""What a tick can know now: the metrics log, the prediction log with the labels that have come, and the reference."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain_trigger import adopted, drifting
from retrain_trigger.config import Config
from retrain_trigger.counts.scores import EDGES
from retrain_trigger.counts.unusable import Aside, Unusable
from retrain_trigger.counts.windows import WindowCounts, merged
from retrain_trigger.errors import DataError
from retrain_trigger.judge import lateness
from retrain_trigger.judge.memory import Champion, Memory
from retrain_trigger.judgement import Observed, counts_judge, unused
from retrain_trigger.measurements import Mark
from retrain_trigger.profile import Reference, of_source, plan, reference
from retrain_trigger.tick import nearby
from retrain_trigger.world import files, metrics_log
from retrain_trigger.world.ledger import Ledger
from retrain_trigger.world.metrics_log import MetricsLog
from retrain_trigger.world.registry import Registry

if TYPE_CHECKING:
    from retrain_trigger.world.tally import Plan

_TRUE, _FALSE = frozenset({"1", "true", "yes", "t", "y"}), frozenset({"0", "false", "no", "f", "n"})
EMPTY_LOG = MetricsLog(measurements=(), mark=Mark(), newest=None, notes=())


@dataclass(frozen=True, slots=True)
class Reading:
    """What was observed, how far the logs have been read, and what to tell the person about lines left out."""

    observed: Observed
    mark: Mark
    notes: tuple[str, ...] = ()


def read(config: Config, registry: Registry, past: Memory, ledger: Ledger, *, now: datetime, scratch: Path) -> Reading:
    """Read all logs as known at `now`; what was counted before is taken from the ledger, and kept there.

    Parts of a log are copied to `scratch` to be read: what a kill leaves there is removed by a later run.

    Raises CannotJudgeError where a log that judges is missing or cannot be read.
    """
    champion = past.champion
    log = _metrics(config, champion, now)
    if config.logs.predictions is None:
        return Reading(
            Observed(measurements=log.measurements, newest=log.newest, latest=log.latest), log.mark, log.notes
        )
    from retrain_trigger.world import prediction_log  # noqa: PLC0415  (DuckDB: not on the path of a metrics log)

    found, positive, unread = _reference(config, registry, champion, ledger, now)
    wanted = _plan(config, registry, champion, found)
    known = ledger.counted(wanted.digest())
    files.make_folder(scratch, mode=0o700)
    pieces = prediction_log.count(wanted, now=now, known=known, scratch=scratch)
    if pieces != known:
        ledger.keep_counted(wanted.digest(), pieces)
    observed = _observed(wanted, list(pieces.values()), log, found, positive, now=now)
    starts = [window.start for window in observed.windows or ()]
    times = [at for at in (log.mark.at, max(starts, default=None)) if at is not None]
    mark = Mark(max(times, default=None), log.mark.ends, judged_until(config, observed.windows or ()))
    notes = (*log.notes, *unread, *_late(config, observed), *unused(config, observed, past))
    return Reading(observed, mark, notes)


def judged_until(config: Config, windows: Sequence[WindowCounts]) -> datetime | None:
    """Return the newest window that has its labels, the time before the first where none has; None without windows."""
    if not windows:
        return None
    judged = (window.start for window in windows if window.coverage >= config.trigger.label_coverage)
    return max(judged, default=windows[0].start - config.trigger.window)


def _late(config: Config, observed: Observed) -> Iterator[str]:
    """Say how long labels take, while windows wait for theirs."""
    waits = any(window.rows and window.coverage < config.trigger.label_coverage for window in observed.windows or ())
    if observed.delay is not None and waits:
        yield str(observed.delay)


@contextmanager
def replaying(
    config: Config, registry: Registry, champion: Champion | None, ledger: Ledger, *, until: datetime
) -> Iterator[tuple[list[datetime], Any]]:
    """Open the prediction log for a replay: the ends of its windows, and a function that tells what was known then."""
    from retrain_trigger.world import past  # noqa: PLC0415  (DuckDB: not on the path of a metrics log)

    found, positive, _ = _reference(config, registry, champion, ledger, until)
    wanted = replace(_plan(config, registry, champion, found), since=None)
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
) -> tuple[Reference, str, tuple[str, ...]]:
    """Return what drift is measured from, the positive label, and what could not be read: that stops no judgement."""
    profile: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()
    positive = config.positive_label
    if champion is not None:
        profile = registry.profile(champion.version) or {}
        positive = positive or registry.card(champion.version).get("positive")
    if config.logs.reference is not None:
        profile = _profiled(config, ledger, now)
    elif champion is not None and adopted.is_unknown(registry, champion.version):
        try:
            profile = adopted.first_windows(config, registry, champion, ledger, now=now)
        except DataError as error:
            notes = (f"drift is not measured: {error}",)
    return reference(profile.get("watched", {})), positive or "1", notes


def _profiled(config: Config, ledger: Ledger, now: datetime) -> Mapping[str, Any]:
    """Count the reference that the settings name; once for as long as its files stay as they are."""
    from retrain_trigger.world import tables  # noqa: PLC0415

    source = config.logs.reference or ""
    state = [file.to_json() for file in tables.files_of(source, key="logs.reference")]
    known: dict[str, Any] | None = ledger.counted("reference").get(source)
    if known is not None and known["files"] == state:
        return known
    columns = config.logs.names
    profile: dict[str, Any] = {"files": state, "watched": of_source(source, columns=columns, now=now)}
    ledger.keep_counted("reference", {source: profile})
    return profile


def _plan(config: Config, registry: Registry, champion: Champion | None, found: Reference) -> "Plan":
    from retrain_trigger.world.tally import Plan  # noqa: PLC0415  (DuckDB: not on the path of a metrics log)

    return Plan(
        predictions=config.logs.predictions or "",
        labels=config.logs.labels,
        columns=config.logs.names,
        window=config.trigger.window,
        bins=plan(found),
        score_edges=EDGES,
        since=champion.since if champion else None,
        version=champion.version if champion else None,
        slices=config.trigger.slices,
        classes=_classes(config, registry, champion),
        date_format=config.logs.date_format,
        known_as=champion.known_as if champion else None,
        earlier=champion.earlier if champion else None,
    )


def _classes(config: Config, registry: Registry, champion: Champion | None) -> tuple[str, ...] | None:
    """Return the classes that a label may be of: those the champion was trained on; None where they are not known.

    Forms of a log write true and false in words of their own, so each of them stands for all.
    """
    if champion is None or not counts_judge(config):
        return None
    card, profile = registry.card(champion.version), registry.profile(champion.version) or {}
    known = {*profile.get("labels", {}), *(card.get("classes") or ())}
    if not known or (config.positive_label is not None and config.positive_label not in known):
        return None
    for words in (_TRUE, _FALSE):
        known |= words if any(name.lower() in words for name in known) else set()
    return tuple(sorted(known))


def _observed(
    plan: "Plan", pieces: Sequence[Any], log: MetricsLog, found: Reference, positive: str, *, now: datetime
) -> Observed:
    from retrain_trigger.world.prediction_log import placed  # noqa: PLC0415  (DuckDB: not on the path of a metrics log)

    led, unplaced = placed(plan, pieces, now=now)
    windows = merged(_window(window) for piece in (*pieces, led) for window in piece["windows"])
    aside = Aside(
        unplaced=sum((Unusable(lead["unusable"], _told(lead["example"])) for lead in unplaced), Unusable()),
        lines=sum(piece["lines"][0] for piece in pieces),
        ahead=led["ahead"] + sum(piece["ahead"] for piece in pieces),
    )
    # Rows from before the champion are in no count, and show that the log is written.
    last = (datetime.fromisoformat(piece["last"]) for piece in pieces if piece.get("last"))
    newest = [datetime.fromisoformat(piece["newest"]) for piece in pieces if piece["newest"]]
    latest = [piece["latest"] for piece in pieces if piece.get("latest")]
    labels = [piece["newest_label"] for piece in pieces if piece["newest_label"]]
    return Observed(
        measurements=log.measurements,
        windows=windows,
        reference=found,
        labelled=any(piece.get("truth") for piece in pieces),
        positive=positive,
        newest=max((*newest, *(at for at in last if at <= now)), default=log.newest),
        newest_label=max(map(datetime.fromisoformat, labels), default=None),
        aside=aside,
        latest=max(map(datetime.fromisoformat, latest), default=log.latest),
        delay=lateness.of_labels((hours, n) for piece in pieces for hours, n in piece["delays"])
        or lateness.of_windows(windows, length=plan.window, now=now),
    )


def _window(document: Mapping[str, Any]) -> WindowCounts:
    example = document["example"]
    return WindowCounts.from_json({**document, "example": _told(example) if example else ""})


def _told(example: Mapping[str, Any]) -> str:
    """Say where a row stands that cannot be used, and which value is the cause."""
    where, value = str(nearby(Path(example["file"]))), example["value"]
    if "line" in example:
        where += f":{example['line']}"
    elif where.endswith(".parquet"):
        where = f"row {example['row'] + 1:,} of {where}"
    return f"{where}: {example['column']} is {json.dumps(value, ensure_ascii=False) if value.strip() else 'empty'}"
