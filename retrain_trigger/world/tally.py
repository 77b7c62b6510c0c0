"""The counting queries: rows of a prediction log come to counts per window, in DuckDB."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from retrain_trigger.errors import DataError
from retrain_trigger.world import columns, tables
from retrain_trigger.world.tables import NEVER, FileState, as_time, canonical, hashed, moment, quoted, text

ORIGIN = datetime(1970, 1, 5, tzinfo=UTC)
"""Windows are counted from here, a Monday: days begin at midnight UTC, weeks on Mondays."""

SLICE_VALUES = 1000
"""Values of a slice column that are counted, the most frequent of each part; the judgement looks at far fewer."""

LAYOUT = 4
"""Changes with what is counted, and how it is kept: what an older version counted is counted again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is counted of a log: the windows since a champion's promotion, and its columns by their bins.

    `columns` maps a role to the name it has in the log. `bins` maps a watched column to `{"bounds": [[bound, takes],
    ...]}` or `{"values": [...]}`, in order of the bins. `score_edges` cuts the score; a row before `since` counts only
    where it carries `version`, or the name that this is `known_as` in the log. `slices` are columns whose values are counted each for itself.
    """

    predictions: str
    labels: str | None
    columns: Mapping[str, str]
    window: timedelta
    bins: Mapping[str, Mapping[str, Any]]
    score_edges: Sequence[float]
    since: datetime | None = None
    version: str | None = None
    slices: Sequence[str] = ()
    known_as: str | None = None

    def digest(self) -> str:
        """Name the plan: what was counted by another one cannot be used."""
        fields = [
            self.predictions,
            self.labels,
            dict(self.columns),
            self.window.total_seconds(),
            {name: dict(cut) for name, cut in self.bins.items()},
            list(self.score_edges),
            self.since.isoformat() if self.since else None,
            self.version,
            list(self.slices),
            self.known_as,
            LAYOUT,
        ]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def closed(self, now: datetime) -> datetime:
        """Return the end of the last window that is over at `now`."""
        return ORIGIN + (now - ORIGIN) // self.window * self.window


def load(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    files: Sequence[FileState],
    labels: Sequence[FileState] | None,
    now: datetime,
) -> None:
    """Make the table `logged`: one row a prediction, with its window, roles under fixed names, and watched columns.

    Where `labels` is None, the table `labels` is there already. Raises DataError where a column is missing.
    """
    tables.create_view(connection, "plain", files)
    join(connection, plan, labels, now)


def join(connection: duckdb.DuckDBPyConnection, plan: Plan, labels: Sequence[FileState] | None, now: datetime) -> None:
    """Make the table `logged` of the rows of the relation `plain` (see `load`)."""
    rows = "plain"
    if plan.labels is not None:
        rows = tables.joined_labels(connection, "plain", labels, columns=plan.columns, now=now, key="logs.labels")
    connection.execute(f"CREATE OR REPLACE VIEW joined AS SELECT * FROM {rows}")
    types = tables.types_of(connection, "joined")
    for role in ("timestamp", "prediction"):
        if plan.columns[role] not in types:
            raise DataError(f"column {plan.columns[role]!r} ({role}) is missing; {tables.has(types)}")
    at = as_time(plan.columns["timestamp"], types[plan.columns["timestamp"]])
    named = [name for name in plan.bins if name not in _ROLES] + [name for name in plan.slices if name not in plan.bins]
    watched = "".join(f", {quoted(name)}" for name in named if name in types)
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE logged AS
        SELECT {at} AS _at,
            time_bucket(INTERVAL '{int(plan.window.total_seconds())} seconds', {at}, {moment(ORIGIN)}) AS _start,
            {_role(plan, types, "prediction")} AS _prediction, {_role(plan, types, "label")} AS _label,
            {_model(plan, types)} AS _model, {_number(plan, types, "score")} AS _score,
            {_flag(plan, types, "exposed")} AS _exposed, {_arrival(plan, types)} AS _labelled_at,
            {hashed(quoted(plan.columns["id"])) if plan.labels else "NULL"} AS _id {watched}
        FROM joined WHERE ({at}) IS NOT NULL
        """
    )
    connection.execute(f"CREATE OR REPLACE TABLE arrivals AS {_ARRIVALS}")
    if plan.since is not None:
        own = f"AND _model IS DISTINCT FROM {text(plan.version or '')}"
        connection.execute(f"DELETE FROM logged WHERE _at < {moment(plan.since)} {own}")


def counted(connection: duckdb.DuckDBPyConnection, plan: Plan, now: datetime, where: str) -> dict[str, Any]:
    """Count the windows that are over at `now`; a label counts once it has arrived.

    Of the rest it says how many rows are in windows that are `open`, and whether anything is `pending`: rows or labels
    of a later time than `now`.
    """
    end, present = moment(plan.closed(now)), moment(now)
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP VIEW over AS SELECT * REPLACE (
            CASE WHEN _labelled_at IS NULL OR _labelled_at <= {present} THEN _label END AS _label)
        FROM logged WHERE _start < {end} AND {where}
        """
    )
    windows = {(start, model): window for start, model, window in _windows(connection, plan)}
    for name, cells in (
        ("confusion", "_label, _prediction"),
        ("scores", f"{_place('_score', plan.score_edges)}, _prediction, _label"),
        ("exposed", "_exposed, _prediction, _label"),
    ):
        given = {"confusion": "_label", "scores": "_score", "exposed": "_exposed"}[name]
        query = f"SELECT _start, _model, {cells}, count(*) FROM over WHERE {given} IS NOT NULL AND _prediction IS NOT NULL GROUP BY ALL ORDER BY ALL"
        for start, model, *cell in connection.execute(query).fetchall():
            windows[start, model][name].append(cell)
    for name in plan.slices:
        for start, model, *cell in connection.execute(_slice_query(connection, name)).fetchall():
            windows[start, model]["slices"].setdefault(name, []).append(cell)
    open_rows, pending = only_row(
        connection,
        f"""
        SELECT count(*) FILTER (_start >= {end}), count(*) FILTER (_at > {present} OR {_still_to_come("_labelled_at", now)})
        FROM logged
        """,
    )
    return {
        "windows": [windows[key] for key in sorted(windows, key=lambda key: (key[0], key[1] or ""))],
        **newest(connection, now),
        "truth": plan.columns["label"] in tables.types_of(connection, "joined"),
        "open": open_rows,
        "pending": pending,
    }


def future_labels(connection: duckdb.DuckDBPyConnection, plan: Plan, now: datetime) -> int:
    """Count the labels of a separate source that have not arrived yet: a replayed one knows more than it may tell."""
    name = plan.columns["labelled_at"]
    types = tables.types_of(connection, "labels")
    if name not in types:
        return 0
    query = f"SELECT count(*) FROM labels WHERE {_still_to_come(tables.arrival(name, types[name]), now)}"
    return int(only_row(connection, query)[0])


def _windows(
    connection: duckdb.DuckDBPyConnection, plan: Plan
) -> Iterator[tuple[datetime, str | None, dict[str, Any]]]:
    """Yield each window with its rows, labelled rows and histograms, from one pass over the rows."""
    present = {row[0] for row in connection.execute("DESCRIBE over").fetchall()}
    there = {name: _ROLES.get(name, name) for name in plan.bins if _ROLES.get(name, name) in present}
    places = "".join(f", histogram({columns.place(quoted(column), plan.bins[name])})" for name, column in there.items())
    query = f"SELECT _start, _model, count(*), count(_label) {places} FROM over GROUP BY ALL ORDER BY ALL"
    for start, model, rows, labelled, *histograms in connection.execute(query).fetchall():
        yield (
            start,
            model,
            {
                "start": start.replace(tzinfo=UTC).isoformat(),
                "model": model,
                "rows": rows,
                "labelled": labelled,
                "histograms": {
                    name: [int(found.get(place, 0)) for place in range(plan.bins[name]["size"])]
                    for name, found in zip(there, histograms, strict=True)
                },
                "confusion": [],
                "scores": [],
                "exposed": [],
                "slices": {},
            },
        )


def newest(connection: duckdb.DuckDBPyConnection, now: datetime) -> dict[str, Any]:
    """Return the ISO times of the newest row and label at `now`, and of the newest row at all, null where there is none.

    And the `delays` of all labels that had come by then, also those of rows from before the champion: how many took so
    many hours, to two digits.
    """
    present = moment(now)
    delays = f"SELECT hours, count(*) FROM arrivals WHERE came <= {present} GROUP BY ALL ORDER BY ALL"
    row, label, latest = only_row(
        connection,
        f"SELECT max(_at) FILTER (_at <= {present}), max(_labelled_at) FILTER (_labelled_at <= {present}), max(_at) "
        "FROM logged",
    )
    return {
        "newest": row.replace(tzinfo=UTC).isoformat() if row else None,
        "newest_label": label.replace(tzinfo=UTC).isoformat() if label else None,
        "latest": latest.replace(tzinfo=UTC).isoformat() if latest else None,
        "delays": [list(cell) for cell in connection.execute(delays).fetchall()],
    }


def _slice_query(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """Return SQL for the confusion of each value of a column; a column that is not there has no value in any row."""
    there = name in tables.types_of(connection, "over")
    value = f"{quoted(name)}::VARCHAR" if there else "NULL::VARCHAR"
    judged = f"(SELECT *, {value} AS _value FROM over WHERE _label IS NOT NULL AND _prediction IS NOT NULL)"
    frequent = f"SELECT _value AS v FROM {judged} GROUP BY v ORDER BY count(*) DESC, v LIMIT {SLICE_VALUES}"
    return (
        f"SELECT _start, _model, _value, _label, _prediction, count(*) FROM {judged} AS j SEMI JOIN ({frequent}) AS f "
        "ON j._value IS NOT DISTINCT FROM f.v GROUP BY ALL ORDER BY ALL"
    )


def _still_to_come(arrival: str, now: datetime) -> str:
    return f"({arrival} > {moment(now)} AND {arrival} < {moment(NEVER)})"


def _place(column: str, edges: Sequence[float]) -> str:
    return " + ".join(f"({column} > {edge!r}::DOUBLE)::INTEGER" for edge in edges) or "0"


def _role(plan: Plan, types: Mapping[str, str], role: str) -> str:
    name = plan.columns[role]
    return canonical(quoted(name), types[name]) if name in types else "NULL::VARCHAR"


def _model(plan: Plan, types: Mapping[str, str]) -> str:
    """Return SQL for the version that a row is of: the name under which the champion was adopted stands for its version."""
    role = _role(plan, types, "model")
    if plan.known_as is None or plan.version is None:
        return role
    return f"CASE WHEN {role} = {text(plan.known_as)} THEN {text(plan.version)} ELSE {role} END"


def _number(plan: Plan, types: Mapping[str, str], role: str) -> str:
    name = plan.columns[role]
    if name not in types:
        return "NULL::DOUBLE"
    number = f"try_cast({quoted(name)} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def _flag(plan: Plan, types: Mapping[str, str], role: str) -> str:
    name = plan.columns[role]
    return f"try_cast({quoted(name)} AS BOOLEAN)" if name in types else "NULL::BOOLEAN"


def _arrival(plan: Plan, types: Mapping[str, str]) -> str:
    name = plan.columns["labelled_at"]
    return tables.arrival(name, types[name]) if name in types else "NULL::TIMESTAMP"


def only_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """Return the one row that a query answers with."""
    found = connection.execute(query).fetchone()
    assert found is not None
    return tuple(found)


_ROLES = {"prediction": "_prediction", "score": "_score", "label": "_label"}
"""Watched columns that are roles, under the name that they have in `logged`."""

_ARRIVALS = """
    SELECT came, round(hours / digit) * digit AS hours FROM (
        SELECT came, hours, pow(10, floor(log10(hours)) - 1) AS digit FROM (
            SELECT _labelled_at AS came, greatest(epoch(_labelled_at - _at) / 3600, 0.01) AS hours
            FROM logged WHERE _label IS NOT NULL AND _labelled_at IS NOT NULL))
"""
"""As SQL: when each label came, and how many hours after its prediction, to two digits."""
