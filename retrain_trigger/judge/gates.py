"""What a challenger must show before it takes the champion's place."""

import math
from collections.abc import Callable, Iterable, Mapping

from retrain_trigger.findings import Finding, Verdict, unknown
from retrain_trigger.judge.comparison import Comparison

MIN_CLASSES = 2
"""On rows of one class, the model that always says it is perfect."""

TOLERANCE = 1e-9
"""Scores closer than this are equal: 0.88 is 0.02 above 0.86, whatever binary fractions make of it."""


def judge(comparison: Comparison, *, margin: float, min_rows: int) -> tuple[Finding, ...]:
    """Judge a comparison by every row of GATES.

    `margin` is the least difference, in the metric's own unit; `min_rows` the least number of deciding rows.
    """
    options = {"margin": margin, "min_rows": min_rows}
    return tuple(gate(comparison, **options) for gate in GATES.values())


def promotes(findings: Iterable[Finding]) -> bool:
    """Say whether every gate passed; an unknown does not, and no gate at all proves nothing."""
    verdicts = {finding.verdict for finding in findings}
    return verdicts == {Verdict.PASS}


def rows(comparison: Comparison, *, min_rows: int, **_: object) -> Finding:
    """Ask for `min_rows` deciding rows."""
    short = min_rows - comparison.rows
    because = f"{comparison.rows:,} deciding rows; " + (
        f"{short:,} rows more needed for promotion.min_rows {min_rows:,}"
        if short > 0
        else f"promotion.min_rows is {min_rows:,}"
    )
    return _judged("rows", comparison.rows, min_rows, because, fits=short <= 0)


def classes(comparison: Comparison, **_: object) -> Finding:
    """Refuse a hold-out with fewer than MIN_CLASSES classes."""
    seen = sorted(comparison.labels)
    fits = len(seen) >= MIN_CLASSES
    because = f"the deciding rows have {len(seen)} classes"
    if not fits:
        because = f"the deciding rows have one class only: {seen[0]!r}" if seen else "there is no deciding row"
        because += "; rows of another class are needed to compare"
    return _judged("classes", len(seen), MIN_CLASSES, because, fits=fits)


def finite(comparison: Comparison, **_: object) -> Finding:
    """Ask that both scores are defined; the value is the number of models whose score is."""
    scores = {"champion": comparison.champion, "challenger": comparison.challenger}
    lost = [name for name, value in scores.items() if not math.isfinite(value)]
    if lost:
        where = f"on these {comparison.rows:,} rows"
        return unknown("finite", f"{comparison.metric} of the {' and the '.join(lost)} is undefined {where}", limit=2)
    return _judged("finite", 2, 2, f"{comparison.metric} is defined for champion and challenger", fits=True)


def margin(comparison: Comparison, *, margin: float, **_: object) -> Finding:
    """Ask that the challenger is better by at least `margin`."""
    difference = comparison.difference
    if math.isnan(difference):
        return unknown("margin", f"the difference in {comparison.metric} is undefined", limit=margin)
    fits = difference >= margin - TOLERANCE
    decimals = _decimals(difference, margin)
    because = (
        f"{comparison.metric} {comparison.challenger:.{decimals}f} against the champion's "
        f"{comparison.champion:.{decimals}f}: {difference:+.{decimals}f} "
        f"{'reaches' if fits else 'is under'} promotion.margin {margin:g}"
    )
    return _judged("margin", difference, margin, because, fits=fits)


def certainty(comparison: Comparison, **_: object) -> Finding:
    """Ask that the lower end of the interval of the difference is above 0, strictly."""
    lower, upper = comparison.lower, comparison.upper
    shared = f", shared among {comparison.challengers} challengers" if comparison.challengers > 1 else ""
    interval = f"the {comparison.certainty * 100:g}% interval of the difference{shared}"
    if math.isnan(lower):
        return unknown("certainty", f"{interval} has no lower end: {comparison.metric} is undefined too often", limit=0)
    fits = lower > TOLERANCE
    decimals = _decimals(lower, 0.0)
    ends = f"from {lower:+.{decimals}f} to {upper:+.{decimals}f}"
    because = f"{interval} is {ends}; {'it is above 0' if fits else 'its lower end must be above 0'}"
    needed = comparison.rows_needed
    if not fits and needed is not None and needed > comparison.rows:
        because += f": about {needed:,} deciding rows would tell such a difference, {comparison.rows:,} are there"
    return _judged("certainty", lower, 0, because, fits=fits)


def _judged(name: str, value: float, limit: float, because: str, *, fits: bool) -> Finding:
    verdict = Verdict.PASS if fits else Verdict.BREACH
    return Finding(name=name, verdict=verdict, value=float(value), limit=float(limit), because=because)


def _decimals(difference: float, limit: float) -> int:
    """Count the decimals that keep a difference apart from its limit and from 0, where it is: 3 to 9."""
    for decimals in range(3, 9):
        apart = round(difference, decimals) != round(limit, decimals) or abs(difference - limit) <= TOLERANCE
        if apart and (round(difference, decimals) != 0 or abs(difference) <= TOLERANCE):
            return decimals
    return 9


GATES: Mapping[str, Callable[..., Finding]] = {
    "rows": rows,
    "classes": classes,
    "finite": finite,
    "margin": margin,
    "certainty": certainty,
}
