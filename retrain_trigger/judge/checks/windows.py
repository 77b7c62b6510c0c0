"""What the windows of a prediction log measure: one value of the metric for each whose labels have come."""

from collections.abc import Sequence

from retrain_trigger.core.measurements import PREDICTIONS, Measurement
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.metrics import score


def measured(
    windows: Sequence[WindowCounts], *, metric: str, positive: str, coverage: float, cost: tuple[float, float]
) -> list[Measurement]:
    """Return one measurement for each window whose labels have come: at least the share `coverage` of its rows."""
    return [
        _measurement(window, metric, positive, cost)
        for window in windows
        if window.labelled and window.coverage >= coverage
    ]


def _measurement(window: WindowCounts, metric: str, positive: str, cost: tuple[float, float]) -> Measurement:
    counts: tuple[int, int, int, int] = tuple(window.confusion.one_vs_rest(positive))
    if metric == "accuracy":
        right = sum(count for (label, said), count in window.confusion.cells.items() if label == said)
        counts = (right, window.labelled - right, 0, 0)
    return Measurement(
        value=score(window.confusion, metric, positive, cost=cost),
        where=f"window {window.start:%Y-%m-%d %H:%M}Z",
        file=PREDICTIONS,
        end=0,
        at=window.start,
        rows=window.labelled,
        counts=counts,
        model=window.model,
    )
