"""Files of JSON lines: all are read together, for what the plan asks for."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.engines import sources
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.spelled import NTH, Column, Group, Readable, file_number, paths, watched
from retrain_trigger.engines.sql import quoted, text


@dataclass(frozen=True, slots=True)
class _Read:
    """Reads the keys of lines of JSON, each as a type, by options."""

    asked: Mapping[str, str]
    options: str

    def __call__(self, files: Sequence[Readable], *, numbered: bool = False) -> str:
        columns = ", ".join(f"{text(name)}: {text(holds)}" for name, holds in self.asked.items())
        source = f"read_json({paths(files)}, {_JSON}{self.options}, columns = {{{columns}}})"
        return f"(SELECT *, row_number() OVER () - 1 AS {NTH} FROM {source})" if numbered else source


def groups(_connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], plan: Plan) -> Iterator[Group]:
    """Yield the group of all files: it has whatever the plan asks for."""
    found: dict[str, Any] = {}
    for path in {files[0].path, files[-1].path}:
        _take_in(found, keys(path))
    types, inner = _asked(plan, found)
    _check_case(types, files[0])
    asked = {**types, **{container: _struct(container, types, inner) for container in inner.values()}}
    options, number = file_number(files, list(asked))
    yield Group(
        kind="json",
        files=tuple(files),
        columns={name: Column(_place(name, inner.get(name)), holds) for name, holds in types.items()},
        read=_Read(asked, options),
        seen=list(keys(files[0].path)),
        inner=inner,
        blank="(" + " AND ".join(f"{quoted(name)} IS NULL" for name in asked) + ")",
        file=number,
    )


def keys(path: str) -> dict[str, Any]:
    """Return what stands at the beginning of a file of JSON lines: each key with the first value that is not null."""
    found: dict[str, Any] = {}
    for line in sources.beginning(path).splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            _take_in(found, row)
    return found


def mentioned(path: str) -> frozenset[str]:
    """Return the keys at the beginning of a file, also those of objects in a row."""
    seen = keys(path)
    return frozenset(seen).union(*(value for value in seen.values() if isinstance(value, dict)))


def _asked(plan: Plan, found: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the types of what the plan asks for, and in what watched columns are nested."""
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
    return types, inner


def _struct(container: str, types: Mapping[str, str], inner: Mapping[str, str]) -> str:
    members = ", ".join(f"{quoted(name)} {types[name]}" for name, within in inner.items() if within == container)
    return f"STRUCT({members})"


def _place(name: str, container: str | None) -> str:
    """Return SQL for a column: a line may have it by itself, or nested."""
    return f"coalesce({quoted(name)}, {quoted(container)}.{quoted(name)})" if container else quoted(name)


def _check_case(types: Mapping[str, str], file: Readable) -> None:
    seen: dict[str, str] = {}
    for name in types:
        if seen.setdefault(name.lower(), name) != name:
            raise DataError(
                f"{file.file}: columns {seen[name.lower()]!r} and {name!r} differ only in the case of letters; rename one"
            )


def _take_in(found: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Take in the keys of a row, also those of objects in it, each with its first value that is not null."""
    for key, value in row.items():
        before = found.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            found[key] = {**value, **{name: each for name, each in before.items() if each is not None}}
        elif before is None:
            found[key] = value


def _comma(value: Any) -> bool:
    return isinstance(value, str) and "," in value


_JSON = "format = 'newline_delimited', ignore_errors = true, maximum_object_size = 16777216, hive_partitioning = false"
