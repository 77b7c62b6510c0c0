"""Windows whose labels have come: they are settled, and their rows are not looked at again."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from retrain_trigger.counts.tally import Tally
from retrain_trigger.engines import delays
from retrain_trigger.engines.counted import Counted
from retrain_trigger.engines.plan import Plan

LEAST_HORIZON = timedelta(days=30)
"""So long labels are waited for at least, if nothing is said."""


def settled(counted: Counted, plan: Plan, *, now: datetime) -> Counted:
    """Settle the windows, from the oldest on, whose labels have come and for which no more are waited."""
    until = _until(counted, plan, now)
    if until == counted.settled_until or until is None:
        return counted
    matched, kept = {}, {}
    before = _before(until)
    for key in {*counted.matched, *counted.settled}:
        tally = counted.matched.get(key, Tally())
        matched[key] = tally.only(lambda window: not before(window))
        kept[key] = counted.settled.get(key, Tally()) + replace(tally.only(before), delays={})
    return replace(counted, matched=matched, settled=kept, settled_until=until)


def _until(counted: Counted, plan: Plan, now: datetime) -> int | None:
    """Return the first window that is not settled at `now`."""
    horizon = plan.horizon or max(LEAST_HORIZON, 2 * timedelta(hours=delays.most(counted.delays)))
    rows, labelled = Counter[int](), Counter[int]()
    for tally in counted.matched.values():
        for (window, _, _, label, *_), n in tally.cells.items():
            if window is not None:
                rows[window] += n
                labelled[window] += n * (label is not None)
    until = counted.settled_until
    for window in sorted(each for each in rows if until is None or each >= until):
        over = plan.start(window + 1) + horizon <= now
        if not over or labelled[window] < plan.coverage * rows[window]:
            break
        until = window + 1
    return until


def _before(until: int) -> Callable[[int | None], bool]:
    return lambda window: window is not None and window < until
