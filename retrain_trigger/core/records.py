"""Records as JSON and back, from their own type hints: what the ledger and the documents beside it hold."""

import dataclasses
import math
import types
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import cache, partial
from typing import Any, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Record = TypeVar("Record")

SPARSE: Final = types.MappingProxyType({"sparse": True})
"""Metadata of a field that the JSON leaves out where it has its default."""


def encoded(value: Any) -> Any:
    """Return a record, or what it is made of, as plain JSON.

    Dataclasses become objects, named tuples and other sequences arrays, times ISO 8601, and the members of an
    enumeration their values. A mapping whose keys are tuples becomes a sorted array of [*key, value], and a `float`
    that is not a number null. What a class names in `also_written` stands beside its fields, and is not read back.
    What is plain already stays as it is.

    >>> from retrain_trigger.core.measurements import Mark
    >>> encoded(Mark(at=datetime(2026, 1, 5), ends={"log": 120}))
    {'at': '2026-01-05T00:00:00', 'ends': {'log': 120}, 'judged': None}
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if dataclasses.is_dataclass(kind):
        found = ((name, getattr(value, name), write, left_out) for name, write, left_out in _writers(kind))
        return {name: write(each) for name, each, write, left_out in found if each != left_out}
    if isinstance(value, Mapping):
        return {key: encoded(each) for key, each in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [encoded(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value


def decoded(kind: type[Record], document: Any) -> Record:
    """Return the record that `encoded` made a document of.

    A field that an earlier version did not write has its default, one that nothing reads any more is left out, and
    `kind.upgraded(document)`, where there is one, first brings what an earlier version wrote into today's form. Raises
    KeyError, TypeError or ValueError where the document is of another kind.

    >>> from retrain_trigger.core.measurements import Mark
    >>> decoded(Mark, {"at": "2026-01-05T00:00:00"})
    Mark(at=datetime.datetime(2026, 1, 5, 0, 0), ends={}, judged=None)
    """
    read: Record = _reader(cast("Hashable", kind))(document)
    return read


@cache
def _writers(kind: type) -> tuple[tuple[str, Callable[[Any], Any], Any], ...]:
    """Return each field's name, what writes it, and the value that is left out."""
    hints, always = _hints(kind), object()
    fields = [
        (field.name, _writer(hints[field.name]), field.default if field.metadata.get("sparse") else always)
        for field in dataclasses.fields(kind)
    ]
    return (*fields, *((name, _written_number, always) for name in getattr(kind, "also_written", ())))


def _writer(hint: Any) -> Callable[[Any], Any]:
    if hint is float:
        return _written_number
    keyed = get_origin(hint) is Mapping and get_origin(get_args(hint)[0]) is tuple
    return _written_cells if keyed else encoded


def _written_number(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else encoded(value)


def _written_cells(cells: Mapping[tuple[Any, ...], Any]) -> list[list[Any]]:
    return [[*key, encoded(value)] for key, value in sorted(cells.items(), key=_as_text)]


def _as_text(item: tuple[tuple[Any, ...], Any]) -> str:
    """Return by what cells are sorted: a key may hold None, which is neither less nor more than others."""
    return str(item[0])


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """Return what reads one kind of value; it is made once, for a ledger has thousands of them."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        (one,) = (_reader(each) for each in parts if each is not types.NoneType)
        return lambda document: None if document is None else one(document)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return partial(_read_fields, kind, getattr(kind, "upgraded", None), _fields(kind))
    if origin is tuple and parts[1:] != (...,):
        return partial(_read_tuple, tuple, tuple(_reader(each) for each in parts))
    if origin in {tuple, frozenset, list, Sequence}:
        return partial(_read_all, {frozenset: frozenset, tuple: tuple}.get(origin, list), _reader(parts[0]))
    if origin in {dict, Mapping}:
        keyed = get_origin(parts[0]) is tuple
        return partial(_read_cells if keyed else _read_mapping, _reader(parts[1]))
    return _plain_reader(kind)


def _plain_reader(kind: Any) -> Callable[[Any], Any]:
    if kind is float:
        return _read_number
    if kind is int:
        return _read_whole
    if kind is datetime:
        return datetime.fromisoformat
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    if isinstance(kind, type) and issubclass(kind, tuple):  # a named tuple
        return partial(_read_tuple, kind._make, tuple(_reader(hint) for hint in _hints(kind).values()))  # type: ignore[attr-defined]
    return _as_it_is


def _fields(kind: type) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    hints = _hints(kind)
    return tuple((field.name, _reader(hints[field.name])) for field in dataclasses.fields(kind))


def _read_fields(
    kind: type,
    upgraded: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None,
    fields: Sequence[tuple[str, Callable[[Any], Any]]],
    document: Any,
) -> Any:
    if not isinstance(document, Mapping):
        raise TypeError(f"{kind.__name__} is an object, not {document!r}")
    written = upgraded(document) if upgraded else document
    values = {name: read(written[name]) for name, read in fields if name in written}
    if len(values) < len(fields) and (lacking := _lacking(kind, values)):
        raise ValueError(f"{kind.__name__} has no {', '.join(lacking)}")
    return kind(**values)


def _lacking(kind: Any, values: Mapping[str, Any]) -> list[str]:
    """Return the fields without a default that have no value."""
    needed = (
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    return [name for name in needed if name not in values]


def _read_tuple(made: Callable[[Any], Any], parts: Sequence[Callable[[Any], Any]], document: Any) -> Any:
    return made([read(value) for read, value in zip(parts, document, strict=True)])


def _read_all(made: Callable[[Any], Any], read: Callable[[Any], Any], document: Any) -> Any:
    return made([read(each) for each in document])


def _read_mapping(read: Callable[[Any], Any], document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: read(each) for key, each in document.items()}


def _read_cells(read: Callable[[Any], Any], document: Sequence[Any]) -> dict[tuple[Any, ...], Any]:
    return {tuple(key): read(value) for *key, value in document}


def _read_number(document: Any) -> Any:
    return math.nan if document is None else document


def _read_whole(document: Any) -> int:
    if type(document) is not int:
        raise TypeError(f"{document!r} is not a whole number")
    return document


def _as_it_is(document: Any) -> Any:
    return document


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


_PLAIN: Final = frozenset({str, int, float, bool, types.NoneType})
