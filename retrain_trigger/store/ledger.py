"""The ledger: every decision and every effect, in SQLite, durable before the effect, chained by hashes."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from retrain_trigger.core.entries import Entry, Kind, entry
from retrain_trigger.core.errors import BusyError, LedgerError, RetrainCheckError
from retrain_trigger.core.events import Event
from retrain_trigger.core.records import Document, Json
from retrain_trigger.store import files, holders

VERSION = 3
_ENTRIES = (
    """
    CREATE TABLE entry (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        run TEXT NOT NULL,
        kind TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX entry_kind ON entry (kind)",
)
_COUNTED = (
    """
    CREATE TABLE counted (
        plan TEXT NOT NULL,
        source TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (plan, source)
    ) STRICT
    """,
)
_CHAINED = ("ALTER TABLE entry ADD COLUMN hash TEXT NOT NULL DEFAULT ''",)
_MIGRATIONS = (_ENTRIES, _COUNTED, _CHAINED)
_CHAIN_SINCE = 3
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PATIENCE = 10.0
"""Seconds that another program's hold on the ledger is waited for."""
RECENT = 1000
"""How many of the newest entries each tick holds against the chain, about 20 ms of work; older decisions it does not read."""
_ROWS = "SELECT seq, at, run, kind, body, hash, (SELECT hash FROM entry AS p WHERE p.seq = e.seq - 1) FROM entry AS e"


Row = tuple[Any, ...]
"""A row of a table, or the values of a query."""


class Ledger:
    """An open ledger. Writing: `with Ledger.writing(path) as ledger`. Asking: `with Ledger.reading(path) as ledger`.

    One that is open for questions can be appended to, too: it remembers the entry until it is closed, and writes nothing.
    """

    __slots__ = ("_asking", "_chained", "_connection", "_supposed")

    def __init__(self, connection: sqlite3.Connection, *, asking: bool, chained: bool = True) -> None:
        self._connection, self._asking, self._chained = connection, asking, chained
        self._supposed: list[Entry[Event]] = []

    @property
    def asks(self) -> bool:
        """Say whether it is open for questions only: nothing may be written."""
        return self._asking

    @classmethod
    @contextmanager
    def writing(cls, path: Path) -> Iterator["Ledger"]:
        """Open for appending, creating and migrating if needed; raises PromotionError when it is damaged."""
        if not _is_there(path):
            _create(path)
        with _opened(path, f"{path.as_uri()}?mode=rw") as connection:
            _be_durable(connection)
            _migrate(connection, _version(connection, path))
            # A killed run may have ended its transaction, and not made that durable: what is read here is relied on.
            files.sync_folder(path.parent)
            yield cls(connection, asking=False)

    @classmethod
    @contextmanager
    def reading(cls, path: Path) -> Iterator["Ledger"]:
        """Open for questions; a ledger that does not exist yet is empty, and none is created.

        Not `mode=ro`: SQLite could then not roll back what a killed run had begun, and would not answer.
        """
        exists = _is_there(path)
        with (
            _answering(path) as there,
            _opened(path, f"{there.as_uri()}?mode=rw" if exists else "file::memory:") as connection,
        ):
            if not exists:
                _migrate(connection, 0)
            version = _version(connection, path)
            connection.execute("PRAGMA query_only=ON")
            yield cls(connection, asking=True, chained=version >= _CHAIN_SINCE)

    def append(self, event: Event, *, at: datetime, run: str) -> None:
        """Write one entry; when this returns it survives a power loss."""
        written = entry(event, at=at.astimezone(UTC), run=run)
        body = json.dumps(written.body, sort_keys=True, allow_nan=False)
        if self._asking:
            self._supposed.append(written)
            return
        row = (written.at.isoformat(), run, written.kind.value, body)
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            last = self._connection.execute("SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
            seq, previous = (last[0] + 1, last[1]) if last else (1, "")
            self._connection.execute(
                "INSERT INTO entry (seq, at, run, kind, body, hash) VALUES (?, ?, ?, ?, ?, ?)",
                (seq, *row, chained(previous, (seq, *row))),
            )

    def effects(self) -> list[Entry[Event]]:
        """Return what memory is folded from, oldest first: all entries but decisions, and the last decision.

        Ticks that only decided are most of a ledger; leaving them unread keeps a tick's cost from growing with age.
        Each entry read and the newest RECENT are held against their hashes, and none may be missing; `verified` looks
        at the older ones, too. Raises PromotionError.
        """
        if self._chained:
            self._count()
            self._follow("WHERE seq > (SELECT max(seq) FROM entry) - ?", (RECENT,))
        found = self._entries(
            "WHERE kind <> 'decided' OR seq = (SELECT max(seq) FROM entry WHERE kind = 'decided') ORDER BY seq",
            intact=self._chained,
        )
        return [*found, *self._supposed]

    def entries(self, *, run: str | None = None) -> list[Entry[Event]]:
        """Return all entries, or those of one run, oldest first."""
        found = self._entries("WHERE ? IS NULL OR run = ? ORDER BY seq", (run, run))
        return [*found, *(each for each in self._supposed if run in {None, each.run})]

    def verified(self) -> tuple[int, str]:
        """Hold every entry against the chain; return how many there are, and the newest one's hash, empty if none has.

        Raises PromotionError, naming the first entry that is not what was written, or where entries are missing.
        Nothing in the file can show that the whole of it was exchanged for an older copy: who wants to know keeps the
        newest hash elsewhere. (If a promotion is lost with it, the pointer no longer fits and `run` stops.)
        """
        if not self._chained:  # written by an earlier version: the next run adds the hashes
            self._entries("")
            return self._count(), ""
        newest = self._follow("")
        return self._count(), newest

    def counted(self, plan: str) -> dict[str, Json]:
        """Return what was counted under a plan, by source; nothing if an older ledger has no place for it yet."""
        try:
            rows = self._connection.execute("SELECT source, body FROM counted WHERE plan = ?", (plan,)).fetchall()
        except sqlite3.OperationalError:
            return {}
        return {source: json.loads(body) for source, body in rows}

    def keep_counted(self, plan: str, pieces: Document) -> None:
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

    def _entries(self, where: str, values: Row = (), *, intact: bool = False) -> list[Entry[Event]]:
        chain = _ROWS if intact else "SELECT seq, at, run, kind, body FROM entry"
        found: list[Entry[Event]] = []
        for seq, at, run, kind, body, *hashes in self._connection.execute(f"{chain} {where}", values):
            if intact:
                _check((seq, at, run, kind, body), *hashes)
            try:
                found.append(Entry(seq, datetime.fromisoformat(at), run, Kind(kind), _object(body)))
            except ValueError as error:
                raise sqlite3.DatabaseError(f"entry {seq} cannot be read: {error}") from error
        return found

    def _follow(self, where: str, values: Row = ()) -> str:
        """Hold entries against their hashes, oldest first; return the newest one's, empty if there is none."""
        newest = ""
        for *row, newest, previous in self._connection.execute(f"{_ROWS} {where} ORDER BY seq", values):
            _check(tuple(row), newest, previous)
        return newest

    def _count(self) -> int:
        """Return the number of entries; raises where some are missing, also the newest (SQLite remembers their number)."""
        there, last = self._connection.execute("SELECT count(*), coalesce(max(seq), 0) FROM entry").fetchone()
        given = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'").fetchone()
        if there != max(last, given[0] if given else 0):
            raise sqlite3.DatabaseError(
                f"it has {there} entries, and {max(last, given[0] if given else 0)} were written"
            )
        return int(there)


def chained(previous: str, row: tuple[int, str, str, str, str]) -> str:
    """Return an entry's hash, over the hash before it and its own fields: none changes without all that follow.

    >>> first = chained("", (1, "2026-01-05T06:00:00+00:00", "run", "kept", "{}"))
    >>> first[:8], chained(first, (2, "2026-01-06T06:00:00+00:00", "run", "kept", "{}"))[:8]
    ('7e0fae13', '0fab1e53')
    """
    return hashlib.sha256(json.dumps([previous, *row]).encode()).hexdigest()


def _check(row: Row, found: str, previous: str | None) -> None:
    seq = row[0]
    if previous is None and seq > 1:
        raise sqlite3.DatabaseError(f"the entry before entry {seq} is missing")
    if chained(previous or "", row) != found:
        raise sqlite3.DatabaseError(f"entry {seq} is not what was written: it, or one before it, was changed")


def _object(body: str) -> dict[str, Json]:
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  (as json.loads says what is no JSON)
    return document


def _is_there(path: Path) -> bool:
    """Say whether there is a ledger; a link that leads nowhere is one that cannot be reached now, not a missing one.

    Raises OSError if nobody can say.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        if path.parent.is_symlink() and not path.parent.exists():
            raise
        return False
    return True


def _create(path: Path) -> None:
    """Make a new ledger beside its place and put it there whole: a file without tables is then never ours."""
    beside = path.with_name(f".{path.name}.tmp")
    for leftover in (beside, beside.with_name(f"{beside.name}-journal")):
        files.remove(leftover)
    files.create(beside).close()
    with _opened(path, f"{beside.as_uri()}?mode=rw") as connection:
        _be_durable(connection)
        _migrate(connection, 0)
    files.publish(beside, path)


def _be_durable(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA synchronous=EXTRA")


@contextmanager
def _answering(path: Path) -> Iterator[Path]:
    """Yield where a question reads: a copy where a run was cut off and its disk has become read-only since.

    What that run had begun can then not be rolled back in its place, and nobody writes there.
    """
    journal = path.with_name(f"{path.name}-journal")
    if not journal.exists() or not os.statvfs(path.parent).f_flag & os.ST_RDONLY:
        yield path
        return
    with TemporaryDirectory(prefix="retrain-check-") as folder:
        for each in (path, journal):
            files.copy_hashing(each, Path(folder, each.name), mode=0o600)
        yield Path(folder, path.name)


@contextmanager
def _opened(path: Path, uri: str) -> Iterator[sqlite3.Connection]:
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=_PATIENCE)
        try:
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise _translated(error, path) from error


def _translated(error: sqlite3.Error, path: Path) -> RetrainCheckError:
    """Say what was wrong with the ledger, and what to do; only what is damaged is called so."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        seen = ", ".join(f"process {pid}" for pid in sorted(holders.of_file(path) - {os.getpid()}))
        return BusyError(
            f"the ledger {path} is held by another program ({seen or 'one that cannot be seen'}): {error}, for longer "
            f"than {_PATIENCE:.0f} s. Let it end, or end it; what this run had begun, the next one finishes or gives up"
        )
    if code in _REMEDIES:
        return LedgerError(
            f"the ledger {path} cannot be used now: {error}. {_REMEDIES[code].format(owner=_owner(path))}; what this "
            f"run had begun, the next one finishes or gives up"
        )
    return LedgerError(
        f"the ledger {path} cannot be used: {error}; nothing was trained or promoted. Keep a copy of it, then restore it "
        f"from a backup or move it away"
    )


def _owner(path: Path) -> str:
    """Return who owns the ledger, or the folder that it should be in."""
    try:
        return (path if path.exists() else path.parent).owner()
    except (OSError, KeyError):
        return "the user"


_PERMISSIONS = "Run this as {owner}, who owns it, or let this user write to it and to its folder"
_REMEDIES: Final = {
    sqlite3.SQLITE_FULL: "Make room on its disk",
    sqlite3.SQLITE_IOERR: "Look after its disk, and make room on it",
    sqlite3.SQLITE_READONLY: _PERMISSIONS,
    sqlite3.SQLITE_PERM: _PERMISSIONS,
    sqlite3.SQLITE_CANTOPEN: f"Mount its disk if it is missing. {_PERMISSIONS}",
}
"""What to do where the file is sound, as far as can be seen, by SQLite's code."""


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the tables. Raises PromotionError for a newer one, and if there are none."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise LedgerError(f"the ledger {path} was written by a newer retrain-check; upgrade this one")
    if version == 0:
        raise sqlite3.DatabaseError("it has no tables")
    return version


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables to VERSION in one transaction; entries from before the chain are chained as they are."""
    if version == VERSION:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in (statement for step in _MIGRATIONS[version:] for statement in step):
            connection.execute(statement)
        if version < _CHAIN_SINCE:
            _chain(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _chain(connection: sqlite3.Connection) -> None:
    previous = ""
    for row in connection.execute("SELECT seq, at, run, kind, body FROM entry ORDER BY seq").fetchall():
        previous = chained(previous, row)
        connection.execute("UPDATE entry SET hash = ? WHERE seq = ?", (previous, row[0]))
