"""Tables of text: those of one header are read together."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.engines import sources
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.spelled import NTH, Column, Group, Readable, paths
from retrain_trigger.engines.sql import quoted, text


@dataclass(frozen=True, slots=True)
class _Read:
    """Reads tables of so many columns of text, c0, c1, ..."""

    columns: int
    separator: str

    def __call__(self, files: Sequence[Readable], *, numbered: bool = False) -> str:
        columns = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(self.columns))
        source = f"read_csv({paths(files)}, {_CSV}, delim = {text(self.separator)}, columns = {{{columns}}})"
        return f"(SELECT *, row_number() OVER () - 1 AS {NTH} FROM {source})" if numbered else source


def groups(_connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], _plan: Plan) -> Iterator[Group]:
    """Yield a group for each header. Raises DataError for a file that has none."""
    alike: dict[bytes, list[Readable]] = {}
    for each in files:
        alike.setdefault(sources.header_of(each.path), []).append(each)
    for header, some in alike.items():
        if header.strip():
            yield _group(header, some)


def _group(header: bytes, files: Sequence[Readable]) -> Group:
    separator = sources.separator_of(header)
    names = _names(header, separator, files[0])
    columns = {name: Column(f"c{n}") for n, name in enumerate(names)}
    inner: dict[str, str] = {}
    for container, members in _nested(names, files[-1], separator).items():
        place = columns[container].sql
        for name in members:
            if name not in columns:
                inside = f"CASE WHEN json_valid({place}) THEN {place} END"
                columns[name] = Column(f"json_extract_string({inside}, {text('$.' + quoted(name))})")
                inner[name] = container
    return Group(
        kind="csv",
        files=tuple(files),
        columns=columns,
        read=_Read(len(names), separator),
        seen=list(columns),
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
    found: dict[str, int] = {}
    for n, name in enumerate(names):
        found[name if name and name not in found else f"column{n}"] = n
    return list(found)


def _nested(names: Sequence[str], file: Readable, separator: str) -> dict[str, Mapping[str, Any]]:
    """Return the columns that hold objects of JSON as text, as far as the first row shows."""
    first = sources.beginning(file.path).decode(errors="replace").splitlines()[1:2]
    sample = csv.reader([line.replace("\r", "") for line in first], delimiter=separator)
    return {name: _object(value) for name, value in zip(names, next(sample, []), strict=False)}


def _object(value: str) -> Mapping[str, Any]:
    try:
        found = json.loads(value) if value.lstrip().startswith("{") else {}
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}


_CSV = (
    "auto_detect = false, header = true, quote = '\"', escape = '\"', null_padding = true, store_rejects = true, "
    "parallel = false, max_line_size = 2000000, buffer_size = 8000000, hive_partitioning = false"
)
