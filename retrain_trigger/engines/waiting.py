"""Rows that wait for labels from other files, and ids that were counted: kept beside the ledger, never read again."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb

from retrain_trigger.core.errors import CannotJudgeError, refused
from retrain_trigger.engines import database, sources
from retrain_trigger.engines.counted import Kept
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.sql import text
from retrain_trigger.store import files

FOLDER = "rows"
"""Where rows are kept, below the state folder; they can be counted again, so losing them loses nothing."""

MOST_FILES = 20
"""So many files are kept beside each other; more are put together."""

RECENT = timedelta(days=7)
"""How long ids are kept, and for two windows at least: a retry comes soon, and so does a copy of a file."""

IDS_AT_ONCE = 1 << 20
"""Ids among which is looked for repeated ones at a time: a table of them takes about 50 MB."""

COLUMNS = "file, us, labelled_us, w, own, said, truth, model, exposed, place, id"
"""What is kept of a row; of its id a hash."""


@dataclass(slots=True)
class Waiting:
    """The rows and labels that are kept of a log, while it is counted.

    `store` is where those of earlier counts lie, `target` where those of this one are written, both in FOLDER. `everything` keeps all
    rows, also those without an id.
    """

    connection: duckdb.DuckDBPyConnection
    plan: Plan
    store: Path
    target: Path
    everything: bool = False
    rows: list[Kept] = field(default_factory=list)
    labels: list[Kept] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Say whether rows are kept whole: a label from another file, or an earlier time that is asked for, changes what they come to."""
        return self.everything or self.plan.labels is not None

    def ask(self, query: str) -> list[Any]:
        """Run a query."""
        return self.connection.execute(query).fetchall()

    def known_rows(self, keys: Iterable[str]) -> str | None:
        """Return SQL for the rows that are kept of pieces, None if there are none."""
        return self._relation(self.rows, keys)

    def known_labels(self, keys: Iterable[str]) -> str | None:
        """Return SQL for the labels that are kept of files, None if there are none."""
        return self._relation(self.labels, keys)

    def earlier_rows(self, keys: Iterable[str], known: int) -> str | None:
        """Return SQL for the rows that were known, given how many files of them were; None if there are none."""
        return self._relation(self.rows[:known], keys)

    def new_rows(self, keys: Iterable[str], known: int) -> str | None:
        """Return SQL for the other rows, None if there are none."""
        return self._relation(self.rows[known:], keys)

    def earlier_labels(self, keys: Iterable[str], known: int) -> str | None:
        """Return SQL for the labels that were known, given how many files of them were; None if there are none."""
        return self._relation(self.labels[:known], keys)

    def new_labels(self, keys: Iterable[str], known: int) -> str | None:
        """Return SQL for the other labels, None if there are none."""
        return self._relation(self.labels[known:], keys)

    def add_rows(self, placed: str) -> None:
        """Keep placed rows that have an id: all that a label from another file can change, else their ids."""
        chosen, which = "file, w, model, id", " AND own"
        if self.waits:  # rows from before the champion tell how long labels take
            chosen, which = ", ".join([COLUMNS, *(f"s{n}" for n in range(len(self.plan.slices)))]), ""
        where = f"w IS NOT NULL{which}{'' if self.everything else ' AND id IS NOT NULL'}"
        self.rows.append(self._write(f"SELECT {chosen} FROM {placed} WHERE {where}"))

    def replace_rows(self, placed: str, *, now: datetime) -> None:
        """Keep placed rows in the place of those that were added last."""
        self._remove(self.rows.pop())
        self.add_rows(placed)
        self.forget_old(now=now)

    def is_repeated(self) -> bool:
        """Say whether an id stands in several of the rows that were added last.

        A table of all ids takes more memory than all else: those that leave the same remainder are looked at by themselves.
        """
        rows = f"{self._last_rows}{' WHERE own' if self.waits else ''}"
        parts = self.ask(f"SELECT count(id) FROM {rows}")[0][0] // IDS_AT_ONCE + 1
        query = f"SELECT count(id) > count(DISTINCT id) FROM (SELECT id FROM {rows}) WHERE id % {parts} = "
        return any(self.ask(query + str(part))[0][0] for part in range(parts))

    def is_known(self, known: str) -> bool:
        """Say whether an id of the rows that were added last is among `known` rows of its window."""
        first, last = self.ask(f"SELECT min(w), max(w) FROM {self._last_rows}")[0]
        if first is None:
            return False
        near = f"SELECT id, w, model FROM {known} WHERE w BETWEEN {first} AND {last}"
        same = "s.id = r.id AND s.w = r.w AND s.model IS NOT DISTINCT FROM r.model"
        return bool(self.ask(f"SELECT count(*) FROM {self._last_rows} AS r SEMI JOIN ({near}) AS s ON {same}")[0][0])

    def forget_old(self, *, now: datetime) -> None:
        """Keep only the latest of the ids that were added last; rows that wait for labels are all kept."""
        oldest = self._oldest(now)
        first = None if self.waits or not self.rows else self.ask(f"SELECT min(w) FROM {self._last_rows}")[0][0]
        if first is not None and first < oldest:
            recent = self._write(f"SELECT * FROM {self._last_rows} WHERE w >= {oldest}")
            self._remove(self.rows.pop())
            self.rows.append(recent)

    def add_labels(self, labels: str) -> str:
        """Keep labels, given a query for their file, id, label, time, place and name; return SQL for these."""
        self.labels.append(self._write(labels))
        return self._relation(self.labels[-1:], None) or ""

    def last_label(self) -> int:
        """Return the place of the last label that is kept; 0 if there is none."""
        kept = self._relation(self.labels, None)
        return (self.ask(f"SELECT max(nth) FROM {kept}")[0][0] if kept else 0) or 0

    def put_together(self, live: Sequence[str], truth: Sequence[str], *, now: datetime) -> None:
        """Write many files as one, without the rows and labels of files that are no longer there, and old ids."""
        recent = "" if self.waits else f" WHERE w >= {self._oldest(now)}"
        for kept, keys, which in ((self.rows, live, recent), (self.labels, truth, "")):
            relation = self._relation(kept, keys) if len(kept) > MOST_FILES else None
            if relation is not None:
                kept[:] = [self._write(f"SELECT * FROM {relation}{which}")]

    @property
    def _last_rows(self) -> str:
        """SQL for the rows that were added last."""
        return self._relation(self.rows[-1:], None) or ""

    def _oldest(self, now: datetime) -> int:
        """Return the first window whose ids are kept for those that carry them again."""
        return min(self.plan.number(now - RECENT), self.plan.number(now) - 2)

    def is_whole(self) -> bool:
        """Say whether all that is kept is there."""
        sizes = ((self._path(each), each.size) for each in (*self.rows, *self.labels))
        return all(path.is_file() and path.stat().st_size == size for path, size in sizes)

    def _relation(self, kept: Sequence[Kept], keys: Iterable[str] | None) -> str | None:
        """Return SQL for what is kept of the files with these keys, None: of all."""
        listed = "" if keys is None else ", ".join(text(key) for key in keys)
        if not kept or not (listed or keys is None):
            return None
        which = "" if keys is None else f" WHERE file IN ({listed})"
        paths = ", ".join(text(sources.literal(str(self._path(each)))) for each in kept)
        return f"(SELECT * FROM read_parquet([{paths}]){which})"

    def _path(self, kept: Kept) -> Path:
        own = self.target / FOLDER / kept.name
        return own if own.exists() else self.store / FOLDER / kept.name

    def _remove(self, kept: Kept) -> None:
        files.remove(self._path(kept))

    def _write(self, query: str) -> Kept:
        """Write what a query answers as Parquet, whole or not at all. Raises CannotJudgeError if that is refused."""
        path = self.target / FOLDER / f"{uuid4().hex}.parquet"
        try:
            files.make_folder(path.parent, mode=0o700)
            self._write_whole(query, path)
        except OSError as error:
            raise CannotJudgeError(f"what a later run needs of the rows cannot be kept: {refused(error)}") from error
        return Kept(name=path.name, size=path.stat().st_size)

    def _write_whole(self, query: str, path: Path) -> None:
        beside = path.with_suffix(".tmp")
        try:
            with database.writing(beside):
                self.connection.execute(f"COPY ({query}) TO {text(str(beside))} (FORMAT parquet)")
            files.sync(beside)
            files.publish(beside, path)
        except BaseException:
            with suppress(OSError):
                files.remove(beside)
            raise


def clear(folder: Path, kept: Sequence[Kept]) -> None:
    """Remove what no count refers to any more."""
    names = {each.name for each in kept}
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.name not in names:
            files.remove(path)
