"""What a tick can know now: the metrics log, the prediction log with the labels that have come, and the reference."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from retrain_trigger import engines
from retrain_trigger.config.load import Config
from retrain_trigger.core.errors import DataError
from retrain_trigger.core.measurements import Mark
from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.counts.histograms import Reference
from retrain_trigger.counts.scores import EDGES
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.checks import lateness
from retrain_trigger.judge.memory import Champion
from retrain_trigger.judge.metrics import METRICS, positive_label
from retrain_trigger.logs import metrics_log
from retrain_trigger.logs.metrics_log import MetricsLog
from retrain_trigger.pipeline import adopted, drifting
from retrain_trigger.pipeline.check import Observed, counts_judge, unused
from retrain_trigger.pipeline.profile import of_source
from retrain_trigger.pipeline.tick import Tick, nearby
from retrain_trigger.store import files
from retrain_trigger.store.ledger import Ledger
from retrain_trigger.store.registry import Registry

if TYPE_CHECKING:
    from retrain_trigger.engines.counted import Counted, Example
    from retrain_trigger.engines.plan import Plan

LOG = "log"
"""Under this name the ledger keeps what was counted of the prediction log."""

EMPTY_LOG = MetricsLog(measurements=(), mark=Mark(), newest=None, notes=())


@dataclass(frozen=True, slots=True)
class Reading:
    """What was observed, how far the logs have been read, and what to tell the person about lines left out."""

    observed: Observed
    mark: Mark
    notes: tuple[str, ...] = ()

    @classmethod
    def nothing(cls, because: str) -> "Reading":
        """Return what is known where the logs cannot be read."""
        return cls(Observed(), Mark(), (because,))


def read(tick: Tick) -> Reading:
    """Read all logs as known now; what was counted before is taken from the ledger, and kept there.

    Parts of a log are copied to where the runs have their files: what a kill leaves there is removed by a later run.

    Raises CannotJudgeError if a log that judges is missing or cannot be read.
    """
    config, registry, past, ledger, now = tick.config, tick.registry, tick.past, tick.ledger, tick.now
    scratch = tick.scratch.parent
    champion = past.champion
    log = _metrics(config, champion, now)
    if config.logs.predictions is None:
        return Reading(
            Observed(measurements=log.measurements, newest=log.newest, latest=log.latest), log.mark, log.notes
        )

    found, positive, unread = _reference(config, registry, champion, ledger, now)
    wanted = _plan(config, registry, champion, found)
    known = _kept(ledger)
    files.make_folder(scratch, mode=0o700)
    keep = scratch if ledger.asks else config.state
    counted = engines.prediction_log.count(wanted, now=now, known=known, store=config.state, keep=keep, scratch=scratch)
    if counted != known and not ledger.asks:
        ledger.keep_counted(LOG, {wanted.predictions: encoded(counted)})
        engines.waiting.clear(config.state / engines.waiting.FOLDER, (*counted.rows, *counted.labels))
    observed = _observed(wanted, counted, log, found, positive, now=now)
    starts = [window.start for window in observed.windows or ()]
    times = [at for at in (log.mark.at, max(starts, default=None)) if at is not None]
    mark = Mark(max(times, default=None), log.mark.ends, judged_until(config, observed.windows or ()))
    notes = (*log.notes, *unread, *_late(config, observed), *unused(config, observed, past))
    return Reading(observed, mark, notes)


def judged_until(config: Config, windows: Sequence[WindowCounts]) -> datetime | None:
    """Return the newest window that has its labels, the time before the first if none has; None without windows."""
    if not windows:
        return None
    judged = (window.start for window in windows if window.coverage >= config.trigger.label_coverage)
    return max(judged, default=windows[0].start - config.trigger.window)


def _late(config: Config, observed: Observed) -> Iterator[str]:
    """Say how long labels take, while windows wait for theirs."""
    waits = any(window.rows and window.coverage < config.trigger.label_coverage for window in observed.windows or ())
    if observed.delay is not None and waits:
        yield str(observed.delay)


@dataclass(frozen=True, slots=True)
class Replayed:
    """A prediction log for a replay: the ends of its windows, what was known at a time, and what to tell the person."""

    ends: Sequence[datetime]
    known_at: Callable[[datetime], Observed]
    notes: tuple[str, ...]


@contextmanager
def replaying(
    config: Config, registry: Registry, champion: Champion | None, ledger: Ledger, *, until: datetime
) -> Iterator[Replayed]:
    """Open the prediction log for a replay.

    Where neither the settings nor a champion say which class is the positive one, it is found among all labels.
    """
    found, positive, notes = _reference(config, registry, champion, ledger, until)
    wanted = replace(_plan(config, registry, champion, found), since=None)
    with engines.past.replaying(wanted, until=until) as known:

        def known_at(now: datetime) -> Observed:
            return _observed(wanted, known.at(now), EMPTY_LOG, found, positive, now=now)

        labels = _labels(known_at(until)) if champion is None and config.positive_label is None else {}
        if labels:
            positive = positive_label(labels, None)
        if labels and config.metric in METRICS and METRICS[config.metric].of_one_class:
            notes = (*notes, f"{config.metric} is that of the class {positive!r}; positive names another")
        yield Replayed(known.ends(), known_at, notes)


def _labels(observed: Observed) -> Counter[str]:
    """Count the rows of each label."""
    labels = Counter[str]()
    for window in observed.windows or ():
        for (label, _), rows in window.confusion.cells.items():
            labels[label] += rows
    return labels


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
    watched: Reference = {}
    notes: tuple[str, ...] = ()
    positive = config.positive_label
    if champion is not None:
        known = registry.profile(champion.version)
        watched = known.watched if known else {}
        positive = positive or registry.card(champion.version).positive
    if config.logs.reference is not None:
        watched = _profiled(config, ledger, now)
    elif champion is not None and adopted.is_unknown(registry, champion.version):
        try:
            watched = adopted.first_windows(config, registry, champion, ledger, now=now)
        except DataError as error:
            notes = (f"drift is not measured: {error}",)
    return watched, positive or "1", notes


def _profiled(config: Config, ledger: Ledger, now: datetime) -> Reference:
    """Count the reference that the settings name; once for as long as its files stay as they are."""
    source = config.logs.reference or ""
    state = encoded(engines.sources.files_of(source, key="logs.reference"))
    known = ledger.counted("reference").get(source)
    if known is not None and known["files"] == state:
        return decoded(adopted.Kept, known).watched
    watched = of_source(source, columns=config.logs.names, now=now)
    ledger.keep_counted("reference", {source: encoded(adopted.Kept(watched, state))})
    return watched


def _plan(config: Config, registry: Registry, champion: Champion | None, found: Reference) -> "Plan":

    return engines.plan.Plan(
        predictions=config.logs.predictions or "",
        labels=config.logs.labels,
        columns=config.logs.names,
        window=config.trigger.window,
        bins={name: each.bins for name, each in found.items()},
        score_edges=EDGES,
        since=champion.since if champion else None,
        version=champion.version if champion else None,
        slices=config.trigger.slices,
        classes=_classes(config, registry, champion),
        date_format=config.logs.date_format,
        decimal=config.logs.decimal,
        coverage=config.trigger.label_coverage,
        horizon=config.logs.label_horizon,
        known_as=champion.known_as if champion else None,
        earlier=champion.earlier if champion else None,
    )


def _classes(config: Config, registry: Registry, champion: Champion | None) -> tuple[str, ...] | None:
    """Return the classes that a label may be of: those the champion was trained on; None if they are not known."""
    if champion is None or not counts_judge(config):
        return None
    card, profile = registry.card(champion.version), registry.profile(champion.version)
    known = {*(profile.labels if profile else ()), *(card.classes or ())}
    if not known or (config.positive_label is not None and config.positive_label not in known):
        return None
    return tuple(sorted(known))


def _kept(ledger: Ledger) -> "Counted":
    """Return what was counted by an earlier run; nothing if another version wrote it."""
    for document in ledger.counted(LOG).values():
        with suppress(KeyError, TypeError, ValueError):
            return decoded(engines.counted.Counted, document)
    return engines.counted.Counted()


def _observed(
    plan: "Plan", counted: "Counted", log: MetricsLog, found: Reference, positive: str, *, now: datetime
) -> Observed:

    seen = engines.reading.seen(plan, counted, now=now, told=_told)
    return Observed(
        measurements=log.measurements,
        windows=seen.windows,
        reference=found,
        labelled=seen.labelled,
        positive=positive,
        classes=tuple(plan.classes or ()),
        newest=seen.newest or log.newest,
        newest_label=seen.newest_label,
        aside=seen.aside,
        latest=seen.latest or log.latest,
        delay=lateness.of_labels(seen.delays.items()) or lateness.of_windows(seen.windows, length=plan.window, now=now),
    )


def _told(file: str, example: "Example") -> str:
    """Say where a row stands that cannot be used, and which value is the cause."""
    where, value = str(nearby(Path(file))), example.value
    where = f"{where}:{example.line}" if example.line else f"row {example.place + 1:,} of {where}"
    return f"{where}: {example.column} is {json.dumps(value, ensure_ascii=False) if value.strip() else 'empty'}"
