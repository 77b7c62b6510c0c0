"""How files spell what a plan asks for: types come from the plan, never from what a reader guesses of a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import duckdb

from retrain_trigger.counts.histograms import Bins
from retrain_trigger.engines import sources, times
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.portable import Rows
from retrain_trigger.engines.sql import kind_of, quoted, text, whole_id

FILE = "file_index"
"""The number, from 0, of the file that a row is from, among those of its group: a name is slow to group by."""

NTH = '"retrain-check nth"'
"""The place, from 0, of a row in its file."""

_NAMED = "retrain-check file"


@dataclass(frozen=True, slots=True)
class Readable:
    """Lines to read: a file, or a part of one that was written to a `path` of its own, with its header."""

    file: str
    path: str

    @property
    def kind(self) -> str:
        """Return what the file is: parquet, csv or json."""
        return sources.kind(self.path) or ""


@dataclass(frozen=True, slots=True)
class Column:
    """SQL for a column, wherever it stands, and its DuckDB type: of text, what the plan asks for.

    `is_spelled` says that the file is text, in which numbers and words look alike.
    """

    sql: str
    type: str = "VARCHAR"
    is_spelled: bool = True

    @property
    def text(self) -> str:
        """Return SQL for the column as text."""
        if self.type == "JSON":
            return f"({self.sql} ->> '$')"
        return self.sql if self.type == "VARCHAR" else f"CAST({self.sql} AS VARCHAR)"

    @property
    def name(self) -> str:
        """Return SQL for the column as text that names something: blanks around it are none of it."""
        trimmed = f"nullif(trim({self.text}), '')"
        if self.type != "VARCHAR":
            return trimmed
        # Most values have no blanks: to compare is cheaper than to trim, and trimmed text is worked out more than once.
        return f"CASE WHEN {self.sql} > '!' AND NOT ends_with({self.sql}, ' ') THEN {self.sql} ELSE {trimmed} END"

    @property
    def id(self) -> str:
        """Return SQL for an id as text: a whole number is the same id whatever it was read as, and text is text.

        Lines of text do not tell numbers from text: there 12.0 and 12.00 are the id 12.
        """
        if kind_of(self.type) == "number":
            return self.category
        return whole_id(self.name) if self.is_spelled else self.name

    @property
    def number(self) -> str:
        """Return SQL for the column as a double."""
        if self.type in {"VARCHAR", "JSON"}:
            truth = f"CASE lower({self.name}) WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0 END"
            return f"coalesce(try_cast({self.text} AS DOUBLE), {truth})"
        if self.type == "BOOLEAN":
            return f"CAST(CAST({self.sql} AS INTEGER) AS DOUBLE)"
        if self.type == "DOUBLE":
            return self.sql
        return f"CAST({self.sql} AS DOUBLE)" if kind_of(self.type) == "number" else "CAST(NULL AS DOUBLE)"

    @property
    def flag(self) -> str:
        """Return SQL for the column as a boolean."""
        return f"try_cast({self.text} AS BOOLEAN)"

    @property
    def category(self) -> str:
        """Return SQL for the column as text that is the same of whole numbers, whatever their type."""
        if kind_of(self.type) != "number":
            return self.text
        whole = f"CAST(CAST({self.sql} AS HUGEINT) AS VARCHAR)"
        is_whole = f"{self.sql} = floor({self.sql}) AND abs(CAST({self.sql} AS DOUBLE)) < 1e15"
        finite = f"isfinite(CAST({self.sql} AS DOUBLE))"
        return f"(CASE WHEN NOT {finite} THEN NULL WHEN {is_whole} THEN {whole} ELSE CAST({self.sql} AS VARCHAR) END)"


class Read(Protocol):
    """Gives SQL for the lines of files; `numbered`: of one file, each with its place in it, NTH."""

    def __call__(self, files: Sequence[Readable], *, numbered: bool = False) -> str:
        """Return a relation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Files whose columns are spelled alike, so that `read` reads them at once.

    `columns` are those that there are, of JSON those that the plan asks for. `seen` are their names as far as is known,
    and `inner` are the nested ones, each with where it stands. `blank` is the SQL condition for a line that is
    no row, `file` SQL for the number of a row's file.
    """

    kind: str
    files: tuple[Readable, ...]
    columns: Mapping[str, Column]
    read: Read
    seen: Sequence[str]
    inner: Sequence[tuple[str, str]] = ()
    separator: str = ","
    blank: str = "false"
    file: str = f"CAST({FILE} AS INTEGER)"

    def rows(self, plan: Plan) -> Rows:
        """Return the rows of the files as the plan asks for them."""
        asked: dict[str, Callable[[Column], str]] = {
            "prediction": lambda column: column.text,
            "label": lambda column: column.text,
            "labelled_at": lambda column: self._arrival(column, plan),
            "id": lambda column: column.id,
            "model": lambda column: column.name,
            "score": lambda column: column.number,
            "exposed": lambda column: column.flag,
        }
        roles = {
            _OWN.get(role, role): sql(self.columns[name])
            for role, sql in asked.items()
            if self.has(name := plan.columns[role])
        }
        named = {own: plan.columns.get(own, own) for own in watched(plan)}
        time = plan.columns["timestamp"]
        nothing = Column("CAST(NULL AS VARCHAR)")
        return Rows(
            relation=self.read(self.files),
            at=self._time(self.columns[time], plan) if self.has(time) else "CAST(NULL AS TIMESTAMPTZ)",
            roles=roles,
            features={
                own: self._binned(self.columns[name], plan.bins[own], plan)
                for own, name in named.items()
                if self.has(name)
            },
            slices={name: self.columns.get(name, nothing).text for name in plan.slices},
            file=self.file,
            more={"blank": self.blank},
        )

    def numbered(self, lines: Readable, plan: Plan) -> Rows:
        """Return the rows of one file, each with its place in it, `nth`, and what it has for its time, `seen`."""
        rows, time = self.rows(plan), self.columns[plan.columns["timestamp"]]
        more = {**rows.more, "nth": NTH, "seen": time.text}
        return replace(rows, relation=self.read([lines], numbered=True), file="0", more=more)

    def has(self, name: str) -> bool:
        """Say whether there is a column of a name; a file of JSON may have any."""
        return name in self.columns

    def holds(self, name: str) -> bool:
        """Say whether a column is there, as far as is known."""
        return name in self.seen

    def rejected(self, connection: duckdb.DuckDBPyConnection) -> dict[str, list[int]]:
        """Return the lines of CSV, counted from 1, that were no rows when the files were read just now, by path."""
        if self.kind != "csv":
            return {}
        found: dict[str, list[int]] = {}
        for path, line in connection.execute(_REJECTED).fetchall():
            found.setdefault(path, []).append(line)
        clear(connection)
        return found

    def _binned(self, column: Column, bins: Bins, plan: Plan) -> str:
        """Return SQL for a watched column as its bins ask for: a double, or text."""
        if bins.numeric_column:
            return self._decimal(column, plan) if column.type == "VARCHAR" else column.number
        is_truth = bool(bins.values) and _TRUTH.issuperset(bins.values)
        return f"lower({column.category})" if is_truth and kind_of(column.type) != "number" else column.category

    def _decimal(self, column: Column, plan: Plan) -> str:
        """Return SQL for a number in text; one with a decimal comma is read where it can be nothing else."""
        if plan.decimal == ".":
            return column.number
        comma = f"regexp_full_match({column.sql}, {text(_COMMA)})"
        if plan.decimal is None and self.separator == ",":
            comma += f" AND NOT regexp_full_match({column.sql}, {text(_THOUSANDS)})"
        with_point = f"try_cast(replace({column.sql}, ',', '.') AS DOUBLE)"
        return f"coalesce({column.number}, CASE WHEN {comma} THEN {with_point} END)"

    def _time(self, column: Column, plan: Plan) -> str:
        return times.zoned(column.sql, column.type, plan.date_format)

    def _arrival(self, column: Column, plan: Plan) -> str:
        """Return SQL for when a label came: never, if what is stated is no time."""
        never = f"CAST({times.moment(times.NEVER)} AS {times.time_type(column.type)})"
        return f"coalesce({self._time(column, plan)}, CASE WHEN {column.name} IS NOT NULL THEN {never} END)"


def watched(plan: Plan) -> list[str]:
    """Return the watched columns whose places are counted as such: predictions and labels are counted as words."""
    return [name for name in plan.bins if name not in {"prediction", "label"}]


def clear(connection: duckdb.DuckDBPyConnection) -> None:
    """Forget the lines of CSV that were no rows."""
    connection.execute("DELETE FROM reject_errors")
    connection.execute("DELETE FROM reject_scans")


def paths(files: Sequence[Readable]) -> str:
    """Return the paths of files as a SQL list of patterns."""
    return "[" + ", ".join(text(sources.literal(each.path)) for each in files) + "]"


def file_number(files: Sequence[Readable], names: Sequence[str]) -> tuple[str, str]:
    """Return an option for the reader, and SQL for the number of a row's file: a column may hide DuckDB's own."""
    if FILE not in {name.lower() for name in names}:
        return "", f"CAST({FILE} AS INTEGER)"
    listed = ", ".join(text(each.path) for each in files)
    return f", filename = {text(_NAMED)}", f"CAST(list_position([{listed}], {quoted(_NAMED)}) - 1 AS INTEGER)"


_OWN = {"prediction": "said", "label": "truth", "labelled_at": "labelled"}
_TRUTH = frozenset({"true", "false"})
_COMMA = r"\s*[-+]?[0-9]*,[0-9]+\s*"
_THOUSANDS = r"\s*[-+]?[1-9][0-9]{0,2},[0-9]{3}\s*"
_REJECTED = (
    "SELECT DISTINCT s.file_path, e.line FROM reject_errors AS e JOIN reject_scans AS s "
    "ON e.scan_id = s.scan_id AND e.file_id = s.file_id ORDER BY 1, 2"
)
