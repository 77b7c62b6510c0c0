"""What the windows of a prediction log measure: one value of the metric for each whose labels have come."""

from collections.abc import Sequence

from retrain_trigger.core.measurements import PREDICTIONS, Measurement
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.metrics import METRICS, Measure


def measured(
    windows: Sequence[WindowCounts], measure: Measure, *, coverage: float, classes: Sequence[str] = ()
) -> list[Measurement]:
    """Return one measurement for each window whose labels have come: at least the share `coverage` of its rows.

    `classes` are those that the champion knows, whether they occur or not.
    """
    judged = (window for window in windows if window.labelled and window.coverage >= coverage)
    return [_measurement(window, measure, classes) for window in judged]


def _measurement(window: WindowCounts, measure: Measure, classes: Sequence[str]) -> Measurement:
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
        confusion=None if METRICS[measure.metric].ratio else Confusion.naming(window.confusion.cells, classes),
        model=window.model,
    )
