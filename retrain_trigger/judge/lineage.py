"""Which champion came before which, and to which of them one may go back."""

from collections.abc import Collection, Iterable, Mapping

from retrain_trigger.core.entries import Entry, only
from retrain_trigger.core.events import Event, Promoted
from retrain_trigger.core.pointer import Pointer


def served(entries: Iterable[Entry[Event]]) -> dict[str, Pointer]:
    """Return every version that was champion, with the pointer that named it last."""
    pointers = [entry.event.pointer for entry in only(entries, Promoted)]
    return {pointer.version: pointer for pointer in pointers}


def earlier(pointers: Mapping[str, Pointer], previous: str | None, *, quarantined: Collection[str]) -> str | None:
    """Return the nearest champion from `previous` backwards whose hash is not quarantined; None if there is none.

    >>> from dataclasses import replace
    >>> first = Pointer(generation=1, version="v1", path="", sha256="a", previous=None, promoted_at="", run="")
    >>> pointers = {"v1": first, "v2": replace(first, version="v2", sha256="b", previous="v1")}
    >>> earlier(pointers, "v2", quarantined=()), earlier(pointers, "v2", quarantined={"b"})
    ('v2', 'v1')
    """
    passed: set[str] = set()
    while previous is not None and previous in pointers and pointers[previous].sha256 in quarantined:
        passed.add(previous)
        previous = pointers[previous].previous
        if previous in passed:
            return None
    return previous
