"""What a table of labelled rows comes to, column by column."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any


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
