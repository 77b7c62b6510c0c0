"""One value that monitoring logged for one window, and how far a log has been read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from retrain_trigger.counts.confusion import Confusion

PREDICTIONS = "predictions"
"""The `file` of what was measured by the labels of a prediction log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One line of a metrics log: one window.

    `value` is the metric, None if the line holds it but it is not a finite number. `at` is the start of what was
    measured (UTC), None if the line has no time. `where` is `file:line`, for messages. `file` identifies the file
    (it survives growth, not rotation) and `end` is the byte offset just after the line. `rows` is the number of
    labelled rows, None if the line does not say; `counts` is (tp, fp, fn, tn), `confusion` the whole table, which only
    metrics of several classes need. `drift` maps a feature to its
    distance; a bare number has the key "" .
    """

    value: float | None
    where: str
    file: str
    end: int
    at: datetime | None = None
    rows: int | None = None
    counts: tuple[int, int, int, int] | None = None
    confusion: Confusion | None = None
    model: str | None = None
    drift: Mapping[str, float | None] = field(default_factory=dict)


class Located(Protocol):
    """What was observed in one window, with its place in time, or in a file where it has no time."""

    @property
    def at(self) -> datetime | None:
        """The start of the window (UTC)."""

    @property
    def model(self) -> str | None:
        """The version that it says it is of."""

    @property
    def file(self) -> str:
        """What identifies the file."""

    @property
    def end(self) -> int:
        """The byte offset just after it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far logs had been read at some moment: what lies behind it has been used.

    `at` is the newest time seen (UTC); `ends` maps a file's identity to the byte offset read up to, for lines
    without a time. `judged` is the newest window of a prediction log that had its labels (UTC), None if that is not
    known: later ones could not be judged yet, so their labels are news whenever they come.
    """

    at: datetime | None = None
    ends: Mapping[str, int] = field(default_factory=dict)
    judged: datetime | None = None

    def is_before(self, measurement: Located) -> bool:
        """Say whether the measurement was logged after this mark.

        >>> Mark(ends={"a": 10}).is_before(Measurement(value=0.9, where="f:1", file="a", end=5))
        False
        """
        if measurement.at is not None:
            at = self.judged if self.judged and measurement.file == PREDICTIONS else self.at
            return at is None or measurement.at > at
        return measurement.end > self.ends.get(measurement.file, 0)


def without_leap_second(text: str) -> str:
    """Write a time in a leap second, which Python's clock does not have, as the second before it.

    >>> without_leap_second("2016-12-31T23:59:60.5Z")
    '2016-12-31T23:59:59.5Z'
    """
    return _LEAP.sub(r"\g<1>:59", text) if ":60" in text else text


_LEAP = re.compile(r"(\d\d:\d\d):60(?!\d)")
