"""The small file beside the ledger that a rollback is written to where the ledger cannot be: chained, its room reserved.

One JSON object a line, each with a hash over itself and the line before, then newlines up to ROOM: a full disk takes one
more line. The first line says which champions there were; an intent follows before the pointer moves, its outcome after.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain_trigger.world import files
from retrain_trigger.world.registry import Registry

NAME = "rollback.jsonl"
"""Of the file in the state folder."""
ROOM = 1 << 15
"""Bytes that are reserved: about thirty rollbacks in a row without the ledger."""
KNOWN = 16
"""How many of the latest champions are remembered."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line: `known` (pointers, quarantined), `intent` (pointer, origin, because, from, at), or `done`."""

    kind: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RollbackRecord:
    """The file, where the state folder is, or beside the pointer where the state folder cannot be written to."""

    path: Path

    def steps(self) -> list[Step]:
        """Return the lines that are what was written, oldest first; nothing where there is no such file."""
        return [step for step, _, _ in self._lines()]

    def append(self, kind: str, body: Mapping[str, Any]) -> None:
        """Write one line into the reserved room, durable when this returns. Raises OSError."""
        lines = list(self._lines())
        previous, end = (lines[-1][1], lines[-1][2]) if lines else ("", 0)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            line = _line(previous, kind, body)
            if os.pwrite(descriptor, line, end) != len(line):
                raise OSError(f"{self.path} could not be written whole")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        files.sync_folder(self.path.parent)

    def begin_anew(self, pointers: Iterable[Mapping[str, Any]], quarantined: Iterable[str]) -> None:
        """Forget what the ledger has by now, remember the champions, and reserve the room. Raises OSError."""
        lines = list(self._lines())
        known = {"pointers": [dict(pointer) for pointer in pointers][-KNOWN:], "quarantined": sorted(quarantined)}
        line = _line(lines[-1][1] if lines else "", "known", known)
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
                found, step = document["hash"], Step(document["kind"], document["body"])
                before = document["previous"]
                intact = found == _hash(before, step.kind, step.body) and previous in {None, before}
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


def _line(previous: str, kind: str, body: Mapping[str, Any]) -> bytes:
    document = {"kind": kind, "body": body, "previous": previous, "hash": _hash(previous, kind, body)}
    return json.dumps(document, sort_keys=True).encode() + b"\n"


def _hash(previous: str, kind: str, body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([previous, kind, body], sort_keys=True).encode()).hexdigest()
