"""How a column is cut into bins, and how many rows fell into each."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NUMERIC_BINS = 10
"""Quantile bins of a numeric column: ten is what PSI is read in. A value that holds a tenth of the rows is an atom."""

MOST_CATEGORIES = 200
"""So many values of a category have a bin of their own, the most frequent ones."""

SINGLE = 2.0**-24
"""How far, relative to its size, a number may be moved by being written in single precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """How one column is counted; kept in profile.json. Made by `numeric` or `categorical`.

    Every bin has a place, from 0; the last place is that of missing values (NULL, NaN and
    infinities).

    A number falls into the first bin of `bounds` that takes it: `(bound, True)` takes v <= bound, `(bound, False)`
    takes v < bound; what none of them takes falls into the place after them, which is the one before *missing*. So bins are intervals (lo, hi], save that an atom, a value with a bin of its own, is cut out of the
    interval that ends with it: (lo, atom), [atom, atom]. A number within single precision of a bound is that bound.

    A category falls into the place of its value in `values` (compared as text, exactly), and else into *other*, the
    place before *missing*: values that the reference never had, or too rarely.

    `low` and `high` are the least and the greatest finite number of the reference, None if it has none.

    >>> bins = Bins.numeric([2.5, 7.0], [0.0], low=0.0, high=9.0)
    >>> bins.bounds
    ((0.0, False), (0.0, True), (2.5, True), (7.0, True))
    >>> bins.labels
    ('under 0', 'exactly 0', 'over 0 up to 2.5', 'over 2.5 up to 7', 'over 7', 'missing')
    >>> [bins.index(value) for value in (-1, 0, 2.5, 2.6, math.inf, math.nan, None)]
    [0, 1, 2, 3, 5, 5, 5]
    >>> Bins.categorical({"south": 30, "north": 40}).labels
    ('north', 'south', 'other values', 'missing')
    """

    numeric_column: bool
    edges: tuple[float, ...] = ()
    atoms: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()

    @classmethod
    def numeric(
        cls, quantiles: Sequence[float], atoms: Sequence[float], *, low: float | None, high: float | None
    ) -> "Bins":
        """Make the bins of a numeric column from what was counted in the reference, missing values left out.

        `quantiles` are those at 1/NUMERIC_BINS, 2/NUMERIC_BINS, ... (they may repeat), `atoms` the values that hold at
        least 1/NUMERIC_BINS of the rows; each atom is an edge, too. What is not finite is left out.
        """
        own = {float(atom) for atom in atoms if math.isfinite(atom)}
        edges = sorted(own | {float(edge) for edge in quantiles if math.isfinite(edge)})
        return cls(numeric_column=True, edges=tuple(edges), atoms=tuple(sorted(own)), low=low, high=high)

    @classmethod
    def categorical(cls, counts: Mapping[str, int]) -> "Bins":
        """Make the bins of a category from the rows of each value, missing values left out.

        Kept are the MOST_CATEGORIES most frequent values (the lesser text on a tie), so it is enough to hand those
        over. `counts` must be of other rows of the reference than its histogram: choose values by every other row
        and count the rest. Frequent values are chosen for being frequent in the rows that choose them, and what is
        new there is never seen at all; counted by the same rows, windows without a change would differ from them.
        """
        ranked = sorted((-rows, value) for value, rows in counts.items() if rows)
        return cls(numeric_column=False, values=tuple(value for _, value in ranked[:MOST_CATEGORIES]))

    @property
    def bounds(self) -> tuple[tuple[float, bool], ...]:
        """The upper bound of each numeric bin but the last, ascending, and whether the bin takes it."""
        found: list[tuple[float, bool]] = []
        for edge in self.edges:
            found += [(edge, False), (edge, True)] if edge in self.atoms else [(edge, True)]
        return tuple(found)

    @property
    def cuts(self) -> tuple[tuple[float, bool], ...]:
        """`bounds` as values are held against them: a number that is a bound in single precision is that bound.

        >>> Bins.numeric([0.7], [0.1], low=0.0, high=1.0).index(0.10000000149011612)
        1
        """
        found: list[tuple[float, bool]] = []
        for bound, takes in self.bounds:
            cut = bound + abs(bound) * (SINGLE if takes else -SINGLE)
            found.append((max(cut, found[-1][0]) if found else cut, takes))
        return tuple(found)

    @property
    def places(self) -> dict[str, int]:
        """The place of each category."""
        return {value: number for number, value in enumerate(self.values)}

    @property
    def labels(self) -> tuple[str, ...]:
        """What people call the bins, by place; a value may have the name of another bin, so count by place."""
        if not self.numeric_column:
            return (*self.values, "other values", "missing")
        if not self.edges:
            return ("any number", "missing")
        first, last = (f"{self.edges[0]:.6g}", f"{self.edges[-1]:.6g}")
        inner = [
            _interval(lower, bound, takes=takes)
            for (lower, _), (bound, takes) in zip(self.bounds, self.bounds[1:], strict=False)
        ]
        return (f"{'under' if self.edges[0] in self.atoms else 'up to'} {first}", *inner, f"over {last}", "missing")

    @property
    def size(self) -> int:
        """Number of bins."""
        return (len(self.bounds) + 1 if self.numeric_column else len(self.values) + 1) + 1

    def index(self, value: float | str | None) -> int:
        """Return the place of the bin that a value falls into."""
        if value is None or value != value:  # noqa: PLR0124  (NaN, also where it is no float)
            return self.size - 1
        if not self.numeric_column:
            return self.values.index(str(value)) if str(value) in self.values else len(self.values)
        # (bound, False) sorts before (bound, True): the key of v is the least bound that takes it.
        number = float(value)
        return bisect_left(self.cuts, (number, True)) if math.isfinite(number) else self.size - 1

    def count(self, values: Iterable[float | str | None]) -> "Histogram":
        """Count a few values, one after the other; many are counted where they are."""
        found = Counter(map(self.index, values))
        return Histogram(tuple(found[place] for place in range(self.size)))

    def counted(self, words: Mapping[str, int], *, missing: int) -> "Histogram":
        """Count rows by their word, and those without one.

        >>> Bins.categorical({"a": 2, "b": 1}).counted({"a": 3, "c": 1}, missing=2)
        Histogram(counts=(3, 0, 1, 2))
        """
        counts = [0] * self.size
        for word, rows in words.items():
            counts[self.index(_number(word) if self.numeric_column else word)] += rows
        counts[-1] += missing
        return Histogram(tuple(counts))


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many rows fell into each bin, by place; the last place is *missing*.

    >>> monday, tuesday = Histogram((3, 5, 0)), Histogram((1, 0, 2))
    >>> monday + tuesday, (monday + tuesday).rows, tuesday.missing
    (Histogram(counts=(4, 5, 2)), 11, 2)
    """

    counts: tuple[int, ...]

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(tuple(one + two for one, two in zip(self.counts, other.counts, strict=True)))

    @property
    def rows(self) -> int:
        """Number of rows counted, those without a value included."""
        return sum(self.counts)

    @property
    def missing(self) -> int:
        """Number of rows without a value."""
        return self.counts[-1]


@dataclass(frozen=True, slots=True)
class Watched:
    """A column of a reference: its bins, and how many rows fell into each."""

    bins: Bins
    counts: Histogram

    @classmethod
    def upgraded(cls, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a document of today: earlier versions named the kind of the bins, and listed the counts."""
        bins, counts = document["bins"], document["counts"]
        if "kind" in bins:
            bins = {**bins, "numeric_column": bins["kind"] == "number"}
        return {"bins": bins, "counts": counts if isinstance(counts, Mapping) else {"counts": counts}}


Reference = Mapping[str, Watched]
"""What drift is measured from, by column."""


def _interval(lower: float, bound: float, *, takes: bool) -> str:
    if lower == bound:
        return f"exactly {bound:.6g}"
    return f"over {lower:.6g} {'up to' if takes else 'under'} {bound:.6g}"


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
