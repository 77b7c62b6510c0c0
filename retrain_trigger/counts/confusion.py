"""How often labels and predictions occurred together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from retrain_trigger.counts.cells import summed

Number = Any
"""A number, or an array of them: what holds for counts holds for many tables of counts at once."""


class OneVsRest(NamedTuple):
    """One class against all others: whole counts, or arrays of them (one entry per resample)."""

    tp: Number
    fp: Number
    fn: Number
    tn: Number


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each (label, prediction) occurred; labels are canonical text.

    A class that is known without having occurred has a cell of no rows.

    >>> monday, tuesday = Confusion({("1", "1"): 8, ("0", "1"): 2}), Confusion({("1", "0"): 1, ("1", "1"): 1})
    >>> (monday + tuesday).one_vs_rest("1")
    OneVsRest(tp=9, fp=2, fn=1, tn=0)
    """

    cells: Mapping[tuple[str, str], int]

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(summed((*self.cells.items(), *other.cells.items())))

    @classmethod
    def naming(cls, cells: Mapping[tuple[str, str], int], classes: Iterable[str]) -> "Confusion":
        """Return a table that names these classes as well, whether they occur or not; of the others only what occurs.

        >>> Confusion.naming({("1", "0"): 2, ("0", "1"): 0}, ["0", "1"]).cells
        {('1', '0'): 2, ('0', '0'): 0, ('1', '1'): 0}
        """
        occurring = {cell: count for cell, count in cells.items() if count or cell[0] == cell[1]}
        return cls({**occurring, **{(name, name): 0 for name in classes if (name, name) not in occurring}})

    @property
    def rows(self) -> int:
        """Number of rows counted."""
        return sum(self.cells.values())

    @property
    def classes(self) -> frozenset[str]:
        """The classes that occur or are known."""
        return frozenset(name for pair in self.cells for name in pair)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that occur, as label or as prediction, sorted."""
        return tuple(sorted({name for pair, count in self.cells.items() if count for name in pair}))

    def one_vs_rest(self, cls: str) -> OneVsRest:
        """Count one class against all others; a class that does not occur has only true negatives."""
        tp = self.cells.get((cls, cls), 0)
        fp = sum(count for (label, said), count in self.cells.items() if said == cls != label)
        fn = sum(count for (label, said), count in self.cells.items() if label == cls != said)
        return OneVsRest(tp, fp, fn, self.rows - tp - fp - fn)


@dataclass(frozen=True, slots=True)
class JointCounts:
    """How often each (label, what the champion said, what the challenger said) occurred on the same rows.

    >>> joint = JointCounts({("1", "0", "1"): 3, ("0", "0", "0"): 7})
    >>> joint.champion.cells[("1", "0")], joint.challenger.cells[("1", "1")], joint.disagreements
    (3, 3, 3)
    """

    cells: Mapping[tuple[str, str, str], int]

    def __add__(self, other: "JointCounts") -> "JointCounts":
        return JointCounts(summed((*self.cells.items(), *other.cells.items())))

    @property
    def rows(self) -> int:
        """Number of rows counted."""
        return sum(self.cells.values())

    @property
    def disagreements(self) -> int:
        """Number of rows on which champion and challenger said different things."""
        return sum(count for (_, champion, challenger), count in self.cells.items() if champion != challenger)

    @property
    def right_alone(self) -> tuple[int, int]:
        """Number of rows that only the champion, and only the challenger, answered right."""
        alone = [0, 0]
        for (label, champion, challenger), count in self.cells.items():
            if (label == champion) != (label == challenger):
                alone[label == challenger] += count
        return alone[0], alone[1]

    @property
    def labels(self) -> dict[str, int]:
        """Number of rows of each label that occurs."""
        return dict(sorted(summed((key[0], count) for key, count in self.cells.items() if count).items()))

    @property
    def champion(self) -> Confusion:
        """What the champion said, whatever the challenger said."""
        return Confusion(summed(((label, said), count) for (label, said, _), count in self.cells.items()))

    @property
    def challenger(self) -> Confusion:
        """What the challenger said, whatever the champion said."""
        return Confusion(summed(((label, said), count) for (label, _, said), count in self.cells.items()))

    def exchanged(self) -> "JointCounts":
        """Return the same rows with champion and challenger in each other's place."""
        return JointCounts({(label, second, first): count for (label, first, second), count in self.cells.items()})

    @classmethod
    def counted(cls, rows: Iterable[Sequence[Any]]) -> "JointCounts":
        """Add up rows of (label, champion said, challenger said, count).

        >>> JointCounts.counted([("1", "0", "1", 2), ("1", "0", "1", 3)]).cells
        {('1', '0', '1'): 5}
        """
        return cls(summed(((label, one, two), count) for label, one, two, count in rows))
