"""How decay is detected under the settings: the detector to begin with, and the point rule."""

from collections.abc import Sequence

from retrain_trigger.config import Config
from retrain_trigger.findings import Finding
from retrain_trigger.judge import performance
from retrain_trigger.judge.evidence import Detector
from retrain_trigger.measurements import Measurement


def begin(config: Config, *, among: int = 1) -> Detector:
    """Return the sequential detector before any window; `among` so many that share the rate of false alarms."""
    return Detector.begin(
        config.metric,
        threshold=config.performance_threshold,
        false_alarm_every=config.trigger.false_alarm_every * among,
        cost=config.weights,
    )


def point(config: Config, measurements: Sequence[Measurement]) -> Finding:
    """Judge the latest measurements one by one."""
    return performance.check(
        measurements,
        metric=config.metric,
        threshold=config.performance_threshold,
        direction="lower_is_better" if config.lower_is_better else "higher_is_better",
        min_rows=config.trigger.min_rows,
        patience=config.trigger.patience,
        cost=config.weights,
    )
