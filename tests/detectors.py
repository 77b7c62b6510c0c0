"""Detectors of ratios, and windows folded into them."""

from collections.abc import Iterable
from functools import reduce

from retrain_trigger.judge.checks.detector import Detector
from retrain_trigger.judge.checks.evidence import begin
from retrain_trigger.judge.checks.ratios import Counts


def begun(
    metric: str = "f1", threshold: float = 0.85, alarm: float = 1000, fp: float = 1, fn: float = 5
) -> Detector[Counts]:
    return begin(metric, threshold=threshold, false_alarm_every=alarm, cost=(fp, fn))


def after(detector: Detector[Counts], windows: Iterable[Counts]) -> Detector[Counts]:
    return reduce(Detector.after, windows, detector)
