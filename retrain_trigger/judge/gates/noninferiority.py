"""Not clearly worse: what a refitted winner must still show on rows that it was never trained on."""

import math
from collections.abc import Iterable

from retrain_trigger.core.comparisons import Comparison
from retrain_trigger.core.findings import Finding, Verdict, unknown

NAME = "not_worse"

BETTER = frozenset({"margin", "certainty"})
"""The gates that ask for proof of being better: a refit has that behind it, on the rows of the newest windows."""

TOLERANCE = 1e-9
"""A lower end this close to -margin reaches it, whatever binary fractions make of it."""


def judge(gates: Iterable[Finding], comparison: Comparison, *, margin: float) -> tuple[Finding, ...]:
    """Judge a refit: the gates of its comparison, with `not_worse` in the place of those in BETTER.

    `margin` is the promotion margin in the metric's own unit.
    """
    kept = tuple(finding for finding in gates if finding.name not in BETTER)
    return (*kept, not_worse(comparison.lower, comparison.upper, margin=margin))


def not_worse(lower: float | None, upper: float | None, *, margin: float) -> Finding:
    """Ask that the lower end of the interval of the difference is at least -margin; None or NaN is UNKNOWN.

    H0: d <= -margin is rejected where lower(d) >= -margin, with d = metric(challenger) - metric(champion): a
    non-inferiority test by the confidence interval.

    Source: Piaggio et al., Reporting of Noninferiority and Equivalence Randomized Trials, JAMA 308 (2012).

    >>> [not_worse(lower, 0.05, margin=0.02).verdict.value for lower in (-0.01, -0.02, -0.03, None)]
    ['PASS', 'PASS', 'BREACH', 'UNKNOWN']
    """
    if lower is None or math.isnan(lower):
        return unknown(NAME, "the interval of the difference has no lower end on the hold-out", limit=-margin)
    fits = lower >= -margin - TOLERANCE
    ends = f"from {lower:+.3f}" + (f" to {upper:+.3f}" if upper is not None else "")
    because = f"the interval of the difference on the hold-out is {ends}; its lower end " + (
        f"is not under -promotion.margin ({-margin:g})"
        if fits
        else f"must not be under -promotion.margin ({-margin:g})"
    )
    return Finding(
        name=NAME, verdict=Verdict.PASS if fits else Verdict.BREACH, value=lower, limit=-margin, because=because
    )
