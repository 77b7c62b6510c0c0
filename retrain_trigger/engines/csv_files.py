"""Tables of text: those of one header are read together."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.engines import nesting, sources
from retrain_trigger.engines.nesting import Objects, Path
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.spelled import NTH, Column, Group, Readable, clear, paths, watched
from retrain_trigger.engines.sql import text


@dataclass(frozen=True, slots=True)
class _Read:
    """Reads tables of so many columns of text, c0, c1, ..."""

    columns: int
    separator: str

    def __call__(self, files: Sequence[Readable], *, numbered: bool = False) -> str:
        columns = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(self.columns))
        source = f"read_csv({paths(files)}, {_CSV}, delim = {text(self.separator)}, columns = {{{columns}}})"
        return f"(SELECT *, row_number() OVER () - 1 AS {NTH} FROM {source})" if numbered else source


def groups(connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], plan: Plan) -> Iterator[Group]:
    """Yield a group for each header. Raises DataError for a file that has none."""
    alike: dict[bytes, list[Readable]] = {}
    for each in files:
        alike.setdefault(sources.header_of(each.path), []).append(each)
    features = [plan.columns.get(own, own) for own in watched(plan)]
    for header, some in alike.items():
        if header.strip():
            yield _group(connection, header, some, features)


def _group(
    connection: duckdb.DuckDBPyConnection, header: bytes, files: Sequence[Readable], features: Sequence[str]
) -> Group:
    separator = sources.separator_of(header)
    names = _names(header, separator, files[0])
    columns = {name: Column(f"c{n}") for n, name in enumerate(names)}
    read = _Read(len(names), separator)
    objects = _objects(connection, read, columns, files).wanted(features) if features else Objects()
    inner = [(name, place) for name, place in objects.holders(features) if name not in columns]
    nested = {name: _nested(columns, objects.places(name), name) for name, _ in inner}
    return Group(
        kind="csv",
        files=tuple(files),
        columns=columns | nested,
        read=read,
        seen=[*columns, *nested],
        inner=inner,
        separator=separator,
    )


def _names(header: bytes, separator: str, file: Readable) -> list[str]:
    """Return the names of the columns; one without a name, or with that of another, is called by its place."""
    line = header.decode("utf-8-sig", errors="replace").rstrip("\r\n")
    try:
        names = next(csv.reader([line], delimiter=separator))
    except csv.Error as error:
        raise DataError(f"{file.file} cannot be read: its first line is no row of names ({error})") from error
    free = (each for n in count() if (each := f"column{n}") not in names)
    found: dict[str, int] = {}
    for n, name in enumerate(names):
        found[name if name and name not in found else next(free)] = n
    return list(found)


def _objects(
    connection: duckdb.DuckDBPyConnection, read: _Read, columns: Mapping[str, Column], files: Sequence[Readable]
) -> Objects:
    """Return the objects of JSON that stand as text in columns of any row."""
    found = Objects()
    if not any(map(_has_objects, files)):
        return found
    source = f"(SELECT * FROM {read(files)})"
    is_object = [f"coalesce(bool_or(starts_with({column.sql}, '{{')), false)" for column in columns.values()]
    (holds,) = connection.execute(f"SELECT {', '.join(is_object)} FROM {source}").fetchall()
    for (name, column), some in zip(columns.items(), holds, strict=True):
        if some:
            query = (
                f"SELECT DISTINCT json_structure({_json(column)}) FROM {source} WHERE starts_with({column.sql}, '{{')"
            )
            for (structure,) in connection.execute(f"{query} LIMIT {_MOST_STRUCTURES}").fetchall():
                found.take_in({name: nesting.parsed(structure)})
    clear(connection)
    return found


def _has_objects(file: Readable) -> bool:
    """Say whether a field may begin as an object does: one with any name in it stands in quotation marks."""
    with sources.opened(file.path) as lines:
        while data := sources.unpacked(file.path, lambda: lines.read(_CHUNK) + lines.readline()):
            if b'"{' in data:
                return True
    return False


def _nested(columns: Mapping[str, Column], places: Sequence[Path], name: str) -> Column:
    """Return the column that stands in one of several objects."""
    found = [nesting.inside(_json(columns[path[0]]), (*path[1:], name)) for path in places]
    return Column(found[0] if len(found) == 1 else f"coalesce({', '.join(found)})")


def _json(column: Column) -> str:
    return f"(CASE WHEN json_valid({column.sql}) THEN {column.sql} END)"


_CHUNK = 4 << 20
_MOST_STRUCTURES = 10_000
_CSV = (
    "auto_detect = false, header = true, quote = '\"', escape = '\"', null_padding = true, store_rejects = true, "
    "parallel = false, max_line_size = 2000000, buffer_size = 8000000, hive_partitioning = false"
)
