"""Lines of a log that are spelled alike, as they are counted: by few queries, however many files they are from."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from retrain_trigger.core.errors import DataError
from retrain_trigger.counts.histograms import Bins
from retrain_trigger.counts.tally import Tally
from retrain_trigger.engines import delays, json_lines, parts, portable, spoilt, tables
from retrain_trigger.engines.counted import Piece
from retrain_trigger.engines.growth import ANY
from retrain_trigger.engines.plan import Plan, micros
from retrain_trigger.engines.portable import DUCKDB, File
from retrain_trigger.engines.portions import Portion
from retrain_trigger.engines.spelled import Group
from retrain_trigger.engines.sql import text
from retrain_trigger.engines.times import NEVER
from retrain_trigger.engines.waiting import Waiting

MOST_MODELS = 100
"""Names of models of a file that are kept."""


@dataclass(frozen=True, slots=True)
class _Ends:
    """What a portion comes to as a whole: its lines, those that are no rows, and of the others how many have what."""

    lines: int = 0
    blank: int = 0
    first: int | None = None
    last: int | None = None
    timed: int = 0
    answered: int = 0
    late: int = 0
    labels: int = 0
    some_id: str | None = None

    @property
    def rows(self) -> int:
        """Number of lines that are rows."""
        return self.lines - self.blank


@dataclass(frozen=True, slots=True)
class _Found:
    """What the queries of a batch found, by the number of the portion; `rejected` lines by path."""

    rejected: Mapping[str, Sequence[int]]
    ends: Mapping[File, _Ends]
    repeated: Mapping[File, int]
    tallies: Mapping[File, Tally]
    models: Mapping[File, tuple[str, ...]] = field(default_factory=dict)
    delays: Mapping[File, tuple[tuple[float, int], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Portions of a log that are spelled alike; `key_of` says under which key one is kept, given its first time."""

    group: Group
    portions: Sequence[Portion]
    waiting: Waiting
    now: datetime
    key_of: Callable[[Portion, int | None], str]

    def pieces(self, live: Collection[str]) -> list[Piece]:
        """Count each portion; `live` are the keys of the pieces whose rows are counted already."""
        self._check_columns()
        found = self._found(live)
        keyed = [
            replace(portion, key=self.key_of(portion, found.ends.get(n, _Ends()).first))
            for n, portion in enumerate(self.portions)
        ]
        pieces = [self._piece(n, portion, found) for n, portion in enumerate(keyed)]
        if self._has_ids or self.waiting.everything:
            self.waiting.add_rows(_keyed(keyed), now=self.now)
        return pieces

    @property
    def _plan(self) -> Plan:
        return self.waiting.plan

    @property
    def _has_ids(self) -> bool:
        return self.group.has(self._plan.columns["id"])

    def _check_columns(self) -> None:
        for role in ("timestamp", "prediction", *(("id",) if self._plan.labels else ())):
            name = self._plan.columns[role]
            if not self.group.has(name):
                path = self.portions[0].file.path
                raise DataError(f"{path}: {tables.missing(name, role, self.group.columns)}")

    def _found(self, live: Collection[str]) -> _Found:
        """Make `spelled`, all lines, and `placed`, the rows that count, and count these."""
        rows = self.group.rows(self._plan)
        kind = "VIEW" if self.group.kind == "parquet" else "TABLE"
        self._execute(f"CREATE OR REPLACE TEMP {kind} spelled AS {portable.placed(DUCKDB, self._plan, rows)}")
        return _Found(
            rejected=self.group.rejected(self.waiting.connection),
            ends={file: _Ends(*found) for file, *found in self._ask(_ENDS.format(now=micros(self.now)))},
            repeated=self._once(live),
            tallies=self._tallies({name: self._plan.bins[name] for name in rows.features}),
            models=self._models() if "model" in rows.roles else {},
            delays=self._delays() if "labelled" in rows.roles else {},
        )

    def _once(self, live: Collection[str]) -> dict[File, int]:
        """Make `placed`: each id once in a window. Return how many rows are left out."""
        query, again = "SELECT * FROM spelled WHERE NOT blank", 0
        if self._has_ids:
            # Hashes take a fraction of the memory of texts; two ids with one hash cost the longer way, no row.
            every, rows, hashes = self._ask(
                "SELECT count(*), count(id), count(DISTINCT hash(id)) FROM spelled WHERE own"
            )[0]
            ids = hashes - (every > rows)  # rows without an id have a hash as well, all the same
            query, again = (portable.once(DUCKDB, query), rows - ids) if rows != ids else (query, 0)
            known = self.waiting.known_rows(live)
            if known is not None:
                same = "s.id = hash(r.id) AND s.w = r.w AND s.model IS NOT DISTINCT FROM r.model"
                found = self._ask(f"SELECT count(*) FROM ({query}) AS r SEMI JOIN {known} AS s ON {same}")[0][0]
                query = f"SELECT r.* FROM ({query}) AS r ANTI JOIN {known} AS s ON {same}" if found else query
                again += found
        # Rows that are counted once each are found once, and not by each query anew.
        self._execute("DROP VIEW IF EXISTS placed")
        self._execute("DROP TABLE IF EXISTS once")
        if not again:
            self._execute(f"CREATE TEMP VIEW placed AS {query}")
            return {}
        self._execute(f"CREATE TEMP TABLE once AS {query}")
        self._execute("CREATE TEMP VIEW placed AS SELECT * FROM once")
        counted = dict(self._ask("SELECT file, count(*) FROM placed GROUP BY file"))
        every = self._ask("SELECT file, count(*) FROM spelled WHERE NOT blank GROUP BY file")
        return {file: n - counted.get(file, 0) for file, n in every}

    def _tallies(self, bins: Mapping[str, Bins]) -> dict[File, Tally]:
        """Count the placed rows; with labels from other files, only those that have no id by their words."""
        timed = "SELECT * FROM placed WHERE w IS NOT NULL"
        if not self.waiting.waits:
            relation = portable.known(timed, None, now=self.now)
            return portable.tallies(self._ask, DUCKDB, relation, bins=bins, slices=self._plan.slices)
        alone = portable.known(f"{timed} AND id IS NULL AND NOT {self.waiting.everything}", None, now=self.now)
        found = portable.cells(self._ask, DUCKDB, alone, slices=self._plan.slices)
        where = portable.places(self._ask, timed)
        for file, each in portable.histograms(self._ask, DUCKDB, timed, bins, where=where).items():
            found[file] = replace(found.get(file, Tally()), histograms=each)
        return found

    def _models(self) -> dict[File, tuple[str, ...]]:
        """Return the names of models; of more than MOST_MODELS none is kept, for they may be anything."""
        found: dict[File, list[str]] = {}
        for file, model in self._ask("SELECT DISTINCT file, model FROM placed WHERE model IS NOT NULL ORDER BY 1, 2"):
            found.setdefault(file, []).append(model)
        return {file: tuple(names) if len(names) <= MOST_MODELS else (ANY,) for file, names in found.items()}

    def _delays(self) -> dict[File, tuple[tuple[float, int], ...]]:
        """Count the labels that have come by the hours that they took."""
        found: dict[File, list[tuple[float, int]]] = {}
        where = f"labelled_us <= {micros(self.now)} AND truth IS NOT NULL AND us IS NOT NULL"
        query = f"SELECT file, {delays.hours('labelled_us')}, count(*) FROM placed WHERE {where} GROUP BY ALL"
        for file, hours, rows in self._ask(query):
            found.setdefault(file, []).append((hours, rows))
        return {file: tuple(sorted(each)) for file, each in found.items()}

    def _piece(self, number: int, portion: Portion, found: _Found) -> Piece:
        """Return what was found of a portion."""
        ends, tally = found.ends.get(number, _Ends()), found.tallies.get(number, Tally())
        rejected = found.rejected.get(portion.lines.path, ())
        self._check_found(portion, ends)
        piece = Piece(
            key=portion.key,
            file=portion.file,
            start=portion.span.start,
            end=portion.span.end,
            mark=parts.fingerprint(portion.file.path, portion.span) if parts.grows(portion.file) else "",
            closed=portion.span.closed,
            tally=tally,
            absent=self._absent(portion, tally),
            first=ends.first,
            last=ends.last,
            models=found.models.get(number, ()),
            lines=ends.lines + len(rejected),
            bad=ends.blank + len(rejected),
            repeated=found.repeated.get(number, 0),
            late=ends.late,
            labelled=ends.labels > 0 or self.group.holds(self._plan.columns["label"]),
            delays=found.delays.get(number, ()),
            some_id=ends.some_id,
            nested=tuple(self.group.inner),
        )
        if ends.timed < ends.rows or spoilt.is_spoilt(piece, self._plan):
            return spoilt.Spoilt(self.waiting, self.group, portion, rejected).added(piece)
        return piece

    def _check_found(self, portion: Portion, ends: _Ends) -> None:
        """Raise DataError if no line of JSON has a column that must be there."""
        if self.group.kind != "json" or not ends.lines or portion.span.start:
            return
        if ends.blank == ends.lines > 1:
            tables.check_lines(portion.file.path, ends.blank, ends.lines)
        seen = json_lines.keys(portion.lines.path)
        for role, rows in (("timestamp", ends.timed), ("prediction", ends.answered)):
            name = self._plan.columns[role]
            if not rows and name not in seen:
                raise DataError(f"{portion.file.path}: {tables.missing(name, role, seen)}")

    def _absent(self, portion: Portion, tally: Tally) -> tuple[str, ...]:
        """Return the watched columns that no line of JSON has."""
        if self.group.kind != "json":
            return ()
        given = {name for (_, _, name), counts in tally.histograms.items() if sum(counts[:-1])}
        absent = {name for _, _, name in tally.histograms} - given
        mentioned = json_lines.mentioned(portion.lines.path) if absent else frozenset()
        return tuple(sorted(name for name in absent if self._plan.columns.get(name, name) not in mentioned))

    def _ask(self, query: str) -> list[Any]:
        return self.waiting.ask(query)

    def _execute(self, statement: str) -> None:
        self.waiting.connection.execute(statement)


def _keyed(portions: Sequence[Portion]) -> str:
    """Return SQL for the placed rows with the key of their piece in the place of the path, and a hash for the id."""
    keys = ", ".join(text(portion.key) for portion in portions)
    file = f"[{keys}][p.file + 1]" if len(portions) > 1 else keys
    replaced = f"{file} AS file, CASE WHEN p.id IS NOT NULL THEN hash(p.id) END AS id"
    return f"(SELECT p.* REPLACE ({replaced}) FROM placed AS p)"


_ENDS = (
    "SELECT file, count(*), count(*) FILTER (blank), min(us), max(us), count(us), count(said), "
    f"count(*) FILTER (truth IS NOT NULL AND labelled_us > {{now}} AND labelled_us < {micros(NEVER)}), count(truth), "
    "min(id) FROM spelled GROUP BY file"
)
