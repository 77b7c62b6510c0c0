"""Records as JSON and back, from their own type hints: what the ledger and the documents beside it hold."""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


def encoded(value: Any) -> Any:
    """Return a record, or what it is made of, as plain JSON.

    Dataclasses become objects, named tuples and other sequences arrays, times ISO 8601, and the members of an
    enumeration their values. What is plain already stays as it is.

    >>> from retrain_trigger.measurements import Mark
    >>> encoded(Mark(at=datetime(2026, 1, 5), ends={"log": 120}))
    {'at': '2026-01-05T00:00:00', 'ends': {'log': 120}, 'judged': None}
    """
    if dataclasses.is_dataclass(value):
        return {field.name: encoded(getattr(value, field.name)) for field in dataclasses.fields(value)}
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

    >>> from retrain_trigger.measurements import Mark
    >>> decoded(Mark, {"at": "2026-01-05T00:00:00"})
    Mark(at=datetime.datetime(2026, 1, 5, 0, 0), ends={}, judged=None)
    """
    read: Record = _decoded(kind, document)
    return read


def _decoded(kind: Any, document: Any) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return (
            None if document is None else _decoded(next(each for each in parts if each is not types.NoneType), document)
        )
    if dataclasses.is_dataclass(kind):
        return _fields(kind, document)
    if origin is tuple and parts[1:] != (...,):
        return tuple(_decoded(each, value) for each, value in zip(parts, document, strict=True))
    if origin in {tuple, frozenset, list, Sequence}:
        made = {frozenset: frozenset, tuple: tuple}.get(origin, list)
        return made(_decoded(parts[0], each) for each in document)
    if origin in {dict, Mapping}:
        return {key: _decoded(parts[1], each) for key, each in document.items()}
    return _plain(kind, document)


def _fields(kind: Any, document: Any) -> Any:
    if not isinstance(document, Mapping):
        raise TypeError(f"{kind.__name__} is an object, not {document!r}")
    upgraded = getattr(kind, "upgraded", None)
    written = upgraded(document) if upgraded else document
    hints = _hints(kind)
    return kind(**{name: _decoded(hints[name], written[name]) for name in hints if name in written})


def _plain(kind: Any, document: Any) -> Any:
    if kind is datetime:
        return datetime.fromisoformat(document)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(document)
    if isinstance(kind, type) and issubclass(kind, tuple):  # a named tuple
        hints = _hints(kind)
        return kind(*(_decoded(hint, value) for hint, value in zip(hints.values(), document, strict=True)))
    return document


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
