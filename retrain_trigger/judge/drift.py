"""Drift that monitoring has measured itself and logged beside the metric."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice

from retrain_trigger.findings import Finding, at_most, figures, unknown
from retrain_trigger.judge.performance import point_rule, stated_rows, too_few_rows
from retrain_trigger.judge.policy import Patience
from retrain_trigger.measurements import Measurement

NAMED_FEATURES = 5
"""A sentence names at most so many features; the evidence names all that breach."""


def check_logged(
    measurements: Sequence[Measurement], *, threshold: float, patience: Patience, min_rows: int = 0
) -> Finding | None:
    """Judge logged drift by the point rule and the feature that moved furthest; None where no line carries drift.

    Reaching the threshold breaches. Unknown where the latest line that carries drift states fewer than `min_rows`
    labelled rows, or where a feature's drift is no finite number and no other feature breaches.
    """

    def judge(measurement: Measurement, note: str) -> Finding:
        rows = stated_rows(measurement)
        if rows is not None and rows < min_rows:
            return too_few_rows("drift", rows, min_rows, limit=threshold, note=note)
        return _furthest(measurement.drift, threshold, note)

    # From the end, and no more than needed: a replay asks at every line of a long log.
    carrying = list(islice((each for each in reversed(measurements) if each.drift), patience.of))[::-1]
    return point_rule("drift", carrying, judge, patience=patience) if carrying else None


def _furthest(drift: Mapping[str, float | None], threshold: float, note: str) -> Finding:
    known = {feature: value for feature, value in drift.items() if value is not None and math.isfinite(value)}
    moved = sorted(((-value, feature) for feature, value in known.items() if value >= threshold))
    lost = sorted(drift.keys() - known.keys())
    if lost and not moved:
        noted = f" ({note})" if note else ""
        return unknown("drift", f"drift{_of(lost)} is not a number{noted}", limit=threshold)
    named = _named([(feature, -value) for value, feature in moved if feature], threshold)
    return at_most(
        "drift",
        max(known.values()),
        threshold,
        limit_name="drift_threshold",
        note="; ".join(part for part in (named, note) if part),
        inclusive=False,
        evidence={"features": [feature for _, feature in moved if feature]},
    )


def _of(features: Sequence[str]) -> str:
    return "".join(f" of {feature!r}" for feature in features[:1] if feature)


def _named(moved: Sequence[tuple[str, float]], threshold: float) -> str:
    texts = [f"{feature} {figures(value, threshold)[0]}" for feature, value in moved[:NAMED_FEATURES]]
    more = len(moved) - len(texts)
    return ", ".join([*texts, f"{more} more"] if more else texts)
