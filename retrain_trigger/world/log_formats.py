"""FORMATS: how the lines of a metrics log become records, found by the content of its first lines."""

import csv
import json
import re
import reprlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from retrain_trigger.world.log_record import TWICE, Number, Record, moment, normal

DEEPEST = 8
"""Objects nested deeper than this are not looked into."""


class Format(NamedTuple):
    """How one log is written.

    `parse` makes a record of a line, None of a line that holds none (a header, chatter), and raises ValueError for a
    line that should hold one. `number` reads a value of such a record: None for NaN, null and infinity, ValueError for
    what is no number. `closes` says that a line cut short cannot look whole.
    """

    parse: Callable[[str], Record | None]
    number: Number
    closes: bool = False


def recognised(first: Sequence[str], names: tuple[str, ...]) -> Format:
    """Return the format of a log that begins with these lines and may hold the metric under these names."""
    return next(found for make in FORMATS.values() if (found := make(first, names)) is not None)


def json_lines(first: Sequence[str], names: tuple[str, ...]) -> Format | None:  # noqa: ARG001  (the table's signature)
    """One JSON object per line; nested names are joined by dots."""
    objects = sum(line.lstrip().startswith("{") for line in first)
    return Format(_json_record, _json_number, closes=True) if objects and 2 * objects >= len(first) else None


def comma_separated(first: Sequence[str], names: tuple[str, ...]) -> Format | None:
    """Rows under a header, separated by comma, semicolon or tab; `drift_NAME` is the drift of NAME."""
    if not first:
        return None
    delimiter = max(",;\t", key=first[0].count)
    try:
        rows = [_cells(line, delimiter) for line in first]
    except ValueError:
        rows = [_cells(first[0].replace('"', ""), delimiter)]
    header = rows[0]
    columns = tuple(_column(cell) for cell in header)
    if not _is_header(rows, columns, names):
        return None
    twice = [name for name, times in Counter(columns).items() if times > 1]

    def parse(line: str) -> Record | None:
        cells = _cells(line, delimiter)
        if cells == header:  # again, where files were joined
            return None
        if len(cells) != len(columns):
            raise ValueError(f"{len(cells)} fields, and the header has {len(columns)}")
        return {**dict(zip(columns, cells, strict=True)), **dict.fromkeys(twice, TWICE)}

    return Format(parse, _text_number)


def bare_numbers(first: Sequence[str], names: tuple[str, ...]) -> Format | None:
    """One number per line, after a time or alone; named values between them are understood too."""
    bare = sum(_bare(line) is not None for line in first)
    if not bare or 2 * bare < len(first):
        return None
    named = _pairs_of(names)

    def parse(line: str) -> Record:
        found = _bare(line)
        if found is not None:
            return {"timestamp": found[0], names[0]: found[1]}
        record = named(line)
        if record is None or not any(name in record for name in names):
            raise ValueError(f"{reprlib.repr(line)} is not a number")
        return record

    return Format(parse, _text_number)


def named_values(first: Sequence[str], names: tuple[str, ...]) -> Format:  # noqa: ARG001  (the table's signature)
    """Text that holds `f1=0.82` or `f1: 0.82`: logfmt, lines of Python's logging, notes; other lines are chatter."""
    return Format(_pairs_of(names), _text_number)


class _RepeatedNameError(ValueError):
    """A JSON object holds a name twice, and nobody can say which one is meant."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _RepeatedNameError(f"{reprlib.repr(name)} stands twice")
    return document


_DECODE = json.JSONDecoder(object_pairs_hook=_unique).raw_decode


def _json_record(line: str) -> Record:
    text = line.strip()
    try:
        document, end = _DECODE(text)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON at column {error.colno}") from None
    except _RepeatedNameError:
        raise
    except ValueError:  # Python refuses integers of thousands of digits
        raise ValueError("a number in the JSON has too many digits") from None
    if end != len(text) or not isinstance(document, dict):
        raise ValueError("not one JSON object")
    record: Record = {}
    _flatten(document, record, prefix="", depth=1)
    return record


def _flatten(document: dict[str, object], record: Record, *, prefix: str, depth: int) -> None:
    for key, value in document.items():
        name = normal(prefix + key)
        if not isinstance(value, dict):
            record[name] = TWICE if name in record else value
        elif depth < DEEPEST:
            _flatten(value, record, prefix=name + ".", depth=depth + 1)


def _json_number(value: object) -> float | None:
    if isinstance(value, float) or value is None:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return None
    # JSON has no NaN, so some write its name.
    if isinstance(value, str) and value.lower().lstrip("+-") in _NON_FINITE:
        return None
    raise ValueError


def _cells(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, strict=True))]
    except csv.Error:
        raise ValueError("a quotation mark is not closed") from None


def _column(cell: str) -> str:
    name = normal(cell)
    return normal("drift." + cell.strip()[len("drift_") :]) if name.startswith("drift_") else name


def _is_header(rows: list[list[str]], columns: tuple[str, ...], names: tuple[str, ...]) -> bool:
    if not any(columns) or any(cell and (_is_number(cell) or not _COLUMN.fullmatch(cell)) for cell in rows[0]):
        return False
    if len(columns) == 1:
        return columns[0] in names or (len(rows) > 1 and all(_is_number(row[0]) for row in rows[1:]))
    alike = sum(len(row) == len(columns) and not any("=" in cell for cell in row) for row in rows[1:])
    return any(name in columns for name in (*names, "timestamp", "tp")) or (alike > 0 and 2 * alike >= len(rows) - 1)


def _bare(line: str) -> tuple[str, str] | None:
    text = _COMMENT.sub("", line).strip()
    value = _SEPARATOR.split(text)[-1]
    time = text[: len(text) - len(value)].rstrip(" \t,;").strip("[]")
    if not value or not _is_number(value) or _MILLISECONDS.search(text):
        return None
    try:
        moment(time)
    except ValueError:
        return None
    return time, value


def _pairs_of(names: tuple[str, ...]) -> Callable[[str], Record | None]:
    # A metric's name of several words may be written with spaces, as in "F1 score: 0.82".
    spelled = "|".join(re.escape(name).replace("_", r"[ _\-]") for name in sorted(names, key=len, reverse=True))
    key = re.compile(rf"""(?<![\w.\-/])["']?({spelled}|[a-z_@][\w.\-/]*)["']?\s*([=:])\s*""", re.IGNORECASE)

    def parse(line: str) -> Record | None:
        record: Record = {}
        position, line = 0, _COMMENT.sub("", line)
        while found := key.search(line, position):
            position = found.end()
            value = _VALUE.match(line, position)
            # In "INFO eval: f1=0.82" the value belongs to f1, and "eval" has none.
            if value is None or (value[2] and key.match(line, position)):
                continue
            position = value.end()
            name, text = normal(found[1]), _unquoted(value)
            if name in names and found[2] == ":" and text[:1].isalpha() and not _is_number(text):
                continue  # "f1: computing" is chatter
            record[name] = TWICE if name in record else text
        if record and "timestamp" not in record and "ts" not in record and (leading := _LEADING.match(line)):
            record["timestamp"] = leading[1]
        return record or None

    return parse


def _unquoted(value: re.Match[str]) -> str:
    return value[1][1:-1] if value[1] else value[2].rstrip(".")


def _text_number(value: object) -> float | None:
    if isinstance(value, str):
        if _NUMBER.fullmatch(value):
            return float(value)
        if value == "" or value.lower().lstrip("+-") in _NON_FINITE:
            return None
    raise ValueError


def _is_number(text: str) -> bool:
    try:
        _text_number(text)
    except ValueError:
        return False
    return True


_NON_FINITE = frozenset({"nan", "inf", "infinity", "null", "none", "na", "n/a"})
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[-+]?[0-9]+)?", re.IGNORECASE)
_COLUMN = re.compile(r"(?=.*[^\W\d_])[\w .\-/%()@]+")
_COMMENT = re.compile(r"\s#(?![0-9]).*")
_SEPARATOR = re.compile(r"[\s,;]+")
_MILLISECONDS = re.compile(r":[0-9]{2},[0-9]{3}$")
# A comma before a digit is kept, so that "0,82" is refused and not read as 0.
_VALUE = re.compile(
    r"""("[^"]*"|'[^']*')"""
    r"""|([0-9]{4}-[0-9]{2}-[0-9]{2}[ ][0-9]{2}:[0-9:.,+Z\-]*|(?:[^\s,;:"'=()\[\]{}]|[,:](?=[0-9/]))+)"""
)
_LEADING = re.compile(
    r"\s*\[?([0-9]{4}[-/][0-9]{2}[-/][0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:\s?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2})\b)?)?)(?![\w:])"
)

FORMATS: dict[str, Callable[[Sequence[str], tuple[str, ...]], Format | None]] = {
    "jsonl": json_lines,
    "csv": comma_separated,
    "numbers": bare_numbers,
    "text": named_values,
}
