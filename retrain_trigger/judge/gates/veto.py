"""The veto on a refitted winner: its recipe was proved on the newest windows; now it must not be clearly worse."""

import math
from collections.abc import Iterable

from retrain_trigger.core.comparisons import TOLERANCE, Comparison
from retrain_trigger.core.findings import Finding, judged

NAME = "veto"

OF_MODEL = frozenset({"features", "answers", "latency", "size", "golden"})
"""The gates that look at the model itself; those that look at its score were passed on the rows of the newest windows."""


def judge(gates: Iterable[Finding], comparison: Comparison, *, margin: float) -> tuple[Finding, ...]:
    """Judge a refit by the gates that look at the model, and by a veto of the rows that were held out of its training.

    `margin` is the promotion margin in the metric's own unit.
    """
    return (*(finding for finding in gates if finding.name in OF_MODEL), clearly_worse(comparison.upper, margin=margin))


def clearly_worse(upper: float, *, margin: float) -> Finding:
    """Refuse a refit if the upper end of the interval of the difference is under -margin; no other finding is a reason.

    The difference is metric(refit) - metric(champion). Few rows have a wide interval and no veto; NaN, of rows that
    cannot tell, has none either.

    >>> [clearly_worse(upper, margin=0.02).verdict.value for upper in (0.05, -0.02, -0.03, float("nan"))]
    ['PASS', 'PASS', 'BREACH', 'PASS']
    """
    if math.isnan(upper):
        return judged(NAME, 0.0, -margin, "no held-out row of these windows speaks against the refit", fits=True)
    fits = upper >= -margin - TOLERANCE
    because = (
        f"on the held-out rows of these windows the refit is {'not ' if fits else ''}clearly worse: at best {upper:+.3f}, "
        f"{'not ' if fits else ''}under -promotion.margin ({-margin:g})"
    )
    return judged(NAME, upper, -margin, because, fits=fits)
