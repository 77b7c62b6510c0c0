"""Rows that wait for labels from other files, and ids that were counted: kept beside the ledger, never read again."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import duckdb

from retrain_trigger.counts.words import NOTHING
from retrain_trigger.engines import sources, spelled
from retrain_trigger.engines.counted import Kept
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.spelled import Readable
from retrain_trigger.engines.sql import text
from retrain_trigger.errors import DataError
from retrain_trigger.world import files

FOLDER = "rows"
"""Where rows are kept, below the state folder; they can be counted again, so losing them loses nothing."""

MOST_FILES = 20
"""So many files are kept beside each other; more are put together."""

RECENT = timedelta(days=7)
"""How long ids are kept, and for two windows at least: a retry comes soon, and so does a copy of a file."""

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

    def known_rows(self, keys: Iterable[str]) -> str | None:
        """Return SQL for the rows that are kept of pieces, None if there are none."""
        return self._relation(self.rows, keys)

    def known_labels(self, keys: Iterable[str]) -> str | None:
        """Return SQL for the labels that are kept of files, None if there are none."""
        return self._relation(self.labels, keys)

    def new_labels(self, keys: Iterable[str], known: int) -> str | None:
        """Return SQL for the labels that are new, given how many files of them were known; None if there are none."""
        return self._relation(self.labels[known:], keys)

    def add_rows(self, placed: str, *, now: datetime) -> None:
        """Keep placed rows that have an id: all that a label from another file can change, else the latest ids."""
        chosen, which = "file, w, model, id", f" AND own AND w >= {self._oldest(now)}"
        if self.everything or self.plan.labels is not None:  # rows from before the champion tell how long labels take
            chosen, which = ", ".join([COLUMNS, *(f"s{n}" for n in range(len(self.plan.slices)))]), ""
        where = f"w IS NOT NULL{which}{'' if self.everything else ' AND id IS NOT NULL'}"
        self.rows.append(self._write(f"SELECT {chosen} FROM {placed} WHERE {where}"))

    def add_labels(self, labels: Sequence[tuple[str, Readable]], setting: str) -> None:
        """Keep labels: pairs of the key of their file and what to read. Raises DataError if a column is missing."""
        keys = {each.path: key for key, each in labels}
        own = {role: self.plan.columns.get(f"labels.{role}", self.plan.columns[role]) for role in _ROLES}
        plan = replace(self.plan, columns={**self.plan.columns, **own}, bins={}, slices=())
        before = self._relation(self.labels, None)
        (last,) = self.connection.execute(f"SELECT max(nth) FROM {before}").fetchall()[0] if before else (0,)
        order = ((last or 0) >> 40) + 1 << 40  # what comes later counts, also after files were put together
        for group in spelled.groups(self.connection, [each for _, each in labels], plan):
            for role in ("id", "label"):
                if not group.holds(own[role]):
                    raise DataError(
                        f"column {own[role]!r} ({role}) is missing in {setting}; it has {', '.join(group.seen())}. "
                        f"Name it in logs.label_columns.{role}"
                    )
            found = group.rows(plan)
            arrived = found.roles.get("labelled", "CAST(NULL AS TIMESTAMPTZ)")
            source = "[" + ", ".join(text(keys[each.path]) for each in group.files) + "]"
            query = (
                f"SELECT {source}[{found.file} + 1] AS file, hash({found.roles['id']}) AS id, {found.roles['truth']} AS label, "
                f"epoch_us({arrived}) AS labelled_us, {order} + row_number() OVER () AS nth, {found.roles['id']} AS name "
                f"FROM {found.relation}"
            )
            nothing = ", ".join(text(word) for word in sorted(NOTHING))
            given = f"name IS NOT NULL AND label IS NOT NULL AND lower(trim(label)) NOT IN ({nothing})"
            self.labels.append(self._write(f"SELECT * FROM ({query}) WHERE {given}"))
            group.check_lines(self.connection, setting)

    def put_together(self, live: Sequence[str], truth: Sequence[str], *, now: datetime) -> None:
        """Write many files as one, without the rows and labels of files that are no longer there, and old ids."""
        recent = "" if self.everything or self.plan.labels is not None else f" WHERE w >= {self._oldest(now)}"
        for kept, keys, which in ((self.rows, live, recent), (self.labels, truth, "")):
            relation = self._relation(kept, keys) if len(kept) > MOST_FILES else None
            if relation is not None:
                kept[:] = [self._write(f"SELECT * FROM {relation}{which}")]

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

    def _write(self, query: str) -> Kept:
        """Write what a query answers as Parquet, whole or not at all."""
        files.make_folder(self.target / FOLDER, mode=0o700)
        path = self.target / FOLDER / f"{uuid4().hex}.parquet"
        beside = path.with_suffix(".tmp")
        try:
            self.connection.execute(f"COPY ({query}) TO {text(str(beside))} (FORMAT parquet)")
            files.sync(beside)
            files.publish(beside, path)
        except BaseException:
            with suppress(OSError):
                files.remove(beside)
            raise
        return Kept(name=path.name, size=path.stat().st_size)


def clear(folder: Path, kept: Sequence[Kept]) -> None:
    """Remove what no count refers to any more."""
    names = {each.name for each in kept}
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.name not in names:
            files.remove(path)


_ROLES = ("id", "label", "labelled_at")
