"""How good champions were over windows of counts, and how far apart: what a probation compares."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, NamedTuple, Protocol, TypeVar

from retrain_trigger.core.events import Window
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.judge.checks.classes import estimates, margins, swing_of
from retrain_trigger.judge.checks.ratios import Counts, dot, ratio_of, swing_between, value_of
from retrain_trigger.judge.metrics import RATIOS, Measure, Ratio

Table = TypeVar("Table")


class Levels(NamedTuple):
    """The metric over two tables, and the square of the standard error of its difference, as rows explain it."""

    before: float
    after: float
    variance: float


class Kind(Protocol[Table]):
    """One kind of counts: of a ratio or of several classes."""

    def of(self, window: Window) -> Table | None:
        """Return what was counted of a window; None if nothing is known."""

    def looks_at(self, table: Table) -> bool:
        """Say whether the metric has a value."""

    def rows(self, table: Table) -> int:
        """Return the number of labelled rows."""

    def total(self, tables: Sequence[Table]) -> Table:
        """Return all rows of some windows."""

    def swing(self, one: Table, other: Table) -> float | None:
        """Return r^2 (judge/checks/overdispersion.py) of two windows, at the level of both together."""

    def levels(self, before: Table, after: Table) -> Levels:
        """Compare two tables."""


def kind(measure: Measure) -> "Kind[Any]":
    """Return how a metric of METRICS is compared."""
    if measure.metric in RATIOS:
        return OfCounts(ratio_of(measure.metric, measure.cost))
    return OfTables(measure.metric)


@dataclass(frozen=True, slots=True)
class OfCounts:
    """Levels of a ratio N/D of counts.

    The variance is v (1/D_x + 1/D_y), v = sum over cells of count (n - r d)^2 / D with both tables' rows together (n and d
    are what a row adds to N and D, r = N/D: as if they were equally good). A swing has g = n - r d, r over both windows.
    """

    ratio: Ratio

    def of(self, window: Window) -> Counts | None:
        """Return tp, fp, fn, tn; None if they are not known."""
        return window.counts

    def looks_at(self, table: Counts) -> bool:
        """Say whether the metric has a value."""
        return dot(self.ratio.whole, table) > 0

    def rows(self, table: Counts) -> int:
        """Return the number of labelled rows."""
        return sum(table)

    def total(self, tables: Sequence[Counts]) -> Counts:
        """Return all rows of some windows."""
        tp, fp, fn, tn = (sum(cells) for cells in zip(*tables, strict=True))
        return (tp, fp, fn, tn)

    def swing(self, one: Counts, other: Counts) -> float | None:
        """Return r^2 of two windows; None if all their rows are alike."""
        return _swing(self.ratio, one, other)

    def levels(self, before: Counts, after: Counts) -> Levels:
        """Compare two tables."""
        first, second = dot(self.ratio.whole, before), dot(self.ratio.whole, after)
        variance = 0.0
        if first and second:
            variance = self._unit_variance(self.total((before, after))) * (1 / first + 1 / second)
        return Levels(value_of(self.ratio, before), value_of(self.ratio, after), variance)

    def _unit_variance(self, table: Counts) -> float:
        """Return the variance of N/D, as its rows explain it, times D."""
        value = value_of(self.ratio, table)
        cells = zip(table, self.ratio.part, self.ratio.whole, strict=True)
        return sum(count * (n - value * d) ** 2 for count, n, d in cells) / dot(self.ratio.whole, table)


@dataclass(frozen=True, slots=True)
class OfTables:
    """Levels of macro F1 or balanced accuracy, from confusion tables: theta and v of judge/checks/classes.py.

    Two tables are compared over the classes that have rows enough in both; the variance is v_x + v_y.
    """

    metric: str

    def of(self, window: Window) -> Confusion | None:
        """Return the confusion table; None if it is not known."""
        return window.confusion

    def looks_at(self, table: Confusion) -> bool:
        """Say whether the metric has a value."""
        return bool(margins(table).kept)

    def rows(self, table: Confusion) -> int:
        """Return the number of labelled rows."""
        return table.rows

    def total(self, tables: Sequence[Confusion]) -> Confusion:
        """Return all rows of some windows."""
        return reduce(Confusion.__add__, tables)

    def swing(self, one: Confusion, other: Confusion) -> float | None:
        """Return r^2 of two windows; None if they share no class."""
        return swing_of(self.metric, one, other)

    def levels(self, before: Confusion, after: Confusion) -> Levels:
        """Compare two tables."""
        found = estimates(self.metric, before, after)
        if found is None:
            return Levels(math.nan, math.nan, 0.0)
        (first, v), (second, w) = found
        return Levels(first, second, v + w)


@lru_cache(maxsize=4096)
def _swing(ratio: Ratio, one: Counts, other: Counts) -> float | None:
    """Return r^2 of two windows; a standing fall asks for those of the same neighbours after each window."""
    whole: Counts = (one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])
    return swing_between(ratio, value_of(ratio, whole), one, other)
