"""The small file beside the ledger that a rollback is written to where the ledger cannot be: chained, its room reserved.

One JSON object a line, each with a hash over itself and the line before, then newlines up to ROOM: a full disk takes one
more line. The first line says which champions there were; an intent follows before the pointer moves, its outcome after.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from retrain_trigger.core.pointer import Pointer
from retrain_trigger.core.records import Document, decoded, encoded
from retrain_trigger.store import files
from retrain_trigger.store.registry import Registry

NAME = "rollback.jsonl"
"""Of the file in the state folder."""
ROOM = 1 << 15
"""Bytes that are reserved: about thirty rollbacks in a row without the ledger."""
KNOWN = 16
"""How many of the latest champions are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the ledger had told: the latest champions, oldest first, and the hashes of what is quarantined."""

    pointers: tuple[Pointer, ...]
    quarantined: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The pointer is about to go back from `origin`, None if it is not there or torn; `gone` names what was live."""

    pointer: Pointer
    origin: Pointer | None
    because: str
    gone: str
    at: datetime

    @classmethod
    def upgraded(cls, document: Document) -> Document:
        """Return a document of today: earlier versions wrote `from`."""
        return {"gone": document.get("from"), **document}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The pointer has moved."""


Step = Known | Intent | Done


@dataclass(frozen=True, slots=True)
class RollbackRecord:
    """The file, where the state folder is, or beside the pointer where the state folder cannot be written to."""

    path: Path

    def steps(self) -> list[Step]:
        """Return the lines that are what was written, oldest first; nothing if there is no such file."""
        return [step for step, _, _ in self._lines()]

    def append(self, step: Step) -> None:
        """Write one line into the reserved room, durable when this returns. Raises OSError."""
        lines = list(self._lines())
        previous, end = (lines[-1][1], lines[-1][2]) if lines else ("", 0)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            line = _line(previous, step)
            if os.pwrite(descriptor, line, end) != len(line):
                raise OSError(f"{self.path} could not be written whole")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        files.sync_folder(self.path.parent)

    def begin_anew(self, pointers: Iterable[Pointer], quarantined: Iterable[str]) -> None:
        """Forget what the ledger has by now, remember the champions, and reserve the room. Raises OSError."""
        lines = list(self._lines())
        known = Known(pointers=tuple(pointers)[-KNOWN:], quarantined=tuple(sorted(quarantined)))
        line = _line(lines[-1][1] if lines else "", known)
        files.write(self.path, line.ljust(ROOM, b"\n"), mode=0o600)

    def _lines(self) -> Iterator[tuple[Step, str, int]]:
        """Yield each line with its hash and where it ends; a line that was cut off, or changed, ends it."""
        try:
            with files.open_regular(self.path) as file:
                data = file.read(ROOM * 8)
        except OSError:
            return
        end, previous = 0, None
        for text in data.split(b"\n"):
            try:
                document = json.loads(text)
                found, before = document["hash"], document["previous"]
                intact = found == _hash(before, document["kind"], document["body"]) and previous in {None, before}
                step = decoded(_STEPS[document["kind"]], document["body"])
            except (ValueError, KeyError, TypeError, RecursionError):
                return
            if not intact:
                return
            end, previous = end + len(text) + 1, found
            yield step, found, end


def places(state: Path, registry: Registry) -> tuple[RollbackRecord, RollbackRecord]:
    """Return the file in the state folder, and that beside the pointer for when the first cannot be written."""
    beside = registry.pointer.with_name(f".{registry.pointer.name}.rollback")
    return RollbackRecord(state / NAME), RollbackRecord(beside)


def _line(previous: str, step: Step) -> bytes:
    kind, body = type(step).__name__.lower(), encoded(step)
    document = {"kind": kind, "body": body, "previous": previous, "hash": _hash(previous, kind, body)}
    return json.dumps(document, sort_keys=True).encode() + b"\n"


def _hash(previous: str, kind: str, body: Document) -> str:
    return hashlib.sha256(json.dumps([previous, kind, body], sort_keys=True).encode()).hexdigest()


_STEPS: Mapping[str, type[Step]] = {"known": Known, "intent": Intent, "done": Done}
