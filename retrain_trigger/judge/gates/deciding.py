"""Can a challenger be judged at all? What the rows that decide lack, and whether that may come still."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from retrain_trigger.judge import policy
from retrain_trigger.judge.checks.lateness import AT_ONCE, Delay

MIN_CLASSES = 2
"""On rows of one class, the model that always says it is perfect."""


class Chance(Enum):
    """What becomes of a lack: it may come still, it has stopped coming, or it may be late as well."""

    COMES = "comes"
    STOPPED = "stopped"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Lack:
    """What is missing for a comparison, and whether it is waited for."""

    chance: Chance
    because: str


@dataclass(frozen=True, slots=True)
class Breach:
    """The starts (UTC) of the windows that breached and no attempt has used up, and of the one in which it all began.

    That one may be long used up: the same breach goes on after a refused challenger. It is told of sequential evidence
    only: patience says how soon the point rule acts. Nothing where no time is known.
    """

    windows: tuple[datetime, ...] = ()
    began: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What is known of the labelled rows, and of those that decide.

    `told` says in a message which rows decide, and `missing` is how many more windows of them are needed. `labels` has
    the rows of each label among them, and `newest_deciding` is the time of their newest. `classes` is the number of
    classes among all labelled rows, `newest` the time of the newest of all, `delay` how late labels come; None if that
    is not known. `breached` is the start of the first window that breached, None if no breach is located in time, and
    `located` says whether any that breached has a labelled row. `began` is the start of the window in which the breach
    began. Where the rows of the newest windows decide, they are those `after` a time.
    """

    told: str
    labels: Mapping[str, int]
    missing: int = 0
    classes: int
    newest: datetime | None = None
    newest_deciding: datetime | None = None
    delay: Delay | None = None
    breached: datetime | None = None
    located: bool = False
    began: datetime | None = None
    after: datetime | None = None

    @property
    def count(self) -> int:
        """Return how many rows decide."""
        return sum(self.labels.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the settings ask for, and the time; `since` is when the champion went live."""

    min_rows: int
    window: timedelta
    max_age: timedelta
    now: datetime
    since: datetime


def lacking(rows: Rows, asked: Terms, *, forced: bool = False) -> Lack | None:
    """Say what is missing for a comparison; training now would spend the evidence on a challenger nobody can judge.

    What may come still is a wait: too few rows, rows of one class only, and rows of the breached windows if none of
    these has a label yet, for as long as labels take. Rows that have stopped coming are not waited for. A forced
    training needs only the breached windows.

    >>> asked = Terms(
    ...     min_rows=500, window=timedelta(days=1), max_age=timedelta(days=3), now=datetime(2026, 1, 9),
    ...     since=datetime(2026, 1, 1),
    ... )
    >>> few = Rows(told="on the hold-out", labels={"0": 300, "1": 88}, classes=2, newest=datetime(2026, 1, 8))
    >>> lacking(few, asked).because
    '112 rows more needed on the hold-out (promotion.min_rows 500); training waits for them'
    """
    if rows.breached is not None and not rows.located and (reason := _awaited(rows.breached, rows.delay, asked)):
        return _wait(reason, rows.delay)
    if forced:
        return None
    if reason := _short(rows, asked):
        return _stopped(rows.newest, rows, asked, reason) or _wait(f"{reason}; training waits for them", rows.delay)
    if len(rows.labels) < MIN_CLASSES:
        return _of_one_class(rows, asked)
    return None if rows.located else _stopped(rows.newest_deciding, rows, asked, f"the rows {rows.told} are stale")


def _short(rows: Rows, asked: Terms) -> str | None:
    """Say what there is too little of; None if there are windows and rows enough, also to learn from the breach."""
    if rows.missing:
        return f"{_windows(rows.missing)} needed that the champion was not trained on (promotion.windows)"
    if rows.count < asked.min_rows:
        return f"{asked.min_rows - rows.count:,} rows more needed {rows.told} (promotion.min_rows {asked.min_rows:,})"
    if rows.after is not None and rows.began is not None and rows.began + asked.window / 2 > rows.after:
        more = _windows(round((rows.began + asked.window - rows.after) / asked.window))
        return f"{more} needed: all rows since {policy.stamp(rows.began)}, when the breach began, decide, and a challenger must learn from some"
    return None


def _windows(number: int) -> str:
    return f"{number} more {'window' if number == 1 else 'windows'} of rows"


def _of_one_class(rows: Rows, asked: Terms) -> Lack:
    """Wait where the deciding rows are of one class; not where no other is ever seen."""
    (only,) = rows.labels or ("none",)
    reason = f"the rows {rows.told} have one class only, {only!r} in all {rows.count:,}, and two are needed"
    if rows.classes < MIN_CLASSES:
        told = f"no challenger could be judged: {reason}. Nothing was trained; have all labels come?"
        return Lack(Chance.STOPPED, told)
    waits = _wait(f"{reason}: training waits for at least 1 row of another class", rows.delay)
    return _stopped(rows.newest, rows, asked, reason) or waits


def _awaited(first: datetime, late: Delay | None, asked: Terms) -> str | None:
    """Say until when labels of the first window that breached are waited for; None if that time is over."""
    expected = first + asked.window + (late or AT_ONCE).most
    until = expected + asked.max_age
    if asked.now > until:
        return None
    about = f"expected about {policy.stamp(expected)}, and " if late else ""
    return (
        f"the labelled rows have none of the breached window of {policy.stamp(first)} yet: its labels are {about}waited "
        f"for until {policy.stamp(until)}"
    )


def _wait(reason: str, late: Delay | None) -> Lack:
    return Lack(Chance.COMES, f"{reason} ({late})" if late and late.most else reason)


def _stopped(newest: datetime | None, rows: Rows, asked: Terms, reason: str) -> Lack | None:
    """Say that no labelled row has come for longer than labels take and `trigger.max_age` together; None if one has."""
    late = rows.delay
    if asked.now - (newest or asked.since) <= asked.max_age + (late or AT_ONCE).most:
        return None
    seen = f"their newest is of {policy.stamp(newest)}" if newest else "none has come"
    told = (
        f"no challenger could be judged: {reason}, and {seen}; trigger.max_age is {policy.length(asked.max_age)}"
        f"{f', and {late}' if late and late.most else ''}. Nothing was trained; are labelled rows still written?"
    )
    if late is None:
        return Lack(Chance.LATE, f"{told} Where they are only late, give labels the time they came (labelled_at)")
    return Lack(Chance.STOPPED, told)
