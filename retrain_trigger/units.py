"""What settings are made of: text, counts, shares and durations, read from plain values or refused in a sentence."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, NoReturn, TypeVar

from retrain_trigger.document import quoted
from retrain_trigger.judge.policy import Budget, Patience

Words = TypeVar("Words", bound=StrEnum)


class WrongError(ValueError):
    """A value that is not allowed, in words that follow the name of its key."""


def needs(what: str, value: object, hint: str = "") -> NoReturn:
    """Refuse a value of the wrong kind."""
    raise WrongError(f"needs {what}, not {seen(value)}{hint}")


def seen(value: object) -> str:
    """Say what a value is, as a reader of the file would.

    >>> seen(True), seen("x"), seen([]), seen(None)
    ('`true`', 'the text `x`', 'a list', 'nothing')
    """
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"`{value}`"
    if isinstance(value, list):
        return "a list"
    return "keys" if isinstance(value, dict) else "nothing"


def text(value: object) -> str:
    """Read text that is not blank."""
    if isinstance(value, int | float):
        needs("text", value, "; put it in quotes")
    if not isinstance(value, str) or not value.strip():
        needs("text", value)
    return value


def count(value: object, *, least: int = 1) -> int:
    """Read a whole number from `least` up."""
    if isinstance(value, bool) or not isinstance(value, int):
        needs("a whole number", value)
    if not least <= value <= _MOST:
        raise WrongError(f"is {value}; write a number from {least} to {_MOST}")
    return value


def number(allowed: str, fits: Callable[[float], bool]) -> Callable[[object], float]:
    """Make the reader of a number that fits; `allowed` says which do, by an example.

    >>> number("above 0, such as 0.20", lambda x: x > 0)(3)
    3.0
    """

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            needs(f"a number {allowed}", value)
        if not fits(value):
            raise WrongError(f"is {value}; write a number {allowed}")
        return float(value)

    return read


def share(allowed: str, fits: Callable[[float], bool]) -> Callable[[object], float]:
    """Make the reader of a number that may be written in percent, which is read exactly.

    >>> share("such as 5%", lambda x: x >= 0)("5.5%")
    0.055
    """
    read = number(allowed, fits)

    def read_share(value: object) -> float:
        match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
        return read(float(Decimal(match[1]) / 100) if match else value)

    return read_share


def duration(value: object) -> timedelta:
    """Read `90s`, `45m`, `24h`, `7d` or `2w`: longer than nothing, at most a hundred years.

    >>> duration("36h")
    datetime.timedelta(days=1, seconds=43200)
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        needs("a duration with its unit", value, "; write 24h or 1d")
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        needs("a duration such as 90s, 45m, 24h, 7d or 2w", value)
    seconds = int(match[1]) * _SECONDS[match[2]]
    if not 0 < seconds <= _LONGEST.total_seconds():
        raise WrongError(f"is {value}; write a duration from 1s to {_LONGEST.days}d")
    return timedelta(seconds=seconds)


def reach(value: object) -> timedelta | None:
    """Read how far back something reaches: a duration, or None for `all`."""
    if not isinstance(value, str):
        needs("a duration with its unit such as 30d, or all", value)
    return None if value == "all" else duration(value)


def patience(value: object) -> Patience:
    """Read `2 of 3`."""
    match = _PATIENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        needs("a count such as 1 of 1 or 2 of 3", value)
    read = Patience(int(match[1]), int(match[2]))
    if not 1 <= read.hits <= read.of:
        raise WrongError(f"is {value}; write at least 1 of no fewer, such as 2 of 3")
    return read


def budget(value: object) -> Budget:
    """Read `4 per 30d`."""
    match = _BUDGET.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        needs("a count and a duration such as 4 per 30d", value)
    return Budget(count(int(match[1])), duration(match[2]))


def one_of(words: type[Words]) -> Callable[[object], Words]:
    """Make the reader of one of these words."""

    def read(value: object) -> Words:
        if not isinstance(value, str) or value not in list(words):
            needs(" or ".join(words), value)
        return words(value)

    return read


_MOST: Final = 1_000_000_000
_LONGEST: Final = timedelta(days=36_500)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PERCENT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?%")
_DURATION = re.compile(r"([0-9]{1,12}) ?([smhdw])")
_PATIENCE = re.compile(r"([0-9]{1,3}) of ([0-9]{1,3})")
_BUDGET = re.compile(r"([0-9]{1,12}) per (.+)")
