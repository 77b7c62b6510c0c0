"""Overdispersion: how many times more windows differ from their neighbours than their rows explain."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

PRIOR_PAIRS = 5
"""Pairs of windows, without overdispersion, that its estimate begins with."""

LATEST_PAIRS = 100
"""Pairs of windows that it is estimated from, at most: longer ago, windows may have swung otherwise."""

MEDIAN = 0.455
"""The median of a chi-square variable with one degree of freedom: of `swing` where rows explain all of it."""

FARTHEST = 9.0
"""A swing counts as at most three standard deviations of what is usual, squared: one outage day is not what is usual."""


def swing(gains: Sequence[float], one: Sequence[int], other: Sequence[int]) -> float | None:
    """Return how far the means of g in two windows are apart, as the square of standard deviations.

        r^2 = (z_1 - z_2)^2 / (s^2 (1/m_1 + 1/m_2)),

    z the mean of g over a window's m rows, s^2 the variance of g over the rows of both. `gains` holds g for each kind
    of row and the windows how many rows of each kind there are. Where rows are independent and nothing changes, r^2 is
    about chi-square with one degree of freedom. None if all rows of both are alike, or one has none.

    >>> round(swing((0.3, -0.85), (90, 10), (80, 20)), 2)
    3.92
    >>> swing((0.3, -0.85), (90, 0), (80, 0)) is None
    True
    """
    m, n = sum(one), sum(other)
    variance = _variance([count + more for count, more in zip(one, other, strict=True)], gains)
    if not m or not n or not variance:
        return None
    apart = 0.0
    for count, more, gain in zip(one, other, gains, strict=True):
        apart += gain * (count / m - more / n)
    return apart**2 / (variance * (1 / m + 1 / n))


def overdispersion(swings: Sequence[float]) -> float:
    """Return D, at least 1, from the swings r^2 of neighbouring windows, the latest LATEST_PAIRS of them.

        D = max(1, (5 + sum min(r^2, 9 q)) / (5 + pairs)),        q = max(1, median(r^2 and five of 0.455) / 0.455)

    five: PRIOR_PAIRS. The mean of r^2 is what a variance is multiplied by where windows swing more than their rows do
    (McCullagh, Nelder, Generalized Linear Models, 1989, 4.5); winsorised at 9 q, since the mean of unbounded squares
    is that of its largest: after one outage day (F1 0.4 on 5,000 rows) nothing smaller than an outage would be seen
    for a year. q follows the swing of most windows, so that days which swing alike are all counted in full. Shown by
    simulation (benchmarks/false_alarms.py); no proof of anything rests on it.

    >>> overdispersion([]), overdispersion([1.0, 0.5, 2.0])
    (1.0, 1.0625)
    >>> round(overdispersion([1.0] * 20 + [4000.0]), 2)
    1.72
    >>> round(overdispersion([4000.0] * 20))
    3200
    """
    latest = sorted(swings[-LATEST_PAIRS:])
    place = bisect_left(latest, MEDIAN)
    ordered = [*latest[:place], *(MEDIAN,) * PRIOR_PAIRS, *latest[place:]]
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    farthest = FARTHEST * max(1.0, middle / MEDIAN)
    usual = latest[: bisect_right(latest, farthest)]
    total = math.fsum([*usual, *(farthest,) * (len(latest) - len(usual))])
    return max(1.0, (PRIOR_PAIRS + total) / (PRIOR_PAIRS + len(latest)))


def _variance(counts: Sequence[int], gains: Sequence[float]) -> float:
    """Return the variance of g; by shares and pairs of cells, so that it is exactly 0 if all rows are alike."""
    rows = sum(counts)
    shares = [(count / rows, gain) for count, gain in zip(counts, gains, strict=True) if count]
    variance = 0.0
    for place, (p, g) in enumerate(shares):
        for q, h in shares[:place]:
            variance += p * q * (g - h) ** 2
    return variance
