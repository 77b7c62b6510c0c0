"""The point rule, which compares a metric with its threshold window by window."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from retrain_trigger.core.findings import Finding, Verdict, at_least, at_most, noted, unknown
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.core.records import Document
from retrain_trigger.counts.confusion import OneVsRest
from retrain_trigger.judge.metrics import METRICS, Measure
from retrain_trigger.judge.policy import Patience


def check(
    measurements: Sequence[Measurement],
    measure: Measure,
    *,
    threshold: float,
    min_rows: int,
    patience: Patience,
) -> Finding:
    """Judge the metric by the point rule; `measurements` are those the champion answers for, oldest first.

    Unknown if there is no measurement, or the latest is no finite number or states fewer than `min_rows` labelled
    rows.
    """
    metric, direction = measure.metric, at_least if measure.sign > 0 else at_most

    def judge(measurement: Measurement, note: str, evidence: Document) -> Finding:
        rows = stated_rows(measurement)
        if rows is not None and rows < min_rows:
            return too_few_rows(metric, rows, min_rows, limit=threshold, note=note, evidence=evidence)
        seen = note if rows is None else f"{rows:,} labelled rows, {note}"
        value = value_of(measurement, measure)
        if value is None and measurement.counts is not None and metric in METRICS:
            because = f"{metric} is not defined: {METRICS[metric].undefined} ({seen})"
            return unknown(metric, because, limit=threshold, evidence=evidence)
        return direction(metric, value, threshold, limit_name="performance_threshold", note=seen, evidence=evidence)

    def breaches(measurement: Measurement) -> bool:
        rows, value = stated_rows(measurement), value_of(measurement, measure)
        if value is None or (rows is not None and rows < min_rows):
            return False
        return value < threshold if measure.sign > 0 else value > threshold

    return point_rule(metric, measurements, judge, breaches, patience=patience)


def point_rule(
    name: str,
    measurements: Sequence[Measurement],
    judge: Callable[[Measurement, str, Document], Finding],
    breaches: Callable[[Measurement], bool],
    *,
    patience: Patience,
) -> Finding:
    """Judge the latest measurement; it breaches when it and enough of those before it do.

    `judge` gives the finding of one measurement, with a note for its sentence and evidence of the rule; `breaches` says
    whether that is a BREACH, for those of which no sentence is asked. An UNKNOWN before the latest does not count as a hit. A latest one that would breach, were there more like it, is a PASS with
    `evidence["watching"]`; `evidence["needs"]` says how many more like it would breach. Each window is compared on its
    own: a noisy metric makes false alarms.
    """
    if not measurements:
        return unknown(name, f"no {name} was measured", evidence={"rule": "point"})
    recent = measurements[-patience.of :]
    latest = recent[-1]
    hits = [measurement for measurement in recent if breaches(measurement)]
    waiting = bool(hits) and hits[-1] is latest and len(hits) < patience.hits
    rule = _rule_in_words(len(hits), len(recent), patience, waiting=waiting)
    evidence = {
        "rule": "point",
        "watching": waiting,
        "needs": max(patience.hits - len(hits), 0),
        "where": latest.where,
        "at": _iso(latest),
        "windows": [_iso(hit) or hit.where for hit in hits],
    }
    finding = judge(latest, f"{latest.where}; {rule}", evidence)
    return replace(finding, verdict=Verdict.PASS) if waiting else finding


def stated_rows(measurement: Measurement) -> int | None:
    """Return the number of labelled rows that a measurement states, None if it states none."""
    if measurement.rows is None and measurement.counts is not None:
        return sum(measurement.counts)
    return measurement.rows


def too_few_rows(name: str, rows: int, min_rows: int, *, limit: float, note: str, evidence: Document) -> Finding:
    """Return the finding of a window with too few labelled rows to say anything."""
    because = noted(f"{rows:,} labelled rows are fewer than trigger.min_rows {min_rows:,}", note)
    return unknown(name, because, limit=limit, evidence=evidence)


def value_of(measurement: Measurement, measure: Measure) -> float | None:
    """Return the logged value, else that of the confusion table, else of tp, fp, fn, tn as a table of two classes."""
    value = measurement.value
    if value is None and measurement.confusion is not None:
        value = measure.score(measurement.confusion)
    if value is None and measurement.counts is not None and measure.metric in METRICS:
        tp, fp, fn, tn = measurement.counts
        by_class = {"positive": OneVsRest(tp, fp, fn, tn), "rest": OneVsRest(tn, fn, fp, tp)}
        value = measure.of_classes(by_class, "positive")
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
