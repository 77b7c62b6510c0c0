"""What is counted of a log."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import duckdb

from retrain_trigger.core.records import encoded
from retrain_trigger.counts.histograms import Bins

ORIGIN = datetime(1970, 1, 5, tzinfo=UTC)
"""Windows are counted from here, a Monday: days begin at midnight UTC, weeks on Mondays."""

LAYOUT = 9
"""Changes with what is counted, and how it is kept: what an older version counted is counted again."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is counted of a log: the windows since a champion's promotion, and its columns by their bins.

    `columns` maps a role to the name it has in the log. A row before `since` counts only if it carries `version`, or the
    name that this is `known_as` in the log, or lies in the `earlier` time of that version, up to its end. `score_edges`
    cuts the score. `slices` are columns each of whose values is counted by itself. `classes` are those of the model,
    None if they are not known; `date_format` is that of its times, if it is not ISO 8601, and `decimal` the mark of its
    numbers, if the user says so. A window is settled, and a label that comes later is not counted, when it is over,
    `coverage` of its rows have a label, and `horizon` has passed since; None: twice as long as 99 % of labels take, and at
    least 30 days.
    """

    predictions: str
    labels: str | None
    columns: Mapping[str, str]
    window: timedelta
    bins: Mapping[str, Bins] = field(default_factory=dict)
    score_edges: Sequence[float] = ()
    since: datetime | None = None
    version: str | None = None
    slices: Sequence[str] = ()
    classes: Sequence[str] | None = None
    date_format: str | None = None
    decimal: str | None = None
    known_as: str | None = None
    earlier: tuple[datetime, datetime] | None = None
    coverage: float = 1.0
    horizon: timedelta | None = None

    def digest(self) -> str:
        """Name the plan: what was counted by another one cannot be used."""
        fields = [
            self.predictions,
            self.labels,
            dict(self.columns),
            self.window.total_seconds(),
            {name: encoded(bins) for name, bins in self.bins.items()},
            list(self.score_edges),
            self.since and self.since.isoformat(),
            self.version,
            list(self.slices),
            None if self.classes is None else sorted(self.classes),
            self.date_format,
            self.decimal,
            self.known_as,
            self.coverage,
            self.horizon and self.horizon.total_seconds(),
            LAYOUT,
            duckdb.__version__,  # it hashes ids
            *(at.isoformat() for at in self.earlier or ()),
        ]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def truth(self) -> str:
        """Name how labels from other files are read: what another plan read of them can be used if it is the same."""
        return json.dumps([self.labels, label_columns(self.columns), self.date_format, LAYOUT, duckdb.__version__])

    def is_before(self, at: datetime) -> bool:
        """Say whether a row of a time that does not name the champion is none of its own: it is from before."""
        begun, ended = self.earlier or (at, at)
        return self.since is not None and at < self.since and not begun <= at < ended

    def number(self, at: datetime) -> int:
        """Return the number of the window that a time is in."""
        return (at - ORIGIN) // self.window

    def start(self, number: int) -> datetime:
        """Return when a window starts."""
        return ORIGIN + number * self.window


def label_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the names that the columns of files of labels have, by role; `columns` are those of the log.

    >>> label_columns({"id": "id", "label": "y", "labelled_at": "at", "labels.id": "ref"})
    {'id': 'ref', 'label': 'y', 'labelled_at': 'at'}
    """
    return {role: columns.get(f"labels.{role}", columns[role]) for role in ("id", "label", "labelled_at")}


def micros(at: datetime) -> int:
    """Return a time in microseconds since 1970.

    >>> micros(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return (at - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """Return the time of so many microseconds since 1970.

    >>> moment(1000000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + at * _MICROSECOND
