"""Whether a run that was cut off may be given up after an error: not if a service may have seen what it had begun."""

from collections.abc import Sequence

from retrain_trigger.core.entries import Entry, Kind, says
from retrain_trigger.core.events import Compared, Event

SHOWN = frozenset({Kind.PROMOTING, Kind.STAGING, Kind.UNSTAGING})
"""Intents whose effect a service sees: a run that has begun one is finished, however often that is tried."""


def may_be_abandoned(unfinished: Sequence[Entry[Event]], *, refused: bool) -> bool:
    """Say whether an unfinished run can be closed after an error.

    `refused` says that the error is a refusal: then nothing more of the run can be seen. If anything else broke it
    and a service may have seen what it had begun, the next run sees how far it came. A verdict on a shadow is seen, too:
    its file is removed before anything else is done.
    """
    shown = any(entry.kind in SHOWN or (says(entry, Compared) and entry.event.shadow) for entry in unfinished)
    return bool(unfinished) and (refused or not shown)
