"""What models answered for rows, tallied against the truth by DuckDB: rows stay there, counts come out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from retrain_trigger.core.errors import DataError, PromotionError
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.counts.groups import Groups
from retrain_trigger.engines import database, sources, tables
from retrain_trigger.engines.sql import canonical, is_missing, quoted, text
from retrain_trigger.engines.times import as_time, interval, moment

_ID = '"retrain-check id"'
_NAMED = 5
_HOUR = interval(timedelta(hours=1))


@dataclass(frozen=True, slots=True)
class GoldenTally:
    """The golden rows, those answered wrong, and the ids of the first of these (their place if there is no id)."""

    rows: int
    wrong: int
    first: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What two models said for labelled rows: three files with the same rows in the same order."""

    rows: Path
    label: str
    champion: Path
    challenger: Path


@contextmanager
def answered(
    rows: Path, champion: Path, challenger: Path
) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, str]]]:
    """Open rows as `held` and what two models said for them as `c` and `d`; also give the types of the rows' columns."""
    with database.connected() as connection:
        for name, path in (("held", rows), ("c", champion), ("d", challenger)):
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({text(str(path))})")
        yield connection, database.types_of(connection, "held")


def answers(predictions: Path) -> dict[str, int]:
    """Count the rows of each answer of a model, the most frequent first."""
    with database.connected() as connection:
        said = f"SELECT prediction, count(*) AS n FROM read_parquet({text(str(predictions))})"
        return dict(connection.execute(f"{said} GROUP BY 1 ORDER BY n DESC, 1").fetchall())


def joint_counts(said: Answers) -> JointCounts:
    """Count rows by (label, champion said, challenger said)."""
    with answered(said.rows, said.champion, said.challenger) as (connection, types):
        found = _rows(
            connection,
            f"""
            SELECT {canonical(f"held.{quoted(said.label)}", types[said.label])}, c.prediction, d.prediction, count(*)
            FROM held POSITIONAL JOIN c POSITIONAL JOIN d GROUP BY ALL ORDER BY ALL
            """,
        )
    return JointCounts.counted(found)


def parted(said: Answers, spans: Sequence[tuple[datetime, datetime]], *, time: str) -> tuple[JointCounts, JointCounts]:
    """Count the rows within times, from the first to before the second, and all others; without a time all are others."""
    with answered(said.rows, said.champion, said.challenger) as (connection, types):
        at = as_time(time, types[time]) if time in types else "NULL::TIMESTAMP"
        within = " OR ".join(f"({at}) >= {moment(first)} AND ({at}) < {moment(last)}" for first, last in spans)
        found = _rows(
            connection,
            f"""
            SELECT coalesce({within or "false"}, false), {canonical(f"held.{quoted(said.label)}", types[said.label])},
                c.prediction, d.prediction, count(*)
            FROM held POSITIONAL JOIN c POSITIONAL JOIN d GROUP BY ALL ORDER BY ALL
            """,
        )
    inside, outside = (JointCounts.counted(row[1:] for row in found if row[0] is part) for part in (True, False))
    return inside, outside


def groups(
    said: Answers, influence: Mapping[tuple[str, str, str], float], *, column: str | None, time: str
) -> Groups | None:
    """Count the groups of rows with one value of a column, else of one hour, and square what the rows of each add up to.

    A row counts for what `influence` gives (label, champion said, challenger said). One without a value is a group of
    its own. None if the rows have no such column, or no time.
    """
    with answered(said.rows, said.champion, said.challenger) as (connection, types):
        name = column or time
        if name not in types or not influence:
            return None
        missing = f"if({is_missing(name, types[name])}, row_number() OVER (), NULL)"
        key = (
            canonical(f"held.{quoted(name)}", types[name])
            if column
            else f"time_bucket({_HOUR}, {as_time(name, types[name])})"
        )
        label = canonical(f"held.{quoted(said.label)}", types[said.label])
        cells = ", ".join(f"({', '.join(map(text, cell))}, {each!r}::DOUBLE)" for cell, each in influence.items())
        ((number, squares),) = _rows(
            connection,
            f"""
            WITH rows AS (
                SELECT {key} AS own, {missing} AS alone, {label} AS label, c.prediction AS champion, d.prediction AS challenger
                FROM held POSITIONAL JOIN c POSITIONAL JOIN d
            ), added AS (
                SELECT sum(influence) AS whole FROM rows
                JOIN (VALUES {cells}) AS of(label, champion, challenger, influence) USING (label, champion, challenger)
                GROUP BY if(alone IS NULL, own, NULL), alone
            )
            SELECT count(*), sum(whole * whole) FROM added
            """,
        )
    return Groups(number, squares)


def sliced_counts(said: Answers, column: str, *, at_most: int) -> dict[str | None, JointCounts]:
    """Count rows as `joint_counts` does for each value of a column, as text; None: the rows without one.

    Only the `at_most` values with the most rows are there, in this order. Raises PromotionError if the hold-out has
    no such column.
    """
    with answered(said.rows, said.champion, said.challenger) as (connection, types):
        if column not in types:
            raise PromotionError(
                f"promotion.slices names {column!r}, and the hold-out has no such column; it has {', '.join(types)}"
            )
        value = f"if({is_missing(column, types[column])}, NULL, {quoted(column)}::VARCHAR)"
        found = _rows(
            connection,
            f"""
            WITH cells AS (
                SELECT {value} AS part, {canonical(f"held.{quoted(said.label)}", types[said.label])} AS label,
                    c.prediction AS champion, d.prediction AS challenger, count(*) AS n
                FROM held POSITIONAL JOIN c POSITIONAL JOIN d GROUP BY ALL
            ), parts AS (
                SELECT part, sum(n) AS total FROM cells GROUP BY part ORDER BY total DESC, part LIMIT {at_most}
            )
            SELECT parts.part, label, champion, challenger, n
            FROM parts JOIN cells ON parts.part IS NOT DISTINCT FROM cells.part
            ORDER BY total DESC, parts.part, label, champion, challenger
            """,
        )
    counts: dict[str | None, list[list[Any]]] = {}
    for part, *cell in found:
        counts.setdefault(part, []).append(cell)
    return {part: JointCounts.counted(cells) for part, cells in counts.items()}


def write_golden(source: str, target: Path, *, columns: Mapping[str, str]) -> None:
    """Write the golden rows that have a label as one Parquet file, with a column of ids of our own.

    `columns` maps the roles `id` and `label` to names. Raises PromotionError if they cannot be read or have no
    label column.
    """
    try:
        with database.connected() as connection:
            tables.create_view(connection, "golden", sources.files_of(source, key="promotion.golden"))
            types = database.types_of(connection, "golden")
            label = columns["label"]
            if label not in types:
                raise PromotionError(
                    f"column {label!r} (label) is missing in promotion.golden {source}; it has {', '.join(types)}"
                )
            name = f"{quoted(columns['id'])}::VARCHAR" if columns["id"] in types else "NULL::VARCHAR"
            where = f"NOT {is_missing(label, types[label])}"
            connection.execute(
                f"COPY (SELECT *, coalesce({name}, 'row ' || row_number() OVER ()) AS {_ID} FROM golden "
                f"WHERE {where}) TO {text(str(target))} (FORMAT parquet)"
            )
    except (duckdb.Error, DataError) as error:
        raise PromotionError(f"promotion.golden {source} cannot be read: {str(error).splitlines()[0]}") from error


def golden_tally(golden: Path, *, label: str, predictions: Path) -> GoldenTally:
    """Compare what a model said for the rows that `write_golden` wrote with their labels."""
    with answered(golden, predictions, predictions) as (connection, types):
        wrong = f"{canonical(f'held.{quoted(label)}', types[label])} IS DISTINCT FROM c.prediction"
        joined = "held POSITIONAL JOIN c"
        ((rows, lost),) = _rows(connection, f"SELECT count(*), count(*) FILTER ({wrong}) FROM {joined}")
        first = _rows(connection, f"SELECT held.{_ID} FROM {joined} WHERE {wrong} LIMIT {_NAMED}")
    return GoldenTally(rows, lost, tuple(name for (name,) in first))


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[list[Any]]:
    return [list(row) for row in connection.execute(query).fetchall()]
