"""Files of rows as DuckDB reads them: which files there are, and what their columns mean."""

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from glob import glob, has_magic
from pathlib import Path
from typing import BinaryIO, cast

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.store import scratch

LONGEST_HEADER = 1 << 20
"""Bytes of the first line of a CSV file; more are no names of columns."""

EARLIEST, LATEST = "TIMESTAMP '1970-01-01'", "TIMESTAMP '2286-01-01'"
"""As SQL: a time before or after is none. Programs write the year 1 or 9999 where they know no time."""

FORMATS = {
    "parquet": "read_parquet({files}, union_by_name = true)",
    "csv": "read_csv({files}, union_by_name = true, sample_size = -1, quote = '\"', escape = '\"'{options}, "
    "auto_type_candidates = ['BIGINT', 'DOUBLE', 'DATE', 'TIMESTAMP', 'TIMESTAMPTZ', 'VARCHAR'], "
    "max_line_size = 2000000, buffer_size = 8000000)",
    "json": "read_json({files}, format = 'newline_delimited', union_by_name = true, sample_size = -1, ignore_errors = true)",
}
"""How rows are read whose columns nobody knows, by what files hold. Words are words: yes, t and F are no booleans."""

ENDINGS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json"}
"""What files hold, by the ending of their name; text may be packed, too, as in log.csv.gz."""

BAD_SHARE = 0.01
"""The share of lines that may be no JSON: one line can always be half written."""

_KINDS = {"boolean": "boolean", "varchar": "text", "date": "time", "time": "time"}
_NUMBERS = ("tinyint", "smallint", "integer", "bigint", "hugeint", "ubig", "uint", "usm", "utiny", "uhuge", "float")


_FIRST_SECOND, _END_OF_SECONDS = 1e8, 1e10  # seconds, and thousandths of them, from 1973 to 2286 do not overlap
_PER_SECOND = (1, 1e3, 1e6, 1e9)
_NUMERAL = r"^\s*[0-9]{9,19}(\.[0-9]+)?\s*$"
_DAY_FIRST, _ISO = r"^\s*([0-9]{1,2})([./-])([0-9]{1,2})[./-]([0-9]{4})", r"\4-\3-\1"
_MONTH_FIRST = r"\4-\1-\3"

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""When a label arrives whose time cannot be read."""

_OWN = "retrain-check "
AT, LABEL, HASH, ROW_HASH = (f'"{_OWN}{name}"' for name in ("at", "label", "hash", "row hash"))
"""Columns of our own beside those of the data, as SQL; no column of a user has such a name."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it was found: its path, device and inode, size, and time of change (ns)."""

    path: str
    inode: tuple[int, int]
    size: int
    changed: int


def files_of(source: str, *, key: str) -> list[FileState]:
    """Return the files of one kind at a path: a file, a folder (read with those below it), or a glob; sorted.

    `key` is the setting that names it. Raises DataError where there is none, or there are several kinds.
    """
    path = Path(source)
    if path.is_dir():
        found = [file for file in path.rglob("*") if kind(file) and file.is_file() and file.name[0] != "."]
    elif path.is_file():
        found = [path]
    else:
        found = [Path(name) for name in glob(source, recursive=True)] if has_magic(source) else []  # noqa: PTH207  (the pattern is absolute)
    kinds = {kind(file) for file in found}
    if not found:
        raise DataError(f"there are no rows at {source}; {key} names a file, a folder or a glob")
    if len(kinds) > 1 or None in kinds:
        held = ", ".join(sorted({file.suffix for file in found}))
        raise DataError(f"{source} holds {held}; one of {', '.join(ENDINGS)} can be read")
    for file in found:
        if not _is_utf8(file):
            raise DataError(f"{source} holds a file whose name is not UTF-8 ({str(file)!a}); rename it")
    return [state for file in sorted(found) if (state := _state(file)) is not None]


def kind(path: str | Path) -> str | None:
    """Return what a file holds, by the ending of its name; None for what cannot be read.

    >>> kind("log.csv.gz"), kind("log.ndjson"), kind("log.parquet"), kind("log.xlsx")
    ('csv', 'json', 'parquet', None)
    """
    return ENDINGS.get(Path(str(path).removesuffix(".gz")).suffix)


def opened(path: str) -> BinaryIO:
    """Open a file of text to be read, unpacked."""
    return cast("BinaryIO", gzip.open(path, "rb")) if path.endswith(".gz") else Path(path).open("rb")


def unpacked(path: str, read: Callable[[], bytes]) -> bytes:
    """Return what is read of a file. Raises DataError for a packed one that was cut short or is damaged."""
    try:
        return read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} cannot be read: it is no whole gzip file ({error})") from error


def separator_of(header: bytes) -> str:
    """Return what separates the names in the first line of a CSV file: a guess over all lines is slow."""
    return max(",;\t|", key=lambda each: header.count(each.encode()))


def header_of(path: str) -> bytes:
    """Return the first line of a CSV file. Raises DataError where it is longer than LONGEST_HEADER, or no text."""
    with opened(path) as file:
        header = unpacked(path, lambda: file.readline(LONGEST_HEADER + 1))
    for start, why in _NO_HEADERS.items():
        if header.startswith(start):
            raise DataError(f"{path} cannot be read: {why}")
    if len(header) > LONGEST_HEADER:
        raise DataError(f"{path} cannot be read: its first line is longer than {LONGEST_HEADER} bytes")
    return header


def told(error: Exception, files: Sequence[FileState] = ()) -> str:
    """Say in one sentence why DuckDB could not read files, in its own words where they are clear."""
    lines = str(error).splitlines() or [type(error).__name__]
    cut = next((file.path for file in files if _is_csv([file]) and not _ends_whole(file.path)), None)
    if cut is not None:
        return f"the last line of {cut} has no end yet; a later run reads it when it is whole"
    if "recursion depth" in lines[0]:
        return "a value in a line is nested deeper than 128 levels"
    if "maximum_object_size" in lines[0]:
        return "a line is longer than 16 MB"
    if "Error when sniffing" in lines[0]:
        return "its lines do not have the same number of fields, or a quotation mark is not closed"
    details = [line for line in lines[1:] if line.startswith(_CLEAR)]
    return "; ".join([lines[0].removeprefix("Invalid Input Error: "), *details[:1]])


@contextmanager
def connected() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in memory that knows times in UTC, fetches nothing, and leaves half of the cores to the service."""
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET threads = {max(1, (os.cpu_count() or 1) // 2)}")
        connection.execute(f"SET temp_directory = {text(str(scratch.spill()))}")
        yield connection


def create_view(
    connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[FileState], *, nested: bool = False
) -> None:
    """Make a view of files of one kind; what is nested in `features`, or (`nested`) in any column, becomes columns.

    Half a line at the end of a growing JSONL file is left out. Raises DataError where more than 1 % of the lines are
    not JSON.
    """
    try:
        connection.execute(f"CREATE OR REPLACE VIEW {name}_raw AS SELECT * FROM {_reading(files)}")
    except duckdb.Error as error:
        raise DataError(f"{files[0].path} cannot be read: {told(error, files)}") from error
    types = types_of(connection, f"{name}_raw")
    json = kind(files[0].path) == "json"
    whole = f"NOT ({' AND '.join(f'{quoted(column)} IS NULL' for column in types)})" if json else "true"
    if json:
        ((bad, total),) = connection.execute(
            f"SELECT count(*) FILTER (NOT ({whole})), count(*) FROM {name}_raw"
        ).fetchall()
        check_lines(files[0].path, bad, total)
    objects = [column for column, holds in types.items() if holds.startswith("STRUCT") and not holds.endswith("]")]
    spread = [column for column in objects if nested or column == "features"]
    truths = _truths(connection, f"{name}_raw", types) if kind(files[0].path) == "csv" else []
    replaced = (
        f" REPLACE ({', '.join(f'lower({each}) = {chr(39)}true{chr(39)} AS {each}' for each in map(quoted, truths))})"
    )
    chosen = "*" + (f" EXCLUDE ({', '.join(map(quoted, spread))})" if spread else "") + (replaced if truths else "")
    chosen += "".join(f", {quoted(column)}.*" for column in spread)
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT {chosen} FROM {name}_raw WHERE {whole}")


def _truths(connection: duckdb.DuckDBPyConnection, relation: str, types: Mapping[str, str]) -> list[str]:
    """Return the columns of text that hold nothing but true and false."""
    texts = [name for name, holds in types.items() if holds == "VARCHAR"]
    if not texts:
        return []
    asked = ", ".join(f"coalesce(bool_and(lower({quoted(name)}) IN ('true', 'false')), false)" for name in texts)
    found = connection.execute(f"SELECT {asked} FROM {relation}").fetchall()[0]
    return [name for name, is_truth in zip(texts, found, strict=True) if is_truth]


def check_lines(path: str, bad: int, total: int, *, csv: bool = False) -> None:
    """Raise DataError if more than 1 % of the lines, and more than one, are no rows."""
    if bad > max(1, BAD_SHARE * total):
        why = "have more fields than the first, or an open quotation mark" if csv else "are not JSON objects"
        raise DataError(f"{path} cannot be read: {bad:,} of {total:,} lines {why}")


def is_columnar(files: Sequence[FileState]) -> bool:
    """Say whether reading some columns costs only those: then a view is as good as a table."""
    return kind(files[0].path) == "parquet"


def types_of(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Return the columns of a relation with their types, in order; none of our own."""
    described = connection.execute(f"DESCRIBE {relation}").fetchall()
    return {name: kind for name, kind, *_ in described if not name.startswith(_OWN)}


def has(types: Mapping[str, str]) -> str:
    """Say which columns there are, for a message that one is missing."""
    if not types or list(types) == [
        "json"
    ]:  # DuckDB's name for lines of which one is a list or a number, and for no line at all
        return "it is empty, or a line of it is JSON but no object, as {...} is"
    return f"it has {', '.join(types)}"


def missing(columns: Mapping[str, str], role: str, types: Mapping[str, str]) -> str:
    """Say that the column of a role is not there, and which key names it."""
    return f"column {columns[role]!r} ({role}) is missing; {has(types)}. Name it in logs.columns.{role}"


def create_labelled(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    files: Sequence[FileState],
    *,
    labels: Sequence[FileState],
    columns: Mapping[str, str],
    now: datetime,
    nested: bool = False,
) -> dict[str, str]:
    """Make the view `name` of files and, joined by id, what is known at `now` of any files of labels; return its types."""
    create_view(connection, "plain", files, nested=nested)
    rows = "plain"
    if labels:
        rows = joined_labels(connection, "plain", labels, columns=columns, now=now, key="logs.labels")
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM {rows}")
    return types_of(connection, name)


def joined_labels(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    labels: Sequence[FileState],
    *,
    columns: Mapping[str, str],
    now: datetime,
    key: str,
) -> str:
    """Return SQL for `rows` with the label of each id as known at `now` from files of labels: the latest one counts.

    Ids are compared as text. Raises DataError where the files lack the id or the label column.
    """
    create_view(connection, "read_labels", labels)
    connection.execute(f"CREATE OR REPLACE VIEW labels AS {_own_names(connection, columns, key)}")
    known, own = types_of(connection, "labels"), types_of(connection, rows)
    identity, label, arrived = (quoted(columns[role]) for role in ("id", "label", "labelled_at"))
    if columns["id"] not in own:
        raise DataError(f"{missing(columns, 'id', own)}; labels of {key} are joined by it")
    dated = columns["labelled_at"] in known
    at = arrival(columns["labelled_at"], known[columns["labelled_at"]]) if dated else "TIMESTAMP '1970-01-01'"
    when = f"(({at}) IS NULL OR ({at}) <= {moment(now)})" if dated else "true"
    replaced = [quoted(columns[role]) for role in ("label", "labelled_at") if columns[role] in own]
    rest = f"r.* EXCLUDE ({', '.join(replaced)})" if replaced else "r.*"
    stamp = f", l._labelled_at AS {arrived}" if dated else ""
    earlier = f"coalesce(l._label, r.{label})" if columns["label"] in own else "l._label"
    order = f"{{'at': coalesce({at}, TIMESTAMP '1970-01-01'), 'nth': _nth}}"
    return (
        f"(SELECT {rest}, {earlier} AS {label}{stamp} FROM {rows} AS r LEFT JOIN (SELECT {_plain_id(identity)} AS _id, "
        f"arg_max({label}, {order}) AS _label, max({at}) AS _labelled_at "
        f"FROM (SELECT *, row_number() OVER () AS _nth FROM labels) WHERE {when} GROUP BY 1) AS l "
        f"ON {_plain_id(f'r.{identity}')} = l._id)"
    )


def _plain_id(column: str) -> str:
    return f"regexp_replace(trim({column}::VARCHAR), '^([0-9]+)\\.0$', '\\1')"


def arrival(name: str, kind: str, form: str | None = None) -> str:
    """Return SQL for when a label arrived: null (it always was there) where nothing is stated.

    Where something is stated that is no time, the label never arrives: it may be of tomorrow.
    """
    column = quoted(name)
    stated = f"nullif(trim({column}::VARCHAR), '') IS NOT NULL"
    return f"coalesce({as_time(name, kind, form)}, CASE WHEN {stated} THEN {moment(NEVER)} END)"


def as_time(name: str, kind: str, form: str | None = None) -> str:
    """Return SQL for a column as a UTC timestamp without zone; null where it cannot be read as a plausible time.

    Numbers are seconds since 1970, or thousandths, millionths or billionths of them. Text is ISO 8601, such a number,
    of the `form` that strptime takes, or a date such as 31/08/2026, 8/31/2026 or 31.08.2026 where only one reading is
    a date: 03/04/2026 is none without a `form`.
    """
    at = zoned(quoted(name), kind, form)
    return at if time_type(kind) == "TIMESTAMP" else f"({at} AT TIME ZONE 'UTC')"


def zoned(column: str, kind: str, form: str | None) -> str:
    """Return SQL for a column as a time, as `as_time` reads it: with zone (see `time_type`), if it may have one."""
    at, own = _time(column, kind, form), time_type(kind)
    return f"(CASE WHEN {at} BETWEEN {EARLIEST}::{own} AND {LATEST}::{own} THEN {at} END)"


def time_type(kind: str) -> str:
    """Return the type that `zoned` gives: times without zone are UTC, and to give them one is slow."""
    plain = kind.startswith("TIMESTAMP") and "ZONE" not in kind
    return "TIMESTAMP" if plain or kind == "DATE" else "TIMESTAMPTZ"


def _time(column: str, kind: str, form: str | None) -> str:
    column, kind = _plain(column, kind)
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"{column}::{time_type(kind)}"
    if kind == "VARCHAR":
        formed = [f"try_strptime({column}, {_forms(form)})::TIMESTAMPTZ"] if form else []
        number = _of_number(
            f"(CASE WHEN regexp_matches({column}, {text(_NUMERAL)}) THEN try_cast({column} AS DOUBLE) END)"
        )
        readings = [
            *formed,
            f"try_cast({column} AS TIMESTAMPTZ)",
            number,
            f"try_cast({_as_iso(column)} AS TIMESTAMPTZ)",
        ]
        return f"coalesce({', '.join(readings)})"
    if kind_of(kind) == "number":
        return _of_number(column)
    return "NULL::TIMESTAMPTZ"


def _forms(form: str) -> str:
    """Return a form as SQL; one of dates alone also with the time of day behind it."""
    clock = any(part in form for part in ("%H", "%I", "%X", "%T", "%c"))
    endings = ("",) if clock else ("", " %H:%M:%S", " %H:%M", "T%H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S.%f")
    return "[" + ", ".join(text(form + ending) for ending in endings) + "]"


def _of_number(column: str) -> str:
    """Return SQL for a number since 1970 as a time, by the unit that makes it plausible."""
    cases = " ".join(
        f"WHEN {column} >= {_FIRST_SECOND * unit!r} AND {column} < {_END_OF_SECONDS * unit!r} THEN {column} / {unit!r}::DOUBLE"
        for unit in _PER_SECOND
    )
    return f"to_timestamp((CASE {cases} END)::DOUBLE)"


def _as_iso(column: str) -> str:
    """Return SQL for a date of days, months and years with the year first, null where it has two readings or none.

    With dots the day comes first, whatever the numbers.
    """
    first, sign, second = (f"regexp_extract({column}, {text(_DAY_FIRST)}, {place})" for place in (1, 2, 3))
    days, months = (f"try_cast({part} AS INTEGER)" for part in (first, second))
    day_first = f"{sign} = '.' OR {days} > 12 OR {days} = {months}"
    return (
        f"(CASE WHEN {day_first} THEN regexp_replace({column}, {text(_DAY_FIRST)}, {text(_ISO)}) "
        f"WHEN {months} > 12 THEN regexp_replace({column}, {text(_DAY_FIRST)}, {text(_MONTH_FIRST)}) END)"
    )


def is_missing(name: str, kind: str) -> str:
    """Return the SQL condition for a column without a value: NULL, NaN or infinite."""
    absent = f"{quoted(name)} IS NULL"
    return f"({absent} OR NOT isfinite({quoted(name)}))" if kind in {"FLOAT", "DOUBLE"} else f"({absent})"


def canonical(column: str, kind: str) -> str:
    """Return SQL for a label as text: 1, 1.0 and true are all '1', so that they can be compared.

    NaN and infinity are no labels: null.
    """
    column, kind = _plain(column, kind)
    if kind == "BOOLEAN":
        return f"{column}::INTEGER::VARCHAR"
    if kind in {"FLOAT", "DOUBLE"}:
        column = f"CASE WHEN isfinite({column}) THEN {column} END"
    said = f"trim(({column})::VARCHAR)"
    truth = f"CASE lower({said}) WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE {said} END"
    return f"regexp_replace({truth}, '^(-?[0-9]+)\\.0+$', '\\1')"


def kind_of(type_name: str) -> str:
    """Return what a DuckDB type holds: number, text, boolean, time or other."""
    name = type_name.lower()
    if name.endswith("]"):  # a list, whatever of
        return "other"
    if name.startswith("timestamp"):
        return "time"
    if name.startswith((*_NUMBERS, "double", "decimal")):
        return "number"
    return "text" if name.startswith("enum") else _KINDS.get(name, "other")


def moment(at: datetime) -> str:
    """Return a time as a SQL literal, UTC without zone."""
    return f"TIMESTAMP '{at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')}'"


def utc(at: datetime) -> datetime:
    """Return a time that DuckDB gave as an aware UTC time."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def quoted(name: str) -> str:
    """Return a column name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return text as a SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def _own_names(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, str], key: str) -> str:
    """Return SQL for the columns of `read_labels` that labels need, under the names that they have in the log."""
    known, chosen = types_of(connection, "read_labels"), []
    for role in ("id", "label", "labelled_at"):
        name = columns.get(f"labels.{role}", columns[role])
        if name in known:
            chosen.append(f"{quoted(name)} AS {quoted(columns[role])}")
        elif role != "labelled_at":
            raise DataError(
                f"column {name!r} ({role}) is missing in {key}; {has(known)}. Name it in logs.label_columns.{role}"
            )
    return f"SELECT {', '.join(chosen)} FROM read_labels"


def _plain(column: str, kind: str) -> tuple[str, str]:
    """Return a column and its type, as text where rows of JSON hold values of several types in it."""
    return (f"({column} ->> '$')", "VARCHAR") if kind == "JSON" else (column, kind)


def literal(path: str) -> str:
    """Return a path as a pattern that only this path fits: DuckDB takes every name for a pattern."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)


def _reading(files: Sequence[FileState]) -> str:
    """Return the SQL table function that reads files of one kind."""
    names = "[" + ", ".join(text(literal(file.path)) for file in files) + "]"
    options, holds = "", kind(files[0].path) or ""
    if holds == "csv":
        header = header_of(files[0].path)
        separator = separator_of(header)
        options = f", delim = {text(separator)}" if separator.encode() in header else ""
    return FORMATS[holds].format(files=names, options=options)


def _ends_whole(path: str) -> bool:
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 1))
        return file.read(1) in {b"\n", b"\r", b""}


def _state(file: Path) -> FileState | None:
    """Return a file as it is now; None where it is gone since its name was read."""
    try:
        at = file.stat()
    except FileNotFoundError:
        return None
    return FileState(str(file), (at.st_dev, at.st_ino), at.st_size, at.st_mtime_ns)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_csv(files: Sequence[FileState]) -> bool:
    return kind(files[0].path) == "csv"


_NO_HEADERS = {
    b"\0": "it begins with NUL bytes, not with the names of its columns: it was emptied in place, and the program that "
    "writes it went on at its old end; begin it again with that line",
    b"\xff\xfe": "it is UTF-16; write it as UTF-8",
    b"\xfe\xff": "it is UTF-16; write it as UTF-8",
}
_CLEAR = ("Expected Number of Columns", "Invalid unicode", "Maximum line size", "Value with unterminated quote")
