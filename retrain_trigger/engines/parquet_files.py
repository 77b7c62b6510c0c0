"""Files of Parquet: those of one schema are read together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from retrain_trigger.engines.database import types_of
from retrain_trigger.engines.nesting import Path
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.spelled import NTH, Column, Group, Readable, file_number, paths, watched
from retrain_trigger.engines.sql import quoted, text


@dataclass(frozen=True, slots=True)
class _Read:
    """Reads files of Parquet, by options; `counts` says that DuckDB has a name for the place of a row in its file."""

    options: str
    counts: bool

    def __call__(self, files: Sequence[Readable], *, numbered: bool = False) -> str:
        source = f"read_parquet({paths(files)}, hive_partitioning = false{self.options}"
        if not numbered:
            return f"{source})"
        if self.counts:
            return f"(SELECT *, file_row_number AS {NTH} FROM {source}, file_row_number = true))"
        return f"(SELECT *, row_number() OVER () - 1 AS {NTH} FROM {source}))"


def groups(connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], plan: Plan) -> Iterator[Group]:
    """Yield a group for each schema."""
    query = (
        "SELECT file_name, name, type, converted_type, CAST(logical_type AS VARCHAR), num_children "
        f"FROM parquet_schema({paths(files)})"
    )
    schemas: dict[str, list[tuple[Any, ...]]] = {}
    for file, *column in connection.execute(query).fetchall():
        schemas.setdefault(file, []).append(tuple(column))
    alike: dict[tuple[tuple[Any, ...], ...], list[Readable]] = {}
    for each in files:
        alike.setdefault(tuple(schemas[each.path]), []).append(each)
    features = [plan.columns.get(own, own) for own in watched(plan)]
    for schema, some in alike.items():
        yield _group(connection, some, _names(schema), features)


def _names(schema: Sequence[tuple[Any, ...]]) -> list[str]:
    """Return the names of the outermost columns, as they are written: a schema lists each element before what is in it."""
    names, left = list[str](), 0
    for name, *_, children in schema[1:]:
        if not left:
            names.append(name)
        left += (children or 0) - (1 if left else 0)
    return names


def _group(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], names: Sequence[str], features: Sequence[str]
) -> Group:
    """Return the group of files of one schema; what stands in objects are columns, too.

    DuckDB calls a column whose name differs from another's only in the case of letters by one of its own.
    """
    source = f"read_parquet({paths(files[:1])})"
    types = types_of(connection, f"(SELECT * FROM {source})")
    outer = {
        name: Column(quoted(own), holds, is_spelled=False)
        for name, (own, holds) in zip(names, types.items(), strict=True)
    }
    inner: list[tuple[str, str]] = []
    columns = {**outer}
    for path, column in _within(connection, source, outer, features):
        if path[-1] not in columns:
            columns[path[-1]] = column
            inner.append((path[-1], ".".join(path[:-1])))
    options, number = file_number(files, list(types))
    return Group(
        kind="parquet",
        files=tuple(files),
        columns=columns,
        read=_Read(options, "file_row_number" not in {name.lower() for name in types}),
        seen=list(columns),
        inner=inner,
        file=number,
    )


def _within(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Mapping[str, Column], features: Sequence[str]
) -> Iterator[tuple[Path, Column]]:
    """Yield what stands in objects, as far down as they go, and what watched columns maps have."""
    for name, column in columns.items():
        if column.type.endswith("]"):
            continue
        members: dict[str, Column] = {}
        if column.type.startswith("STRUCT"):
            types = types_of(connection, f"(SELECT s.* FROM (SELECT {column.sql} AS s FROM {source}))")
            members = {
                own: Column(f"{column.sql}.{quoted(own)}", holds, is_spelled=False) for own, holds in types.items()
            }
        elif column.type.startswith("MAP(VARCHAR, "):
            holds = column.type.removeprefix("MAP(VARCHAR, ").removesuffix(")")
            members = {own: Column(f"{column.sql}[{text(own)}]", holds, is_spelled=False) for own in features}
        yield from (((name, own), member) for own, member in members.items())
        for path, member in _within(connection, source, members, features):
            yield (name, *path), member
