"""A YAML text read into values that know where they stand, with every surprise of YAML named."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any, Final, NamedTuple

import yaml

BROKEN: Final = object()
"""The value of a node whose mistake has been named already."""

DEEPEST: Final = 10
"""Levels of nesting beyond which a text is refused: settings have three, and reading recurses."""

MOST: Final = 10_000
"""Keys and values beyond which a text is refused: settings have about fifty, and reading takes time."""


class Place(NamedTuple):
    """Where something was written: the numbers (from 1) give the order, `name` is what messages begin with."""

    line: int
    column: int
    name: str


class Mistake(NamedTuple):
    """What is wrong at a place, and what to do."""

    place: Place
    sentence: str

    def __str__(self) -> str:
        return f"{self.place.name}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar, a dict of nodes by key, a list of nodes, or BROKEN; `key` is the place of its key, if it has one."""

    place: Place
    value: Any
    key: Place | None = None

    def plain(self) -> Any:
        """Return the value without places; BROKEN stays where it is."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: Iterable[int | str]) -> "Node":
        """Return the node at the end of the path, or the last one on the way there that was written."""
        node = self
        for step in path:
            known = range(len(node.value)) if isinstance(node.value, list) else node.value
            if not isinstance(known, dict | range) or step not in known:
                break
            node = node.value[step]
        return node


def parse(text: str, place: Callable[[int, int], Place]) -> tuple[Node | None, list[Mistake]]:
    """Read one YAML document; None where it is not YAML, which is then the last mistake.

    `place` makes the place of a line and column. An empty text is a node with the value None.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    tabbed = [number for number, line in enumerate(lines) if _TAB.match(line)]
    tabs = [Mistake(place(number + 1, lines[number].index("\t") + 1), _TAB_STANDS) for number in tabbed]
    # How wide the writer's tabs were is unknown; with the first width that reads, the other mistakes show as well.
    for width in (1, 2, 4, 8) if tabs else (1,):
        node, mistakes = _read(*_without_tabs(lines, set(tabbed), width, place))
        if node is not None or not tabs:
            return node, tabs + mistakes
    return None, tabs


def quoted(text: str) -> str:
    r"""Quote what was written, on one line and not longer than a message bears.

    >>> quoted("make all\nand more")
    '`make all\\nand more`'
    """
    short = text if len(text) <= _QUOTED else text[:_QUOTED] + "..."
    return "`" + "".join(char if char.isprintable() else ascii(char)[1:-1] for char in short) + "`"


def _without_tabs(
    lines: list[str], tabbed: set[int], width: int, place: Callable[[int, int], Place]
) -> tuple[str, Callable[[int, int], Place]]:
    def as_written(line: int, column: int) -> Place:
        if line - 1 in tabbed:
            widths = [0, *accumulate(width if char == "\t" else 1 for char in lines[line - 1])]
            column = next((index + 1 for index, end in enumerate(widths) if end >= column - 1), column)
        return place(line, column)

    spaced = (line.replace("\t", " " * width) if number in tabbed else line for number, line in enumerate(lines))
    return "\n".join(spaced), as_written


def _read(text: str, place: Callable[[int, int], Place]) -> tuple[Node | None, list[Mistake]]:
    mistakes: list[Mistake] = []
    try:
        return _Composer(text, place, mistakes).document(), mistakes
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        sentence = f"the control character {text[error.position]!a} stands here; delete it"
        mistakes.append(Mistake(place(line, column), sentence))
    except yaml.MarkedYAMLError as error:
        mistakes.append(_syntax(error, place))
    return None, mistakes


def _syntax(error: yaml.MarkedYAMLError, place: Callable[[int, int], Place]) -> Mistake:
    problem = f"{error.context or ''} {error.problem or ''}".strip()
    for words, mark, sentence in _SYNTAX:
        if words in problem:
            return Mistake(_marked(getattr(error, mark), place), sentence)
    return Mistake(
        _marked(error.problem_mark, place),
        f"this is not YAML ({problem}); look at indentation, quotes and brackets around here",
    )


def _marked(mark: yaml.Mark | None, place: Callable[[int, int], Place]) -> Place:
    return place(mark.line + 1, mark.column + 1) if mark else place(1, 1)


def _start(event: yaml.Event) -> yaml.Mark:
    assert isinstance(event.start_mark, yaml.Mark)  # the Python parser always knows it
    return event.start_mark


class _Composer:
    """Turns the events of PyYAML's own parser, which never recurses, into nodes; its Python one has stable messages."""

    def __init__(self, text: str, place: Callable[[int, int], Place], mistakes: list[Mistake]) -> None:
        self._loader = yaml.SafeLoader(text)
        self._place = place
        self._mistakes = mistakes
        self._events = 0

    def document(self) -> Node:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return Node(self._place(1, 1), None)
        root = self._node(self._next(), 0)
        self._next()
        if not isinstance(after := self._next(), yaml.StreamEndEvent):
            self._mistake(after, "a second document starts here; keep one")
        return root

    def _next(self) -> yaml.Event:
        try:
            event: yaml.Event = self._loader.get_event()  # type: ignore[no-untyped-call]
        except (ValueError, OverflowError):  # a character or a version number beyond all bounds
            raise yaml.MarkedYAMLError(problem=_BEYOND, problem_mark=self._loader.get_mark()) from None
        self._events += 1
        if self._events > MOST:
            raise yaml.MarkedYAMLError(problem=_MANY, problem_mark=_start(event))
        return event

    def _at(self, event: yaml.Event) -> Place:
        return _marked(_start(event), self._place)

    def _mistake(self, event: yaml.Event, sentence: str) -> None:
        self._mistakes.append(Mistake(self._at(event), sentence))

    def _node(self, event: yaml.Event, depth: int, key: Place | None = None) -> Node:
        if depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem=_DEEP, problem_mark=_start(event))
        self._refuse_decoration(event)
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self._at(event), self._mapping(depth), key)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(self._at(event), self._items(depth), key)
        return Node(self._at(event), self._scalar(event) if isinstance(event, yaml.ScalarEvent) else BROKEN, key)

    def _refuse_decoration(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._mistake(event, f"`*{event.anchor}` is an alias; write the value itself")
        elif isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._mistake(event, f"`&{event.anchor}` is an anchor, which nothing may refer to; delete it")
        if getattr(event, "tag", None) is not None:
            self._mistake(event, "a YAML tag stands here; write the value alone, in quotes where it is text")

    def _items(self, depth: int) -> list[Node]:
        items = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Node]:
        children: dict[str, Node] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            name = self._key(event, depth)
            before = len(self._mistakes)
            node = self._node(self._next(), depth + 1, self._at(event))
            if name == "<<":
                del self._mistakes[before:]  # of the alias that it merges: one mistake, said once
                self._mistake(event, "`<<` merges keys from elsewhere; write them out")
            elif name in children:
                first = (children[name].key or children[name].place).line
                self._mistake(event, f"{quoted(name)} stands twice, first on line {first}; keep one")
            elif name is not None:
                children[name] = node
        return children

    def _key(self, event: yaml.Event, depth: int) -> str | None:
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_decoration(event)
            return event.value
        before = len(self._mistakes)
        self._node(event, depth + 1)
        del self._mistakes[before:]
        self._mistake(event, "a key must be one word; write `key: value`")
        return None

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        if hidden := _HIDDEN.search(event.value):
            self._mistake(event, f"the text holds the character {hidden[0]!a}; leave it out")
            return BROKEN
        if event.style is not None:
            return event.value
        try:
            return _plain_scalar(event.value)
        except ValueError as error:
            self._mistake(event, str(error))
            return BROKEN


def _plain_scalar(text: str) -> Any:
    for pattern, sentence in _SURPRISES:
        if pattern.fullmatch(text):
            raise ValueError(sentence(text))
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text.replace("_", ""))
    if _DECIMAL.fullmatch(text):
        return _finite(text)
    return text


def _finite(text: str) -> float:
    number = float(text.replace("_", ""))
    if not math.isfinite(number):
        raise ValueError(_not_a_number(text))
    return number


def _switch(text: str) -> str:
    meant = "true" if text.lower() in {"yes", "on"} else "false"
    return f'YAML reads `{text}` as {meant}; write {meant}, or "{text}" in quotes'


def _base_sixty(text: str) -> str:
    return (
        f'YAML reads `{text}` as a number in base 60; write a duration with its unit (45m, 24h), or "{text}" in quotes'
    )


def _exponent(text: str) -> str:
    exponent = abs(int(re.split("[eE]", text)[1]))
    meant = f"{Decimal(text.replace('_', '')):f}" if exponent <= _EXPONENT else "it without an exponent"
    return f"YAML reads `{text}` as text; write {meant}"


def _other_base(text: str) -> str:
    return f'YAML does not read `{text}` as a decimal number; write it in decimal, or "{text}" in quotes'


def _date(text: str) -> str:
    return f'YAML reads `{text}` as a date; write "{text}" in quotes'


def _not_a_number(text: str) -> str:
    return f'`{text}` is never a number here; write a finite number, or "{text}" in quotes'


def _too_long(text: str) -> str:
    return f"{quoted(text)} is a number of {len(text)} characters; write a shorter one, or text in quotes"


_QUOTED: Final = 60
_EXPONENT: Final = 30
_BEYOND: Final = "beyond all bounds"
_DEEP: Final = "nested too deep"
_MANY: Final = "too many values"
_TAB_STANDS: Final = "a tab stands here; write spaces"

_TAB = re.compile(r" *(?:[\w.-]+: *)?\t")
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_DECIMAL = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]{1,9})?")
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

_SURPRISES: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
    (re.compile(r"[-+0-9_.:]{40,}"), _too_long),
    (re.compile(r"yes|no|on|off", re.IGNORECASE), _switch),
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"), _base_sixty),
    (re.compile(r"[-+]?(?:[0-9]{1,40}[eE][-+]?|[0-9]{0,40}\.[0-9]{1,40}[eE])[0-9]{1,40}"), _exponent),
    (re.compile(r"[-+]?0(?:[0-9_]+|[xX][0-9a-fA-F_]+|[oO][0-7_]+|[bB][01_]+)"), _other_base),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9].*)?"), _date),
    (re.compile(r"[-+]?\.(?:inf|nan)", re.IGNORECASE), _not_a_number),
)

_SYNTAX: tuple[tuple[str, str, str], ...] = (
    (_DEEP, "problem_mark", f"this is nested deeper than {DEEPEST} levels; settings have three"),
    (_MANY, "problem_mark", f"these are more than {MOST} values; settings have about fifty"),
    (_BEYOND, "problem_mark", "an escape or a version number here is beyond all bounds; delete it"),
    (r"'\t'", "problem_mark", _TAB_STANDS),
    (
        "mapping values are not allowed",
        "problem_mark",
        "a second `:` or a key out of line; align it with the keys above, or put the text in quotes",
    ),
    ("could not find expected ':'", "context_mark", "this line has no `:`; write `key: value`"),
    ("while scanning a quoted scalar", "context_mark", "this quote is never closed; close it on the same line"),
    ("but found '<scalar>'", "problem_mark", "text stands after a closed quote; put all of it in one pair of quotes"),
    (
        "while parsing a block",
        "problem_mark",
        "this line is aligned with nothing above it; indent it like its neighbours",
    ),
    ("while parsing a flow", "problem_mark", "a bracket is not closed, or a comma is missing or too many; mend it"),
    ("that cannot start any token", "problem_mark", "text cannot begin with this character; put it in quotes"),
)
