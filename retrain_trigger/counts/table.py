"""What a table of labelled rows comes to, column by column."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from retrain_trigger.counts.histograms import Reference


@dataclass(frozen=True, slots=True)
class ColumnCounts:
    """A feature column: its kind ("number", "text", "boolean", "time" or "other") and its rows without a value.

    `low` and `high` are its 1 % and 99 % quantiles, `least` and `greatest` its ends; None if it has no number.
    `varies` says whether it has more than one value, and `still` for how long it kept one, at most, in seconds; None
    if that is not known. `values` are those of a text column, None if they are too many to be categories, and
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCounts:
    """What is known of a table of labelled rows.

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
        """Return the time from the first row to the last; None if rows have no time."""
        if self.oldest is None or self.newest is None:
            return None
        return (datetime.fromisoformat(self.newest) - datetime.fromisoformat(self.oldest)).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(TableCounts):
    """What is known of the rows that a version was trained on; kept beside its model as profile.json.

    `watched` is what its drift is measured from: features and label; predictions and scores have bins, and no rows yet.
    """

    watched: Reference = field(default_factory=dict)
