"""Labels that arrive later in files of their own: what came since the last count, and which rows wait for them."""

import base64
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from retrain_trigger.world import parts, tables
from retrain_trigger.world.parts import Span
from retrain_trigger.world.tables import FileState, hashed, quoted

MOST_WAITING = 100_000
"""Rows without label whose ids are kept for one part of a log, 8 bytes each; where more wait, any new label may be theirs."""


@dataclass(frozen=True, slots=True)
class News:
    """The labels that came since the last count, by hash of their id, and the type of the id.

    `anything` says that no more is known: files of labels were rewritten, or labels that had come were corrected.
    """

    ids: frozenset[int] = frozenset()
    kind: str = ""
    anything: bool = False

    def touches(self, waiting: str | None, kind: str) -> bool:
        """Say whether a label may be of rows that `waiting` names (see `packed`)."""
        if self.anything or (self.ids and (waiting is None or kind != self.kind)):
            return True
        return bool(self.ids) and not self.ids.isdisjoint(_unpacked(waiting or ""))


def states(labels: Sequence[FileState]) -> list[list[Any]]:
    """Return files of labels as JSON: their state, and of text how far whole lines go, with the fingerprint of those."""
    return [[file.to_json(), *_end(file)] for file in labels]


def news(
    connection: duckdb.DuckDBPyConnection,
    before: Sequence[Sequence[Any]],
    labels: Sequence[FileState],
    *,
    columns: Mapping[str, str],
    scratch: Path | None,
) -> News:
    """Make the table `labels` of all labels, and say what came since `before`, an earlier result of `states`."""
    if [state for state, *_ in before] == [file.to_json() for file in labels]:
        return News()
    tables.load_labels(connection, labels, columns=columns, key="logs.labels")
    added = _added(before, labels)
    if added is None:
        return News(anything=True)
    name, own = columns["id"], tables.name_in_labels(columns, "id")
    kind = tables.types_of(connection, "labels")[name]
    connection.execute(f"CREATE OR REPLACE TABLE fresh AS SELECT {quoted(name)} AS id FROM labels LIMIT 0")
    for file, start in added:
        if not _take(connection, file, start, own, kind, scratch=scratch):
            return News(anything=True)
    corrected = connection.execute(
        f"SELECT 1 FROM (SELECT id, count(*) AS n FROM fresh GROUP BY ALL) AS f JOIN (SELECT {quoted(name)} AS id, "
        f"count(*) AS n FROM labels WHERE {quoted(name)} IN (SELECT id FROM fresh) GROUP BY ALL) AS a ON a.id = f.id "
        "WHERE a.n > f.n LIMIT 1"
    ).fetchone()
    hashes = connection.execute(f"SELECT DISTINCT {hashed('id')} FROM fresh WHERE id IS NOT NULL").fetchall()
    return News(frozenset(number for (number,) in hashes), kind, anything=corrected is not None)


def packed(hashes: Iterable[int]) -> str:
    """Write hashes as text.

    >>> packed([1, 2]), sorted(_unpacked(packed([1, 2])))
    ('AQAAAAAAAAACAAAAAAAAAA==', [1, 2])
    """
    numbers = array("Q", hashes)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def _unpacked(text: str) -> "array[int]":
    numbers = array("Q", base64.b64decode(text))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _added(before: Sequence[Sequence[Any]], labels: Sequence[FileState]) -> list[tuple[FileState, int]] | None:
    """Return files that are new or have grown, with the offset from which; None where one was rewritten or is gone."""
    old = {state[0]: (state, end, mark) for state, end, mark in before}
    if not old.keys() <= {file.path for file in labels}:
        return None
    found = []
    for file in labels:
        state, end, mark = old.get(file.path, (None, 0, ""))
        if state == file.to_json():
            continue
        if state and not (parts.is_text(file) and parts.goes_on(state, file, [(Span(0, end), mark)])):
            return None
        found.append((file, end))
    return found


def _take(
    connection: duckdb.DuckDBPyConnection, file: FileState, start: int, name: str, kind: str, *, scratch: Path | None
) -> bool:
    """Add the ids from an offset on to the table `fresh`; False where they are of another type than the others."""
    if not parts.is_text(file):
        return _insert(connection, file, name, kind)
    for span, data in parts.spans(file, start, file.size):
        with parts.readable(file, span, data, scratch=scratch) as part:
            if not _insert(connection, part, name, kind):
                return False
    return True


def _insert(connection: duckdb.DuckDBPyConnection, file: FileState, name: str, kind: str) -> bool:
    tables.create_view(connection, "arrived", [file], as_written=True)
    if tables.types_of(connection, "arrived").get(name) != kind:
        return False
    connection.execute(f"INSERT INTO fresh SELECT {quoted(name)} FROM arrived")
    return True


def _end(file: FileState) -> tuple[int, str]:
    if not parts.is_text(file):
        return file.size, ""
    end = parts.last_line(file)
    return end, parts.fingerprint(file.path, Span(0, end))
