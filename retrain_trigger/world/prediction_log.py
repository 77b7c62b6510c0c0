"""Prediction logs and late labels, counted per window by DuckDB: rows stay here, counts leave."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from retrain_trigger.errors import CannotJudgeError, DataError
from retrain_trigger.world import columns, tables
from retrain_trigger.world.tables import FileState, as_time, canonical, moment, quoted, text

ORIGIN = datetime(1970, 1, 5, tzinfo=UTC)
"""Windows are counted from here, a Monday: days begin at midnight UTC, weeks on Mondays."""

Pieces = dict[str, dict[str, Any]]
"""What was counted, by file: plain JSON, kept in the ledger so that an unchanged file is not read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is counted of a log: the windows since a champion's promotion, and its columns by their bins.

    `columns` maps a role to the name it has in the log. `bins` maps a watched column to `{"bounds": [[bound, takes],
    ...]}` or `{"values": [...]}`, in order of the bins. `score_edges` cuts the score; a row before `since` counts only
    where it carries `version`.
    """

    predictions: str
    labels: str | None
    columns: Mapping[str, str]
    window: timedelta
    bins: Mapping[str, Mapping[str, Any]]
    score_edges: Sequence[float]
    since: datetime | None = None
    version: str | None = None

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
        ]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def closed(self, now: datetime) -> datetime:
        """Return the end of the last window that is over at `now`."""
        return ORIGIN + (now - ORIGIN) // self.window * self.window


def count(plan: Plan, *, now: datetime, known: Mapping[str, Mapping[str, Any]]) -> Pieces:
    """Count a log file by file, as known at `now`; what is `known` of an unchanged file is not counted again.

    Each piece holds `windows`, one for each window and model: its start, rows, labelled rows, confusion, histograms,
    scores, and exposed rows; and `newest` and `newest_label`, ISO times, null where there is none. Raises
    CannotJudgeError where a file cannot be read or lacks a column.
    """
    try:
        files = tables.files_of(plan.predictions, key="logs.predictions")
        labels = tables.files_of(plan.labels, key="logs.labels") if plan.labels else []
        truth = [file.to_json() for file in labels]
        pieces: Pieces = {}
        stale = []
        for file in files:
            piece = known.get(file.path)
            if piece is not None and _holds(piece, file, truth, plan, now):
                pieces[file.path] = dict(piece)
            else:
                stale.append(file)
        if stale:
            with _connected() as connection:
                for file in stale:
                    _load(connection, plan, [file], labels, now)
                    piece = _counted(connection, plan, now, "true")
                    piece["pending"] += _future_labels(connection, plan, now) if labels else 0
                    pieces[file.path] = {**piece, "file": file.to_json(), "labels": truth, "now": now.isoformat()}
    except (duckdb.Error, DataError) as error:
        raise CannotJudgeError(f"{plan.predictions} cannot be counted: {tables.told(error)}") from error
    return pieces


@contextmanager
def replaying(plan: Plan, *, until: datetime) -> Iterator["Past"]:
    """Load a log once, to be asked what was known at any time up to `until`. Raises CannotJudgeError."""
    try:
        files = tables.files_of(plan.predictions, key="logs.predictions")
        labels = tables.files_of(plan.labels, key="logs.labels") if plan.labels else []
        with _connected() as connection:
            _load(connection, plan, files, labels, until)
            yield Past(connection, plan, files, labels, until)
    except (duckdb.Error, DataError) as error:
        raise CannotJudgeError(f"{plan.predictions} cannot be counted: {tables.told(error)}") from error


class Past:
    """A loaded log, as it was known at earlier times."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        plan: Plan,
        files: Sequence[FileState],
        labels: Sequence[FileState],
        until: datetime,
    ) -> None:
        self._connection, self._plan, self._files, self._labels, self._until = connection, plan, files, labels, until
        self._corrected = (
            bool(labels)
            and _row(connection, f"SELECT count(*) > count(DISTINCT {quoted(plan.columns['id'])}) FROM labels")[0]
        )
        self._final = _counted(connection, plan, until, "true")
        self._settled = {
            start.replace(tzinfo=UTC): max(arrived.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + plan.window)
            for start, arrived in connection.execute(
                "SELECT _start, max(coalesce(_labelled_at, _at)) FROM logged GROUP BY ALL"
            ).fetchall()
        }

    def ends(self) -> list[datetime]:
        """Return the ends of all windows, in order."""
        return sorted(start + self._plan.window for start in self._settled)

    def at(self, now: datetime) -> dict[str, Any]:
        """Return what `count` would have counted at `now`, as one piece.

        Windows whose labels had all arrived by then are as they are now; the others are counted again, and so is
        everything where labels were corrected later.
        """
        if self._corrected:
            _load(self._connection, self._plan, self._files, self._labels, now)
            return _counted(self._connection, self._plan, now, "true")
        over = [start for start in self._settled if start + self._plan.window <= now]
        open_ones = [start for start in over if self._settled[start] > now]
        done = {start for start in over if self._settled[start] <= now}
        windows = [each for each in self._final["windows"] if datetime.fromisoformat(each["start"]) in done]
        if open_ones:
            listed = ", ".join(moment(start) for start in open_ones)
            windows += _counted(self._connection, self._plan, now, f"_start IN ({listed})")["windows"]
        ends = _newest(self._connection, now)
        return {**ends, "windows": sorted(windows, key=lambda each: (each["start"], each["model"] or ""))}


@contextmanager
def _connected() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def _holds(piece: Mapping[str, Any], file: FileState, truth: list[Any], plan: Plan, now: datetime) -> bool:
    """Say whether a piece is still what a count would give: neither rows nor labels have come since."""
    counted_at = datetime.fromisoformat(piece["now"])
    if piece["file"] != file.to_json() or counted_at > now:
        return False
    if piece["open"] and plan.closed(now) != plan.closed(counted_at):
        return False
    return not piece["unlabelled"] or (piece["labels"] == truth and not piece["pending"])


def _load(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    files: Sequence[FileState],
    labels: Sequence[FileState],
    now: datetime,
) -> None:
    """Make the table `logged`: one row a prediction, with its window, roles under fixed names, and watched columns."""
    for view in ("plain", "plain_raw", "labels", "labels_raw"):
        connection.execute(f"DROP VIEW IF EXISTS {view}")
    tables.create_view(connection, "plain", files)
    rows = "plain"
    if labels:
        rows = tables.joined_labels(connection, "plain", labels, columns=plan.columns, now=now, key="logs.labels")
    connection.execute(f"CREATE OR REPLACE VIEW joined AS SELECT * FROM {rows}")
    types = tables.types_of(connection, "joined")
    for role in ("timestamp", "prediction"):
        if plan.columns[role] not in types:
            raise DataError(f"column {plan.columns[role]!r} ({role}) is missing; it has {', '.join(types)}")
    at = as_time(plan.columns["timestamp"], types[plan.columns["timestamp"]])
    watched = "".join(f", {quoted(name)}" for name in plan.bins if name in types and name not in _ROLES)
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE logged AS
        SELECT {at} AS _at,
            time_bucket(INTERVAL '{int(plan.window.total_seconds())} seconds', {at}, {moment(ORIGIN)}) AS _start,
            {_role(plan, types, "prediction")} AS _prediction, {_role(plan, types, "label")} AS _label,
            {_role(plan, types, "model")} AS _model, {_number(plan, types, "score")} AS _score,
            {_flag(plan, types, "exposed")} AS _exposed, {_arrival(plan, types)} AS _labelled_at {watched}
        FROM joined WHERE ({at}) IS NOT NULL
        """
    )
    if plan.since is not None:
        own = f"AND _model IS DISTINCT FROM {text(plan.version or '')}"
        connection.execute(f"DELETE FROM logged WHERE _at < {moment(plan.since)} {own}")


def _counted(connection: duckdb.DuckDBPyConnection, plan: Plan, now: datetime, where: str) -> dict[str, Any]:
    """Count the windows that are over at `now`; a label counts once it has arrived."""
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
    left = _row(
        connection,
        f"""
        SELECT count(*) FILTER (_start >= {end}), count(*) FILTER (_label IS NULL),
            count(*) FILTER (_labelled_at > {present}) FROM logged
        """,
    )
    return {
        "windows": [windows[key] for key in sorted(windows, key=lambda key: (key[0], key[1] or ""))],
        **_newest(connection, now),
        "open": left[0],
        "unlabelled": left[1] + left[2],
        "pending": left[2],
    }


def _future_labels(connection: duckdb.DuckDBPyConnection, plan: Plan, now: datetime) -> int:
    """Count the labels of a separate source that have not arrived yet: a replayed one knows more than it may tell."""
    name = plan.columns["labelled_at"]
    types = tables.types_of(connection, "labels")
    if name not in types:
        return 0
    return int(_row(connection, f"SELECT count(*) FROM labels WHERE {as_time(name, types[name])} > {moment(now)}")[0])


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
            },
        )


def _newest(connection: duckdb.DuckDBPyConnection, now: datetime) -> dict[str, Any]:
    present = moment(now)
    row, label = _row(
        connection,
        f"SELECT max(_at) FILTER (_at <= {present}), max(_labelled_at) FILTER (_labelled_at <= {present}) FROM logged",
    )
    return {
        "newest": row.replace(tzinfo=UTC).isoformat() if row else None,
        "newest_label": label.replace(tzinfo=UTC).isoformat() if label else None,
    }


def _place(column: str, edges: Sequence[float]) -> str:
    return " + ".join(f"({column} > {edge!r}::DOUBLE)::INTEGER" for edge in edges) or "0"


def _role(plan: Plan, types: Mapping[str, str], role: str) -> str:
    name = plan.columns[role]
    return canonical(quoted(name), types[name]) if name in types else "NULL::VARCHAR"


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
    return as_time(name, types[name]) if name in types else "NULL::TIMESTAMP"


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    found = connection.execute(query).fetchone()
    assert found is not None
    return tuple(found)


_ROLES = {"prediction": "_prediction", "score": "_score", "label": "_label"}
"""Watched columns that are roles, under the name that they have in `logged`."""
