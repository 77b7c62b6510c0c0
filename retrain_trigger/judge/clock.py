"""The clock, held against what it stamped: which time a run may believe, and what an earlier one stamped too late.

A run is sure of its time where an earlier run or a record was not long before it, and neither is later. Nothing tells a
clock that is a year ahead from a machine that was off for a year: until a record comes there is nothing to judge either
way, and such a run records nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from retrain_trigger.core.entries import Entry, Kind
from retrain_trigger.core.events import Event

AHEAD = timedelta(days=1)
"""How far two times may lie apart before one of them is doubted: clocks differ, and dates have time zones."""

MEND = "`retrain-check run --mend-clock`"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a run cannot judge at this time; `until` is when it could, None if only records can tell."""

    because: str
    until: datetime | None = None


def is_borne_out(now: datetime, last_seen: datetime, max_age: timedelta) -> bool:
    """Say whether the last run alone leaves no doubt of the time: no record has to be read."""
    return -AHEAD <= now - last_seen <= max(max_age, AHEAD)


def doubt(
    now: datetime, *, last_seen: datetime, newest: datetime | None, latest: datetime | None, max_age: timedelta
) -> Doubt | None:
    """Say why a run cannot judge at this time; None if the last run or a record bears it out.

    `last_seen` is the latest time in the ledger, `newest` that of the newest record up to now, `latest` that of the
    newest at all. Ahead: both are older than `max_age` (a day at least). Back: both are more than a day later than now;
    where no record is, the ledger is what is wrong.
    """
    stamp = "%Y-%m-%d %H:%MZ"
    said = f"the clock says {now:{stamp}}, the last run was at {last_seen:{stamp}}"
    if now - max(last_seen, newest or last_seen) > max(max_age, AHEAD):
        seen = f"the newest record is of {newest:{stamp}}" if newest else "no record says when it is"
        return Doubt(
            f"{said}, {seen}: either the clock is wrong, or nothing was logged for longer than trigger.max_age. Nothing was "
            f"recorded; set the clock (or pass --now), or see whether monitoring is still running"
        )
    if latest is not None and min(last_seen, latest) - now > AHEAD:
        until = min(last_seen, latest) - AHEAD
        return Doubt(
            f"{said}, the newest record is of {latest:{stamp}}: the clock was set back, or was ahead before. Nothing is "
            f"recorded until {until:{stamp}}; set the clock (or pass --now). If it is right now, say so with {MEND}",
            until,
        )
    return None


def ahead(now: datetime, last_seen: datetime | None) -> str | None:
    """Say that an earlier run was later than now, and what follows; None if none was, by more than a day."""
    if last_seen is None or last_seen - now <= AHEAD:
        return None
    stamp = "%Y-%m-%d %H:%MZ"
    return (
        f"an earlier run was at {last_seen:{stamp}}, later than now ({now:{stamp}}): promotions, cooldown and budget wait "
        f"for that; if the clock is right now, {MEND} lets them count from now"
    )


def mended(entries: Sequence[Entry[Event]]) -> list[Entry[Event]]:
    """Return entries, oldest first, with the times that count: none is later than a mending that follows it."""
    found, cap = [], None
    for entry in reversed(entries):
        if entry.kind is Kind.MENDED:
            cap = entry.at if cap is None else min(cap, entry.at)
        found.append(entry if cap is None or entry.at <= cap else replace(entry, at=cap))
    return found[::-1]
