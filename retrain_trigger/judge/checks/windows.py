"""What the windows of a prediction log measure: one value of the metric for each whose labels have come."""

from collections.abc import Sequence

from retrain_trigger.core.measurements import PREDICTIONS, Measurement
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.metrics import Measure


def measured(windows: Sequence[WindowCounts], measure: Measure, *, coverage: float) -> list[Measurement]:
    """Return one measurement for each window whose labels have come: at least the share `coverage` of its rows."""
    return [_measurement(window, measure) for window in windows if window.labelled and window.coverage >= coverage]


def _measurement(window: WindowCounts, measure: Measure) -> Measurement:
    counts: tuple[int, int, int, int] = tuple(window.confusion.one_vs_rest(measure.positive))
    if measure.metric == "accuracy":
        right = sum(count for (label, said), count in window.confusion.cells.items() if label == said)
        counts = (right, window.labelled - right, 0, 0)
    return Measurement(
        value=measure.score(window.confusion),
        where=f"window {window.start:%Y-%m-%d %H:%M}Z",
        file=PREDICTIONS,
        end=0,
        at=window.start,
        rows=window.labelled,
        counts=counts,
        model=window.model,
    )
