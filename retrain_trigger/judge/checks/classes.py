"""What a window's confusion table says against macro F1 or balanced accuracy, which look at several classes."""

import math
from collections import Counter
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


@dataclass(frozen=True, slots=True)
class OfClasses:
    """Bets against the mean over K classes of F1 or of recall, by what the whole confusion table says of it.

    With theta the metric over a window, v its variance and t the threshold, the bet on a fall of delta keeps

        E(delta) = exp((delta (t - theta) - delta^2 / 2) / v),        delta in FALLS.

    v is the sum over rows of their squared influence on F1 (`influence`), or sum r_k (1 - r_k) / n_k / K^2 for the recall r_k of
    n_k rows of label k. Both are of the table with half a row added on its diagonal for each class, and half a row of
    each label spread over its mistakes: a class without a mistake so far is not one that makes none. theta is of the
    rows alone. r^2 of two windows is (theta_1 - theta_2)^2 / (v_1 + v_2), over the classes that both have.

    Windows are pooled until each class that their tables name has FEWEST_ROWS labelled rows. If they are pooled as deep as
    may be, a class with fewer is left out of theta; without at least half of the classes there is no theta.

    Asymptotic: theta is nearly normal with variance v if each class has some rows, and the mean of E is then 1 at t and
    less above it. Shown by simulation (benchmarks/detector.py), not proved: docs/explanation/evidence.md has the figures.

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
        return len(table.classes) >= FEWEST_CLASSES and not self.short(table)

    def short(self, table: Confusion) -> Mapping[str, int]:
        """Return the classes that have fewer than FEWEST_ROWS labelled rows, with their rows."""
        rows = Counter[str]()
        for (label, _), count in table.cells.items():
            rows[label] += count
        return {name: rows[name] for name in sorted(table.classes) if rows[name] < FEWEST_ROWS}

    def value(self, table: Confusion) -> float:
        """Return the metric over the classes that have rows enough; NaN if that is less than half of them, or one is all."""
        kept = self._kept(table)
        return _mean(shares(self.metric, table, kept)) if kept else math.nan

    def rows(self, table: Confusion) -> int:
        """Return the number of labelled rows."""
        return table.rows

    def won(self, table: Confusion) -> list[float]:
        """Return the log of E for each bet."""
        value, spread = estimate(self.metric, table, self._kept(table))
        return [(fall * (self.threshold - value) - fall**2 / 2) / spread for fall in FALLS]

    def swing(self, one: Confusion, other: Confusion) -> float | None:
        """Return how far two windows are apart; None if they share no class that has rows enough."""
        kept = self._kept(one) & self._kept(other)
        if not kept:
            return None
        (first, v), (second, w) = (estimate(self.metric, table, kept) for table in (one, other))
        return (first - second) ** 2 / (v + w)

    def added(self, one: Confusion, other: Confusion) -> Confusion:
        """Return the rows of both."""
        return one + other if one.cells else other

    def emptied(self, table: Confusion) -> Confusion:
        """Return a table without rows that names the same classes."""
        return Confusion.naming({}, table.classes)

    def _kept(self, table: Confusion) -> AbstractSet[str]:
        """Return the classes that the metric is the mean over."""
        classes, short = table.classes, self.short(table)
        return frozenset() if len(classes) < FEWEST_CLASSES or 2 * len(short) > len(classes) else classes - short.keys()


def estimate(metric: str, table: Confusion, kept: AbstractSet[str]) -> tuple[float, float]:
    """Return the metric as the mean over the classes `kept`, and the variance v of it."""
    smooth = shares(metric, table, kept, added=0.5)
    if metric == "f1_macro":
        spread = math.fsum(count * influence(metric, smooth, cell) ** 2 for cell, count in table.cells.items())
    else:
        rows = shares(metric, table, kept)
        recalls = {name: share.value for name, share in smooth.items()}
        spread = math.fsum(r * (1 - r) / rows[name].whole for name, r in recalls.items()) / len(kept) ** 2
    return _mean(shares(metric, table, kept)), spread


def shares(metric: str, table: Confusion, kept: AbstractSet[str], *, added: float = 0.0) -> Shares:
    """Return F1 or recall of each class `kept`, with `added` rows that are right and as many that are wrong for each label.

    F1 of class k is 2 TP / D, D the rows of label k and those said to be k; recall is TP / n, n the rows of label k. The
    added wrong rows of a label are spread evenly over its mistakes, so that each class is also said that often.
    """
    right, labelled, said = (Counter[str]() for _ in range(3))
    for (label, answer), count in table.cells.items():
        labelled[label] += count
        said[answer] += count
        right[label] += count * (label == answer)
    if metric == "f1_macro":
        return {k: Share(2 * (right[k] + added), labelled[k] + said[k] + 4 * added) for k in kept}
    return {k: Share(right[k] + added, labelled[k] + 2 * added) for k in kept}


def influence(metric: str, classes: Shares, cell: tuple[str, str]) -> float:
    """Return I, what one more row of (label a, said to be b) changes the mean over K classes by: its derivative.

        F1:      (2 - 2 F_a) / (K D_a) if a = b,    else -(F_a / D_a + F_b / D_b) / K,
        recall:  (1 - r_a) / (K n_a) if a = b,      else -r_a / (K n_a),

    with nothing for a class that is not among them.

    >>> classes = shares("f1_macro", Confusion({("a", "a"): 8, ("a", "b"): 2, ("b", "b"): 10}), {"a", "b"})
    >>> round(influence("f1_macro", classes, ("a", "a")), 4), round(influence("f1_macro", classes, ("a", "b")), 4)
    (0.0062, -0.0454)
    """
    label, answer = cell
    looks = 2 if metric == "f1_macro" else 1
    moved = 0.0
    if label in classes:
        own = classes[label]
        moved = looks * (1 - own.value) / own.whole if label == answer else -own.value / own.whole
    if metric == "f1_macro" and label != answer and answer in classes:
        moved -= classes[answer].value / classes[answer].whole
    return moved / len(classes)


def _mean(classes: Shares) -> float:
    return math.fsum(share.value for share in classes.values()) / len(classes)
