"""Wear: how often the rows of a hold-out have decided before."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from retrain_trigger.core.findings import Finding, below

NAME = "wear"

WORN = 5
"""Attempts that the same rows may have decided without a warning. Each lets a challenger that is no better pass by
chance in about 1 of 40 cases; after five it is 1 in 8, and whoever improves a recipe until it passes learns the rows."""


@dataclass(frozen=True, slots=True)
class Use:
    """One comparison: the run that it belonged to, and the newest of the rows that decided (UTC)."""

    run: str
    newest: datetime


def judge(uses: Iterable[Use], *, oldest: datetime | None, run: str | None = None) -> Finding:
    """Count the attempts before `run` whose deciding rows reach into a hold-out that begins at `oldest`; it only warns.

    A hold-out reaches from its oldest row to the newest that is known, so it shares rows with an earlier one exactly
    where that one's newest row is not older than its own oldest. A row counts as used however few of them are shared;
    an attempt counts once, also where it compares twice (on the newest windows and after the refit). Without rows it is 0.

    >>> uses = [Use("a", datetime(2026, 1, 5)), Use("b", datetime(2026, 1, 9)), Use("b", datetime(2026, 1, 9))]
    >>> judge(uses, oldest=datetime(2026, 1, 5)).value, judge(uses, oldest=datetime(2026, 1, 7)).value
    (2.0, 1.0)
    """
    runs = {use.run for use in uses if oldest is not None and use.newest >= oldest and use.run != run}
    found = below(NAME, float(len(runs)), float(WORN), limit_name="the limit")
    times = "once" if len(runs) == 1 else f"{len(runs)} times"
    because = f"these rows have decided {times} before (warned of from {WORN} on)"
    if len(runs) >= WORN:
        because += "; the more often, the easier one passes by chance: let newer rows come before the next attempt"
    return Finding(name=NAME, verdict=found.verdict, value=found.value, limit=found.limit, because=because, warns=True)
