"""What the windows of a prediction log measure: one value of the metric for each whose labels have come."""

from collections.abc import Sequence
from datetime import datetime

from retrain_trigger.core.measurements import PREDICTIONS, Measurement
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.metrics import METRICS, Measure

Known = dict[tuple[datetime, str | None], tuple[WindowCounts, Measurement]]
"""Windows that were measured already, all alike: a replay looks at all of them again after each."""


def measured(
    windows: Sequence[WindowCounts],
    measure: Measure,
    *,
    coverage: float,
    classes: Sequence[str] = (),
    known: Known | None = None,
) -> list[Measurement]:
    """Return one measurement for each window whose labels have come: at least the share `coverage` of its rows.

    `classes` are those that the champion knows, whether they occur or not. `known` are windows that were measured before.
    """
    known = {} if known is None else known
    found = []
    for window in windows:
        if not window.labelled or window.coverage < coverage:
            continue
        key = (window.start, window.model)
        seen, measurement = known.get(key) or (None, None)
        if measurement is None or (seen is not window and seen != window):
            measurement = _measurement(window, measure, classes)
            known[key] = window, measurement
        found.append(measurement)
    return found


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
