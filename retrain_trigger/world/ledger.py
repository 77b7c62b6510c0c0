"""The ledger: every decision and every effect, in SQLite, durable before the effect."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retrain_trigger.entries import Entry, Kind
from retrain_trigger.errors import PromotionError

VERSION = 2
_ENTRIES = """
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    run TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX entry_kind ON entry (kind);
"""
_COUNTED = """
CREATE TABLE counted (
    plan TEXT NOT NULL,
    source TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (plan, source)
) STRICT;
"""
_MIGRATIONS = (_ENTRIES, _COUNTED)


class Ledger:
    """An open ledger. Writing: `with Ledger.writing(path) as ledger`. Asking: `with Ledger.reading(path) as ledger`."""

    __slots__ = ("_asking", "_connection")

    def __init__(self, connection: sqlite3.Connection, *, asking: bool) -> None:
        self._connection, self._asking = connection, asking

    @classmethod
    @contextmanager
    def writing(cls, path: Path) -> Iterator["Ledger"]:
        """Open for appending, creating and migrating where needed; raises PromotionError when it is damaged."""
        with _opened(path, f"{path.as_uri()}?mode=rwc") as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("PRAGMA synchronous=EXTRA")
            _migrate(connection, path)
            yield cls(connection, asking=False)

    @classmethod
    @contextmanager
    def reading(cls, path: Path) -> Iterator["Ledger"]:
        """Open for questions; a ledger that does not exist yet is empty, and none is created.

        Not `mode=ro`: SQLite could then not roll back what a killed run had begun, and would not answer.
        """
        uri = f"{path.as_uri()}?mode=rw" if path.exists() else "file::memory:"
        with _opened(path, uri) as connection, _opened(path, "file::memory:") as empty:
            made = _version(connection, path) > 0
            empty.executescript("".join(_MIGRATIONS))
            connection.execute("PRAGMA query_only=ON")
            yield cls(connection if made else empty, asking=True)

    def append(self, kind: Kind, *, at: datetime, run: str, body: Mapping[str, Any]) -> None:
        """Write one entry; when this returns it survives a power loss."""
        row = (at.astimezone(UTC).isoformat(), run, kind.value, json.dumps(body, sort_keys=True, allow_nan=False))
        with self._connection:
            self._connection.execute("INSERT INTO entry (at, run, kind, body) VALUES (?, ?, ?, ?)", row)

    def effects(self) -> list[Entry]:
        """Return what memory is folded from, oldest first: all entries but decisions, and the last decision.

        Ticks that only decided are most of a ledger; leaving them unread keeps a tick's cost from growing with age.
        """
        return self._entries(
            "WHERE kind <> 'decided' OR seq = (SELECT max(seq) FROM entry WHERE kind = 'decided') ORDER BY seq"
        )

    def entries(self, *, run: str | None = None) -> list[Entry]:
        """Return all entries, or those of one run, oldest first."""
        return self._entries("WHERE ? IS NULL OR run = ? ORDER BY seq", (run, run))

    def counted(self, plan: str) -> dict[str, Any]:
        """Return what was counted under a plan, by source; nothing where an older ledger has no place for it yet."""
        try:
            rows = self._connection.execute("SELECT source, body FROM counted WHERE plan = ?", (plan,)).fetchall()
        except sqlite3.OperationalError:
            return {}
        return {source: json.loads(body) for source, body in rows}

    def keep_counted(self, plan: str, pieces: Mapping[str, Any]) -> None:
        """Keep what was counted in the place of all that was under other plans; a ledger open for questions does not.

        It can be counted again, so losing it loses nothing.
        """
        if self._asking:
            return
        rows = [(plan, source, json.dumps(body)) for source, body in pieces.items()]
        with self._connection:
            self._connection.execute(
                "DELETE FROM counted WHERE plan = ? OR plan <> 'reference' AND ? <> 'reference'", (plan, plan)
            )
            self._connection.executemany("INSERT INTO counted (plan, source, body) VALUES (?, ?, ?)", rows)

    def _entries(self, where: str, values: tuple[Any, ...] = ()) -> list[Entry]:
        rows = self._connection.execute(f"SELECT seq, at, run, kind, body FROM entry {where}", values)
        try:
            return [
                Entry(seq, datetime.fromisoformat(at), run, Kind(kind), json.loads(body))
                for seq, at, run, kind, body in rows
            ]
        except ValueError as error:
            raise sqlite3.DatabaseError(str(error)) from error


@contextmanager
def _opened(path: Path, uri: str) -> Iterator[sqlite3.Connection]:
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=10)
        try:
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise PromotionError(
            f"the ledger {path} cannot be used: {error}; nothing was trained or promoted. Keep a copy of it, then "
            f"restore it from a backup or move it away"
        ) from error


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the tables, 0 where there are none yet. Raises PromotionError for a newer one."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise PromotionError(f"the ledger {path} was written by a newer retrain-check; upgrade this one")
    return version


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection, path)
    if version < VERSION:
        missing = "".join(_MIGRATIONS[version:])
        connection.executescript(f"BEGIN IMMEDIATE; {missing} PRAGMA user_version = {VERSION}; COMMIT;")
