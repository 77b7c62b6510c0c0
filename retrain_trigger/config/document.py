"""A YAML text read into values that know where they stand. Plain words mean what YAML 1.2 says: `no` is text."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

import yaml

from retrain_trigger.core.records import Json

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
    value: Json
    key: Place | None = None

    def plain(self) -> Json:
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
    """Read one YAML document; None if it is not YAML, which is then the last mistake.

    `place` makes the place of a line and column. An empty text is a node with the value None.
    """
    text = re.sub("\r\n?", "\n", text)
    tabs = [(number, found.end()) for number, line in enumerate(text.split("\n"), 1) if (found := _TAB.match(line))]
    if tabs:
        return None, [Mistake(place(*each), _TAB_STANDS) for each in tabs]
    mistakes: list[Mistake] = []
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return Node(place(1, 1), None) if root is None else _located(root, place, mistakes), mistakes
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        sentence = f"the control character {text[error.position]!a} is not allowed; delete it"
        return None, [Mistake(place(line, column), sentence)]
    except yaml.MarkedYAMLError as error:
        return None, [_syntax(error, place)]
    except (ValueError, OverflowError):  # a character or a version number
        return None, [Mistake(_marked(loader.get_mark(), place), _BEYOND)]


def quoted(text: str) -> str:
    r"""Quote what was written, on one line and not longer than a message bears.

    >>> quoted("make all\nand more")
    '`make all\\nand more`'
    """
    short = text if len(text) <= _QUOTED else text[:_QUOTED] + "..."
    return "`" + "".join(char if char.isprintable() else ascii(char)[1:-1] for char in short) + "`"


class _Loader(yaml.SafeLoader):
    """PyYAML's loader in Python, whose messages are stable, with the plain values of YAML 1.2."""

    yaml_implicit_resolvers: ClassVar[dict[str, Json]] = {}  # type: ignore[misc]  # untyped in types-PyYAML's base
    depth = values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node as PyYAML does, but refuse what settings never need."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.values += 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(problem=_DECORATED, problem_mark=event.start_mark)
        if self.depth > DEEPEST or self.values > MOST:
            problem = _DEEP if self.depth > DEEPEST else _MANY
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _located(
    node: yaml.Node, place: Callable[[int, int], Place], mistakes: list[Mistake], key: Place | None = None
) -> Node:
    at = _marked(node.start_mark, place)
    if isinstance(node, yaml.ScalarNode):
        return Node(at, _scalar(node, at, mistakes), key)
    if isinstance(node, yaml.SequenceNode):
        return Node(at, [_located(each, place, mistakes) for each in node.value], key)
    children: dict[str, Node] = {}
    for name, value in node.value:
        where = _marked(name.start_mark, place)
        if not isinstance(name, yaml.ScalarNode):
            mistakes.append(Mistake(where, "a key must be one word; write `key: value`"))
        elif name.value in children:
            first = (children[name.value].key or at).line
            mistakes.append(Mistake(where, f"{quoted(name.value)} appears twice, first on line {first}; keep one"))
        else:
            children[name.value] = _located(value, place, mistakes, where)
    return Node(at, children, key)


def _scalar(node: yaml.ScalarNode, at: Place, mistakes: list[Mistake]) -> Json:
    if hidden := _HIDDEN.search(node.value):
        mistakes.append(Mistake(at, f"the text holds the character {hidden[0]!a}; leave it out"))
        return BROKEN
    read = next((read for kind, _, _, read in _PLAIN if node.tag == f"{_CORE}{kind}"), str)
    return read(node.value)


def _finite(text: str) -> float | str:
    """Read a decimal number; one beyond all bounds is text, and no setting takes that for a number."""
    number = float(text.replace("_", ""))
    return number if math.isfinite(number) else text


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


_QUOTED: Final = 60
_DEEP: Final = "nested too deep"
_MANY: Final = "too many values"
_DECORATED: Final = "an anchor, alias or tag"
_BEYOND: Final = "an escape or a version number here is beyond all bounds; delete it"
_TAB_STANDS: Final = "there is a tab here; write spaces"
_CORE: Final = "tag:yaml.org,2002:"

_TAB = re.compile(r" *(?:[\w.-]+: *)?\t")
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

_PLAIN: tuple[tuple[str, str, str, Callable[[str], Json]], ...] = (
    ("null", r"~|null|Null|NULL|", "~nN", lambda _: None),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text.lower() == "true"),
    ("int", r"[-+]?[0-9][0-9_]{0,39}", "-+0123456789", lambda text: int(text.replace("_", ""))),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]{0,39}(?:\.[0-9_]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,9})?",
        "-+.0123456789",
        _finite,
    ),
)
"""The plain values of YAML 1.2: how each is written, how it may begin, how it is read. All else is text."""

for kind, written, first, _ in _PLAIN:
    _Loader.add_implicit_resolver(
        f"{_CORE}{kind}", re.compile(f"(?:{written})$"), [*first, *([""] if kind == "null" else [])]
    )

_SYNTAX: tuple[tuple[str, str, str], ...] = (
    (_DEEP, "problem_mark", f"this is nested deeper than {DEEPEST} levels; settings have three"),
    (_MANY, "problem_mark", f"these are more than {MOST} values; settings have about fifty"),
    (_DECORATED, "problem_mark", "anchors, aliases and tags are not read; write the value itself"),
    ("expected a single document", "problem_mark", "a second document starts here; keep one"),
    (r"'\t'", "problem_mark", _TAB_STANDS),
    (
        "mapping values are not allowed",
        "problem_mark",
        "a second `:` or a key out of line; align it with the keys above, or put the text in quotes",
    ),
    ("could not find expected ':'", "context_mark", "this line has no `:`; write `key: value`"),
    ("while scanning a quoted scalar", "context_mark", "this quote is never closed; close it on the same line"),
    (
        "but found '<scalar>'",
        "problem_mark",
        "there is text after the closing quote; put all of it in one pair of quotes",
    ),
    (
        "while parsing a block",
        "problem_mark",
        "this line is aligned with nothing above it; indent it like its neighbours",
    ),
    ("while parsing a flow", "problem_mark", "a bracket is not closed, or there is a comma too few or too many"),
    ("that cannot start any token", "problem_mark", "text cannot begin with this character; put it in quotes"),
)
