"""What a table of labelled rows holds, column by column: the counts that data rules and profiles are made of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb

from retrain_trigger.counts.table import ColumnCounts, TableCounts
from retrain_trigger.engines.sql import kind_of, quoted, text
from retrain_trigger.engines.tables import AT
from retrain_trigger.engines.times import moment, utc

CATEGORIES = 100
"""A text column with more values than this holds names, not categories; its values are not kept."""

SLICES = 200
"""Equal slices of a table's time; for how long a column kept one value is known to two of them."""

FIFTHS = 5
"""Parts of a table's time, each of which may bring values that the ones before did not have."""

_OUTER = (0.01, 0.99)


@dataclass(frozen=True, slots=True)
class Known:
    """What rows are counted against: by column, the least and the greatest number allowed, and the texts known."""

    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)


NOTHING_KNOWN = Known()
"""Against this, nothing is outside and nothing unseen."""


@dataclass(frozen=True, slots=True)
class _Slice:
    """A slice of time: by column, its one value (hashed; -1 for none, None for several), and its texts with rows."""

    number: int
    ones: Mapping[str, int | None]
    texts: Mapping[str, Mapping[str, int] | None]


def described(
    connection: duckdb.DuckDBPyConnection,
    where: str,
    *,
    features: Mapping[str, str],
    row: Mapping[str, str],
    known: Known,
) -> TableCounts:
    """Count the rows of `known` (a relation with the time AT) that fulfil a condition, by two queries for all columns.

    `features` gives each column's DuckDB type, `row` are SQL counts of the whole row by name. NaN and infinite numbers
    count as missing. The 1 % and 99 % quantiles are approximate (t-digest). Labels are for the caller to count.
    """
    names = {f"_c{number}": name for number, name in enumerate(features)}
    values = ", ".join(f"{_value(name, features[name])} AS {own}" for own, name in names.items())
    source = f"(SELECT *{', ' if values else ''}{values} FROM known WHERE {where})"
    counts = [*row.values(), *(_column(own, name, features[name], known) for own, name in names.items())]
    query = f"SELECT {', '.join(['count(*)', f'min({AT})', f'max({AT})', *counts])} FROM {source}"
    rows, oldest, newest, *found = connection.execute(query).fetchall()[0]
    columns = dict(zip(names, found[len(row) :], strict=True))
    few = {own: column.pop("distinct") <= CATEGORIES for own, column in columns.items()}
    if rows and columns:
        width = (newest - oldest).total_seconds() / SLICES
        slices = _slices(connection, source, few, oldest=oldest, width=width)
        for own, column in columns.items():
            column["still"] = _still(own, slices) * width if width and column["type"] != "other" else None
            column.update(_texts(own, slices) if few[own] else {})
    return TableCounts(
        rows=rows,
        columns={names[own]: ColumnCounts(**column) for own, column in columns.items()},
        labels={},
        **dict(zip(row, found[: len(row)], strict=True)),
        oldest=utc(oldest).isoformat() if rows else None,
        newest=utc(newest).isoformat() if rows else None,
    )


def _value(name: str, kind: str) -> str:
    column = quoted(name)
    return f"if(isfinite({column}), {column}, NULL)" if kind in {"FLOAT", "DOUBLE"} else column


def _column(own: str, name: str, kind: str, known: Known) -> str:
    """Return SQL for a struct of what ColumnCounts holds, and `distinct`, about how many texts there are."""
    what = kind_of(kind)
    counts = {"type": text(what), "missing": f"count(*) - count({own})", "distinct": f"{CATEGORIES + 1}"}
    if what != "other":
        counts["varies"] = f"coalesce(min({own}) < max({own}), false)"
    if what == "number":
        ends = f"approx_quantile({own}::DOUBLE, {list(_OUTER)})"
        counts |= {"low": f"{ends}[1]", "high": f"{ends}[2]"}
        counts |= {"least": f"min({own})::DOUBLE", "greatest": f"max({own})::DOUBLE"}
    if what == "number" and name in known.bands:
        low, high = known.bands[name]
        counts["outside"] = f"count(*) FILTER ({own} NOT BETWEEN {low!r}::DOUBLE AND {high!r}::DOUBLE)"
    if what == "text":
        counts["distinct"] = f"approx_count_distinct({own})"
    if what == "text" and name in known.values:
        listed = ", ".join(text(value) for value in known.values[name])
        counts["unseen"] = f"count(*) FILTER ({own}::VARCHAR NOT IN ({listed}))"
    return "{" + ", ".join(f"'{key}': {sql}" for key, sql in counts.items()) + "}"


def _slices(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Mapping[str, bool], *, oldest: datetime, width: float
) -> list[_Slice]:
    """Count each slice of time that has rows; `columns` says which may be categories, `width` is in seconds."""
    at = f"date_diff('microsecond', {moment(utc(oldest))}, {AT}) // {max(1, round(width * 1e6))}"
    one = "CASE WHEN count({0}) = 0 THEN -1 WHEN min({0}) = max({0}) THEN hash(min({0}))::HUGEINT END"
    ones = [one.format(column) for column in columns]
    texts = [f"histogram({c}::VARCHAR)" for c, few in columns.items() if few]
    query = f"SELECT {', '.join([at, *ones, *texts])} FROM {source} GROUP BY ALL ORDER BY 1"
    few = [c for c, category in columns.items() if category]
    return [
        _Slice(number, dict(zip(columns, found, strict=False)), dict(zip(few, found[len(columns) :], strict=True)))
        for number, *found in connection.execute(query).fetchall()
    ]


def _still(own: str, slices: Sequence[_Slice]) -> int:
    """Return how many slices a column can have kept one value at most; it may have begun and ended within one."""
    longest, value, first = 0, None, 0
    for at in slices:
        mark = at.ones[own]
        if mark not in (value, -1):
            value, first = mark, at.number
        if value is not None:
            longest = max(longest, at.number - first + 1)
    return longest + 2


def _texts(own: str, slices: Sequence[_Slice]) -> dict[str, Any]:
    """Return a category's values, and the greatest share of rows that a fifth of the time had in new ones."""
    fifths = [Counter[str]() for _ in range(FIFTHS)]
    for at in slices:
        fifths[min(at.number * FIFTHS // SLICES, FIFTHS - 1)].update(at.texts[own] or {})
    seen, fresh = set(fifths[0]), 0.0
    for counts in fifths[1:]:
        new = sum(count for value, count in counts.items() if value not in seen)
        fresh = max(fresh, new / (counts.total() or 1))
        seen |= set(counts)
    return {"values": tuple(sorted(seen)), "fresh": fresh}
