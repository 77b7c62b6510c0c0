"""How often scores, predictions and labels occurred together, and what the model brought about itself."""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from retrain_trigger.counts.cells import summed

TAIL = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005)
"""Edges under 0.01: where positives are rare, nearly all scores and the decision itself lie there."""

EDGES = (*TAIL, *(place / 100 for place in range(1, 100)), *(1 - edge for edge in reversed(TAIL)))
"""Inner edges of the score bins, ascending: scores logged with two decimals lose nothing."""

SCORE_BINS = len(EDGES) + 1
"""Number of score bins."""


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """How often each (score bin, prediction, label or None) occurred; the score is the positive class's probability.

    Rows without a score are not counted. The bin is `bin_of(score)`, from 0 to SCORE_BINS - 1; predictions and labels
    are canonical text.

    >>> monday = ScoreCounts({(bin_of(0.9), "1", None): 8, (bin_of(0.2), "0", "0"): 2})
    >>> (monday + monday).rows, (monday + monday).labelled
    (20, 4)
    """

    cells: Mapping[tuple[int, str, str | None], int]

    def __add__(self, other: "ScoreCounts") -> "ScoreCounts":
        return ScoreCounts(summed((*self.cells.items(), *other.cells.items())))

    @property
    def rows(self) -> int:
        """Number of rows counted."""
        return sum(self.cells.values())

    @property
    def labelled(self) -> int:
        """Number of rows that have their label."""
        return sum(count for (_, _, label), count in self.cells.items() if label is not None)

    @property
    def classes(self) -> frozenset[str]:
        """The classes that occur, as label or as prediction."""
        named = (name for (_, said, label), count in self.cells.items() if count for name in (said, label))
        return frozenset(name for name in named if name is not None)


@dataclass(frozen=True, slots=True)
class ExposureCounts:
    """How often each (exposed, prediction, label or None) occurred; exposed: the model brought the label about itself.

    Rows that do not say whether they were exposed are not counted.

    >>> counts = ExposureCounts({(True, "1", "1"): 9, (False, "1", "0"): 1, (False, "0", None): 5})
    >>> counts.rows, (counts + counts).rows
    (15, 30)
    """

    cells: Mapping[tuple[bool, str, str | None], int]

    def __add__(self, other: "ExposureCounts") -> "ExposureCounts":
        return ExposureCounts(summed((*self.cells.items(), *other.cells.items())))

    @property
    def rows(self) -> int:
        """Number of rows counted."""
        return sum(self.cells.values())


def bin_of(score: float) -> int:
    """Return the bin of a score: the number of EDGES below it, so bins are open at the left and closed at the right.

    Scores beyond 0 or 1 fall into the first and the last bin. Raises ValueError on NaN.

    >>> [bin_of(score) for score in (0.0, 0.0001, 0.00011, 0.65, 0.66, 1.0)]
    [0, 0, 1, 70, 71, 111]
    """
    if math.isnan(score):
        raise ValueError("a score is not a number")
    return bisect_left(EDGES, score)
