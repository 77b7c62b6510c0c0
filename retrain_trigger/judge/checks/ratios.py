"""What a window's counts of one class say against a ratio of them, such as F1: a bet on every row."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from retrain_trigger.judge.checks.detector import BETS
from retrain_trigger.judge.checks.overdispersion import swing
from retrain_trigger.judge.metrics import RATIOS, Cells, Ratio

Counts = tuple[int, int, int, int]
"""Rows of one window: tp, fp, fn, tn. For accuracy over more than two classes: right, wrong, 0, 0."""

STAKES = tuple(0.001 * 900 ** (step / (BETS - 1)) for step in range(BETS))
"""Shares of the largest gain that are staked on decay, 0.001 to 0.9: a small fall needs a small stake."""

SMALLEST_GAIN = 1e-9
"""Part of the largest |g| that stands in for the largest gain if there is none: at f1 >= 1 nothing is gained."""


@dataclass(frozen=True, slots=True)
class OfRatio:
    """Bets against a metric of RATIOS, row by row.

    A metric N/D of counts is under t exactly when the mean over rows of g = n - t d is below 0 (n and d are what a
    row adds to N and D; F1: g = 2-2t on a true positive, -t on a false positive or negative, else 0). Someone who
    bets the share b of what they have on every row keeps, after window w,

        E_w(b) = product over its rows of (1 - b g),

    and at b = STAKES / (largest g) never loses all. `factors` are the logs of 1 - b g by bet and cell.

    Proved: where the metric is at t or better in every window, and rows are independent given the past, the mean of E_w
    is at most 1. Shown by simulation only (benchmarks/false_alarms.py): about as many false alarms where errors
    come in blocks of ten or the metric swings from day to day with a standard deviation of 0.02, at t and at t+0.03. Not
    covered: a metric that wanders slowly around t.

    Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting" (2020); Podkopaev, Ramdas,
    "Tracking the risk of a deployed machine learning model and detecting harmful distribution shifts" (2021).
    """

    metric: str
    threshold: float
    ratio: Ratio
    factors: tuple[Cells, ...]

    nothing: ClassVar[Counts] = (0, 0, 0, 0)

    @property
    def sign(self) -> int:
        """Return 1 if higher is better, -1 if lower is."""
        return self.ratio.sign

    def looks_at(self, table: Counts) -> bool:
        """Say whether the metric looks at any of these rows. Raises ValueError for a negative count."""
        if min(table) < 0:
            raise ValueError(f"{table} are not numbers of rows")
        return dot(self.ratio.whole, table) > 0

    def is_full(self, _table: Counts) -> bool:
        """Say that a window is judged alone, however few rows it has."""
        return True

    def short(self, _table: Counts) -> Mapping[str, int]:
        """Return no class: none can have too few rows."""
        return {}

    def value(self, table: Counts) -> float:
        """Return the metric; NaN if it looks at none of the rows."""
        return value_of(self.ratio, table)

    def rows(self, table: Counts) -> int:
        """Return the number of labelled rows."""
        return sum(table)

    def won(self, table: Counts) -> list[float]:
        """Return the log of E for each bet."""
        return [dot(factors, table) for factors in self.factors]

    def swing(self, one: Counts, other: Counts) -> float | None:
        """Return how far two windows are apart, over the rows that the metric looks at."""
        return swing_between(self.ratio, self.threshold, one, other)

    def added(self, one: Counts, other: Counts) -> Counts:
        """Return the rows of both."""
        return (one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])

    def emptied(self, _table: Counts) -> Counts:
        """Return a table without rows."""
        return self.nothing


@lru_cache(maxsize=64)
def of_ratio(metric: str, threshold: float, cost: tuple[float, float]) -> OfRatio:
    """Return the bets against a metric of RATIOS; `cost` weighs a false positive and a false negative.

    Raises ValueError where no row can say anything about it.
    """
    ratio = ratio_of(metric, cost)
    tp, fp, fn, tn = (ratio.sign * (n - threshold * d) for n, d in zip(ratio.part, ratio.whole, strict=True))
    gains = (tp, fp, fn, tn)
    largest = max(*gains, SMALLEST_GAIN * max(map(abs, gains)))
    if largest == 0:
        raise ValueError(f"{metric} with threshold {threshold} and cost {cost} says nothing about any row")
    return OfRatio(metric, threshold, ratio, tuple(_factors(gains, stake / largest) for stake in STAKES))


def ratio_of(metric: str, cost: tuple[float, float]) -> Ratio:
    """Return a metric of RATIOS, with what a false positive and a false negative cost in it."""
    # Only `cost` has a part on mistakes, so the weights touch nothing else.
    ratio = RATIOS[metric]
    tp, fp, fn, tn = ratio.part
    return ratio._replace(part=(tp, fp * cost[0], fn * cost[1], tn))


def swing_between(ratio: Ratio, level: float, one: Counts, other: Counts) -> float | None:
    """Return the swing (judge/checks/overdispersion.py) of g = n - level d, over the rows of two windows that the metric looks at."""
    gains, ours, theirs = [], [], []
    for n, d, count, more in zip(ratio.part, ratio.whole, one, other, strict=True):
        if d and count + more:
            gains.append(n - level * d)
            ours.append(count)
            theirs.append(more)
    return swing(gains, ours, theirs) if gains else None


def _factors(gains: Cells, bet: float) -> Cells:
    tp, fp, fn, tn = (math.log1p(-bet * gain) for gain in gains)
    return (tp, fp, fn, tn)


def value_of(ratio: Ratio, counts: Counts) -> float:
    """Return N/D; NaN if no row is looked at."""
    whole = dot(ratio.whole, counts)
    return dot(ratio.part, counts) / whole if whole else math.nan


def dot(cells: Cells, counts: Counts) -> float:
    """Return the sum over tp, fp, fn, tn of what a row of each adds, for so many rows."""
    return cells[0] * counts[0] + cells[1] * counts[1] + cells[2] * counts[2] + cells[3] * counts[3]
