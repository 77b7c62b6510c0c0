"""Metrics as functions of counts, and the point rule that compares them with a threshold."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from retrain_trigger.findings import Finding, Verdict, at_least, at_most, unknown
from retrain_trigger.judge.counts import Confusion, OneVsRest
from retrain_trigger.judge.policy import Patience
from retrain_trigger.measurements import Measurement


def score(confusion: Confusion, metric: str, positive: str, *, cost: tuple[float, float] = (1.0, 1.0)) -> float:
    """Return a metric of METRICS; NaN where its denominator is 0.

    `f1`, `precision`, `recall` and `cost` are those of the class `positive`; the others look at all classes. All but
    `cost` are from 0 to 1; `cost` weighs a false positive and a false negative.

    >>> confusion = Confusion({("1", "1"): 8, ("0", "1"): 2, ("1", "0"): 1, ("0", "0"): 9})
    >>> {metric: round(score(confusion, metric, "1"), 3) for metric in ("f1", "precision", "recall", "accuracy")}
    {'f1': 0.842, 'precision': 0.8, 'recall': 0.889, 'accuracy': 0.85}
    >>> score(Confusion({("0", "0"): 20}), "f1", "1")
    nan
    """
    by_class = {name: confusion.one_vs_rest(name) for name in sorted({*confusion.labels, positive})}
    return float(of_classes(metric, cost=cost)(by_class, positive))


def of_classes(metric: str, *, cost: tuple[float, float] = (1.0, 1.0)) -> Callable[[Mapping[str, OneVsRest], str], Any]:
    """Return a metric as a function of the counts of each class against the rest, plain numbers or arrays."""
    return partial(mean_cost, weights=cost) if metric == "cost" else METRICS[metric]


def positive_label(labels: Mapping[str, int], configured: str | None) -> str:
    """Choose the positive label: the configured one, else 1, else true, else the rarer (the larger text on a tie).

    `labels` has the rows of each label. Raises ValueError where nothing is configured and there is no label.

    >>> positive_label({"0": 5, "1": 900}, None), positive_label({"stay": 900, "churn": 5}, None)
    ('1', 'churn')
    """
    if configured is not None:
        return configured
    if not labels:
        raise ValueError("no label to choose the positive one from")
    for wanted in ("1", "true"):
        found = [label for label in sorted(labels) if label.lower() == wanted]
        if found:
            return found[0]
    rarest = min(labels.values())
    return max(label for label, rows in labels.items() if rows == rarest)


def check(
    measurements: Sequence[Measurement],
    *,
    metric: str,
    threshold: float,
    direction: str,
    min_rows: int,
    patience: Patience,
    cost: tuple[float, float] = (1.0, 1.0),
) -> Finding:
    """Judge the metric by the point rule; `measurements` are those the champion answers for, oldest first.

    `direction` is a key of DIRECTIONS. Unknown where there is no measurement, or the latest is no finite number or
    states fewer than `min_rows` labelled rows.
    """

    def judge(measurement: Measurement, note: str) -> Finding:
        rows = stated_rows(measurement)
        if rows is not None and rows < min_rows:
            return too_few_rows(metric, rows, min_rows, limit=threshold, note=note)
        seen = note if rows is None else f"{rows:,} labelled rows, {note}"
        value = value_of(measurement, metric, cost)
        if value is None and measurement.counts is not None and metric in UNDEFINED:
            return unknown(metric, f"{metric} is not defined: {UNDEFINED[metric]} ({seen})", limit=threshold)
        return DIRECTIONS[direction](metric, value, threshold, limit_name="performance_threshold", note=seen)

    return point_rule(metric, measurements, judge, patience=patience)


def point_rule(
    name: str,
    measurements: Sequence[Measurement],
    judge: Callable[[Measurement, str], Finding],
    *,
    patience: Patience,
) -> Finding:
    """Judge the latest measurement; it breaches when it and enough of those before it do.

    `judge(measurement, note)` is the finding of one measurement, with a note for its sentence. An UNKNOWN before the
    latest does not count as a hit. A latest one that would breach, were there more like it, is a PASS with
    `evidence["watching"]`; `evidence["needs"]` says how many more like it would breach. Each window is compared on its own: a noisy metric makes false alarms.
    """
    if not measurements:
        return unknown(name, f"no {name} was measured", evidence={"rule": "point"})
    recent = measurements[-patience.of :]
    latest = recent[-1]
    hits = [measurement for measurement in recent if judge(measurement, "").verdict is Verdict.BREACH]
    waiting = bool(hits) and hits[-1] is latest and len(hits) < patience.hits
    finding = judge(latest, f"{latest.where}; {_rule_in_words(len(hits), len(recent), patience, waiting=waiting)}")
    evidence = {
        **finding.evidence,
        "rule": "point",
        "watching": waiting,
        "needs": max(patience.hits - len(hits), 0),
        "where": latest.where,
        "at": _iso(latest),
        "windows": [_iso(hit) or hit.where for hit in hits],
    }
    return replace(finding, verdict=Verdict.PASS if waiting else finding.verdict, evidence=evidence)


def stated_rows(measurement: Measurement) -> int | None:
    """Return the number of labelled rows that a measurement states, None where it states none."""
    if measurement.rows is None and measurement.counts is not None:
        return sum(measurement.counts)
    return measurement.rows


def too_few_rows(name: str, rows: int, min_rows: int, *, limit: float, note: str) -> Finding:
    """Return the finding of a window with too few labelled rows to say anything."""
    noted = f" ({note})" if note else ""
    return unknown(name, f"{rows:,} labelled rows are fewer than trigger.min_rows {min_rows:,}{noted}", limit=limit)


def f1(by_class: Mapping[str, OneVsRest], positive: str) -> Any:
    """Return F1 = 2 TP / (2 TP + FP + FN) of the positive class (van Rijsbergen, Information Retrieval, 1979).

    >>> round(f1({"1": OneVsRest(tp=8, fp=2, fn=1, tn=9)}, "1"), 3)
    0.842
    """
    cells = by_class[positive]
    return _ratio(2 * cells.tp, 2 * cells.tp + cells.fp + cells.fn)


def f1_macro(by_class: Mapping[str, OneVsRest], positive: str) -> Any:  # noqa: ARG001  (one signature for all)
    """Return the plain mean of F1 over the classes that occur, as label or as prediction.

    >>> round(f1_macro({"1": OneVsRest(8, 2, 1, 9), "0": OneVsRest(9, 1, 2, 8), "2": OneVsRest(0, 0, 0, 20)}, "1"), 3)
    0.85
    """
    return _mean_ratio([(2 * cells.tp, 2 * cells.tp + cells.fp + cells.fn) for cells in by_class.values()])


def accuracy(by_class: Mapping[str, OneVsRest], positive: str) -> Any:
    """Return the share of right predictions: the sum of TP over the classes / rows.

    >>> accuracy({"1": OneVsRest(8, 2, 1, 9), "0": OneVsRest(9, 1, 2, 8)}, "1")
    0.85
    """
    return _ratio(sum(cells.tp for cells in by_class.values()), sum(by_class[positive]))


def balanced_accuracy(by_class: Mapping[str, OneVsRest], positive: str) -> Any:  # noqa: ARG001  (as f1_macro)
    """Return the plain mean of recall over the classes that occur as label (Brodersen et al., 2010).

    >>> round(balanced_accuracy({"1": OneVsRest(8, 2, 1, 9), "0": OneVsRest(9, 1, 2, 8)}, "1"), 3)
    0.854
    """
    return _mean_ratio([(cells.tp, cells.tp + cells.fn) for cells in by_class.values()])


def precision(by_class: Mapping[str, OneVsRest], positive: str) -> Any:
    """Return TP / (TP + FP) of the positive class.

    >>> precision({"1": OneVsRest(tp=8, fp=2, fn=1, tn=9)}, "1")
    0.8
    """
    cells = by_class[positive]
    return _ratio(cells.tp, cells.tp + cells.fp)


def recall(by_class: Mapping[str, OneVsRest], positive: str) -> Any:
    """Return TP / (TP + FN) of the positive class.

    >>> recall({"1": OneVsRest(tp=8, fp=2, fn=2, tn=8)}, "1")
    0.8
    """
    cells = by_class[positive]
    return _ratio(cells.tp, cells.tp + cells.fn)


def mean_cost(by_class: Mapping[str, OneVsRest], positive: str, *, weights: tuple[float, float] = (1.0, 1.0)) -> Any:
    """Return the cost per row, (w FP + v FN) / rows, for the weights w and v of the positive class's mistakes.

    >>> mean_cost({"1": OneVsRest(tp=8, fp=2, fn=2, tn=8)}, "1", weights=(1, 5))
    0.6
    """
    cells = by_class[positive]
    return _ratio(weights[0] * cells.fp + weights[1] * cells.fn, sum(cells))


def value_of(measurement: Measurement, metric: str, cost: tuple[float, float]) -> float | None:
    """Return the logged value, else the one that follows from tp, fp, fn, tn as a table of two classes."""
    value = measurement.value
    if value is None and measurement.counts is not None and metric in METRICS:
        tp, fp, fn, tn = measurement.counts
        by_class = {"positive": OneVsRest(tp, fp, fn, tn), "rest": OneVsRest(tn, fn, fp, tp)}
        value = of_classes(metric, cost=cost)(by_class, "positive")
    return value if value is not None and math.isfinite(value) else None


def _rule_in_words(hits: int, recent: int, patience: Patience, *, waiting: bool) -> str:
    words = "point rule"
    if hits and patience.of > 1:
        words += f", {hits} of the last {recent}"
    if waiting:
        words += f", patience is {patience.hits} of {patience.of}"
    return words


def _iso(measurement: Measurement) -> str | None:
    return None if measurement.at is None else measurement.at.isoformat().replace("+00:00", "Z")


def _ratio(part: Any, whole: Any) -> Any:
    """Divide counts; 0/0 is NaN, as it is in arrays (whose caller silences NumPy's warning)."""
    if isinstance(whole, int) and whole == 0:
        return math.nan
    return part / whole


def _mean_ratio(pairs: Sequence[tuple[Any, Any]]) -> Any:
    """Average part / whole over the pairs whose whole is not 0."""
    # The added (whole == 0) makes 0/1 of 0/0, in whole numbers and in arrays alike: it then adds nothing to the sum.
    shares = sum(part / (whole + (whole == 0)) for part, whole in pairs)
    return _ratio(shares, sum(whole > 0 for _, whole in pairs))


METRICS: dict[str, Callable[[Mapping[str, OneVsRest], str], Any]] = {
    "f1": f1,
    "f1_macro": f1_macro,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "precision": precision,
    "recall": recall,
    "cost": mean_cost,
}

UNDEFINED = {
    "f1": "no row is positive by its label or by its prediction",
    "precision": "no row is positive by its prediction",
    "recall": "no row is positive by its label",
}
"""Why rows can have no value of a metric: its denominator is 0."""

LOWER_IS_BETTER = frozenset({"cost"})
"""The metrics of METRICS that get worse as they rise."""

DIRECTIONS: dict[str, Callable[..., Finding]] = {"higher_is_better": at_least, "lower_is_better": at_most}
