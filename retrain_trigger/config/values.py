"""What settings are made of: text, counts, shares and durations, read from plain values or refused in a sentence."""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NoReturn

from pydantic_core import core_schema

from retrain_trigger.config.document import quoted
from retrain_trigger.core.records import Document, Json
from retrain_trigger.judge.policy import Budget, Patience


@dataclass(frozen=True, slots=True)
class Form:
    """How a person writes a value: `read` reads it or raises WrongError, `schema` is its JSON Schema."""

    read: Callable[[object], Json]
    schema: Document

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Any:
        """Let pydantic read values so."""
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: object, handler: object) -> dict[str, Json]:
        """Let pydantic describe values so."""
        return dict(self.schema)


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


def number(such_as: str, **bounds: float) -> Form:
    """Return the form of a number within `bounds`: gt, ge, lt and le, as JSON Schema has them.

    >>> number("0.20", gt=0).read(3)
    3.0
    """
    allowed = _allowed(such_as, **bounds)

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            needs(f"a number {allowed}", value)
        if not math.isfinite(value) or not all(_FITS[name](value, bound) for name, bound in bounds.items()):
            raise WrongError(f"is {value}; write a number {allowed}")
        return float(value)

    return Form(read, {"type": "number", **{_KEYWORDS[name]: bound for name, bound in bounds.items()}})


def share(such_as: str, **bounds: float) -> Form:
    """Return the form of a number that may be written in percent, which is read exactly.

    >>> share("5%", ge=0).read("5.5%")
    0.055
    """
    plain = number(such_as, **bounds)

    def read(value: object) -> Json:
        match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
        return plain.read(float(Decimal(match[1]) / 100) if match else value)

    return Form(read, {"anyOf": [plain.schema, {"type": "string", "pattern": f"^{_PERCENT.pattern}$"}]})


def optional(form: Form) -> Form:
    """Return the form of a value that may be left out."""
    return Form(lambda value: None if value is None else form.read(value), {"anyOf": [form.schema, {"type": "null"}]})


def automatic(form: Form) -> Form:
    """Return the form of a value that may be `auto`, which is read as None."""

    def read(value: object) -> object:
        if value == "auto":
            return None
        try:
            return form.read(value)
        except WrongError as error:
            raise WrongError(f"{error}; or write auto" if isinstance(value, str) else str(error)) from None

    return Form(read, {"anyOf": [{"enum": ["auto"]}, form.schema]})


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


def horizon(value: object) -> timedelta | None:
    """Read how long something is waited for: a duration, or None for `auto`."""
    if not isinstance(value, str):
        needs("a duration with its unit such as 30d, or auto", value)
    return None if value == "auto" else duration(value)


def patience(value: object) -> Patience:
    """Read `2 of 3`."""
    match = _PATIENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        needs("a count such as 1 of 1 or 2 of 3", value)
    read = Patience(int(match[1]), int(match[2]))
    if not 1 <= read.hits <= read.of:
        raise WrongError(f"is {value}; the first number must be from 1 to the second; write e.g. 2 of 3")
    return read


def budget(value: object) -> Budget:
    """Read `4 per 30d`, or `8 per 30d, saving`."""
    match = _BUDGET.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        needs("a count and a duration such as 4 per 30d, or 8 per 30d, saving", value)
    return Budget(count(int(match[1])), duration(match[2]), saving=match[3] is not None)


def one_of(words: type[StrEnum]) -> Form:
    """Return the form of one of these words."""

    def read(value: object) -> StrEnum:
        if not isinstance(value, str) or value not in list(words):
            needs(" or ".join(words), value)
        return words(value)

    return Form(read, {"enum": [word.value for word in words]})


def _allowed(such_as: str, **bounds: float) -> str:
    """Say what a number may be.

    >>> _allowed("20%", gt=0, le=0.5), _allowed("5%", ge=0, le=1), _allowed("3", ge=1), _allowed("0.8")
    ('above 0 and at most 0.5, such as 20%', 'from 0 to 1, such as 5%', 'from 1 up, such as 3', 'such as 0.8')
    """
    if not bounds:
        return f"such as {such_as}"
    low = f"above {bounds['gt']:g}" if "gt" in bounds else f"from {bounds['ge']:g}"
    if "le" in bounds:
        high = f" to {bounds['le']:g}" if "ge" in bounds else f" and at most {bounds['le']:g}"
    else:
        high = f" and under {bounds['lt']:g}" if "lt" in bounds else " up" if "ge" in bounds else ""
    return f"{low}{high}, such as {such_as}"


_MOST: Final = 1_000_000_000
_LONGEST: Final = timedelta(days=36_500)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PERCENT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?%")
_DURATION = re.compile(r"([0-9]{1,12}) ?([smhdw])")
_PATIENCE = re.compile(r"([0-9]{1,3}) of ([0-9]{1,3})")
_BUDGET = re.compile(r"([0-9]{1,12}) per (.+?)(, ?saving)?")
_FITS: Final = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
_KEYWORDS: Final = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}

TEXT = Form(text, {"type": "string", "minLength": 1})
COUNT = Form(count, {"type": "integer", "minimum": 1, "maximum": _MOST})
WHOLE = Form(lambda value: count(value, least=0), {"type": "integer", "minimum": 0, "maximum": _MOST})
DURATION = Form(duration, {"type": "string", "pattern": f"^{_DURATION.pattern}$"})
REACH = Form(reach, {"type": "string", "pattern": f"^(all|{_DURATION.pattern})$"})
HORIZON = Form(horizon, {"type": "string", "pattern": f"^(auto|{_DURATION.pattern})$"})
PATIENCE = Form(patience, {"type": "string", "pattern": f"^{_PATIENCE.pattern}$"})
BUDGET = Form(budget, {"type": "string", "pattern": f"^[0-9]{{1,12}} per {_DURATION.pattern}(, ?saving)?$"})
