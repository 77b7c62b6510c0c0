"""One line of the ledger: what happened, when, in which run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final, Generic, TypeGuard, TypeVar, cast

from retrain_trigger.core import events
from retrain_trigger.core.errors import LedgerError
from retrain_trigger.core.events import Event
from retrain_trigger.core.records import Document, decoded, encoded

Said = TypeVar("Said", bound=Event)
Says_co = TypeVar("Says_co", bound=Event, covariant=True)


class Kind(StrEnum):
    """What a ledger entry records. Those in -ING are intents: written before the effect."""

    DECIDED = "decided"
    REFUSED = "data refused"
    TRAINING = "training"
    SEALED = "sealed"
    FAILED = "training failed"
    ABANDONED = "abandoned"
    SELECTED = "selected"
    REFITTING = "refitting"
    RESUMED = "resumed"
    COMPARED = "compared"
    KEPT = "kept"
    STAGING = "staging"
    STAGED = "in shadow"
    UNSTAGING = "ending shadow"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    ASKED = "waits for approval"
    REMOVING = "removing"
    REMOVED = "removed"
    MENDED = "clock mended"
    LIMITED = "threshold"


EVENTS: Final[Mapping[Kind, type[Event]]] = {
    Kind.DECIDED: events.Decided,
    Kind.REFUSED: events.Refused,
    Kind.TRAINING: events.Training,
    Kind.SEALED: events.Sealed,
    Kind.FAILED: events.Failed,
    Kind.ABANDONED: events.Abandoned,
    Kind.SELECTED: events.Selected,
    Kind.REFITTING: events.Refitting,
    Kind.RESUMED: events.Resumed,
    Kind.COMPARED: events.Compared,
    Kind.KEPT: events.Kept,
    Kind.STAGING: events.Staging,
    Kind.STAGED: events.Staged,
    Kind.UNSTAGING: events.Unstaging,
    Kind.PROMOTING: events.Promoting,
    Kind.PROMOTED: events.Promoted,
    Kind.ASKED: events.Asked,
    Kind.REMOVING: events.Removing,
    Kind.REMOVED: events.Removed,
    Kind.MENDED: events.Mended,
    Kind.LIMITED: events.Limited,
}
"""What an entry of each kind says."""

KINDS: Final[Mapping[type[Event], Kind]] = {event: kind for kind, event in EVENTS.items()}


@dataclass(frozen=True)  # without slots: `event` is remembered
class Entry(Generic[Says_co]):
    """`at` is the tick's own time (UTC; `--now` where given); `body` is the JSON that was written."""

    seq: int
    at: datetime
    run: str
    kind: Kind
    body: Document

    @cached_property
    def event(self) -> Says_co:
        """What the body says. Raises LedgerError if it is not that of an entry of this kind."""
        try:
            return cast("Says_co", decoded(EVENTS[self.kind], self.body))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            told = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise LedgerError(
                f"the ledger cannot be used: entry {self.seq} cannot be read as {self.kind.value!r}: {told}; nothing was "
                f"trained or promoted. Keep a copy of the ledger, then restore it from a backup or move it away"
            ) from error


def entry(event: Said, *, at: datetime, run: str, seq: int = 0) -> Entry[Said]:
    """Return an event as the ledger writes it."""
    return Entry(seq, at, run, KINDS[type(event)], encoded(event))


def says(entry: Entry[Event], said: type[Said]) -> TypeGuard[Entry[Said]]:
    """Say whether an entry is of this kind of event; it is not decoded."""
    return entry.kind is KINDS[said]


def only(entries: Iterable[Entry[Event]], said: type[Said]) -> list[Entry[Said]]:
    """Return the entries that say one thing, in their order; no other is decoded."""
    return [each for each in entries if says(each, said)]


def last(entries: Iterable[Entry[Event]], said: type[Said]) -> Entry[Said] | None:
    """Return the last entry that says one thing, None if there is none."""
    return next(reversed(only(entries, said)), None)
