"""The confusion table that a line of a metrics log states: how many rows of each label were said to be of which class."""

import json
import reprlib
from collections.abc import Mapping, Sequence

from retrain_trigger.core.records import Json
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.words import word
from retrain_trigger.logs.readings import Cell, Kind, Reading


def is_table(value: Json) -> bool:
    """Say whether a value has the form of a table: an object of objects of values, or a list of lists.

    >>> is_table({"a": {"a": 8, "b": 2}}), is_table([[8, 2], [1, 9]]), is_table({"tp": 8, "fp": 2})
    (True, True, False)
    """
    if not value or not isinstance(value, Mapping | list):
        return False
    rows = list(value.values()) if isinstance(value, Mapping) else value
    kind = Mapping if isinstance(value, Mapping) else list
    if not all(isinstance(row, kind) for row in rows):
        return False
    cells = (cell for row in rows for cell in (row.values() if isinstance(row, Mapping) else row))
    return not any(isinstance(cell, Mapping | list) for cell in cells)


def confusion(written: Cell, classes: Cell | None, reading: Reading) -> Confusion:
    """Return the table of a cell: {label: {said: rows}}, or a list of lists, by label, whose `classes` are beside it.

    Either may be text that holds it as JSON. Raises ValueError, in words for the log's reader.

    >>> written = Cell("confusion", [[8, 2], [0, 9]])
    >>> confusion(written, Cell("classes", '["a", "b"]'), Reading()).cells
    {('a', 'a'): 8, ('a', 'b'): 2, ('b', 'b'): 9}
    """
    value = _parsed(written)
    if not is_table(value):
        raise ValueError(
            f"{written.name} is {reprlib.repr(written.value)}, neither {{label: {{said: rows}}}} nor a list of lists"
        )
    if isinstance(value, Mapping):
        named = [_class(written, label) for label in value]
        rows = [row.items() for row in value.values()]
    else:
        named = _classes(written, value, classes)
        rows = [zip(named, row, strict=True) for row in value]
    cells = (
        (label, _class(written, said), count) for label, row in zip(named, rows, strict=True) for said, count in row
    )
    found: dict[tuple[str, str], int] = {}
    for label, said, count in cells:
        where = f"{written.name} of label {label!r}, said to be {said!r},"
        if (label, said) in found:
            raise ValueError(f"{where} stands there twice")
        found[label, said] = int(reading.number(Cell(where, count, Kind.COUNT)) or 0)
    return Confusion.naming(found, {*named, *(said for _, said in found)})


def _parsed(written: Cell) -> Json:
    if not isinstance(written.value, str):
        return written.value
    try:
        return json.loads(written.value, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _classes(written: Cell, table: Sequence[Sequence[Json]], classes: Cell | None) -> list[str]:
    """Return the classes of a list of lists, in order."""
    names = _parsed(classes) if classes else None
    if not isinstance(names, list) or len(names) != len(table):
        raise ValueError(f"{written.name} is a list of {len(table)} lists, and no `classes` beside it names so many")
    if any(len(row) != len(table) for row in table):
        raise ValueError(f"{written.name} has {len(table)} rows, and not each of them has {len(table)} values")
    found = [_class(written, name) for name in names]
    if len(set(found)) < len(found):
        raise ValueError(f"`classes` names a class twice: {reprlib.repr(names)}")
    return found


def _class(written: Cell, name: Json) -> str:
    """Return a class as labels are counted: 1, 1.0 and true are all '1'."""
    found = word(str(name)) if isinstance(name, str | int | float) else None
    if found is None or not found.isprintable():
        raise ValueError(f"{written.name} has a class {reprlib.repr(name)}, which is no name of one")
    return found
