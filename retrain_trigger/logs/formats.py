"""FORMATS: how the lines of a metrics log become records, found by the content of its first lines."""

import csv
import json
import re
import reprlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from retrain_trigger.logs.confusions import is_table
from retrain_trigger.logs.readings import is_date, is_empty, is_number, moment
from retrain_trigger.logs.record import TIMES, TWICE, Record, normal

DEEPEST = 8
"""Objects nested deeper than this are not looked into."""


class Opening(NamedTuple):
    """What decides the format: the first lines, the names that the metric may have, and the name of the file."""

    lines: Sequence[str]
    names: tuple[str, ...]
    file: str = ""


class Format(NamedTuple):
    """How one log is written.

    `parse` makes records of a line, none of a line that holds none (chatter), and raises ValueError for a line that
    should hold one. `closes` says that a line cut short cannot look whole. `header` is a line that only names columns,
    and `note` what a person should know of how the log is read.
    """

    parse: Callable[[str], Sequence[Record]]
    closes: bool = False
    header: Callable[[str], bool] = lambda _: False
    note: str = ""


def recognised(first: Sequence[str], names: tuple[str, ...], file: str = "") -> Format:
    """Return the format of a log that begins with these lines and may hold the metric under these names."""
    opening = Opening(first, names, file)
    return next(found for make in FORMATS.values() if (found := make(opening)) is not None)


def is_document(first: Sequence[str]) -> bool:
    """Say whether a log that begins with these lines is JSON over several lines, or an array on one.

    >>> is_document(['{"f1": 0.9}']), is_document(["{", '  "f1": 0.9']), is_document(['[{"f1": 0.9}, {"f1": 0.8}]'])
    (False, True, True)
    >>> is_document(["[2026-01-05] f1=0.9"]), is_document(["{'f1': 0.9}"]), is_document(['{"f1": 0.9', '{"f1": 0.8}'])
    (False, False, False)
    """
    if not first:
        return False
    start = "".join(first).lstrip() if first[0].strip() in {"[", "{"} else first[0].strip()
    if start.startswith("["):
        return start[1:].lstrip()[:1] in {"{", "]"}
    if not start.startswith("{") or start[1:].lstrip()[:1] not in {'"', "}"} or _is_object(first[0]):
        return False
    return first[0].rstrip()[-1:] in "{[,:" and not any(line.startswith("{") and _is_object(line) for line in first[1:])


def json_lines(opening: Opening) -> Format | None:
    """One JSON object per line; nested names are joined by dots."""
    objects = sum(_JSON_START.match(line) is not None for line in opening.lines)
    return Format(json_records, closes=True) if objects and 2 * objects >= len(opening.lines) else None


def json_records(text: str) -> Sequence[Record]:
    """Return the records of one JSON object: itself, or those of the one list in it whose objects carry times."""
    try:
        document, end = _DECODE(text.strip())
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON at column {error.colno}") from None
    except _RepeatedNameError:
        raise
    except ValueError:  # Python refuses integers of thousands of digits
        raise ValueError("a number in the JSON has too many digits") from None
    if end != len(text.strip()) or not isinstance(document, dict):
        raise ValueError("not one JSON object")
    return [_flat(each) for each in _series(document)]


def comma_separated(opening: Opening) -> Format | None:
    """Rows under a header, separated by comma, semicolon or tab."""
    first = opening.lines
    if not first:
        return None
    delimiter = max(",;\t", key=first[0].count)
    try:
        rows = [_cells(line, delimiter) for line in first]
    except ValueError:
        rows = [_cells(first[0].replace('"', ""), delimiter)]
    header = rows[0]
    columns = tuple(normal(cell) for cell in header)
    if not _is_header(rows, columns, opening.names):
        return None
    twice = [name for name, times in Counter(columns).items() if times > 1]
    dated = _first_is_date(rows, columns)
    named = ("timestamp", *columns[1:]) if dated else columns

    def parse(line: str) -> Sequence[Record]:
        cells = _cells(line, delimiter)
        if len(cells) != len(columns):
            hint = "; a decimal comma needs quotation marks or semicolons" if delimiter == "," else ""
            raise ValueError(
                f"{len(cells)} fields, and the header has {len(columns)}{hint if len(cells) > len(columns) else ''}"
            )
        return [{**dict(zip(named, cells, strict=True)), **dict.fromkeys(twice, TWICE)}]

    note = f"times from the column {reprlib.repr(header[0])}" if dated else ""
    return Format(parse, header=lambda line: _is_same(line, delimiter, header), note=note)


def mlflow_metric(opening: Opening) -> Format | None:
    """MLflow's metric file: `time value step` in each line; the name of the file is that of the metric."""
    fits = sum(_MLFLOW.fullmatch(line.strip()) is not None for line in opening.lines)
    if not fits or 2 * fits < len(opening.lines):
        return None
    name = normal(opening.file) if opening.file else opening.names[0]

    def parse(line: str) -> Sequence[Record]:
        found = _MLFLOW.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"{reprlib.repr(line)} is not `time value step`, as MLflow writes it")
        return [{"timestamp": found[1], name: found[2], "step": found[3]}]

    return Format(parse)


def bare_numbers(opening: Opening) -> Format | None:
    """One number per line, after a time or alone; named values between them are understood too."""
    bare = sum(_bare(line) is not None for line in opening.lines)
    if not bare or 2 * bare < len(opening.lines):
        return None
    named, names = _pairs_of(opening.names), opening.names

    def parse(line: str) -> Sequence[Record]:
        found = _bare(line)
        if found is not None:
            return [{"timestamp": found[0], names[0]: found[1]}]
        records = named(line)
        if not any(name in record for record in records for name in names):
            raise ValueError(f"{reprlib.repr(line)} is not a number")
        return records

    return Format(parse)


def named_values(opening: Opening) -> Format:
    """Text that holds `f1=0.82`, `f1: 0.82` or `f1 0.82`: logfmt, lines of Python's logging, notes; other lines are chatter."""
    return Format(_pairs_of(opening.names))


class _RepeatedNameError(ValueError):
    """A JSON object holds a name twice, and nobody can say which one is meant."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _RepeatedNameError(f"{reprlib.repr(name)} appears twice")
    return document


_DECODE = json.JSONDecoder(object_pairs_hook=_unique).raw_decode


def _is_object(line: str) -> bool:
    try:
        return bool(json_records(line))
    except ValueError:
        return False


def _series(document: dict[str, object]) -> list[dict[str, object]]:
    """Return the objects of a history that the document holds, each with what stands beside it; else the document."""
    if not any(isinstance(each, dict | list) for each in document.values()):
        return [document]
    days = {key: each for key, each in document.items() if isinstance(each, dict) and is_date(key)}
    if days and len(days) == len(document):
        return [{"timestamp": key, **each} for key, each in days.items()]
    columns = [each for each in document.values() if isinstance(each, list)]
    plain = not any(isinstance(cell, dict | list) for column in columns for cell in column)
    if plain and 1 < len(columns) == len(document) and len({len(column) for column in columns}) == 1:
        return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]
    histories = [(key, found) for key, each in document.items() if (found := _history(each))]
    if len(histories) != 1:
        return [document]
    key, history = histories[0]
    around = {name: each for name, each in document.items() if name != key}
    if {normal(name) for name in around} & {normal(name) for each in history for name in each} - set(TIMES):
        return [document]
    return [{**around, **each} for each in history]


def _history(value: object) -> list[dict[str, object]]:
    """Return a list of objects that carry their times; nothing for anything else."""
    objects = [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
    timed = all(any(normal(name) in TIMES for name in each) for each in objects)
    return objects if timed and isinstance(value, list) and len(objects) == len(value) else []


def _flat(document: dict[str, object]) -> Record:
    record: Record = {}
    _flatten(document, record, prefix="", depth=1)
    return record


def _flatten(document: dict[str, object], record: Record, *, prefix: str, depth: int) -> None:
    for key, value in document.items():
        name = normal(prefix + key)
        inner = value
        if isinstance(value, list) and any(isinstance(each, dict) for each in value):
            inner = {str(place): each for place, each in enumerate(value)}
        if not isinstance(inner, dict) or (name.rpartition(".")[2] == "confusion" and is_table(inner)):
            record[name] = TWICE if name in record else value
        elif depth < DEEPEST:
            _flatten(inner, record, prefix=name + ".", depth=depth + 1)


def _cells(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, strict=True))]
    except csv.Error:
        raise ValueError("a quotation mark is not closed") from None


def _is_same(line: str, delimiter: str, header: list[str]) -> bool:
    try:
        return _cells(line, delimiter) == header
    except ValueError:
        return False


def _is_header(rows: list[list[str]], columns: tuple[str, ...], names: tuple[str, ...]) -> bool:
    if not any(columns) or any(cell and (_is_value(cell) or not _COLUMN.fullmatch(cell)) for cell in rows[0]):
        return False
    if len(columns) == 1:
        return columns[0] in names or (len(rows) > 1 and all(_is_value(row[0]) for row in rows[1:]))
    alike = sum(len(row) == len(columns) and not any("=" in cell for cell in row) for row in rows[1:])
    if any(name in columns for name in (*names, "timestamp", "tp")):
        return True
    return alike > 0 and 2 * alike >= len(rows) - 1 and not any(_STATED.search(cell) for cell in rows[0])


def _first_is_date(rows: list[list[str]], columns: tuple[str, ...]) -> bool:
    """Say whether the first column holds the times, under a name that says nothing of it or under none."""
    if len(columns) == 1 or any(name in TIMES for name in columns):
        return False
    firsts = [row[0] for row in rows[1:] if row[0]]
    return bool(firsts) and all(is_date(cell) for cell in firsts)


def _is_value(text: str) -> bool:
    return is_number(text) or is_empty(text)


def _bare(line: str) -> tuple[str, str] | None:
    text = _COMMENT.sub("", line).strip()
    if _MILLISECONDS.search(text):
        return None
    for separator in (_SEPARATOR, _WIDE_SEPARATOR):  # 0,91 is a number, unless a time stands before the comma
        value = separator.split(text)[-1]
        time = text[: len(text) - len(value)].rstrip(" \t,;").strip("[]")
        if value and _is_value(value) and (not time or is_date(time) or _is_moment(time)):
            return time, value
    return None


def _is_moment(text: str) -> bool:
    try:
        return moment(text) is not None
    except ValueError:
        return False


def _pairs_of(names: tuple[str, ...]) -> Callable[[str], Sequence[Record]]:
    # A metric's name of several words may be written with spaces, as in "F1 score: 0.82".
    last = {name.rpartition(".")[2] for name in names}
    spelled = "|".join(re.escape(name).replace("_", r"[ _\-]") for name in sorted(last, key=len, reverse=True))
    key = re.compile(
        rf"""(?<![\w.\-/])["']?((?:{spelled})(?![\w.\-/])|[a-z_@][\w.\-/]*)["']?\s*([=:])\s*""", re.IGNORECASE
    )
    spaced = re.compile(rf"(?<![\w.\-/])({spelled})[ \t]+(?=[-+]?[0-9]*[.,][0-9])", re.IGNORECASE)

    def parse(line: str) -> Sequence[Record]:
        record, line = _json_in(_COMMENT.sub("", line))
        position = 0
        while found := key.search(line, position):
            start, position = found.start(), found.end()
            value = _VALUE.match(line, position)
            name = normal(found[1])
            own = name.rpartition(".")[2] in last
            # In "INFO eval: f1=0.82" the value belongs to f1, and "eval" has none.
            if value is not None and value[4] and key.match(line, position):
                continue
            if own:
                name = normal(_words_before(line, start) + name)
            if value is None:
                # `f1=` states nothing, and `f1=[0.8]` something that cannot be read; `f1 == 0.8` compares.
                rest = line[position : position + _LONGEST_REST].strip()
                if own and not rest.startswith("="):
                    record[name] = TWICE if name in record else rest
                continue
            position = value.end()
            record[name] = TWICE if name in record else _unquoted(value)
        if not any(name.rpartition(".")[2] in last for name in record):  # "f1 0.82", with nothing between
            for found in spaced.finditer(line):
                name = normal(_words_before(line, found.start()) + found[1])
                value = _VALUE.match(line, found.end())
                record[name] = TWICE if name in record or value is None else _unquoted(value)
        if record and not any(name in record for name in ("timestamp", "ts")) and (leading := _LEADING.match(line)):
            record["timestamp"] = leading[1].replace(", ", " ")
        return [record] if record else []

    return parse


def _json_in(line: str) -> tuple[Record, str]:
    """Return what a line holds as JSON, such as `confusion={"a": {"a": 8}}`, and the rest of the line."""
    record: Record = {}
    while found := _AS_JSON.search(line):
        try:
            value, end = _DECODE(line, found.end())
        except (ValueError, RecursionError):
            value, end = line[found.end() :][:_LONGEST_REST], len(line)
        name = normal(found[1])
        record[name] = TWICE if name in record else value
        line = line[: found.start()] + line[end:]
    return record, line


def _words_before(line: str, start: int) -> str:
    """Return the words that stand right before a name, as a path: the F1 of `Best F1: 0.93` is `Best.f1`.

    >>> _words_before("INFO trainer: Best F1: 0.93", 19), _words_before("INFO f1=0.93", 5)
    ('Best.', '')
    """
    found = _WORDS.search(line[max(0, start - _LONGEST_REST) : start])
    words = found[0].split() if found else []
    for place in range(len(words), 0, -1):
        if words[place - 1] in _NO_WORDS:
            words = words[place:]
            break
    return "".join(f"{word}." for word in words)


def _unquoted(value: re.Match[str]) -> str:
    return value[1][1:-1] if value[1] else value[0].rstrip(".")


_JSON_START = re.compile(r"""\s*\{\s*(?!')""")
_MLFLOW = re.compile(r"([0-9]{13}) +(\S+) +(-?[0-9]+)")
_COLUMN = re.compile(r"(?=.*[^\W\d_])[\w .\-/%()@]+")
_STATED = re.compile(r"\w [-+]?[0-9]*\.[0-9]+$")
"""A name and a value, as no header has them."""
_COMMENT = re.compile(r"\s#(?![0-9]).*")
_SEPARATOR = re.compile(r"[\s,;]+")
_WIDE_SEPARATOR = re.compile(r"[\s;]+")
_MILLISECONDS = re.compile(r":[0-9]{2},[0-9]{3}$")
# A comma before a digit is kept, so that "0,82" is one value.
_VALUE = re.compile(
    r"""("[^"]*"|'[^']*')"""
    r"""|([A-Za-z_][\w.]*\([^()]*\)|<[^<>]*>)"""
    r"""|([0-9]{4}-[0-9]{2}-[0-9]{2}[ ][0-9]{2}:[0-9:.,+Z\-]*|[-+]?[0-9][0-9.,]*[ ]?%)"""
    r"""|((?:[^\s,;:"'=()\[\]{}<>]|[,:](?=[0-9/]))+)"""
)
_LEADING = re.compile(
    r"\s*\[?([0-9]{4}[-/][0-9]{2}[-/][0-9]{2}"
    r"(?:(?:T|,?\s)[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:\s?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2})\b)?)?)(?![\w:])"
)
_WORDS = re.compile(r"(?<![\w.\-/=:])(?:[^\W\d_]+ )+$")
_NO_WORDS = frozenset(
    {
        "DEBUG",
        "INFO",
        "NOTICE",
        "WARN",
        "WARNING",
        "ERROR",
        "CRITICAL",
        "FATAL",
        "TRACE",
        "SUCCESS",
        "UTC",
        "GMT",
        "AM",
        "PM",
    }
)
_LONGEST_REST = 100
_AS_JSON = re.compile(r"(?<![\w.\-/])((?:[\w.]+\.)?(?:confusion|classes))\s*[=:]\s*(?=[\[{])", re.IGNORECASE)
"""Names whose value is JSON, in text too."""

FORMATS: dict[str, Callable[[Opening], Format | None]] = {
    "jsonl": json_lines,
    "csv": comma_separated,
    "mlflow": mlflow_metric,
    "numbers": bare_numbers,
    "text": named_values,
}
