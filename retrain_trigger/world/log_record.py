"""One line of a metrics log as names and values, and the measurement that it states."""

import math
import reprlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from retrain_trigger.measurements import Measurement, without_leap_second

Record = dict[str, object]
Number = Callable[[object], float | None]

TWICE: Final = object()
"""Stands for the value of a name that a line holds twice: harmless unless that name is needed."""

LARGEST_COUNT = 2**53
"""Counts above this are not exact as floats, and no window has so many rows."""


def normal(name: str) -> str:
    """Return the spelling under which names are compared; what follows `drift.` keeps its case.

    >>> normal("F1-Score"), normal("val/F1"), normal("Drift.Age")
    ('f1_score', 'val.f1', 'drift.Age')
    """
    return _normal(name) if len(name) <= _REMEMBERED else _spelled(name)


def _spelled(name: str) -> str:
    spelled = name.strip()
    lowered = spelled.lower().replace("-", "_").replace(" ", "_").replace("/", ".")
    return "drift." + spelled[len("drift.") :] if lowered.startswith("drift.") else lowered


def built_in(name: str) -> str | None:
    """Return which built-in metric a name is a name of; None for any other.

    >>> built_in("F1-Score"), built_in("acc"), built_in("rmse")
    ('f1', 'accuracy', None)
    """
    return next((group[0] for group in _SYNONYMS if normal(name) in group), None)


def metric_names(metric: str) -> tuple[str, ...]:
    """Return every name under which a log may hold the metric, the best first.

    >>> metric_names("accuracy")
    ('accuracy', 'acc', 'accuracy_score', 'metrics.accuracy', 'metrics.acc', 'metrics.accuracy_score')
    """
    name = normal(metric)
    synonyms = next((group for group in _SYNONYMS if name in group), ())
    names = (name, *(synonym for synonym in synonyms if synonym != name))
    return names + tuple(f"metrics.{each}" for each in names)


def other_names(records_names: Iterable[str]) -> list[str]:
    """Return those names that could be a metric: all but the ones that have a role of their own."""
    return sorted(name for name in records_names if name and name not in _ROLES and not name.startswith("drift"))


def measurement(
    record: Record, *, names: tuple[str, ...], number: Number, where: str, file: str, end: int
) -> Measurement | None:
    """Return what the record measured, None where it holds neither the metric nor its counts.

    `value` is None where the metric is no finite number, or where only the counts are there. Raises ValueError, in
    words for the reader of the log, where the metric or what belongs to it cannot be understood.
    """
    roles = (_roles if len(record) <= _REMEMBERED else _roles.__wrapped__)(tuple(record), names)
    counts = _counts(record, roles.counts, number) if roles.counts else None
    if roles.metric is None and counts is None:
        return None
    rows = _whole(record, roles.rows, number)
    return Measurement(
        value=None if roles.metric is None else _value(record, roles.metric, number, bounded=names[0] in _BOUNDED),
        where=where,
        file=file,
        end=end,
        at=_at(record, roles.at),
        rows=sum(counts) if rows is None and counts is not None else rows,
        counts=counts,
        model=_model(record, roles.model),
        drift=_drift(record, roles.drift, number),
    )


def moment(value: object) -> datetime | None:
    """Return a time in UTC from ISO 8601 or epoch seconds or milliseconds; None for null and empty text.

    A time without a zone is UTC. Raises ValueError for anything else, and for years before 1970 or after 2285:
    programs write the year 1 or 9999 where they know no time.

    >>> moment("2026-01-02 03:04:05,678").isoformat()
    '2026-01-02T03:04:05.678000+00:00'
    >>> moment(1767323045) == moment("1767323045000") == moment("2026-01-02T04:04:05+01:00")
    True
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            return _from_text(value.strip())
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _from_text(str(value))
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"{reprlib.repr(value)} is no time from {_FIRST_YEAR} to {_LAST_YEAR}, as ISO 8601 or as epoch seconds or milliseconds"
    )


def _from_text(text: str) -> datetime:
    # Digits first: `fromisoformat` would read some epochs as dates of the eighteenth century.
    if text[4:5] != "-" and text.replace(".", "", 1).isdigit() and len(text) != len("20260102"):
        return _from_epoch(float(text))
    found = datetime.fromisoformat(without_leap_second(text.removesuffix(" UTC").replace("/", "-")))
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise ValueError
    if found.tzinfo is UTC:
        return found
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _from_epoch(number: float) -> datetime:
    # Seconds and milliseconds from 1973 to 2286 do not overlap; anything else is not guessed at.
    seconds = number if number < _END_OF_SECONDS else number / 1000
    if not _FIRST_SECOND <= seconds < _END_OF_SECONDS:
        raise ValueError
    return datetime.fromtimestamp(seconds, UTC)


class _Roles(NamedTuple):
    """Which of a record's names holds what; None and () where none does."""

    metric: str | None
    at: str | None
    rows: str | None
    model: str | None
    counts: tuple[str, ...]
    drift: tuple[str, ...]


@lru_cache(maxsize=64)
def _roles(held: tuple[str, ...], names: tuple[str, ...]) -> _Roles:
    # Cached, since the lines of a log hold the same names.
    counts = tuple(name for each in _CONFUSION if (name := _first(held, each)) is not None)
    return _Roles(
        metric=_first(held, names),
        at=_first(held, _TIMES),
        rows=_first(held, _ROWS),
        model=_first(held, _MODELS),
        counts=counts if len(counts) == len(_CONFUSION) else (),
        drift=tuple(name for name in held if _is_drift(name)),
    )


def _first(held: tuple[str, ...], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in held), None)


def _is_drift(name: str) -> bool:
    return name == "drift" or (name.startswith("drift.") and name[len("drift.") :].lower() not in _NOT_FEATURES)


def _counts(record: Record, names: tuple[str, ...], number: Number) -> tuple[int, int, int, int] | None:
    tp, fp, fn, tn = (_whole(record, name, number) for name in names)
    if tp is None or fp is None or fn is None or tn is None:
        return None
    return tp, fp, fn, tn


def _whole(record: Record, name: str | None, number: Number) -> int | None:
    if name is None or record[name] is None or record[name] == "":
        return None
    found = _number(record, name, number)
    # A count that is NaN is refused: taken for "not stated", it would slip past `min_rows`.
    if found is None or not 0 <= found <= LARGEST_COUNT or not found.is_integer():
        raise ValueError(f"{name} is {reprlib.repr(record[name])}, not a count")
    return int(found)


def _number(record: Record, name: str, number: Number) -> float | None:
    try:
        found = number(record[name])  # TWICE is no number either
    except ValueError:
        raise ValueError(f"{name} is {reprlib.repr(_single(record, name))}, not a number") from None
    return found if found is not None and math.isfinite(found) else None


def _value(record: Record, name: str, number: Number, *, bounded: bool) -> float | None:
    found = _number(record, name, number)
    # A percentage would stand above every threshold, and be called healthy.
    if bounded and found is not None and not -_ROUNDING <= found <= 1 + _ROUNDING:
        raise ValueError(f"{name} is {found:.12g}, not from 0 to 1")
    return found


def _single(record: Record, name: str) -> object:
    value = record[name]
    if value is TWICE:
        raise ValueError(f"{name!r} stands twice")
    return value


def _at(record: Record, name: str | None) -> datetime | None:
    if name is None:
        return None
    value = _single(record, name)
    if name == "time" and isinstance(record.get("date"), str):
        value = f"{record['date']} {value}"
    try:
        return moment(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def _model(record: Record, name: str | None) -> str | None:
    value = None if name is None else _single(record, name)
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isprintable():
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{name} is {reprlib.repr(value)}, not the name of a version")


def _drift(record: Record, names: tuple[str, ...], number: Number) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in names:
        if not name.isprintable():
            raise ValueError(f"{reprlib.repr(name)} is not the name of a feature")
        # An empty cell says nothing; an explicit null or NaN says that drift is unknown.
        if record[name] != "":
            found[name[len("drift.") :]] = _number(record, name, number)
    return found


_REMEMBERED = 200
"""Characters of a name, and names of a line, up to which they are kept in memory: a hostile log has no end of them."""

_normal = lru_cache(maxsize=512)(_spelled)
_SYNONYMS = (
    ("f1", "f1_score", "f1score"),
    ("f1_macro", "macro_f1", "f1_macro_score"),
    ("accuracy", "acc", "accuracy_score"),
    ("balanced_accuracy", "balanced_acc", "balanced_accuracy_score"),
    ("precision", "precision_score"),
    ("recall", "recall_score"),
)
_BOUNDED = frozenset(group[0] for group in _SYNONYMS)
_ROUNDING = 1e-9
_FIRST_SECOND, _END_OF_SECONDS = 1e8, 1e10
_FIRST_YEAR, _LAST_YEAR = 1970, 2285
_TIMES = ("timestamp", "ts", "@timestamp", "time", "datetime", "date", "asctime")
_ROWS = ("n", "rows", "count", "support", "metrics.n", "metrics.rows", "metrics.count", "metrics.support")
_CONFUSION = (("tp", "metrics.tp"), ("fp", "metrics.fp"), ("fn", "metrics.fn"), ("tn", "metrics.tn"))
_MODELS = ("model", "model_version", "version")
_ROLES = frozenset(_TIMES + _ROWS + _MODELS)
_NOT_FEATURES = frozenset({"threshold", "limit", "detected"})
