"""Counts that cross from the world into the judgement; rows never do."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

Key = TypeVar("Key")


class OneVsRest(NamedTuple):
    """One class against all others: whole counts, or arrays of them (one entry per resample)."""

    tp: Any
    fp: Any
    fn: Any
    tn: Any


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each (label, prediction) occurred; labels are canonical text.

    >>> monday, tuesday = Confusion({("1", "1"): 8, ("0", "1"): 2}), Confusion({("1", "0"): 1, ("1", "1"): 1})
    >>> (monday + tuesday).one_vs_rest("1")
    OneVsRest(tp=9, fp=2, fn=1, tn=0)
    """

    cells: Mapping[tuple[str, str], int]

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(_added((*self.cells.items(), *other.cells.items())))

    @property
    def rows(self) -> int:
        """Number of rows counted."""
        return sum(self.cells.values())

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

    def to_json(self) -> list[list[Any]]:
        """Return [label, prediction, count] for each cell, sorted."""
        return [[*pair, count] for pair, count in sorted(self.cells.items())]

    @classmethod
    def from_json(cls, document: Iterable[Sequence[Any]]) -> "Confusion":
        """Read back what `to_json` wrote; a cell given twice counts twice.

        Raises ValueError where a count is not a whole number of rows.
        """
        return cls(_added(((label, said), _whole(count)) for label, said, count in document))


@dataclass(frozen=True, slots=True)
class JointCounts:
    """How often each (label, what the champion said, what the challenger said) occurred on the same rows.

    >>> joint = JointCounts({("1", "0", "1"): 3, ("0", "0", "0"): 7})
    >>> joint.champion.cells[("1", "0")], joint.challenger.cells[("1", "1")], joint.disagreements
    (3, 3, 3)
    """

    cells: Mapping[tuple[str, str, str], int]

    def __add__(self, other: "JointCounts") -> "JointCounts":
        return JointCounts(_added((*self.cells.items(), *other.cells.items())))

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
        return dict(sorted(_added((key[0], count) for key, count in self.cells.items() if count).items()))

    @property
    def champion(self) -> Confusion:
        """What the champion said, whatever the challenger said."""
        return Confusion(_added(((label, said), count) for (label, said, _), count in self.cells.items()))

    @property
    def challenger(self) -> Confusion:
        """What the challenger said, whatever the champion said."""
        return Confusion(_added(((label, said), count) for (label, _, said), count in self.cells.items()))

    def exchanged(self) -> "JointCounts":
        """Return the same rows with champion and challenger in each other's place."""
        return JointCounts({(label, second, first): count for (label, first, second), count in self.cells.items()})

    def to_json(self) -> list[list[Any]]:
        """Return [label, champion, challenger, count] for each cell, sorted."""
        return [[*key, count] for key, count in sorted(self.cells.items())]

    @classmethod
    def from_json(cls, document: Iterable[Sequence[Any]]) -> "JointCounts":
        """Read back what `to_json` wrote; a cell given twice counts twice.

        Raises ValueError where a count is not a whole number of rows.
        """
        return cls(_added(((label, one, two), _whole(count)) for label, one, two, count in document))


@dataclass(frozen=True, slots=True)
class ColumnCounts:
    """A feature column: its kind ("number", "text", "boolean", "time" or "other") and its rows without a value.

    `low` and `high` are its 1 % and 99 % quantiles, `least` and `greatest` its ends; None where it has no number.
    `varies` says whether it has more than one value, and `still` for how long it kept one, at most, in seconds; None
    where that is not known. `values` are those of a text column, None where they are too many to be categories, and
    `fresh` is the share of rows that held a new one, in that fifth of the table's time (the first left out) in which
    it was greatest. `outside` and `unseen` count rows against another table, that of the champion at that time: numbers
    far outside its range, and texts that it does not have.
    """

    type: str
    missing: int
    low: float | None = None
    high: float | None = None
    least: float | None = None
    greatest: float | None = None
    varies: bool | None = None
    still: float | None = None
    values: tuple[str, ...] | None = None
    fresh: float = 0.0
    outside: int = 0
    unseen: int = 0

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ColumnCounts":
        """Read back what `dataclasses.asdict` wrote; what an older version did not count is None or 0."""
        values = document.get("values")
        return cls(**{**document, "values": None if values is None else tuple(values)})


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCounts:
    """What is known of a table of labelled rows; kept in profile.json for a champion's training data.

    `columns` holds the features only (no id, label, timestamp or other role). `labels` has the rows of each label,
    rows without one left out. `duplicate_ids` counts the rows beyond the first of their id, `duplicate_rows` those
    beyond the first of several equal ones. `oldest` and `newest` are the ISO times of the first and the last row, None
    where rows have no time.
    """

    rows: int
    columns: Mapping[str, ColumnCounts]
    labels: Mapping[str, int]
    duplicate_ids: int = 0
    duplicate_rows: int = 0
    oldest: str | None = None
    newest: str | None = None

    @property
    def seconds(self) -> float | None:
        """Return the time from the first row to the last; None where rows have no time."""
        if self.oldest is None or self.newest is None:
            return None
        return (datetime.fromisoformat(self.newest) - datetime.fromisoformat(self.oldest)).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """Return the counts as a JSON object."""
        return {
            "rows": self.rows,
            "columns": {name: asdict(column) for name, column in self.columns.items()},
            "labels": dict(self.labels),
            "duplicate_ids": self.duplicate_ids,
            "duplicate_rows": self.duplicate_rows,
            "oldest": self.oldest,
            "newest": self.newest,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "TableCounts":
        """Read back what `to_json` wrote; what else stands in profile.json is not a table's."""
        columns = {name: ColumnCounts.from_json(column) for name, column in document["columns"].items()}
        own = {field.name: document[field.name] for field in fields(cls) if field.name in document}
        return cls(**{**own, "columns": columns})


def _added(items: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    total: Counter[Key] = Counter()
    for key, count in items:
        total[key] += count
    return dict(total)


def _whole(count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError(f"{count!r} is not a number of rows")
    return count
