"""Files of Parquet: those of one schema are read together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from retrain_trigger.engines.database import types_of
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.spelled import NTH, Column, Group, Readable, file_number, paths
from retrain_trigger.engines.sql import quoted


@dataclass(frozen=True, slots=True)
class _Read:
    """Reads files of Parquet, by options."""

    options: str

    def __call__(self, files: Sequence[Readable], *, numbered: bool = False) -> str:
        source = f"read_parquet({paths(files)}, hive_partitioning = false{self.options}"
        return (
            f"(SELECT *, file_row_number AS {NTH} FROM {source}, file_row_number = true))" if numbered else f"{source})"
        )


def groups(connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], _plan: Plan) -> Iterator[Group]:
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
    for some in alike.values():
        yield _group(connection, some)


def _group(connection: duckdb.DuckDBPyConnection, files: Sequence[Readable]) -> Group:
    """Return the group of files of one schema; the members of objects are columns, too."""
    source = f"read_parquet({paths(files[:1])})"
    types, inner = types_of(connection, f"(SELECT * FROM {source})"), dict[str, str]()
    columns = {name: Column(quoted(name), holds) for name, holds in types.items()}
    for container, holds in types.items():
        if not holds.startswith("STRUCT") or holds.endswith("]"):
            continue
        members = types_of(connection, f"(SELECT {quoted(container)}.* FROM {source})")
        for name, own in members.items():
            if name not in columns:
                columns[name], inner[name] = Column(f"{quoted(container)}.{quoted(name)}", own), container
    options, number = file_number(files, list(types))
    return Group(
        kind="parquet",
        files=tuple(files),
        columns=columns,
        read=_Read(options),
        seen=list(columns),
        inner=inner,
        file=number,
    )
