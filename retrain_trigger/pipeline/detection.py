"""How decay is detected under the settings: the detector to begin with, the alert, and the point rule."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from retrain_trigger.config.load import Config
from retrain_trigger.config.sections import Evidence
from retrain_trigger.core.findings import ALERT, Finding, Verdict
from retrain_trigger.core.lines import only
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.judge.checks import drift, evidence, point
from retrain_trigger.judge.checks.detector import AnyDetector
from retrain_trigger.judge.checks.evidence import Memo
from retrain_trigger.judge.memory import Memory
from retrain_trigger.judge.metrics import METRICS
from retrain_trigger.judge.policy import Patience


def is_sequential(config: Config, latest: Measurement) -> bool:
    """Say whether evidence adds up over windows: the settings allow it, and the latest has the counts for it."""
    counted = config.metric in METRICS and evidence.counts_of(config.metric, latest) is not None
    return counted and config.trigger.evidence is not Evidence.POINT


def begin(config: Config, *, among: int = 1) -> AnyDetector:
    """Return the sequential detector before any window; `among` so many that share the rate of false alarms."""
    return evidence.begin(
        config.metric,
        threshold=config.performance_threshold,
        false_alarm_every=config.trigger.false_alarm_every * among,
        cost=config.weights,
    )


def alert(config: Config, measurements: Sequence[Measurement], past: Memory, memo: Memo) -> Finding | None:
    """Return the alert of the latest window, or of one that was not judged yet when a run last decided.

    Its evidence says whether an earlier run has `told` of it: it is told once, however often cron runs on that day.
    """
    detector = evidence.folded(begin(config), measurements, memo)
    before = past.last_decision.findings if past.last_decision else ()
    if detector.last_alert is None or not (detector.alerts or before):
        return None
    window = looked_at(config, measurements)[detector.last_alert.window - 1]
    told = any(each.name == ALERT and each.evidence.get("where") == window.where for each in before)
    if not detector.alerts and (told or not any(_is_older(each, window) for each in before)):
        return None
    at = window.at.isoformat() if window.at else None
    finding = evidence.alert(detector, note=f"{detector.last_alert.rows:,} labelled rows, {window.where}")
    more = {"where": window.where, "at": at, "told": told}
    return finding and replace(finding, evidence={**finding.evidence, **more})


def looked_at(config: Config, measurements: Sequence[Measurement]) -> Sequence[Measurement]:
    """Return the measurements in which the metric has a value."""
    return only(measurements, evidence.looking(config.metric))


def _is_older(finding: Finding, window: Measurement) -> bool:
    """Say whether a finding of evidence was made before this window could be judged."""
    evidence = finding.evidence
    return (
        window.at is not None
        and evidence.get("rule") == "sequential"
        and bool(evidence.get("at"))
        and datetime.fromisoformat(evidence["at"]) < window.at
    )


def by_point(config: Config, measurements: Sequence[Measurement], patience: Patience) -> Finding:
    """Judge the latest measurements one by one."""
    return point.check(
        measurements,
        config.measure(),
        threshold=config.performance_threshold,
        min_rows=config.trigger.min_rows,
        patience=patience,
    )


def drift_log(config: Config, measurements: Sequence[Measurement], patience: Patience) -> Finding | None:
    """Judge the drift that the metrics log states; None if no line states any."""
    return drift.check_logged(
        measurements,
        threshold=config.drift_threshold,
        patience=patience,
        min_rows=config.trigger.min_rows,
    )


def misses(config: Config, measurement: Measurement) -> bool:
    """Say whether a measurement by itself is on the wrong side of `performance_threshold`."""
    return by_point(config, [measurement], ONCE).verdict is Verdict.BREACH


def drifts(config: Config, measurement: Measurement) -> bool:
    """Say whether the drift of a measurement by itself reaches `drift_threshold`."""
    found = drift_log(config, [measurement], ONCE)
    return found is not None and found.verdict is Verdict.BREACH


ONCE = Patience(1, 1)
