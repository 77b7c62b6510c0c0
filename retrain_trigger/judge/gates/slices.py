"""Slices of the hold-out: where a challenger that is better overall gets clearly worse."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from retrain_trigger.core.comparisons import TOLERANCE, Comparison
from retrain_trigger.core.findings import Finding, Verdict, unknown
from retrain_trigger.core.records import Json, encoded
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates.bootstrap import RESAMPLES, compare
from retrain_trigger.judge.metrics import METRICS, Measure

MAX_VALUES = 50
"""Values of a column that are slices, those with the most rows first: the more slices, the less is seen in each."""
MIN_ROWS = 200
"""Rows under which a slice says nothing."""
MIN_POSITIVES = 20
"""Rows of the positive label under which a slice says nothing about a metric of that label."""
CERTAINTY = 0.90
"""Two-sided: the upper end alone is a bound at 0.05, shared among the slices."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The joint counts of the rows whose `column` has one `value`, as text; None: the rows without a value."""

    column: str
    value: str | None
    joint: JointCounts

    @property
    def name(self) -> str:
        """Return how a person would call it."""
        return f"{self.column} {self.value!r}" if self.value is not None else f"{self.column} without a value"


def judge(
    slices: Sequence[Slice],
    measure: Measure,
    *,
    margin: float,
    seed: int,
    resamples: int = RESAMPLES,
) -> tuple[Finding, ...]:
    """Judge each slice, the worst first: it breaches where the challenger is clearly worse there.

    A slice breaches when its difference is under -`margin` and the upper one-sided bound of the difference at
    0.05 / k is under 0 (Bonferroni over the k slices that can be judged, which labels and rows decide, not what was
    predicted). Unknown under MIN_ROWS rows or MIN_POSITIVES positives, and if the metric is undefined. Slices catch
    large harm only: among 20 slices of 500 rows with 30 % positives, a fall of 0.20 in F1 always and one of 0.05 in
    17 % of cases; with 10 % positives, 0.20 in 75 % (docs/explanation/gate.md).

    >>> worse = JointCounts({("1", "1", "0"): 60, ("1", "1", "1"): 90, ("0", "0", "0"): 350})
    >>> few = JointCounts({("1", "0", "1"): 50})
    >>> slices = [Slice("region", "north", worse), Slice("region", None, few)]
    >>> for finding in judge(slices, Measure("f1", "1"), margin=0.02, seed=1):
    ...     print(finding.verdict, finding.because[:49])
    BREACH region 'north' gets worse: f1 0.750 against the c
    UNKNOWN region without a value: 50 rows are fewer than 20
    """
    judged = [each for each in slices if _too_few(each, measure) is None]
    found = [_unjudged(each, measure) for each in slices if each not in judged]
    for each in judged:
        comparison = compare(
            each.joint,
            measure,
            certainty=CERTAINTY,
            challengers=len(judged),
            seed=seed,
            resamples=resamples,
        )
        found.append(_judged(each, comparison, margin))
    order = (Verdict.BREACH, Verdict.PASS, Verdict.UNKNOWN)
    return tuple(sorted(found, key=lambda finding: (order.index(finding.verdict), finding.value or 0.0)))


def _too_few(each: Slice, measure: Measure) -> str | None:
    positives = each.joint.labels.get(measure.positive, 0)
    if each.joint.rows < MIN_ROWS:
        return f"{each.joint.rows:,} rows are fewer than {MIN_ROWS}"
    if METRICS[measure.metric].of_one_class and positives < MIN_POSITIVES:
        return f"{positives:,} rows of {measure.positive!r} are fewer than {MIN_POSITIVES}"
    return None


def _unjudged(each: Slice, measure: Measure) -> Finding:
    because = f"{each.name}: {_too_few(each, measure)}; it is not judged and does not block"
    return unknown("slice", because, evidence=_evidence(each))


def _judged(each: Slice, found: Comparison, margin: float) -> Finding:
    if math.isnan(found.difference) or math.isnan(found.upper):
        because = f"{each.name}: {found.metric} is undefined too often; it is not judged and does not block"
        return unknown("slice", because, limit=-margin, evidence=_evidence(each, found))
    worse = found.difference < -margin - TOLERANCE and found.upper < -TOLERANCE
    scores = (
        f"{found.metric} {found.challenger:.3f} against the champion's {found.champion:.3f} on {found.rows:,} rows, "
        f"{found.difference:+.3f}"
    )
    because = f"{each.name} does not get clearly worse: {scores}"
    if worse:
        because = f"{each.name} gets worse: {scores} and at best {found.upper:+.3f}; promotion.margin is {margin:g}"
    return Finding(
        name="slice",
        verdict=Verdict.BREACH if worse else Verdict.PASS,
        value=found.difference,
        limit=-margin,
        because=because,
        evidence=_evidence(each, found),
    )


def _evidence(each: Slice, found: Comparison | None = None) -> dict[str, Json]:
    scores = encoded(found) if found else {}
    chosen = ("champion", "challenger", "difference", "upper")
    return {
        "column": each.column,
        "value": each.value,
        "rows": each.joint.rows,
        **{name: scores[name] for name in chosen if name in scores},
    }
