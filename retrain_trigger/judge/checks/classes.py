"""What a window's confusion table says against macro F1 or balanced accuracy, which look at several classes."""

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.judge.checks.detector import BETS

FEWEST_ROWS = 10
"""Labelled rows that a class needs to be part of the metric."""

FEWEST_CLASSES = 2
"""Rows of one class say nothing about what tells several apart."""

FALLS = tuple(0.004 * 100 ** (step / (BETS - 1)) for step in range(BETS))
"""How far under the threshold each bet expects the metric, 0.004 to 0.4."""


class Share(NamedTuple):
    """F1 or recall of one class, `part / whole`."""

    part: float
    whole: float

    @property
    def value(self) -> float:
        """Return the quotient."""
        return self.part / self.whole


Shares = Mapping[str, Share]
"""By class; their mean is the metric."""


class Margins(NamedTuple):
    """Rows by class: of that label, said to be it, and both. Every class that the table names is among the labels."""

    labelled: Mapping[str, int]
    said: Mapping[str, int]
    right: Mapping[str, int]

    @property
    def short(self) -> Mapping[str, int]:
        """The classes that have fewer than FEWEST_ROWS labelled rows, with their rows."""
        return {name: rows for name, rows in self.labelled.items() if rows < FEWEST_ROWS}

    @property
    def kept(self) -> AbstractSet[str]:
        """The classes that the metric is the mean over; none if more than half would be left out, or one is all."""
        classes, short = self.labelled.keys(), self.short
        return set() if len(classes) < FEWEST_CLASSES or 2 * len(short) > len(classes) else classes - short.keys()


@dataclass(frozen=True, slots=True)
class OfClasses:
    """Bets against the mean over K classes of F1 or of recall, by what the whole confusion table says of it.

    With theta the metric over a window, v its variance and t the threshold, the bet on a fall of delta keeps

        E(delta) = exp((delta (t - theta) - delta^2 / 2) / v),        delta in FALLS.

    v is the sum over rows of their squared influence on F1 (`Influences`), or sum r_k (1 - r_k) / n_k / K^2 for the recall r_k of
    n_k rows of label k. Both are of the table with half a row added on its diagonal for each class, and half a row of
    each label spread over its mistakes: a class without a mistake so far is not one that makes none. theta is of the
    rows alone. r^2 of two windows is (theta_1 - theta_2)^2 / (v_1 + v_2), over the classes that both have.

    Windows are pooled until each class that their tables name has FEWEST_ROWS labelled rows. If they are pooled as deep as
    may be, a class with fewer is left out of theta; without at least half of the classes there is no theta.

    Asymptotic: theta is nearly normal with variance v if each class has some rows, and the mean of E is then 1 at t and
    less above it. Shown by simulation (benchmarks/classes.py), not proved: docs/explanation/evidence.md has the figures.

    >>> table = Confusion({("a", "a"): 40, ("a", "b"): 10, ("b", "b"): 40, ("b", "c"): 10, ("c", "c"): 45, ("c", "a"): 5})
    >>> bets = OfClasses("f1_macro", threshold=0.9)
    >>> round(bets.value(table), 3), round(max(bets.won(table)), 1)
    (0.833, 2.5)
    """

    metric: str
    threshold: float

    sign: ClassVar[int] = 1
    nothing: ClassVar[Confusion] = Confusion({})

    def looks_at(self, table: Confusion) -> bool:
        """Say whether there is any row. Raises ValueError for a negative count."""
        if min(table.cells.values(), default=0) < 0:
            raise ValueError(f"{table} has negative numbers of rows")
        return table.rows > 0

    def is_full(self, table: Confusion) -> bool:
        """Say whether each class has FEWEST_ROWS, and there is more than one."""
        own = margins(table)
        return len(own.labelled) >= FEWEST_CLASSES and not own.short

    def short(self, table: Confusion) -> Mapping[str, int]:
        """Return the classes that have fewer than FEWEST_ROWS labelled rows, with their rows."""
        return margins(table).short

    def value(self, table: Confusion) -> float:
        """Return the metric over the classes that have rows enough; NaN if that is less than half of them, or one is all."""
        own = margins(table)
        return _mean(shares(self.metric, own, own.kept)) if own.kept else math.nan

    def rows(self, table: Confusion) -> int:
        """Return the number of labelled rows."""
        return table.rows

    def won(self, table: Confusion) -> list[float]:
        """Return the log of E for each bet."""
        value, spread = estimate(self.metric, table)
        return [(fall * (self.threshold - value) - fall**2 / 2) / spread for fall in FALLS]

    def swing(self, one: Confusion, other: Confusion) -> float | None:
        """Return how far two windows are apart; None if they share no class that has rows enough."""
        return swing_of(self.metric, one, other)

    def added(self, one: Confusion, other: Confusion) -> Confusion:
        """Return the rows of both."""
        return one + other if one.cells else other

    def emptied(self, table: Confusion) -> Confusion:
        """Return a table without rows that names the same classes."""
        return Confusion.naming({}, table.classes)


def margins(table: Confusion) -> Margins:
    """Count the rows of each class.

    >>> margins(Confusion({("a", "a"): 8, ("a", "b"): 2}))
    Margins(labelled={'a': 10, 'b': 0}, said={'a': 8, 'b': 2}, right={'a': 8, 'b': 0})
    """
    labelled: dict[str, int] = {}
    said: dict[str, int] = {}
    right: dict[str, int] = {}
    for (label, answer), count in table.cells.items():
        for name in (label, answer):
            if name not in labelled:
                labelled[name] = said[name] = right[name] = 0
        labelled[label] += count
        said[answer] += count
        if label == answer:
            right[label] += count
    return Margins(labelled, said, right)


def shares(metric: str, rows: Margins, kept: AbstractSet[str], *, added: float = 0.0) -> Shares:
    """Return F1 or recall of each class `kept`, with `added` rows that are right and as many that are wrong for each label.

    F1 of class k is 2 TP / D, D the rows of label k and those said to be k; recall is TP / n, n the rows of label k. The
    added wrong rows of a label are spread evenly over its mistakes, so that each class is also said that often.
    """
    labelled, said, right = rows
    if metric == "f1_macro":
        return {k: Share(2 * (right[k] + added), labelled[k] + said[k] + 4 * added) for k in kept}
    return {k: Share(right[k] + added, labelled[k] + 2 * added) for k in kept}


class Influences(NamedTuple):
    """What one more row changes the mean over K classes by: its derivative.

    For a row of label a, said to be b, that is

        F1:      (2 - 2 F_a) / (K D_a) if a = b,    else -(F_a / D_a + F_b / D_b) / K,
        recall:  (1 - r_a) / (K n_a) if a = b,      else -r_a / (K n_a),

    with nothing for a class that is not among them.

    >>> rows = margins(Confusion({("a", "a"): 8, ("a", "b"): 2, ("b", "b"): 10}))
    >>> found = Influences.on("f1_macro", shares("f1_macro", rows, {"a", "b"}))
    >>> round(found.of(("a", "a")), 4), round(found.of(("a", "b")), 4)
    (0.0062, -0.0454)
    """

    right: Mapping[str, float]
    missed: Mapping[str, float]
    mistaken: Mapping[str, float]

    @classmethod
    def on(cls, metric: str, classes: Shares) -> "Influences":
        """Return the influences on the mean of F1 or recall."""
        is_f1, number = metric == "f1_macro", len(classes)
        lost = {name: each.value / each.whole / number for name, each in classes.items()}
        gain = 2 if is_f1 else 1
        right = {name: gain * (1 - each.value) / each.whole / number for name, each in classes.items()}
        return cls(right, lost, lost if is_f1 else {})

    def of(self, cell: tuple[str, str]) -> float:
        """Return that of a row of this label, said to be this."""
        label, answer = cell
        if label == answer:
            return self.right.get(label, 0.0)
        return -self.missed.get(label, 0.0) - self.mistaken.get(answer, 0.0)


def estimate(metric: str, table: Confusion, kept: AbstractSet[str] = frozenset()) -> tuple[float, float]:
    """Return the metric as the mean over the classes `kept`, by default all with rows enough, and its variance v."""
    rows = margins(table)
    kept = kept or rows.kept
    smooth = shares(metric, rows, kept, added=0.5)
    if metric == "f1_macro":
        influence = Influences.on(metric, smooth).of
        spread = math.fsum(count * influence(cell) ** 2 for cell, count in table.cells.items())
    else:
        recalls = {name: share.value for name, share in smooth.items()}
        spread = math.fsum(r * (1 - r) / rows.labelled[name] for name, r in recalls.items()) / len(kept) ** 2
    return _mean(shares(metric, rows, kept)), spread


def estimates(metric: str, one: Confusion, other: Confusion) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return the estimates of two tables over the classes that have rows enough in both; None if there are none."""
    kept = margins(one).kept & margins(other).kept
    return (estimate(metric, one, kept), estimate(metric, other, kept)) if kept else None


def swing_of(metric: str, one: Confusion, other: Confusion) -> float | None:
    """Return r^2 of two windows (judge/checks/overdispersion.py); None if they share no class that has rows enough."""
    found = estimates(metric, one, other)
    if found is None:
        return None
    (first, v), (second, w) = found
    return (first - second) ** 2 / (v + w)


def _mean(classes: Shares) -> float:
    return math.fsum(share.value for share in classes.values()) / len(classes)
