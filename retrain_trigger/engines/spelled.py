"""How files spell what a plan asks for: types come from the plan, never from what a reader guesses of a file."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from retrain_trigger.counts.histograms import Bins
from retrain_trigger.engines import database, sources, tables, times
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.portable import Rows
from retrain_trigger.engines.sql import kind_of, quoted, text
from retrain_trigger.errors import DataError

FILE = "file_index"
"""The number, from 0, of the file that a row is from, among those of its group: a name is slow to group by."""

SAMPLE = 64 << 10
"""Bytes of the first and the last file, from their beginning, in which is looked for where columns are nested."""

_TRUTH = frozenset({"true", "false"})


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
class Group:
    """Files whose columns are spelled alike, so that one call reads them.

    `types` gives DuckDB's type of each column by its name: of text, what the plan asks for. `inner` says in which column
    others are nested, by their name.
    """

    kind: str
    files: tuple[Readable, ...]
    types: Mapping[str, str]
    inner: Mapping[str, str] = field(default_factory=dict)
    separator: str = ","

    def rows(self, plan: Plan) -> Rows:
        """Return the rows of the files as the plan asks for them."""
        columns = plan.columns
        asked: dict[str, Callable[[str], str]] = {"label": self.text_of, "score": self._number, "exposed": self._flag}
        asked |= {"prediction": self.text_of, "id": self._id, "model": self._name}
        asked |= {"labelled_at": lambda name: self._arrival(name, plan)}
        roles = {_OWN.get(role, role): sql(columns[role]) for role, sql in asked.items() if self.has(columns[role])}
        named = {own: columns.get(own, own) for own in watched(plan)}
        time = columns["timestamp"]
        return Rows(
            relation=self._relation(),
            at=self._time(time, plan) if self.has(time) else "CAST(NULL AS TIMESTAMPTZ)",
            roles=roles,
            features={own: self._binned(name, plan.bins[own], plan) for own, name in named.items() if self.has(name)},
            slices={name: self.text_of(name) if self.has(name) else "CAST(NULL AS VARCHAR)" for name in plan.slices},
            file=self._file(),
            more={"blank": self._blank()},
        )

    def has(self, name: str) -> bool:
        """Say whether there is a column of a name; a file of JSON may have any."""
        return name in self.types

    def seen(self) -> list[str]:
        """Return the names of the columns that there are, as far as is known: of JSON, those of the first lines."""
        return list(self.types) if self.kind != "json" else list(keys(self.files[0].path))

    def holds(self, name: str) -> bool:
        """Say whether a column is there, as far as is known."""
        return name in self.seen()

    def mentions(self, name: str, path: str) -> bool:
        """Say whether the first lines of a file of JSON have a column, be it nested."""
        seen = keys(path)
        return name in seen or any(isinstance(value, dict) and name in value for value in seen.values())

    def numbered(self) -> str:
        """Return SQL for the rows, each with its place in its file, from 0, as `nth`."""
        place = "file_row_number" if self.kind == "parquet" else "row_number() OVER () - 1"
        own = "" if self._hides else f", {FILE} AS {FILE}"
        return f"(SELECT *{own}, {place} AS nth FROM {self._relation(numbered=self.kind == 'parquet')})"

    def _file(self) -> str:
        """Return SQL for the number of the file; DuckDB's own column of it may be hidden by one of the user."""
        if not self._hides:
            return f"CAST({FILE} AS INTEGER)"
        paths = ", ".join(text(each.path) for each in self.files)
        return f"CAST(list_position([{paths}], {quoted(_NAMED)}) - 1 AS INTEGER)"

    @property
    def _hides(self) -> bool:
        return self.kind != "csv" and any(name.lower() == FILE for name in self._asked())

    def check_lines(self, connection: duckdb.DuckDBPyConnection, setting: str) -> None:
        """Raise DataError if too many lines of a table that was just read are no rows."""
        if self.kind != "csv":
            return
        ((bad,),) = connection.execute("SELECT count(DISTINCT line) FROM reject_errors").fetchall()
        connection.execute("DELETE FROM reject_errors")
        connection.execute("DELETE FROM reject_scans")
        if bad:
            ((rows,),) = connection.execute(f"SELECT count(*) FROM {self._relation()}").fetchall()
            connection.execute("DELETE FROM reject_errors")
            connection.execute("DELETE FROM reject_scans")
            tables.check_lines(f"{setting} {self.files[0].file}", bad, rows + bad, csv=True)

    def _relation(self, *, numbered: bool = False) -> str:
        paths = "[" + ", ".join(text(sources.literal(each.path)) for each in self.files) + "]"
        paths += ", hive_partitioning = false" + (f", filename = {text(_NAMED)}" if self._hides else "")
        if self.kind == "parquet":
            return f"read_parquet({paths}{', file_row_number = true' if numbered else ''})"
        if self.kind == "csv":
            columns = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(self.types) - len(self.inner)))
            return f"read_csv({paths}, {_CSV}, delim = {text(self.separator)}, columns = {{{columns}}})"
        columns = ", ".join(f"{text(name)}: {text(kind)}" for name, kind in self._asked().items())
        return f"read_json({paths}, {_JSON}, columns = {{{columns}}})"

    def _asked(self) -> dict[str, str]:
        """Return the keys of lines of JSON that are read, with their types: members of objects in these."""
        asked = dict(self.types)
        for container in dict.fromkeys(self.inner.values()):
            members = [name for name, within in self.inner.items() if within == container]
            asked[container] = f"STRUCT({', '.join(f'{quoted(name)} {self.types[name]}' for name in members)})"
        return asked

    def _column(self, name: str) -> str:
        """Return SQL for a column, wherever it stands."""
        container = self.inner.get(name)
        if self.kind == "csv":
            places = {each: f"c{n}" for n, each in enumerate(each for each in self.types if each not in self.inner)}
            if container is None:
                return places[name]
            return f"json_extract_string(CASE WHEN json_valid({places[container]}) THEN {places[container]} END, {text('$.' + quoted(name))})"
        if container is None:
            return quoted(name)
        nested = f"{quoted(container)}.{quoted(name)}"
        return f"coalesce({quoted(name)}, {nested})" if self.kind == "json" else nested

    def _blank(self) -> str:
        """Return the SQL condition for a line of JSON that is no row: it has nothing that is asked for."""
        if self.kind != "json":
            return "false"
        return "(" + " AND ".join(f"{quoted(name)} IS NULL" for name in self._asked()) + ")"

    def text_of(self, name: str) -> str:
        """Return SQL for a column as text."""
        column = self._column(name)
        if self.types[name] == "JSON":
            return f"({column} ->> '$')"
        return column if self.types[name] == "VARCHAR" else f"CAST({column} AS VARCHAR)"

    def _name(self, name: str) -> str:
        return f"nullif(trim({self.text_of(name)}), '')"

    def _id(self, name: str) -> str:
        """Return SQL for an id as text: a number that was read as 12.0 is the id 12."""
        found = self._name(name)
        return f"(CASE WHEN {found} LIKE '%.0' THEN regexp_replace({found}, '^([0-9]+)\\.0$', '\\1') ELSE {found} END)"

    def _number(self, name: str) -> str:
        kind = self.types[name]
        column = self._column(name)
        if kind in {"VARCHAR", "JSON"}:
            return f"try_cast({self.text_of(name)} AS DOUBLE)"
        if kind == "BOOLEAN":
            return f"CAST(CAST({column} AS INTEGER) AS DOUBLE)"
        if kind == "DOUBLE":
            return column
        return f"CAST({column} AS DOUBLE)" if kind_of(kind) == "number" else "CAST(NULL AS DOUBLE)"

    def _flag(self, name: str) -> str:
        return f"try_cast({self.text_of(name)} AS BOOLEAN)"

    def _binned(self, name: str, bins: Bins, plan: Plan) -> str:
        """Return SQL for a watched column as its bins ask for: a double, or text."""
        kind = self.types[name]
        if bins.numeric_column:
            return self._decimal(name, plan) if kind == "VARCHAR" else self._number(name)
        column = self._column(name)
        if kind_of(kind) == "number":
            whole = f"CAST(CAST({column} AS HUGEINT) AS VARCHAR)"
            number = f"CAST({column} AS VARCHAR)"
            integral = f"{column} = floor({column}) AND abs(CAST({column} AS DOUBLE)) < 1e15"
            return f"(CASE WHEN NOT isfinite(CAST({column} AS DOUBLE)) THEN NULL WHEN {integral} THEN {whole} ELSE {number} END)"
        return f"lower({self.text_of(name)})" if _TRUTH.issuperset(bins.values) and bins.values else self.text_of(name)

    def _decimal(self, name: str, plan: Plan) -> str:
        """Return SQL for a number in text; one with a decimal comma is read where it can be nothing else."""
        column = self._column(name)
        plain = f"try_cast({column} AS DOUBLE)"
        if plan.decimal == ".":
            return plain
        comma = f"regexp_full_match({column}, {text(_COMMA)})"
        if plan.decimal is None and self.separator == ",":
            comma += f" AND NOT regexp_full_match({column}, {text(_THOUSANDS)})"
        return f"coalesce({plain}, CASE WHEN {comma} THEN try_cast(replace({column}, ',', '.') AS DOUBLE) END)"

    def _time(self, name: str, plan: Plan) -> str:
        return times.zoned(self._column(name), self.types[name], plan.date_format)

    def _arrival(self, name: str, plan: Plan) -> str:
        """Return SQL for when a label came: never, if what is stated is no time."""
        stated = f"nullif(trim({self.text_of(name)}), '') IS NOT NULL"
        never = f"CAST({times.moment(times.NEVER)} AS {times.time_type(self.types[name])})"
        return f"coalesce({self._time(name, plan)}, CASE WHEN {stated} THEN {never} END)"


def groups(connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], plan: Plan) -> list[Group]:
    """Put files together that one call reads. Raises DataError for a file that has no columns."""
    kinds: dict[str, list[Readable]] = {}
    for file in files:
        kinds.setdefault(file.kind, []).append(file)
    found = [*_parquet(connection, kinds.get("parquet", [])), *_csv(kinds.get("csv", []))]
    return [*found, _json(kinds["json"], plan)] if "json" in kinds else found


def watched(plan: Plan) -> list[str]:
    """Return the watched columns whose places are counted as such: predictions and labels are counted as words."""
    return [name for name in plan.bins if name not in {"prediction", "label"}]


def keys(file: str) -> dict[str, Any]:
    """Return what stands at the beginning of a file of JSON lines: each key with the first value that is not null."""
    found: dict[str, Any] = {}
    for line in beginning(file).splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            _take_in(found, row)
    return found


def beginning(path: str) -> bytes:
    """Return the first SAMPLE bytes of a file of text, unpacked."""
    with sources.opened(path) as file:
        return sources.unpacked(path, lambda: file.read(SAMPLE))


def _parquet(connection: duckdb.DuckDBPyConnection, files: Sequence[Readable]) -> Iterator[Group]:
    """Yield a group for each schema."""
    if not files:
        return
    paths = "[" + ", ".join(text(sources.literal(each.path)) for each in files) + "]"
    query = f"SELECT file_name, name, type, converted_type, CAST(logical_type AS VARCHAR), num_children FROM parquet_schema({paths})"
    schemas: dict[str, list[Any]] = {}
    for file, *column in connection.execute(query).fetchall():
        schemas.setdefault(file, []).append(tuple(column))
    alike: dict[tuple[Any, ...], list[Readable]] = {}
    for each in files:
        alike.setdefault(tuple(schemas[each.path]), []).append(each)
    for some in alike.values():
        types = database.types_of(connection, f"(SELECT * FROM read_parquet({text(sources.literal(some[0].path))}))")
        inner: dict[str, str] = {}
        for container, holds in list(types.items()):
            if holds.startswith("STRUCT") and not holds.endswith("]"):
                source = f"(SELECT {quoted(container)}.* FROM read_parquet({text(sources.literal(some[0].path))}))"
                found = database.types_of(connection, source)
                members = {name: own for name, own in found.items() if name not in types}
                types |= members
                inner |= dict.fromkeys(members, container)
        yield Group("parquet", tuple(some), types, inner)


def _csv(files: Sequence[Readable]) -> Iterator[Group]:
    """Yield a group for each header."""
    alike: dict[bytes, list[Readable]] = {}
    for each in files:
        alike.setdefault(sources.header_of(each.path), []).append(each)
    for header, some in alike.items():
        if not header.strip():
            continue
        separator = sources.separator_of(header)
        line = header.decode("utf-8-sig", errors="replace").rstrip("\r\n")
        try:
            names = next(csv.reader([line], delimiter=separator))
        except csv.Error as error:
            raise DataError(f"{some[0].file} cannot be read: its first line is no row of names ({error})") from error
        types: dict[str, str] = {}
        for n, name in enumerate(names):
            types[name if name and name not in types else f"column{n}"] = "VARCHAR"
        first = beginning(some[-1].path).decode(errors="replace").splitlines()[1:2]
        sample = csv.reader([line.replace("\r", "") for line in first], delimiter=separator)
        inner: dict[str, str] = {}
        for name, value in zip(list(types), next(sample, []), strict=False):
            inner |= dict.fromkeys((key for key in _object(value) if key not in types and key not in inner), name)
        yield Group("csv", tuple(some), {**types, **dict.fromkeys(inner, "VARCHAR")}, inner, separator)


def _json(files: Sequence[Readable], plan: Plan) -> Group:
    """Return the group of lines of JSON: it has whatever the plan asks for."""
    found: dict[str, Any] = {}
    for file in {files[0].path, files[-1].path}:
        _take_in(found, keys(file))
    types = {name: "VARCHAR" for role, name in plan.columns.items() if "." not in role}
    types |= dict.fromkeys(plan.slices, "VARCHAR")
    nested = {key: value for key, value in found.items() if isinstance(value, dict) and key not in types}
    inner: dict[str, str] = {}
    for own in watched(plan):
        name = plan.columns.get(own, own)
        within = next((key for key, members in nested.items() if name in members), None)
        value = nested[within][name] if within else found.get(name)
        if name not in types:
            types[name] = "DOUBLE" if plan.bins[own].numeric_column and not _comma(value) else "VARCHAR"
        if within is not None and name != within:
            inner[name] = within
    seen: dict[str, str] = {}
    for name in types:
        if seen.setdefault(name.lower(), name) != name:
            raise DataError(
                f"{files[0].file}: columns {seen[name.lower()]!r} and {name!r} differ only in the case of letters; rename one"
            )
    return Group("json", tuple(files), types, inner)


def _take_in(found: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Take in the keys of a row, also those of objects in it, each with its first value that is not null."""
    for key, value in row.items():
        before = found.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            found[key] = {**value, **{name: each for name, each in before.items() if each is not None}}
        elif before is None:
            found[key] = value


def _object(value: str) -> dict[str, Any]:
    try:
        found = json.loads(value) if value.lstrip().startswith("{") else {}
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}


def _comma(value: Any) -> bool:
    return isinstance(value, str) and "," in value


_NAMED = "retrain-check file"
_OWN = {"prediction": "said", "label": "truth", "labelled_at": "labelled"}
_CSV = (
    "auto_detect = false, header = true, quote = '\"', escape = '\"', null_padding = true, store_rejects = true, "
    "parallel = false, max_line_size = 2000000, buffer_size = 8000000"
)
_JSON = "format = 'newline_delimited', ignore_errors = true, maximum_object_size = 16777216"
_COMMA = r"\s*[-+]?[0-9]*,[0-9]+\s*"
_THOUSANDS = r"\s*[-+]?[1-9][0-9]{0,2},[0-9]{3}\s*"
