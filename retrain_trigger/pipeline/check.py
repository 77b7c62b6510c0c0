"""From what was observed and what is remembered to a decision: the one judgement that `run`, `status` and `simulate` share."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile

from retrain_trigger.config.load import Config
from retrain_trigger.core.events import Said
from retrain_trigger.core.findings import DRIFT, Finding, Verdict, unknown
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.counts.cells import summed
from retrain_trigger.counts.histograms import Histogram, Reference, Watched
from retrain_trigger.counts.scores import ExposureCounts, ScoreCounts
from retrain_trigger.counts.unusable import NOTHING_ASIDE, Aside
from retrain_trigger.counts.windows import Cells, WindowCounts
from retrain_trigger.judge import clock, memory, policy
from retrain_trigger.judge.checks import drift, estimate, evidence, feedback
from retrain_trigger.judge.checks.detector import AnyDetector
from retrain_trigger.judge.checks.lateness import AT_ONCE, Delay
from retrain_trigger.judge.checks.windows import Known, measured
from retrain_trigger.judge.gates.deciding import Breach
from retrain_trigger.judge.memory import Memory
from retrain_trigger.judge.metrics import METRICS
from retrain_trigger.judge.policy import Action, Decision
from retrain_trigger.pipeline import detection, drifting, pause, threshold, usable
from retrain_trigger.pipeline.sliced import sliced

BASELINE_ROWS = 1000
"""Predictions and scores are measured from the champion's first windows, so many rows: no training data has them."""

STANDING = 1000
"""How far back is looked for the beginning of a breach, in measurements."""


@dataclass(frozen=True, slots=True)
class Memo:
    """What a replay need not compute again: the evidence of windows already folded, how far each has moved, what it measures.

    `fresh` is the evidence of those that no attempt has used up.
    """

    folds: evidence.Memo = field(default_factory=dict)
    fresh: evidence.Memo = field(default_factory=dict)
    moves: dict[datetime, tuple[Reference, Mapping[str, Histogram], Finding]] = field(default_factory=dict)
    measured: Known = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is known at some moment, oldest first: lines of the metrics log, and windows of the prediction log.

    `windows` is None if there is no prediction log. `newest` and `newest_label` are the times of the newest record
    and of the newest label, None in a replay, where each moment is judged at its own time. `latest` is the time of the
    newest record that is there, also one later than that moment. `reference` is what drift is measured from, `aside`
    what of the prediction log is in none of the windows. `labelled` says whether that log has a column for labels, be
    they there yet or not, `classes` are those that the champion knows. `delay` is how long labels take, None if that is not known.
    """

    measurements: Sequence[Measurement] = ()
    windows: Sequence[WindowCounts] | None = None
    reference: Reference = field(default_factory=dict)
    labelled: bool = False
    positive: str = "1"
    classes: Sequence[str] = ()
    newest: datetime | None = None
    newest_label: datetime | None = None
    aside: Aside = NOTHING_ASIDE
    latest: datetime | None = None
    delay: Delay | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What is judged: measurements and windows that the champion answers for, or those that no attempt has used up.

    `baseline` are all windows that it answers for, and `logged` the names of what they count. `spoilt` says why the newest window cannot be judged: too many of
    its rows cannot be used. It is empty if it can be; windows of which that is true are in neither of the two.
    """

    config: Config
    past: Memory
    observed: Observed
    measurements: Sequence[Measurement]
    windows: Sequence[WindowCounts]
    baseline: Sequence[WindowCounts]
    logged: frozenset[str]
    memo: Memo
    now: datetime
    spoilt: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The findings on what the champion answers for, and what they lead to.

    `breach()` tells the windows that a challenger must do better in. It looks far back, so only who is about to train asks.
    """

    findings: tuple[Finding, ...]
    decision: Decision
    breach: Callable[[], Breach] = Breach


def judged(config: Config, observed: Observed, past: Memory, *, now: datetime, memo: Memo | None = None) -> Judgement:
    """Judge what was observed up to `now`.

    `memo` keeps the evidence of windows already seen: a replay that hands over the same one costs what is new.
    """
    memo = memo or Memo()
    windows = memory.answered_for(observed.windows or (), past)
    measurements = champion_measurements(config, observed, past, memo)
    if not measurements and not windows and past.champion is not None:
        return _nothing_measured(config, observed.aside, past.champion, now)
    stale = _stale(config, observed.newest, now)
    if stale is not None:
        return Judgement((stale,), Decision(Action.UNKNOWN, stale.because))
    config = threshold.resolved(config, past, measurements)
    judgeable = usable.usable(config, windows)
    case = _Case(
        config=config,
        past=past,
        observed=observed,
        measurements=measurements,
        windows=judgeable,
        baseline=judgeable,
        logged=frozenset(name for window in judgeable for name in window.histograms or {}),
        memo=memo,
        now=now,
        spoilt=usable.newest_spoilt(config, windows),
    )
    findings = (*_checked(case), *_warned(case))
    decision = _decided(case, findings)

    def breach() -> Breach:
        spare = _spare(case)
        proved = [each for each in findings if each.acts and each.evidence.get("rule") == "sequential"]
        acting_still = [each for each in _checked(spare) if each.acts]
        return Breach(_breached(spare, acting_still), min(_begun(case, proved), default=None))

    return Judgement(findings, decision, breach)


def _decided(case: _Case, findings: Sequence[Finding]) -> Decision:
    """Decide; a metric that got still worse has no cooldown to wait for."""
    config, past, schedule = case.config, case.past, case.config.trigger.schedule
    performs = any(finding.acts and finding.name == config.metric for finding in findings)
    fallen = pause.fallen(config, past, case.measurements, now=case.now) if performs else None
    decision = policy.decide(
        findings,
        _fresh(case),
        past,
        now=case.now,
        schedule=replace(schedule, cooldown=timedelta(0)) if fallen else schedule,
        quiet=len(memory.unspent(case.measurements, past)) if config.trigger.probe else 0,
    )
    tells = fallen and decision.action is Action.RETRAIN
    return replace(decision, because=f"{decision.because}; {fallen}") if tells else decision


def _fresh(case: _Case) -> Iterator[Finding]:
    """Judge what no attempt has used up, if anybody asks."""
    yield from _checked(_spare(case))


def _spare(case: _Case) -> _Case:
    """Return the case of what no attempt has used up."""
    return replace(
        case,
        measurements=memory.unspent(case.measurements, case.past),
        windows=memory.unspent(case.windows, case.past),
        memo=replace(case.memo, folds=case.memo.fresh),
    )


def counts_judge(config: Config) -> bool:
    """Say whether the counts of a prediction log can give the metric: then they judge it, not the metrics log."""
    return config.logs.predictions is not None and config.metric in METRICS


def unused(config: Config, observed: Observed, past: Memory) -> tuple[str, ...]:
    """Say what of the prediction log is not used, and why."""
    windows = observed.windows or ()
    return usable.notes(config, observed.aside, windows, memory.answered_for(windows, past), past.champion)


def champion_measurements(
    config: Config, observed: Observed, past: Memory, memo: Memo | None = None
) -> Sequence[Measurement]:
    """Return the measurements that the champion answers for."""
    return memory.answered_for(_measurements(config, observed, memo or Memo()), past)


def _measurements(config: Config, observed: Observed, memo: Memo) -> Sequence[Measurement]:
    """Return what judges performance: the counts of the prediction log where it has labels, else the metrics log."""
    if not _counted(config, observed):
        return observed.measurements
    return measured(
        usable.usable(config, observed.windows or ()),
        config.measure(observed.positive),
        coverage=config.trigger.label_coverage,
        classes=observed.classes,
        known=memo.measured,
    )


def _counted(config: Config, observed: Observed) -> bool:
    """Say whether the metric is judged by the counts of the prediction log: it has labels, or will."""
    has_labels = any(window.labelled or "label" in window.unusable.by_reason for window in observed.windows or ())
    return counts_judge(config) and (config.logs.labels is not None or has_labels)


def _checked(case: _Case) -> tuple[Finding, ...]:
    logged = detection.drift_log(case.config, case.measurements, case.config.trigger.patience)
    logged = logged and drifting.explained_log(case.config, logged, case.measurements)
    moved = _moved(case) or logged
    moved = moved and drifting.weighed(case.config, moved, case.past, labelled=case.observed.labelled)
    found = (_performed(case), moved)
    return tuple(finding for finding in found if finding is not None)


def served(observed: Observed, past: Memory) -> Said | None:
    """Count what the champion has said so far; None if there is no prediction log, or it has said nothing."""
    windows = memory.answered_for(observed.windows or (), past)
    histograms = [window.histograms or {} for window in windows]
    said = [counted["prediction"] for counted in histograms if "prediction" in counted]
    bins = observed.reference["prediction"].bins if "prediction" in observed.reference else None
    if past.champion is None or not said or bins is None:
        return None
    place = bins.index(observed.positive)
    return Said(
        version=past.champion.version,
        rows=sum(counts.rows for counts in said),
        positives=sum(counts.counts[place] for counts in said),
    )


def _warned(case: _Case) -> tuple[Finding, ...]:
    """Look for what may only warn: an alert, signs of a feedback loop, an estimate of labels still to come, slices."""
    config, observed = case.config, case.observed
    known = config.performance_threshold is not None
    sequential = bool(case.measurements) and known and detection.is_sequential(config, case.measurements[-1])
    alert = detection.alert(config, case.measurements, case.past, case.memo.folds) if sequential else None
    if observed.windows is None:
        return () if alert is None else (alert,)
    exposed = ExposureCounts(_added(window.exposed for window in case.windows))
    loops = feedback.check(
        exposed, _champions(observed, case.past), positive=observed.positive, min_rows=config.trigger.min_rows
    )
    if not known:
        return tuple(loops)
    judges = counts_judge(config)
    slices = sliced(config, case.windows, positive=observed.positive, memo=case.memo.folds) if judges else None
    return tuple(finding for finding in (alert, *loops, _estimated(case), slices) if finding is not None)


def _estimated(case: _Case) -> Finding | None:
    """Estimate the metric of the latest window without its labels; None if there is none, or nothing to estimate from."""
    config, windows, positive = case.config, case.windows, case.observed.positive
    unlabelled = [window for window in windows if window.coverage < config.trigger.label_coverage and window.scores]
    if not unlabelled or config.metric not in METRICS:
        return None
    latest = unlabelled[-1]
    learned = ScoreCounts(
        _added(window.scores for window in windows if window.coverage >= config.trigger.label_coverage)
    )
    return estimate.check(
        ScoreCounts(latest.scores or {}),
        estimate.calibration(learned, positive),
        config.measure(positive),
        threshold=config.threshold,
        min_rows=config.trigger.min_rows,
        note=f"window {policy.stamp(latest.start)}",
    )


def _champions(observed: Observed, past: Memory) -> list[Said]:
    """Return what each champion said in its time, the present one last."""
    present = served(observed, past)
    if present is None:
        return []
    earlier = [told for version, told in past.served.items() if version != present.version]
    return [*earlier, present]


def _added(parts: Iterable[Cells | None]) -> Cells:
    return summed(cell for part in parts for cell in (part or {}).items())


def _performed(case: _Case) -> Finding:
    config, measurements = case.config, case.measurements
    if case.spoilt and (_counted(config, case.observed) or not measurements):
        return unknown(config.metric, case.spoilt)
    waiting = [window for window in case.windows if window.coverage < config.trigger.label_coverage]
    newest = case.observed.newest_label
    late = case.observed.delay or AT_ONCE
    if waiting and newest is not None and case.now - newest > config.trigger.max_age + late.pause:
        return unknown(config.metric, f"no label has come since {policy.stamp(newest)}; {_waiting(config, waiting)}")
    if not measurements:
        return _unlabelled(case, waiting) if waiting else unknown(config.metric, f"no {config.metric} was measured")
    if config.performance_threshold is None:
        return threshold.awaited(config, case.past, measurements, now=case.now)
    if detection.is_sequential(config, measurements[-1]):
        finding = _evidence(config, measurements, case.memo.folds)
    else:
        finding = detection.by_point(config, measurements, config.trigger.patience)
    return replace(finding, because=f"{finding.because}; {_waiting(config, waiting)}") if waiting else finding


def _unlabelled(case: _Case, waiting: Sequence[WindowCounts]) -> Finding:
    """Return the finding where no window has its labels yet: a wait, as long as they may still be under way."""
    config, delay = case.config, case.observed.delay
    until = waiting[0].start + config.trigger.window + (delay or AT_ONCE).most + config.trigger.max_age
    because = _waiting(config, waiting) + (f"; {delay}" if delay else "")
    if case.now > until:
        return unknown(config.metric, f"{because}; none was judged by {policy.stamp(until)}: do labels still come?")
    because += f"; the first of them are waited for until {policy.stamp(until)}"
    return unknown(config.metric, because, evidence={"until": until.isoformat()})


def _waiting(config: Config, waiting: Sequence[WindowCounts]) -> str:
    last = waiting[-1]
    count = "a window waits" if len(waiting) == 1 else f"{len(waiting)} windows wait"
    return (
        f"{count} for labels: {last.coverage:.0%} of {last.rows:,} rows of {policy.stamp(last.start)} have theirs, "
        f"trigger.label_coverage is {config.trigger.label_coverage:.0%}"
    )


def _evidence(config: Config, measurements: Sequence[Measurement], memo: evidence.Memo) -> Finding:
    """Fold the windows with counts into sequential evidence, going on from where the memo left them."""
    newest, detector = measurements[-1], evidence.folded(detection.begin(config), measurements, memo)
    looked_at, waiting = detection.looked_at(config, measurements), _unjudged(detector)
    latest = looked_at[-1 - waiting] if len(looked_at) > waiting else newest
    at = latest.at.isoformat() if latest.at else None
    rows = detector.game.rows(detector.latest if detector.latest_windows else detector.pool)
    note = f"{rows:,} labelled rows, {latest.where}"
    if latest is not newest and not detector.pooled:
        note += f"; {newest.where} has no {config.metric}: {METRICS[config.metric].undefined}"
    return evidence.check(detector, note=note, more={"where": latest.where, "at": at, "windows": [at or latest.where]})


def _unjudged(detector: AnyDetector) -> int:
    """Return how many of the latest windows wait in a pool, after some that were judged."""
    return detector.pooled if detector.latest_windows else 0


def _moved(case: _Case) -> Finding | None:
    """Judge how far the latest window has moved; None if there is nothing to measure it from."""
    if case.spoilt and case.observed.reference:
        return unknown(DRIFT, case.spoilt)
    if not case.windows or not case.observed.reference:
        return None
    finding = _moved_in(case, case.windows[-1])
    if finding is None or finding.verdict is not Verdict.BREACH:
        return finding
    month = (_moved_in(case, window) for window in drifting.month(case.config, case.baseline))
    return drifting.explained(finding, case.observed.reference, month)


def _moved_in(case: _Case, latest: WindowCounts) -> Finding | None:
    """Judge how far a window has moved; None if there is nothing to measure it from."""
    config, observed, baseline = case.config, case.observed, case.baseline
    counts = dict(latest.histograms or {})
    for name in case.logged & observed.reference.keys():
        bins = observed.reference[name].bins  # a column that was logged and is no more has only missing values
        counts.setdefault(name, Histogram((*[0] * (bins.size - 1), latest.rows)))
    if latest.coverage < config.trigger.label_coverage:
        counts.pop("label", None)
    elif "label" in counts:
        counts["label"] = Histogram((*counts["label"].counts[:-1], 0))  # a label still on its way is not missing
    reference = {**observed.reference, **dict(_early(observed.reference, baseline, latest))}
    watched = drifting.watched(config, reference)
    reference = {name: cut for name, cut in watched.items() if name in counts and cut.counts.rows}
    if not reference:
        return None
    *seen, finding = case.memo.moves.get(latest.start, (None, None, None))
    if finding is None or seen != [reference, counts]:
        finding = drift.check(
            reference,
            counts,
            threshold=config.drift_threshold,
            false_alarm_every=config.trigger.false_alarm_every,
            min_rows=config.trigger.min_rows,
        )
        case.memo.moves[latest.start] = (reference, counts, finding)
    at = latest.start.isoformat()
    because = f"{finding.because} (window {policy.stamp(latest.start)}, {latest.rows:,} rows)"
    return replace(finding, because=because, evidence={**finding.evidence, "at": at, "windows": [at]})


def _early(
    reference: Reference, windows: Sequence[WindowCounts], latest: WindowCounts
) -> Iterator[tuple[str, Watched]]:
    """Yield what predictions and scores are measured from: the first BASELINE_ROWS that the champion answers for."""
    for name in ("prediction", "score"):
        if name not in reference or reference[name].counts.rows:
            continue
        total = None
        for window in windows:
            if window.start >= latest.start:
                break
            counts = (window.histograms or {}).get(name)
            total = counts if total is None else total + counts if counts else total
            if total is not None and total.rows >= BASELINE_ROWS:
                yield name, Watched(reference[name].bins, total)
                break


def _breached(case: _Case, acting: Sequence[Finding]) -> tuple[datetime, ...]:
    """Return the starts of the windows that breached, and of that in which each breach began."""
    named = {at for finding in acting for at in _times(finding.evidence.get("windows", ()))}
    return tuple(sorted(named | _begun(case, acting)))


def _begun(case: _Case, acting: Sequence[Finding]) -> set[datetime]:
    """Return the starts of the windows in which breaches began."""
    return {at for finding in acting if (at := _began(case, finding)) is not None}


def _began(case: _Case, finding: Finding) -> datetime | None:
    """Return the start of the first window of a breach; None if it has no time."""
    config = case.config
    if finding.evidence.get("rule") == "sequential":
        detector = evidence.folded(detection.begin(config), case.measurements, case.memo.folds)
        first = detector.pooled + detector.stretch_windows
        return detection.looked_at(config, case.measurements)[-first].at
    if finding.evidence.get("rule") == "point":
        carrying = [each for each in case.measurements if each.drift or finding.name != DRIFT]
        breaches = detection.drifts if finding.name == DRIFT else detection.misses
        return _first_of_run(carrying[-STANDING:], partial(breaches, config), config.trigger.patience).at
    return _moved_since(case)


def _first_of_run(
    measurements: Sequence[Measurement], breaches: Callable[[Measurement], bool], patience: policy.Patience
) -> Measurement:
    """Return the oldest measurement of those that breached without a break, up to the oldest hit of the point rule."""
    before = len(measurements) - min(patience.of, len(measurements))
    oldest = next(place for place in range(before, len(measurements)) if breaches(measurements[place]))
    return list(takewhile(breaches, reversed(measurements[: oldest + 1])))[-1]


def _moved_since(case: _Case) -> datetime:
    """Return the start of the first window that has moved, from the newest that has labels on.

    That one shows the change to a challenger as well as any before it, and later ones cannot yet.
    """
    labelled = [place for place, window in enumerate(case.windows) if window.labelled]
    judged = ((window, _moved_in(case, window)) for window in case.windows[labelled[-1] if labelled else 0 :])
    return next(window.start for window, finding in judged if finding and finding.verdict is Verdict.BREACH)


def _nothing_measured(config: Config, aside: Aside, champion: memory.Champion, now: datetime) -> Judgement:
    if because := usable.nothing_usable(config, aside):
        return Judgement((unknown(config.metric, because),), Decision(Action.UNKNOWN, because))
    if (told := clock.ahead(now, champion.since)) is not None:
        because = f"{champion.version} was promoted in the future, so nothing can be measured of it yet: {told}"
        return Judgement((unknown(config.metric, because),), Decision(Action.UNKNOWN, because))
    since = f"nothing was measured since {champion.version} went live at {policy.stamp(champion.since)}"
    until = champion.since + config.trigger.max_age
    if now <= until:
        because = f"{since}; waiting for the first measurement until {policy.stamp(until)}"
        return Judgement((), Decision(Action.WAIT, because, until))
    because = f"{since}, longer ago than trigger.max_age {policy.length(config.trigger.max_age)}; is it still logged?"
    return Judgement((unknown(config.metric, because),), Decision(Action.UNKNOWN, because))


def _stale(config: Config, newest: datetime | None, now: datetime) -> Finding | None:
    if newest is None or now - newest <= config.trigger.max_age:
        return None
    age = now - newest
    old = (
        f"{age.days:,} days" if age >= timedelta(days=10) else policy.length(timedelta(hours=age // timedelta(hours=1)))
    )
    because = (
        f"the newest record is of {policy.stamp(newest)}, {old} old; trigger.max_age is "
        f"{policy.length(config.trigger.max_age)}: is monitoring still running?"
    )
    return unknown(config.metric, because)


def _times(windows: Sequence[str]) -> Iterator[datetime]:
    for window in windows:
        try:
            yield datetime.fromisoformat(window)
        except ValueError:  # a line without a time is named by its place
            continue
