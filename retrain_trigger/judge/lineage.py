"""Which champion came before which, and to which of them one may go back."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from retrain_trigger.entries import Entry, Kind


def served(entries: Iterable[Entry]) -> dict[str, Mapping[str, Any]]:
    """Return every version that was champion, with the pointer that named it last."""
    return {entry.body["pointer"]["version"]: entry.body["pointer"] for entry in entries if entry.kind is Kind.PROMOTED}


def earlier(
    pointers: Mapping[str, Mapping[str, Any]], previous: str | None, *, quarantined: Collection[str]
) -> str | None:
    """Return the nearest champion from `previous` backwards whose hash is not quarantined; None where there is none.

    >>> pointers = {"v1": {"sha256": "a", "previous": None}, "v2": {"sha256": "b", "previous": "v1"}}
    >>> earlier(pointers, "v2", quarantined=()), earlier(pointers, "v2", quarantined={"b"})
    ('v2', 'v1')
    """
    passed: set[str] = set()
    while previous is not None and pointers.get(previous, {}).get("sha256") in quarantined:
        passed.add(previous)
        previous = pointers[previous]["previous"]
        if previous in passed:
            return None
    return previous
