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

Json = Any
"""What JSON holds, as it is read: nobody has looked at it yet."""

Document = Mapping[str, Json]
"""An object of JSON."""

Value = Any
"""A record, or what one is made of."""

Reader = Callable[[Json], Value]
Writer = Callable[[Value], Json]

SPARSE: Final = types.MappingProxyType({"sparse": True})
"""Metadata of a field that the JSON leaves out where it has its default."""


def encoded(value: Value) -> Json:
    """Return a record, or what it is made of, as plain JSON.

    Dataclasses become objects, named tuples (without the last fields that have their defaults) and other sequences
    arrays, times ISO 8601, and the members of an enumeration their values. A mapping whose keys are tuples becomes a
    sorted array of [*key, value], and a `float` that is not a number null. What a class names in `also_written` stands
    beside its fields, and is not read back. What is plain already stays as it is.

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
        return [encoded(each) for each in _without_defaults(value)]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value


def decoded(kind: type[Record], document: Json) -> Record:
    """Return the record that `encoded` made a document of.

    A field that an earlier version did not write has its default, one that nothing reads any more is left out, and
    `kind.upgraded(document)`, if there is one, first brings what an earlier version wrote into today's form. Raises
    KeyError, TypeError or ValueError if the document is of another kind.

    >>> from retrain_trigger.core.measurements import Mark
    >>> decoded(Mark, {"at": "2026-01-05T00:00:00"})
    Mark(at=datetime.datetime(2026, 1, 5, 0, 0), ends={}, judged=None)
    """
    read: Record = _reader(cast("Hashable", kind))(document)
    return read


def _without_defaults(values: Value) -> Value:
    """Leave out the last fields of a named tuple that have their defaults: earlier versions did not know them."""
    kept, defaults = values, getattr(values, "_field_defaults", {})
    for name in reversed(defaults):
        if getattr(values, name) != defaults[name]:
            break
        kept = kept[:-1]
    return kept


@cache
def _writers(kind: type) -> tuple[tuple[str, Writer, Value], ...]:
    """Return each field's name, what writes it, and the value that is left out."""
    hints, always = _hints(kind), object()
    fields = [
        (field.name, _writer(hints[field.name]), field.default if field.metadata.get("sparse") else always)
        for field in dataclasses.fields(kind)
    ]
    return (*fields, *((name, _written_number, always) for name in getattr(kind, "also_written", ())))


def _writer(hint: object) -> Writer:
    if hint is float:
        return _written_number
    keyed = get_origin(hint) is Mapping and get_origin(get_args(hint)[0]) is tuple
    return _written_cells if keyed else encoded


def _written_number(value: Value) -> Json:
    return None if isinstance(value, float) and math.isnan(value) else encoded(value)


def _written_cells(cells: Mapping[tuple[Value, ...], Value]) -> list[Json]:
    return [[*key, encoded(value)] for key, value in sorted(cells.items(), key=_as_text)]


def _as_text(item: tuple[tuple[Value, ...], Value]) -> str:
    """Return by what cells are sorted: a key may hold None, which is neither less nor more than others."""
    return str(item[0])


@cache
def _reader(kind: object) -> Reader:
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


def _plain_reader(kind: object) -> Reader:
    if kind is float:
        return _read_number
    if kind is int:
        return _read_whole
    if kind is datetime:
        return datetime.fromisoformat
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    if isinstance(kind, type) and issubclass(kind, tuple):  # a named tuple
        return partial(_read_named, kind, tuple(_reader(hint) for hint in _hints(kind).values()))
    return _as_it_is


def _fields(kind: type) -> tuple[tuple[str, Reader], ...]:
    hints = _hints(kind)
    return tuple((field.name, _reader(hints[field.name])) for field in dataclasses.fields(kind))


def _read_fields(
    kind: type,
    upgraded: Callable[[Document], Document] | None,
    fields: Sequence[tuple[str, Reader]],
    document: Json,
) -> Value:
    if not isinstance(document, Mapping):
        raise TypeError(f"{kind.__name__} is an object, not {document!r}")
    written = upgraded(document) if upgraded else document
    values = {name: read(written[name]) for name, read in fields if name in written}
    if len(values) < len(fields) and (lacking := _lacking(kind, values)):
        raise ValueError(f"{kind.__name__} has no {', '.join(lacking)}")
    return kind(**values)


def _lacking(kind: Value, values: Document) -> list[str]:
    """Return the fields without a default that have no value."""
    needed = (
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    return [name for name in needed if name not in values]


def _read_tuple(made: Reader, parts: Sequence[Reader], document: Json) -> Value:
    return made([read(value) for read, value in zip(parts, document, strict=True)])


def _read_named(kind: Callable[..., Value], parts: Sequence[Reader], document: Sequence[Json]) -> Value:
    """Read a named tuple, in which an earlier version may not have written the last fields."""
    if len(document) > len(parts):
        raise ValueError(f"{document!r} has more than {len(parts)} values")
    return kind(*(read(value) for read, value in zip(parts, document, strict=False)))


def _read_all(made: Reader, read: Reader, document: Json) -> Value:
    return made([read(each) for each in document])


def _read_mapping(read: Reader, document: Document) -> dict[str, Value]:
    return {key: read(each) for key, each in document.items()}


def _read_cells(read: Reader, document: Sequence[Json]) -> dict[tuple[Value, ...], Value]:
    return {tuple(key): read(value) for *key, value in document}


def _read_number(document: Json) -> Value:
    return math.nan if document is None else document


def _read_whole(document: Json) -> int:
    if type(document) is not int:
        raise TypeError(f"{document!r} is not a whole number")
    return document


def _as_it_is(document: Json) -> Value:
    return document


@cache
def _hints(kind: type) -> dict[str, Value]:
    return get_type_hints(kind)


_PLAIN: Final = frozenset({str, int, float, bool, types.NoneType})
