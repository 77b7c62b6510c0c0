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

NOTHING = ("", "nan", "<na>", "null")
"""What programs write where they have no prediction or label, in any case of letters."""

NO_CLASS = ("none", "na", "n/a", "nat")
"""The same, where the classes of the model are known and this is none of them."""

LONGEST_EXAMPLE = 60
"""Characters of a value that are kept to be shown."""

LAYOUT = 6
"""Changes with what is counted, and how it is kept: what an older version counted is counted again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is counted of a log: the windows since a champion's promotion, and its columns by their bins.

    `columns` maps a role to the name it has in the log. `bins` maps a watched column to `{"bounds": [[bound, takes],
    ...]}` or `{"values": [...]}`, in order of the bins. `score_edges` cuts the score; a row before `since` counts only
    where it carries `version`, or the name that this is `known_as` in the log, or lies in the `earlier` time of that
    version, up to its end. `slices` are columns whose values are
    counted each for itself. `classes` are those of the model, None where they are not known; `date_format` is that of
    its times, where it is not ISO 8601.
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
    classes: Sequence[str] | None = None
    date_format: str | None = None
    known_as: str | None = None
    earlier: tuple[datetime, datetime] | None = None

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
            None if self.classes is None else sorted(self.classes),
            self.date_format,
            self.known_as,
            LAYOUT,
            *(at.isoformat() for at in self.earlier or ()),
        ]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def is_before(self, at: datetime) -> bool:
        """Say whether a row of a time that does not name the champion is none of its own: it is from before."""
        begun, ended = self.earlier or (at, at)
        return self.since is not None and at < self.since and not begun <= at < ended

    def closed(self, now: datetime) -> datetime:
        """Return the end of the last window that is over at `now`."""
        return self.start(now)

    def start(self, at: datetime) -> datetime:
        """Return the start of the window that a time is in."""
        return ORIGIN + (at - ORIGIN) // self.window * self.window


def load(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    files: Sequence[FileState],
    labels: Sequence[FileState],
    now: datetime,
) -> dict[str, Any]:
    """Make the table `logged`: one row a prediction, with its window, roles under fixed names, and watched columns.

    Returns what `joined` does. Raises DataError where a column is missing.
    """
    tables.create_view(connection, "plain", files, numbered=True)
    return joined(connection, plan, labels, now, placed=(_BEFORE, _AFTER, _ANY_BEFORE, _ANY_AFTER))


def joined(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    labels: Sequence[FileState] | None,
    now: datetime,
    *,
    placed: Sequence[str] = ("last_value(_at IGNORE NULLS) OVER (ORDER BY _row ROWS UNBOUNDED PRECEDING)",),
) -> dict[str, Any]:
    """Make the table `logged` of the numbered rows of the relation `plain` (see `load`), and say what is not in it.

    Where `labels` is None, the table `labels` is there already. A row without a readable time has the first of `placed`
    (SQL) that is one: by default that of the nearest row before it. Returns the rows that no time is known for as
    `lead`, by model, and the readable times of the `first` and the `last` row that have one.
    Raises DataError where a column is missing.
    """
    _create_logged(connection, plan, labels, now)
    first, last = only_row(connection, "SELECT arg_min(_at, _row), arg_max(_at, _row) FROM logged")
    if only_row(connection, "SELECT count(*) FROM logged WHERE _at IS NULL")[0]:
        filled = f"SELECT * REPLACE (coalesce(_at, {', '.join(placed)}) AS _at) FROM logged"
        connection.execute(
            f"CREATE OR REPLACE TABLE logged AS SELECT * REPLACE ({_bucket(plan)} AS _start) FROM ({filled})"
        )
    lead = [
        {"model": model, "unusable": {why: rows}, "example": _example(plan, why, *found)}
        for _, model, why, rows, *found in _unusable(connection, "(SELECT * FROM logged WHERE _at IS NULL)")
    ]
    connection.execute("DELETE FROM logged WHERE _at IS NULL")
    connection.execute(f"CREATE OR REPLACE TABLE arrivals AS {_ARRIVALS}")
    if plan.since is not None:
        own = f"AND _model IS DISTINCT FROM {text(plan.version or '')}"
        if plan.earlier is not None:
            begun, ended = map(moment, plan.earlier)
            own += f" AND NOT (_at >= {begun} AND _at < {ended})"
        connection.execute(f"DELETE FROM logged WHERE _at < {moment(plan.since)} {own}")
    return {"lead": lead, "first": _iso(first), "last": _iso(last)}


def _create_logged(
    connection: duckdb.DuckDBPyConnection, plan: Plan, labels: Sequence[FileState] | None, now: datetime
) -> None:
    rows = "plain"
    if plan.labels is not None:
        rows = tables.joined_labels(
            connection, "plain", labels, columns=plan.columns, now=now, key="logs.labels", as_written=True
        )
    connection.execute(f"CREATE OR REPLACE VIEW joined AS SELECT * FROM {rows}")
    types = tables.types_of(connection, "joined")
    for role in ("timestamp", "prediction"):
        if plan.columns[role] not in types:
            raise DataError(tables.missing(plan.columns, role, types))
    names = [plan.columns[role] for role in ("timestamp", "prediction")]
    time, said = (tables.as_text(name, types[name]) for name in names)
    named = [name for name in plan.bins if name not in _ROLES] + [name for name in plan.slices if name not in plan.bins]
    watched = "".join(f", {quoted(name)}" for name in named if name in types)
    at = as_time(plan.columns["timestamp"], types[plan.columns["timestamp"]], plan.date_format)
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE logged AS
        SELECT * EXCLUDE (_time, _said), {_bucket(plan)} AS _start,
            CASE WHEN _at IS NULL THEN 'time' WHEN _prediction IS NULL THEN 'prediction' END AS _why,
            CASE WHEN _at IS NULL THEN _time WHEN _prediction IS NULL THEN _said END AS _seen,
            {f"_label IS NOT NULL AND NOT {_among('_label', plan.classes)}" if plan.classes else "false"} AS _odd
        FROM (
            SELECT {at} AS _at, {time} AS _time, {said} AS _said,
                {_answer(plan, types, "prediction")} AS _prediction, {_answer(plan, types, "label")} AS _label,
                {_model(plan, types)} AS _model, {_number(plan, types, "score")} AS _score,
                {_flag(plan, types, "exposed")} AS _exposed, {_arrival(plan, types)} AS _labelled_at,
                {hashed(quoted(plan.columns["id"])) if plan.labels else "NULL"} AS _id,
                {tables.FILE} AS _file, {tables.ROW} AS _row {watched}
            FROM joined
        )
        """
    )


def counted(connection: duckdb.DuckDBPyConnection, plan: Plan, now: datetime, where: str) -> dict[str, Any]:
    """Count the windows that are over at `now`; a label counts once it has arrived.

    Rows that cannot be used are in no count but `unusable`. Of the rest it says how many rows are in windows that are
    `open`, how many of these `ahead` of the one that `now` is in, and whether anything is `pending`: rows or labels of
    a later time than `now`.
    """
    end, present = plan.closed(now), moment(now)
    arrived = f"(_labelled_at IS NULL OR _labelled_at <= {present})"
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP VIEW closed AS SELECT * REPLACE (
            CASE WHEN {arrived} THEN _label END AS _label,
            CASE WHEN _why IS NULL AND _odd AND {arrived} THEN 'label' ELSE _why END AS _why,
            CASE WHEN _why IS NULL AND _odd AND {arrived} THEN _label ELSE _seen END AS _seen)
        FROM logged WHERE _start < {moment(end)} AND {where}
        """
    )
    connection.execute("CREATE OR REPLACE TEMP VIEW over AS SELECT * FROM closed WHERE _why IS NULL")
    windows = {(start, model): counts for start, model, counts in _windows(connection, plan)}
    for name, cells in (
        ("confusion", "_label, _prediction"),
        ("scores", f"{_cut('_score', plan.score_edges)}, _prediction, _label"),
        ("exposed", "_exposed, _prediction, _label"),
    ):
        given = {"confusion": "_label", "scores": "_score", "exposed": "_exposed"}[name]
        query = (
            f"SELECT _start, _model, {cells}, count(*) FROM over WHERE {given} IS NOT NULL GROUP BY ALL ORDER BY ALL"
        )
        for start, model, *cell in connection.execute(query).fetchall():
            windows[start, model][name].append(cell)
    for name in plan.slices:
        for start, model, *cell in connection.execute(_slice_query(connection, name)).fetchall():
            windows[start, model]["slices"].setdefault(name, []).append(cell)
    for start, model, why, rows, *found in _unusable(connection, "closed"):
        spoilt = windows.setdefault((start, model), window(start, model))
        spoilt["unusable"][why] = rows
        spoilt["example"] = spoilt["example"] or _example(plan, why, *found)
    later = f"_at > {present} OR {_still_to_come('_labelled_at', now)}"
    open_rows, ahead, pending = only_row(
        connection,
        f"SELECT count(*) FILTER (_start >= {moment(end)}), count(*) FILTER (_start >= {moment(end + plan.window)}), "
        f"count(*) FILTER ({later}) FROM logged",
    )
    return {
        "windows": [windows[key] for key in sorted(windows, key=lambda key: (key[0], key[1] or ""))],
        **newest(connection, now),
        "truth": plan.columns["label"] in tables.types_of(connection, "joined"),
        "open": open_rows,
        "ahead": ahead,
        "pending": pending,
    }


def bucket(at: str, window: timedelta) -> str:
    """Return SQL for the start of the window that a time (SQL) is in."""
    return f"time_bucket(INTERVAL '{int(window.total_seconds())} seconds', {at}, {moment(ORIGIN)})"


def future_labels(connection: duckdb.DuckDBPyConnection, plan: Plan, now: datetime) -> int:
    """Count the labels of a separate source that have not arrived yet: a replayed one knows more than it may tell."""
    name = plan.columns["labelled_at"]
    types = tables.types_of(connection, "labels")
    if name not in types:
        return 0
    query = (
        f"SELECT count(*) FROM labels WHERE {_still_to_come(tables.arrival(name, types[name], plan.date_format), now)}"
    )
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
            window(start, model)
            | {
                "rows": rows,
                "labelled": labelled,
                "histograms": {
                    name: [int(found.get(place, 0)) for place in range(plan.bins[name]["size"])]
                    for name, found in zip(there, histograms, strict=True)
                },
            },
        )


def window(start: datetime, model: str | None) -> dict[str, Any]:
    """Return a window without a row that can be used."""
    nothing: dict[str, Any] = {"rows": 0, "labelled": 0, "histograms": {}, "confusion": [], "scores": [], "exposed": []}
    return {"start": _iso(start), "model": model, **nothing, "slices": {}, "unusable": {}, "example": None}


def _unusable(connection: duckdb.DuckDBPyConnection, relation: str) -> list[tuple[Any, ...]]:
    """Count the rows of a relation that cannot be used, by window, model and reason, the most frequent reason first.

    Each with the file, the place and the value of the first of them.
    """
    query = (
        "SELECT _start, _model, _why, count(*), arg_min(_file, _row), min(_row), arg_min(coalesce(_seen, ''), _row) "
        f"FROM {relation} WHERE _why IS NOT NULL GROUP BY ALL ORDER BY 4 DESC, 3"
    )
    return connection.execute(query).fetchall()


def _example(plan: Plan, why: str, file: str, row: int, value: str) -> dict[str, Any]:
    role = "timestamp" if why == "time" else why
    return {"file": file, "row": row, "column": plan.columns[role], "value": value[:LONGEST_EXAMPLE]}


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
        "newest": _iso(row),
        "newest_label": _iso(label),
        "latest": _iso(latest),
        "delays": [list(cell) for cell in connection.execute(delays).fetchall()],
    }


def _slice_query(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """Return SQL for the confusion of each value of a column; a column that is not there has no value in any row."""
    there = name in tables.types_of(connection, "over")
    value = f"{quoted(name)}::VARCHAR" if there else "NULL::VARCHAR"
    judged = f"(SELECT *, {value} AS _value FROM over WHERE _label IS NOT NULL)"
    frequent = f"SELECT _value AS v FROM {judged} GROUP BY v ORDER BY count(*) DESC, v LIMIT {SLICE_VALUES}"
    return (
        f"SELECT _start, _model, _value, _label, _prediction, count(*) FROM {judged} AS j SEMI JOIN ({frequent}) AS f "
        "ON j._value IS NOT DISTINCT FROM f.v GROUP BY ALL ORDER BY ALL"
    )


def _still_to_come(arrival: str, now: datetime) -> str:
    return f"({arrival} > {moment(now)} AND {arrival} < {moment(NEVER)})"


def _cut(column: str, edges: Sequence[float]) -> str:
    return " + ".join(f"({column} > {edge!r}::DOUBLE)::INTEGER" for edge in edges) or "0"


def _role(plan: Plan, types: Mapping[str, str], role: str) -> str:
    name = plan.columns[role]
    return canonical(quoted(name), types[name]) if name in types else "NULL::VARCHAR"


def _answer(plan: Plan, types: Mapping[str, str], role: str) -> str:
    """Return SQL for a class as text, null where a program wrote that there is none."""
    found = _role(plan, types, role)
    nothing = [*NOTHING, *(NO_CLASS if plan.classes else ())]
    known = f" AND NOT {_among(found, plan.classes)}" if plan.classes else ""
    return f"(CASE WHEN NOT ({_among(f'lower(trim({found}))', nothing)}{known}) THEN {found} END)"


def _among(column: str, values: Sequence[str]) -> str:
    return f"({column} IN ({', '.join(text(value) for value in values)}))"


def _bucket(plan: Plan) -> str:
    return bucket("_at", plan.window)


def _iso(at: datetime | None) -> str | None:
    return at.replace(tzinfo=UTC).isoformat() if at else None


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
    return tables.arrival(name, types[name], plan.date_format) if name in types else "NULL::TIMESTAMP"


def only_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """Return the one row that a query answers with."""
    found = connection.execute(query).fetchone()
    assert found is not None
    return tuple(found)


_IN_FILE = "OVER (PARTITION BY _file ORDER BY _row ROWS BETWEEN {} AND {})"
_BEFORE = "last_value(_at IGNORE NULLS) " + _IN_FILE.format("UNBOUNDED PRECEDING", "CURRENT ROW")
_AFTER = "first_value(_at IGNORE NULLS) " + _IN_FILE.format("CURRENT ROW", "UNBOUNDED FOLLOWING")
_ANY_BEFORE, _ANY_AFTER = (each.replace("PARTITION BY _file ORDER BY", "ORDER BY _file,") for each in (_BEFORE, _AFTER))
"""As SQL: the time of the nearest row before or after, in its file or in any."""

_ROLES = {"prediction": "_prediction", "score": "_score", "label": "_label"}
"""Watched columns that are roles, under the name that they have in `logged`."""

_ARRIVALS = """
    SELECT came, round(hours / digit) * digit AS hours FROM (
        SELECT came, hours, pow(10, floor(log10(hours)) - 1) AS digit FROM (
            SELECT _labelled_at AS came, greatest(epoch(_labelled_at - _at) / 3600, 0.01) AS hours
            FROM logged WHERE _label IS NOT NULL AND _labelled_at IS NOT NULL AND _why IS NULL))
"""
"""As SQL: when each label came, and how many hours after its prediction, to two digits."""
