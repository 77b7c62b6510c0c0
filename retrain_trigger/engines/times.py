"""Times as DuckDB's SQL, however a file writes them: ISO 8601, seconds since 1970, days first or months first."""

from datetime import UTC, datetime, timedelta

from retrain_trigger.engines.sql import kind_of, plain, quoted, text

EARLIEST, LATEST = "TIMESTAMP '1970-01-01'", "TIMESTAMP '2286-01-01'"
"""As SQL: a time before or after is none. Programs write the year 1 or 9999 where they know no time."""

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""When a label arrives whose time cannot be read."""


def arrival(name: str, kind: str, form: str | None = None) -> str:
    """Return SQL for when a label arrived: null (it always was there) if nothing is stated.

    If something is stated that is no time, the label never arrives: it may be of tomorrow.
    """
    column = quoted(name)
    stated = f"nullif(trim({column}::VARCHAR), '') IS NOT NULL"
    return f"coalesce({as_time(name, kind, form)}, CASE WHEN {stated} THEN {moment(NEVER)} END)"


def as_time(name: str, kind: str, form: str | None = None) -> str:
    """Return SQL for a column as a UTC timestamp without zone; null where it cannot be read as a plausible time.

    Numbers are seconds since 1970, or thousandths, millionths or billionths of them. Text is ISO 8601, such a number,
    of the `form` that strptime takes, or a date such as 31/08/2026, 8/31/2026 or 31.08.2026 where only one reading is
    a date: 03/04/2026 is none without a `form`.
    """
    at = zoned(quoted(name), kind, form)
    return at if time_type(kind) == "TIMESTAMP" else f"({at} AT TIME ZONE 'UTC')"


def zoned(column: str, kind: str, form: str | None) -> str:
    """Return SQL for a column as a time, as `as_time` reads it: with zone (see `time_type`), if it may have one."""
    at, own = _time(column, kind, form), time_type(kind)
    return f"(CASE WHEN {at} BETWEEN {EARLIEST}::{own} AND {LATEST}::{own} THEN {at} END)"


def time_type(kind: str) -> str:
    """Return the type that `zoned` gives: times without zone are UTC, and to give them one is slow."""
    plain = kind_of(kind) == "time" and kind.startswith("TIMESTAMP") and "ZONE" not in kind
    return "TIMESTAMP" if plain or kind == "DATE" else "TIMESTAMPTZ"


def moment(at: datetime) -> str:
    """Return a time as a SQL literal, UTC without zone."""
    return f"TIMESTAMP '{at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')}'"


def interval(length: timedelta) -> str:
    """Return a length of time as SQL."""
    return f"INTERVAL '{int(length.total_seconds())} seconds'"


def utc(at: datetime) -> datetime:
    """Return a time that DuckDB gave as an aware UTC time."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _time(column: str, kind: str, form: str | None) -> str:
    column, kind = plain(column, kind)
    if kind_of(kind) == "time" and kind.startswith(("TIMESTAMP", "DATE")):
        return f"{column}::{time_type(kind)}"
    if kind == "VARCHAR":
        formed = [f"try_strptime({column}, {_forms(form)})::TIMESTAMPTZ"] if form else []
        number = _of_number(
            f"(CASE WHEN regexp_matches({column}, {text(_NUMERAL)}) THEN try_cast({column} AS DOUBLE) END)"
        )
        readings = [
            *formed,
            f"try_cast({column} AS TIMESTAMPTZ)",
            number,
            f"try_cast({_as_iso(column)} AS TIMESTAMPTZ)",
        ]
        return f"coalesce({', '.join(readings)})"
    if kind_of(kind) == "number":
        return _of_number(column)
    return "NULL::TIMESTAMPTZ"


def _forms(form: str) -> str:
    """Return a form as SQL; one of dates alone also with the time of day behind it."""
    clock = any(part in form for part in ("%H", "%I", "%X", "%T", "%c"))
    endings = ("",) if clock else ("", " %H:%M:%S", " %H:%M", "T%H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S.%f")
    return "[" + ", ".join(text(form + ending) for ending in endings) + "]"


def _of_number(column: str) -> str:
    """Return SQL for a number since 1970 as a time, by the unit that makes it plausible."""
    cases = " ".join(
        f"WHEN {column} >= {_FIRST_SECOND * unit!r} AND {column} < {_END_OF_SECONDS * unit!r} THEN {column} / {unit!r}::DOUBLE"
        for unit in _PER_SECOND
    )
    return f"to_timestamp((CASE {cases} END)::DOUBLE)"


def _as_iso(column: str) -> str:
    """Return SQL for a date of days, months and years with the year first, null where it has two readings or none.

    With dots the day comes first, whatever the numbers.
    """
    first, sign, second = (f"regexp_extract({column}, {text(_DAY_FIRST)}, {place})" for place in (1, 2, 3))
    days, months = (f"try_cast({part} AS INTEGER)" for part in (first, second))
    day_first = f"{sign} = '.' OR {days} > 12 OR {days} = {months}"
    return (
        f"(CASE WHEN {day_first} THEN regexp_replace({column}, {text(_DAY_FIRST)}, {text(_ISO)}) "
        f"WHEN {months} > 12 THEN regexp_replace({column}, {text(_DAY_FIRST)}, {text(_MONTH_FIRST)}) END)"
    )


_FIRST_SECOND, _END_OF_SECONDS = 1e8, 1e10  # seconds, and thousandths of them, from 1973 to 2286 do not overlap

_PER_SECOND = (1, 1e3, 1e6, 1e9)

_NUMERAL = r"^\s*[0-9]{9,19}(\.[0-9]+)?\s*$"

_DAY_FIRST, _ISO = r"^\s*([0-9]{1,2})([./-])([0-9]{1,2})[./-]([0-9]{4})", r"\4-\3-\1"

_MONTH_FIRST = r"\4-\1-\3"
