"""How a log writes its numbers and its times: read where its values leave one reading, asked about where they do not."""

import math
import re
import reprlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from retrain_trigger.core.measurements import without_leap_second

LARGEST_COUNT = 2**53
"""Counts above this are not exact as floats, and no window has so many rows."""


class Kind(StrEnum):
    """What a number may be: a count of rows, a share from 0 to 1, or any number."""

    COUNT = "a count"
    SHARE = "from 0 to 1"
    ANY = "a number"


class Cell(NamedTuple):
    """A value as the log has it, under its name."""

    name: str
    value: object
    kind: Kind = Kind.ANY


@dataclass(slots=True)
class Reading:
    """How one log writes numbers and times, as far as its lines so far tell.

    `marks` are the decimal marks, and `dates` the forms of a date, that every line so far can have been written with.
    A line leaves out those that it cannot have been; a line that none of them is left for is bad, and leaves out none.
    So what is settled stays settled, however the log grows. `percent` says of a name whether its numbers are written
    in percent.
    """

    marks: frozenset[str] = frozenset(".,")
    dates: frozenset[str] = frozenset(("plain", "dmy", "mdy", "ymd"))
    date_format: str | None = None
    percent: dict[str, bool] = field(default_factory=dict)
    separator: str = ""
    _doubts: dict[str, str] = field(default_factory=dict)

    def learn(self, where: str, numbers: list[Cell], time: Cell | None) -> None:
        """Take in the values of one line; those of a line that cannot be read teach nothing."""
        marks, percent = self.marks, dict[str, bool]()
        doubted = ""
        for cell in numbers:
            read = _numbers(cell)
            fits = {mark: number for mark, number in read.items() if mark in marks}
            written = _in_percent(cell.value)
            if read and (not fits or self.percent.get(cell.name, written) != written):
                return
            if not read:
                if not is_number(cell.value):
                    return
                continue
            percent[cell.name] = written
            if len(fits) < len(marks):
                marks = frozenset(fits)
            elif len(set(fits.values())) > 1:
                if "," not in str(cell.value):  # 1.234 is what programs write
                    marks = frozenset(".")
                else:
                    doubted = doubted or _doubt_of_number(where, cell, fits)
        dates = self._learned_dates(where, time)
        if dates is None:
            return
        self.marks, self.dates = marks, dates
        self.percent |= percent
        if doubted:
            self._doubts.setdefault("marks", doubted)

    def _learned_dates(self, where: str, cell: Cell | None) -> frozenset[str] | None:
        """Return the forms of a date that are left after this one; None if none is."""
        if cell is None or self.date_format is not None:
            return self.dates
        fits = {form: at for form, at in _times(cell.value).items() if form in self.dates}
        if not fits:
            return None
        if len(set(fits.values())) > 1:
            self._doubts.setdefault("dates", _doubt_of_date(where, cell, fits))
        self.separator = self.separator or _separator(cell.value)
        return self.dates if len(set(fits.values())) == 1 and len(fits) > 1 else frozenset(fits)

    def doubt(self) -> str | None:
        """Say what must be set before the log can be read; None if nothing is in doubt."""
        open_ones = {"marks": len(self.marks) > 1, "dates": len(self.dates) > 1}
        return next((text for name, text in self._doubts.items() if open_ones[name]), None)

    def number(self, cell: Cell) -> float | None:
        """Return the number of a cell, None for NaN and infinity. Raises ValueError, in words for the log's reader."""
        value, name = cell.value, cell.name
        mark = "," if self.marks == {","} else "."
        found = _plain_number(value, mark)
        if found is None:
            raise ValueError(f"{name} is {reprlib.repr(value)}, not a number{self._hint(cell)}")
        written = _in_percent(value)
        if math.isfinite(found) and self.percent.get(name, written) != written:
            how = "not in percent, as" if written else "in percent, as"
            raise ValueError(f"{name} is {reprlib.repr(value)}, and the lines before it are {how} it is{_not(written)}")
        if not math.isfinite(found):
            if cell.kind is Kind.COUNT:
                raise ValueError(f"{name} is {reprlib.repr(value)}, not a count")
            return None
        if cell.kind is Kind.SHARE and not _fits(found, Kind.SHARE):
            raise ValueError(f"{name} is {found:.12g}, not from 0 to 1")
        if cell.kind is Kind.COUNT and not _fits(found, Kind.COUNT):
            raise ValueError(f"{name} is {reprlib.repr(value)}, not a count")
        return found

    def _hint(self, cell: Cell) -> str:
        return f"; its decimal mark is {self._mark()} in this log" if _numbers(cell) else ""

    def _mark(self) -> str:
        return '","' if self.marks == {","} else '"."'

    def time(self, cell: Cell) -> datetime | None:
        """Return the time of a cell (UTC), None for null and empty text. Raises ValueError for anything else."""
        if is_empty(cell.value):
            return None
        if self.date_format is not None:
            return _given(cell, self.date_format)
        found = [at for form, at in _times(cell.value).items() if form in self.dates]
        if not found:
            other = _times(cell.value) and f"; the lines before it are written as {self._dates_in_words()}"
            raise ValueError(f"{cell.name} {_no_time(cell.value)}{other or ''}")
        return found[0]

    def _dates_in_words(self) -> str:
        (form,) = self.dates if len(self.dates) == 1 else ("plain",)
        return _FORMS[form].replace(" ", self.separator or ".")

    def in_words(self) -> list[str]:
        """Say how the log is read, as far as that is not the plain way."""
        said = []
        if self.date_format is not None:
            said.append(f"dates as {self.date_format}")
        elif len(self.dates) == 1 and self.dates != {"plain"}:
            said.append(f"dates as {self._dates_in_words()}")
        if self.marks == {","}:
            said.append("a decimal comma")
        said += [f"{name} in percent" for name, written in self.percent.items() if written]
        return said


def reading(decimal: str | None, date_format: str | None) -> Reading:
    """Begin the reading of a log, with what the settings say of it."""
    return Reading(marks=frozenset(decimal or ".,"), date_format=date_format)


def is_empty(value: object) -> bool:
    """Say whether a value states nothing: an empty cell, null, and the words for it."""
    return value is None or (isinstance(value, str) and value.strip().lower() in _EMPTY)


def is_number(value: object) -> bool:
    """Say whether a value is a number, with either decimal mark, in percent or as a scalar of NumPy; NaN is one."""
    return _plain_number(value, ".") is not None or _plain_number(value, ",") is not None


def is_date(value: object) -> bool:
    """Say whether a text is a date or a time in any form but an epoch."""
    return isinstance(value, str) and not value.replace(".", "").isdigit() and bool(_times(value))


def moment(value: object) -> datetime | None:
    """Return a time in UTC from ISO 8601 (weeks, too), from words such as 10 Mar 2026, or from epoch s, ms, us or ns.

    A time without a zone is UTC; null and empty text is None. Raises ValueError for anything else, and for years before
    1970 or after 2285: programs write the year 1 or 9999 where they know no time.

    >>> moment("2026-01-02 03:04:05,678").isoformat()
    '2026-01-02T03:04:05.678000+00:00'
    >>> moment(1767323045) == moment("1767323045000") == moment("2026-01-02T04:04:05+01:00")
    True
    >>> moment("2026-W02").isoformat(), moment("Mon, 5 Jan 2026 00:00:00 GMT") == moment("2026-W02")
    ('2026-01-05T00:00:00+00:00', True)
    """
    if value is None or value == "":
        return None
    found = _times(value).get("plain")
    if found is None:
        raise ValueError(_no_time(value))
    return found


def _no_time(value: object) -> str:
    span = f"from {_FIRST_YEAR} to {_LAST_YEAR}"
    return f"{reprlib.repr(value)} is no time {span}, as ISO 8601 or as epoch seconds or milliseconds"


def _numbers(cell: Cell) -> dict[str, float]:
    """Return what a text can mean, by decimal mark; {} for what is no text, and if the mark cannot matter."""
    if not isinstance(cell.value, str) or is_empty(cell.value) or _wrapped(cell.value) is not None:
        return {}
    read = {mark: _plain_number(cell.value, mark) for mark in ".,"}
    return {
        mark: number
        for mark, number in read.items()
        if number is not None and math.isfinite(number) and _fits(number, cell.kind)
    }


def _fits(number: float, kind: Kind) -> bool:
    if kind is Kind.SHARE:
        return -_ROUNDING <= number <= 1 + _ROUNDING
    return kind is Kind.ANY or (0 <= number <= LARGEST_COUNT and number.is_integer())


def _plain_number(value: object, mark: str) -> float | None:
    """Return a number written with this decimal mark, NaN for NaN and infinity, None for what is no number."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return _number_of_text(value, mark) if isinstance(value, str) and len(value) <= _LONGEST_NUMBER else None


@lru_cache(maxsize=1024)
def _number_of_text(value: str, mark: str) -> float | None:
    text = value.strip()
    inner = _wrapped(text)
    if inner is not None:
        text, mark = inner, "."
    if text.lower().lstrip("+-") in _NON_FINITE:
        return math.nan
    bare = text.removesuffix("%").rstrip() if text.endswith("%") else text
    bare = _GAPS.sub("", bare)
    if mark == ",":
        if not _COMMA.fullmatch(bare):
            return None
        bare = bare.replace(".", "").replace(",", ".")
    elif _THOUSANDS.fullmatch(bare):
        bare = bare.replace(",", "")
    elif not _DOT.fullmatch(bare):
        return None
    if not text.endswith("%"):
        return float(bare)
    return float(Decimal(bare) / 100)  # exactly: 92.3 % is 0.923


def _wrapped(text: str) -> str | None:
    """Return the number in np.float64(0.58), tensor(0.58, device='cuda:0') and the like; None for any other text."""
    found = _SCALAR.fullmatch(text.strip()) or _TENSOR.fullmatch(text.strip())
    return found[1] if found else None


def _in_percent(value: object) -> bool:
    return isinstance(value, str) and value.rstrip().endswith("%")


def _times(value: object) -> dict[str, datetime]:
    """Return what a value can mean as a time, by the form of its date."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return {}
    text = str(value)
    return _times_of_text(text.strip()) if len(text) <= _LONGEST_TIME else {}


@lru_cache(maxsize=256)
def _times_of_text(text: str) -> dict[str, datetime]:
    if _ISO.fullmatch(text):  # what programs write, and all but a leap second of it is read as it stands
        with suppress(ValueError):
            return {"plain": _in_utc(datetime.fromisoformat(text))}
    return dict(_read_times(text))


def _read_times(text: str) -> Iterator[tuple[str, datetime]]:
    parts = _DATE.fullmatch(text)
    if parts is None:
        orders: dict[str, str | None] = {"plain": _spelled_out(text) or text}
    elif len(parts[1]) == _YEAR:
        orders = {"plain": _iso(parts, 1, 3, 4)}
    else:
        orders = {"dmy": _iso(parts, 4, 3, 1), "mdy": _iso(parts, 4, 1, 3)}
        if len(parts[1]) == len(parts[4]) == _SHORT_YEAR:
            orders["ymd"] = _iso(parts, 1, 3, 4)
    for form, iso in orders.items():
        try:
            yield form, _from_text(iso or "")
        except (ValueError, OverflowError):
            continue


def _iso(parts: re.Match[str], year: int, month: int, day: int) -> str | None:
    """Put the groups of _DATE into the order of ISO 8601; None if the year has one digit or three."""
    if len(parts[year]) not in {_SHORT_YEAR, _YEAR}:
        return None
    century = "20" if len(parts[year]) == _SHORT_YEAR else ""
    return f"{century}{parts[year]}-{int(parts[month]):02}-{int(parts[day]):02}{_clock(parts[5])}"


def _clock(text: str | None) -> str:
    """Return a time of day as ISO 8601 has it; ValueError is left to whoever reads it."""
    found = _CLOCK.fullmatch((text or "").strip())
    if found is None:
        return "T" + text.strip() if text and text.strip() else ""
    hour = int(found[1]) % 12 + 12 * (found[4].lower() == "pm") if found[4] else int(found[1])
    zone = {"Z": "+00:00", "UTC": "+00:00", "GMT": "+00:00", None: ""}.get(found[5], found[5])
    return f"T{hour:02}:{found[2]}{found[3] or ''}{zone}".replace(",", ".")


def _spelled_out(text: str) -> str | None:
    """Return a date with a month in words as ISO 8601; None for any other text."""
    month = _MONTH.fullmatch(text)
    if month:
        return f"{month[1]}-{month[2]}-01"
    for pattern, (day, name, year, rest) in _IN_WORDS.items():
        found = pattern.fullmatch(text)
        if found and found[name][:3].lower() in _MONTHS:
            return f"{found[year]}-{_MONTHS.index(found[name][:3].lower()) + 1:02}-{int(found[day]):02}{_clock(found[rest])}"
    return None


def _from_text(text: str) -> datetime:
    # Digits first: `fromisoformat` would read some epochs as dates of the eighteenth century.
    if text[4:5] != "-" and text.replace(".", "", 1).isdigit() and len(text) != len("20260102"):
        return _from_epoch(text)
    return _in_utc(datetime.fromisoformat(without_leap_second(_ZONE.sub("", text).replace("/", "-"))))


def _in_utc(found: datetime) -> datetime:
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise ValueError
    if found.tzinfo is UTC:
        return found
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _from_epoch(text: str) -> datetime:
    # From 1973 to 2286 seconds, milli-, micro- and nanoseconds do not overlap; anything else is not guessed at.
    whole, _, part = text.partition(".")
    unit = _UNITS.get(len(whole.lstrip("0")), 0)
    if not unit:
        raise ValueError
    microseconds = int(whole + part[:6].ljust(6, "0")) // unit
    return datetime.fromtimestamp(microseconds // 10**6, UTC).replace(microsecond=microseconds % 10**6)


def _given(cell: Cell, date_format: str) -> datetime:
    """Read a time in the form that the settings give; a time of day may follow."""
    text = str(cell.value).strip()
    for rest in ("", text.partition(" ")[2]):
        try:
            date = datetime.strptime(text.removesuffix(rest).strip(), date_format)  # noqa: DTZ007
            if not rest:
                found = date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
            else:
                found = _from_text(f"{date:%Y-%m-%d}{_clock(rest)}")
        except ValueError:
            continue
        if _FIRST_YEAR <= found.year <= _LAST_YEAR:
            return found
    raise ValueError(f"{cell.name} {reprlib.repr(cell.value)} is no time as logs.date_format {date_format} has it")


def _doubt_of_number(where: str, cell: Cell, fits: dict[str, float]) -> str:
    return (
        f"{where}: {cell.name} is {reprlib.repr(cell.value)}, which is {fits[',']:.12g} or {fits['.']:.12g}, and no line says "
        f'which; set logs.decimal to "," or "."'
    )


def _doubt_of_date(where: str, cell: Cell, fits: dict[str, datetime]) -> str:
    mark = _separator(cell.value)
    year = "%Y" if re.search(r"[0-9]{4}", str(cell.value)) else "%y"
    formats = {"dmy": f"%d{mark}%m{mark}{year}", "mdy": f"%m{mark}%d{mark}{year}", "ymd": f"{year}{mark}%m{mark}%d"}
    meant = " or ".join(f"{at:%Y-%m-%d}" for at in fits.values())
    ways = " or ".join(f'"{formats[form]}"' for form in fits)
    return f"{where}: {cell.name} is {reprlib.repr(cell.value)}, which is {meant}, and no line says which; set logs.date_format to {ways}"


def _separator(value: object) -> str:
    found = _DATE.fullmatch(str(value).strip())
    return found[2] if found else ""


def _not(written: bool) -> str:  # noqa: FBT001  (one word of a sentence)
    return "" if written else " not"


_EMPTY: Final = frozenset({"", "null", "none", "na", "n/a", "n.a.", "#n/a", "nil", "-", "--"})
_NON_FINITE: Final = frozenset({"nan", "inf", "infinity"})
_ROUNDING: Final = 1e-9
_LONGEST_NUMBER, _LONGEST_TIME = 1000, 100
_FIRST_YEAR, _LAST_YEAR = 1970, 2285
_YEAR, _SHORT_YEAR = 4, 2
_UNITS: Final = {
    digits: 10**power for digits, power in ((9, 0), (10, 0), (12, 3), (13, 3), (15, 6), (16, 6), (18, 9), (19, 9))
}
_NUMBER: Final = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_DOT = re.compile(_NUMBER)
_COMMA = re.compile(r"[-+]?(?:[1-9][0-9]{0,2}(?:\.[0-9]{3})+|[0-9]+)(?:,[0-9]+)?(?:[eE][-+]?[0-9]+)?|[-+]?,[0-9]+")
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_GAPS = re.compile("(?<=[0-9])[\u00a0\u202f '](?=[0-9]{3}(?![0-9]))")
_SCALAR = re.compile(rf"""[A-Za-z_][\w.]*\(\s*['"\[]?\s*({_NUMBER}|[-+]?nan|[-+]?inf)\s*['"\]]?\s*(?:,[^()]*)?\)""")
_TENSOR = re.compile(rf"<[^<>]*\bnumpy=({_NUMBER}|nan|[-+]?inf)[^<>]*>")
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_DATE = re.compile(r"([0-9]{1,4})([./-])([0-9]{1,2})\2([0-9]{1,4})((?:T|,? +)[0-9].*)?")
_CLOCK = re.compile(
    r"(?:T|,)?\s*([0-9]{1,2}):([0-9]{2})(:[0-9]{2}(?:[.,][0-9]+)?)?\s*([AaPp][Mm])?\s*(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?"
)
_MONTH = re.compile(r"((?:19|20|21)[0-9]{2})-([0-9]{2})")
_IN_WORDS: Final = {
    re.compile(
        r"(?:[A-Za-z]{3,9},? )?([0-9]{1,2})[ /.-]{1,2}([A-Za-z]{3,9})[ /.,-]{1,2}([0-9]{4})((?:[T:]|,? )[0-9].*)?"
    ): (1, 2, 3, 4),
    re.compile(r"(?:[A-Za-z]{3,9},? )?([A-Za-z]{3,9})\.? ([0-9]{1,2}),? ([0-9]{4})((?:T|,? )[0-9].*)?"): (2, 1, 3, 4),
}
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ZONE = re.compile(r" ?\b(?:UTC|GMT)$")
_FORMS: Final = {"plain": "ISO 8601", "dmy": "day month year", "mdy": "month day year", "ymd": "year month day"}
