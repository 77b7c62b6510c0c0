"""Files of JSON lines: all are read together, for what the plan asks for."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from retrain_trigger.engines import nesting
from retrain_trigger.engines.nesting import Objects, Path
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.spelled import NTH, Column, Group, Readable, file_number, paths, watched
from retrain_trigger.engines.sql import quoted, text


def groups(connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], plan: Plan) -> Iterator[Group]:
    """Yield the group of all files: it has whatever the plan asks for."""
    features = [plan.columns.get(own, own) for own in watched(plan)]
    objects = _objects(connection, files).wanted(features) if features else Objects()
    types = _types(plan, files)
    places = {name: [(name,), *((*path, name) for path in _places(objects, name, features))] for name in types}
    read = _Read.of({path: types[name] for name, found in places.items() for path in found}, files)
    yield Group(
        kind="json",
        files=tuple(files),
        columns={name: read.column(found, types[name]) for name, found in places.items()},
        read=read,
        seen=list(keys(files[0].path)),
        inner=objects.holders(features),
        blank="(" + " AND ".join(f"{each} IS NULL" for each in read.outermost) + ")",
        file=read.number,
    )


def keys(path: str) -> dict[str, Any]:
    """Return what stands at the beginning of a file of JSON lines: each key with the first value that is not null."""
    found: dict[str, Any] = {}
    for row in nesting.rows_at_the_beginning(path):
        found |= {name: value for name, value in row.items() if found.get(name) is None}
    return found


def mentioned(path: str) -> frozenset[str]:
    """Return the keys at the beginning of a file, also those of objects in rows."""
    return frozenset().union(*map(_names, nesting.rows_at_the_beginning(path)))


@dataclass(frozen=True, slots=True)
class _Read:
    """Reads what is asked of lines of JSON, by its path: as its type, or `whole`, as lines that it is looked up in.

    Lines are read as a whole if types cannot name what is asked: two names differ only in the case of letters, or one
    is asked for itself and for what stands in it.
    """

    asked: Mapping[Path, str]
    whole: bool
    options: str
    number: str

    @classmethod
    def of(cls, asked: Mapping[Path, str], files: Sequence[Readable]) -> "_Read":
        """Return what reads the paths that are asked for."""
        return cls(asked, _is_ambiguous(asked), *file_number(files, [path[0] for path in asked]))

    def __call__(self, files: Sequence[Readable], *, numbered: bool = False) -> str:
        source = f"{paths(files)}, {_JSON}{self.options}"
        if self.whole:
            source = f"read_ndjson_objects({source})"
        else:
            columns = (f"{text(name)}: {text(holds)}" for name, holds in _members(self.asked).items())
            source = f"read_json({source}, columns = {{{', '.join(columns)}}})"
        return f"(SELECT *, row_number() OVER () - 1 AS {NTH} FROM {source})" if numbered else source

    @property
    def outermost(self) -> list[str]:
        """Return SQL for all that is read of a line."""
        return [self._place((name,)) for name in dict.fromkeys(path[0] for path in self.asked)]

    def column(self, places: Sequence[Path], holds: str) -> Column:
        """Return the column that stands at one of several paths."""
        found = list(map(self._place, places))
        return Column(
            found[0] if len(found) == 1 else f"coalesce({', '.join(found)})", "VARCHAR" if self.whole else holds
        )

    def _place(self, path: Path) -> str:
        return nesting.inside("json", path) if self.whole else ".".join(map(quoted, path))


def _objects(connection: duckdb.DuckDBPyConnection, files: Sequence[Readable]) -> Objects:
    """Return the objects within the rows of files, wherever they stand."""
    found = Objects()
    for row in nesting.rows_at_the_beginning(files[0].path):
        found.take_in(row)
    for file in files:
        if not nesting.is_told(file.path, found):
            structure = f"SELECT DISTINCT json_structure(json) FROM read_ndjson_objects({paths([file])}, {_JSON})"
            for (row,) in connection.execute(f"{structure} LIMIT {_MOST_STRUCTURES}").fetchall():
                found.take_in(nesting.parsed(row))
    return found


def _places(objects: Objects, name: str, features: Sequence[str]) -> list[Path]:
    return objects.places(name) if name in features else []


def _types(plan: Plan, files: Sequence[Readable]) -> dict[str, str]:
    """Return the types of what the plan asks for: a number is read as text where words are seen, as 0,5 or True."""
    types = {name: "VARCHAR" for role, name in plan.columns.items() if "." not in role}
    types |= dict.fromkeys(plan.slices, "VARCHAR")
    words = set[str]()
    for path in {files[0].path, files[-1].path}:
        for row in nesting.rows_at_the_beginning(path):
            words |= _words(row)
    for own in watched(plan):
        name = plan.columns.get(own, own)
        types.setdefault(name, "DOUBLE" if plan.bins[own].numeric_column and name not in words else "VARCHAR")
    return types


def _names(row: Mapping[str, Any]) -> set[str]:
    """Return the keys of a row, and of the objects in it."""
    return {*row}.union(*(_names(value) for value in row.values() if isinstance(value, dict)))


def _words(row: Mapping[str, Any]) -> set[str]:
    """Return the keys of a row, and of the objects in it, that hold text which is no plain number."""
    own = {name for name, value in row.items() if isinstance(value, str) and not _NUMBER.fullmatch(value)}
    return own.union(*(_words(value) for value in row.values() if isinstance(value, dict)))


def _is_ambiguous(asked: Mapping[Path, str]) -> bool:
    """Say whether types cannot name all that is asked: DuckDB's do not tell names apart by the case of letters."""
    within = {path[:n] for path in asked for n in range(1, len(path))}
    every = {*asked, *within}
    return not within.isdisjoint(asked) or len({tuple(map(str.lower, path)) for path in every}) < len(every)


def _members(asked: Mapping[Path, str]) -> dict[str, str]:
    """Return the types of the outermost names, objects with those of their members."""
    below: dict[str, dict[Path, str]] = {}
    for (name, *rest), holds in asked.items():
        below.setdefault(name, {})[tuple(rest)] = holds
    found = {}
    for name, inner in below.items():
        members = (f"{quoted(own)} {holds}" for own, holds in _members(inner).items()) if () not in inner else ()
        found[name] = inner.get((), f"STRUCT({', '.join(members)})")
    return found


_NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]+")
_MOST_STRUCTURES = 10_000
_JSON = "format = 'newline_delimited', ignore_errors = true, maximum_object_size = 16777216, hive_partitioning = false"
