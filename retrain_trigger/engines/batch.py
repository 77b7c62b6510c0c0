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
from retrain_trigger.engines.portable import DUCKDB, File, Rows
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
        rows = self.group.rows(self._plan)
        self._spell(rows)
        rejected = self.group.rejected(self.waiting.connection)
        some_id = "min(id)" if self.waiting.waits else "NULL"
        asked = _ENDS.format(now=micros(self.now), some_id=some_id)
        ends = {file: _Ends(*found) for file, *found in self._ask(asked)}
        keyed = [
            replace(portion, key=self.key_of(portion, ends.get(n, _Ends()).first))
            for n, portion in enumerate(self.portions)
        ]
        found = _Found(
            rejected=rejected,
            ends=ends,
            repeated=self._place(keyed, live),
            tallies=self._tallies({name: self._plan.bins[name] for name in rows.features}),
            models=self._models() if "model" in rows.roles else {},
            delays=self._delays() if "labelled" in rows.roles else {},
        )
        return [self._piece(n, portion, found) for n, portion in enumerate(keyed)]

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

    def _spell(self, rows: Rows) -> None:
        """Make `spelled`, all lines with their roles, and `watched`, the same with the places of watched columns.

        Of Parquet both are views, of which a query reads the columns that it needs: words are looked up in their bins
        by joins, which are made even where nobody asks for what they find. Text is parsed once.
        """
        every = portable.placed(DUCKDB, self._plan, rows)
        if self.group.kind == "parquet":
            roles = portable.placed(DUCKDB, self._plan, replace(rows, features={}))
            self._execute(f"CREATE OR REPLACE TEMP VIEW spelled AS {roles}")
        else:
            self._execute(f"CREATE OR REPLACE TEMP TABLE spelled AS {every}")
            every = "SELECT * FROM spelled"
        self._execute(f"CREATE OR REPLACE TEMP VIEW watched AS {every}")

    def _place(self, portions: Sequence[Portion], live: Collection[str]) -> dict[File, int]:
        """Make `placed`, the rows that count, and `binned`, the same with the places of watched columns; keep these rows.

        Return how many rows are left out, as their id was counted before in the same window.
        """
        known, once = self.waiting.known_rows(live), None
        if self._has_ids or self.waiting.everything:
            self.waiting.add_rows(_keyed(portions, _ROWS.format("spelled")))
        if self._has_ids:
            once = self._once(known)
            self.waiting.forget_old(now=self.now)
        self._execute("DROP TABLE IF EXISTS once")
        if once is not None:  # it is worked out once, and not by each query anew
            self._execute(f"CREATE TEMP TABLE once AS {once}")
        for name, source in (("placed", "spelled"), ("binned", "watched")):
            counted = _ROWS.format(source) if once is None else "SELECT * FROM once"
            self._execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {counted}")
        if once is not None:
            self.waiting.replace_rows(_keyed(portions, "SELECT * FROM once"), now=self.now)
        return {} if once is None else self._left_out()

    def _once(self, known: str | None) -> str | None:
        """Return a query for rows whose id counts once in a window, also beside `known` rows; None if each row does."""
        is_repeated, is_known = self.waiting.is_repeated(), known is not None and self.waiting.is_known(known)
        query = _ROWS.format("watched")
        if is_repeated:
            query = portable.once(DUCKDB, query)
        if is_known:
            same = "s.id = hash(r.id) AND s.w = r.w AND s.model IS NOT DISTINCT FROM r.model"
            query = f"SELECT r.* FROM ({query}) AS r ANTI JOIN {known} AS s ON {same}"
        return query if is_repeated or is_known else None

    def _left_out(self) -> dict[File, int]:
        counted = dict(self._ask("SELECT file, count(*) FROM placed GROUP BY file"))
        every = self._ask("SELECT file, count(*) FROM spelled WHERE NOT blank GROUP BY file")
        return {file: n - counted.get(file, 0) for file, n in every}

    def _tallies(self, bins: Mapping[str, Bins]) -> dict[File, Tally]:
        """Count the placed rows; with labels from other files, only those that have no id by their words."""
        roles, places = (f"SELECT * FROM {view} WHERE w IS NOT NULL" for view in ("placed", "binned"))
        slices = self._plan.slices
        if not self.waiting.waits:
            relation = portable.known(roles, None, now=self.now)
            return portable.tallies(self._ask, DUCKDB, relation, places=places, bins=bins, slices=slices)
        alone = portable.known(f"{roles} AND id IS NULL AND NOT {self.waiting.everything}", None, now=self.now)
        found = portable.cells(self._ask, DUCKDB, alone, slices=slices)
        where = portable.places(self._ask, roles)
        for file, each in portable.histograms(self._ask, DUCKDB, places, bins, where=where).items():
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
        for role, rows in (("timestamp", ends.timed), ("prediction", ends.answered)):
            name = self._plan.columns[role]
            if not rows and name not in (seen := json_lines.keys(portion.lines.path)):
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


def _keyed(portions: Sequence[Portion], rows: str) -> str:
    """Return SQL for rows with the key of their piece in the place of the path, and a hash for the id."""
    keys = ", ".join(text(portion.key) for portion in portions)
    file = f"[{keys}][p.file + 1]" if len(portions) > 1 else keys
    replaced = f"{file} AS file, CASE WHEN p.id IS NOT NULL THEN hash(p.id) END AS id"
    return f"(SELECT p.* REPLACE ({replaced}) FROM ({rows}) AS p)"


_ROWS = "SELECT * FROM {} WHERE NOT blank"

_ENDS = (
    "SELECT file, count(*), count(*) FILTER (blank), min(us), max(us), count(us), count(said), "
    f"count(*) FILTER (truth IS NOT NULL AND labelled_us > {{now}} AND labelled_us < {micros(NEVER)}), count(truth), "
    "{some_id} FROM spelled GROUP BY file"
)
