"""Objects within rows, as far down as they go: what stands in them is read as columns, too."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from retrain_trigger.engines import sources
from retrain_trigger.engines.sql import text

Path = tuple[str, ...]
"""The names of the objects within each other in which a column stands; of one that stands by itself, none."""

MOST = 50
"""Objects of a row that are looked into; of more, those that were seen to hold watched columns."""

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects within rows, with the names of what stands in them.

    `beside` are the columns that some row has by themselves and in an object: that one means another thing by them.
    """

    members: dict[Path, set[str]] = field(default_factory=dict)
    beside: set[tuple[str, Path]] = field(default_factory=set)

    def take_in(self, row: Mapping[str, Any]) -> None:
        """Take in a row, or the structure of one.

        >>> found = Objects()
        >>> found.take_in({"id": 1, "request": {"features": {"age": 3}}})
        >>> found.places("age"), found.holders(["age"])
        ([('request',), ('request', 'features')], [('age', 'request.features')])
        """
        own = {name for name, value in row.items() if _is_given(value)}
        for path, names in _walk(row):
            self.members.setdefault(path, set()).update(names)
            self.beside.update((name, path) for name in own & names)

    def wanted(self, names: Sequence[str]) -> "Objects":
        """Return the objects that are looked into for columns, at most MOST."""
        first = sorted(self.members, key=lambda path: self.members[path].isdisjoint(names))[:MOST]
        return Objects({path: self.members[path] for path in first}, self.beside)

    def places(self, name: str) -> list[Path]:
        """Return the objects in which a column may stand: no row has it by itself as well."""
        return [path for path in self.members if (name, path) not in self.beside]

    def holders(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Return columns that were seen to stand in objects, each with the object."""
        found = ((name, path) for name in names for path in self.places(name))
        return [(name, ".".join(path)) for name, path in found if name in self.members[path]]


def rows_at_the_beginning(path: str) -> list[Mapping[str, Any]]:
    """Return the objects on the first lines of a file of JSON lines."""
    return [row for line in sources.beginning(path).splitlines() if (row := parsed(line))]


def parsed(line: str | bytes | None) -> Mapping[str, Any]:
    """Return the object of JSON that a text is; an empty one if it is none."""
    try:
        found = json.loads(line or "")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_told(path: str, known: Objects) -> bool:
    """Say whether a file of JSON lines has no objects in rows but known ones: as many braces are opened as these explain.

    Braces and lines are counted, and not parsed: that is ten times as fast.
    """
    within = _opened(path)
    return within == 0 or (bool(known.members) and within == _opened_by(path, {each[-1] for each in known.members}))


def inside(column: str, path: Sequence[str]) -> str:
    """Return SQL for what stands within a column that holds JSON, as text."""
    pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)
    return f"json_extract_string({column}, {text(pointer)})"


def _opened(path: str) -> int:
    """Count the braces that are opened beyond one a line."""
    braces, lines, end = 0, 0, b"\n"
    with sources.opened(path) as file:
        while data := sources.unpacked(path, lambda: file.read(_CHUNK)):
            braces += data.count(b"{")
            lines += data.count(b"\n")
            end = data[-1:]
    return braces - lines - (end != b"\n")


def _opened_by(path: str, names: Iterable[str]) -> int:
    """Count the braces behind names, as these are written in the first lines."""
    spelled = {f"{json.dumps(name, ensure_ascii=False)}:{blank}{{".encode() for name in names for blank in ("", " ")}
    beginning, found = sources.beginning(path), 0
    needles = [each for each in spelled if each in beginning]
    with sources.opened(path) as file:
        while data := sources.unpacked(path, lambda: file.read(_CHUNK)):
            data += file.readline()
            found += sum(map(data.count, needles))
    return found


def _walk(row: Mapping[str, Any], within: Path = ()) -> Iterable[tuple[Path, set[str]]]:
    """Yield the objects in a row, from the outermost on, with the names of what they hold but objects and nothing."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            path = (*within, name)
            yield path, {own for own, held in value.items() if _is_given(held)}
            yield from _walk(value, path)


def _is_given(value: Any) -> bool:
    """Say whether a value, or the type of one in a structure, is there and no object."""
    return value is not None and value != "NULL" and not isinstance(value, Mapping)
