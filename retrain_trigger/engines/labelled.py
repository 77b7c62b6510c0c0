"""Labelled rows, counted and split by DuckDB: what may be trained on, and what decides."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.core.events import Span
from retrain_trigger.counts.histograms import Bins, Histogram
from retrain_trigger.counts.table import TableCounts
from retrain_trigger.engines import columns as columns_of
from retrain_trigger.engines import database, tables, times
from retrain_trigger.engines.description import NOTHING_KNOWN, Known, described
from retrain_trigger.engines.plan import ORIGIN
from retrain_trigger.engines.rotation import undisturbed
from retrain_trigger.engines.shadow_log import COLUMNS as SHADOW
from retrain_trigger.engines.sources import FileState
from retrain_trigger.engines.sql import canonical, is_missing, quoted, text
from retrain_trigger.engines.tables import AT, EARLIER, GROUP, HASH, LABEL, ROW_HASH
from retrain_trigger.engines.times import as_time, interval, moment, utc

_HALF = f"{HASH} % 2 = 0"  # the lowest bit of the hash: the hold-out goes by the highest ones
_RESERVED_OF = 1 << 32  # a row's hash is its first 32 bits, read as a share of this


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """Which rows are held out: a share of the values of the column `group`; of the ids, or of the rows, without one.

    A row without a value goes by its id. `earlier` are the groups that went before, "" for none, and until when each
    did: of the rows up to then, those that it held out are never trained on either.
    """

    share: float = 0.0
    group: str | None = None
    earlier: Mapping[str, datetime] = field(default_factory=dict)


NOTHING = Reserve()


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Labelled rows as known at `now`: rows dated later, labelled later, or without a label are not there.

    `columns` maps a role (timestamp, id, label, ...) to the name it has in the data. Columns without a role are
    features, in the order of the data. A share of the rows is held out, as `reserve` says.
    """

    connection: duckdb.DuckDBPyConnection
    columns: Mapping[str, str]
    types: Mapping[str, str]
    reserve: Reserve = NOTHING

    @property
    def features(self) -> tuple[str, ...]:
        """Return the columns that have no role."""
        roles = {*(name for role, name in self.columns.items() if "." not in role), *SHADOW}
        return tuple(name for name in self.types if name not in roles)

    def newest(self) -> datetime | None:
        """Return the time of the newest row (UTC); None if there is no row."""
        return self._time(f"SELECT max({AT}) FROM known")

    def by_age(self, length: timedelta) -> dict[int, int]:
        """Count the rows by how many whole lengths older than the newest row they are.

        With groups, a row is as old as the oldest of its group, unless it is held out: then `unlearnt` has it or not.
        """
        seconds = f"epoch((SELECT max({AT}) FROM known)) - epoch({AT})"
        age = f"CAST(floor(({seconds}) / {length.total_seconds()}) AS BIGINT)"
        if self.reserve.group:
            age = f"if({self.reserved}, {age}, max({age}) OVER (PARTITION BY {GROUP}))"
        return dict(self._rows(f"SELECT age, count(*) FROM (SELECT {age} AS age FROM known) GROUP BY 1"))

    def delays(self) -> list[tuple[float, int]]:
        """Count the labels by the hours that they took, where the rows say when they came."""
        name = self.columns["labelled_at"]
        if name not in self.types:
            return []
        took = f"epoch(({times.arrival(name, self.types[name])}) - {AT}) / 3600"
        return self._rows(
            f"SELECT greatest({took}, 0) AS hours, count(*) FROM known WHERE {took} IS NOT NULL GROUP BY 1"
        )

    @property
    def reserved(self) -> str:
        """Return the SQL condition for rows that are held out."""
        return _held_out(self.reserve.share)

    def training(self, *, since: datetime | None, until: datetime | None = None) -> str:
        """Return the SQL condition for rows that may be trained on: never held out, and from `since` to `until`."""
        newest = f"{AT} <= {moment(until)}" if until else "true"
        return f"NOT ({self.reserved} OR {EARLIER}) AND {_after(since, '>=')} AND {newest}"

    def deciding(self, *, after: datetime | None) -> str:
        """Return the SQL condition for held-out rows newer than the champion's training data."""
        return f"{self.reserved} AND {_after(after, '>')}"

    def newer(self, after: datetime | None) -> str:
        """Return the SQL condition for all rows newer than `after`; every row where it is None."""
        return _after(after, ">")

    def unlearnt(self, after: datetime | None) -> str:
        """Return the SQL condition for the rows that no model trained on rows up to `after` has learnt from.

        With groups these are the newer rows of groups that are held out, or that had no row until then.
        """
        newer = self.newer(after)
        if self.reserve.group is None or after is None:
            return newer
        return (
            f"{newer} AND ({self.reserved} OR {GROUP} NOT IN (SELECT {GROUP} FROM known WHERE {AT} <= {moment(after)}))"
        )

    def until(self, where: str, end: datetime) -> str:
        """Return the SQL condition for those of the rows that are older than `end`."""
        return f"({where}) AND NOT {_after(end, '>=')}"

    def of_model(
        self, own: Collection[str], *, others: Collection[str], spans: Sequence[tuple[datetime, datetime | None]]
    ) -> str:
        """Return the SQL condition for the rows of one model: those that carry a name of its `own`, and those of its time.

        Of these not the ones that carry the name of one of the `others`; none with any other name if the log has its
        own. `spans` are its times, from the first to before the second.
        """
        within = " OR ".join(
            f"({_after(first, '>=')} AND {f'{AT} < {moment(last)}' if last else 'true'})" for first, last in spans
        )
        name = self.columns["model"]
        if name not in self.types:
            return f"({within})"
        said = canonical(quoted(name), self.types[name])
        named = f"coalesce({said} IN ({_listed(own)}), false)"
        if self.count(named):
            return f"({named} OR (({within}) AND {said} IS NULL))"
        return f"(({within}) AND NOT coalesce({said} IN ({_listed(others)}), false))"

    def reached(self, where: str, rows: int, *, window: timedelta, now: datetime) -> datetime | None:
        """Return the end of the first window, over at `now`, up to which so many rows fulfil a condition."""
        total = 0
        for begun, count in self.by_window(window, where):
            total, end = total + count, begun + window
            if total >= rows:
                return end if end <= now else None
        return None

    def by_window(self, window: timedelta, where: str = "true") -> list[tuple[datetime, int]]:
        """Return the start of each window with rows that fulfil a condition, and their number, in order of time."""
        start = f"time_bucket({interval(window)}, {AT}, {moment(ORIGIN)})"
        counted = self._rows(f"SELECT {start}, count(*) FROM known WHERE {where} GROUP BY 1 ORDER BY 1")
        return [(utc(begun), count) for begun, count in counted]

    def count(self, where: str) -> int:
        """Count the rows that fulfil a condition of this class."""
        return int(self._row(f"SELECT count(*) FROM known WHERE {where}")[0])

    def within(self, where: str, *, start: datetime, length: timedelta) -> int:
        """Count the rows that fulfil a condition and lie in one window."""
        return self.count(f"{where} AND {_after(start, '>=')} AND NOT {_after(start + length, '>=')}")

    def span(self, where: str) -> Span:
        """Return how many rows fulfil a condition, and the times of the oldest and the newest."""
        count, *ends = self._row(f"SELECT count(*), min({AT}), max({AT}) FROM known WHERE {where}")
        oldest, newest = (utc(at) if at else None for at in ends)
        return Span(rows=int(count), oldest=oldest, newest=newest)

    def write(self, where: str, target: Path, *, at_most: int | None = None) -> None:
        """Write the rows that fulfil a condition, or the newest of them, as Parquet, with the names and types of the source.

        Raises OSError.
        """
        limit = "" if at_most is None else f"ORDER BY {AT} DESC LIMIT {at_most}"
        names = ", ".join(quoted(name) for name in self.types)
        with database.writing(target):
            self.connection.execute(
                f"COPY (SELECT {names} FROM known WHERE {where} {limit}) TO {text(str(target))} (FORMAT parquet)"
            )

    def labels(self, where: str = "true") -> dict[str, int]:
        """Count the rows of each label among those that fulfil a condition."""
        return self._labels(where)

    def describe(self, where: str, known: Known = NOTHING_KNOWN) -> TableCounts:
        """Count what data rules and profiles need of the rows that fulfil a condition.

        `known` is what their values are counted against: the champion's training data.
        """
        name = self.columns["id"]
        ids = f"count({quoted(name)}) - count(DISTINCT {quoted(name)})" if name in self.types else "0"
        row = {"duplicate_ids": ids, "duplicate_rows": f"count(*) - count(DISTINCT {ROW_HASH})"}
        features = {name: self.types[name] for name in self.features}
        table = described(self.connection, where, features=features, row=row, known=known)
        return replace(table, labels=self._labels(where))

    def cuts(self, where: str) -> dict[str, Bins]:
        """Cut each feature, and each role that models answer with, into bins."""
        return columns_of.cuts(self.connection, "watched", where, self._watched(), half=_HALF)

    def histograms(self, where: str, columns: Mapping[str, Bins]) -> dict[str, Histogram]:
        """Count the rows in each bin of columns."""
        return columns_of.histograms(self.connection, "watched", where, columns, half=_HALF)

    def _watched(self) -> dict[str, str]:
        """Make the view `watched`: features under their names, and roles under theirs; return its types."""
        roles = {"label": LABEL} if self.columns["label"] in self.types else {}
        for role in ("prediction", "score"):
            name = self.columns[role]
            if name in self.types:
                roles[role] = canonical(quoted(name), self.types[name]) if role == "prediction" else quoted(name)
        chosen = [quoted(name) for name in self.features if name not in roles]
        chosen += [quoted(name) for name in (self.columns["model"],) if name in self.types]  # conditions may ask for it
        chosen += [f"{expression} AS {role}" for role, expression in roles.items()]
        self.connection.execute(
            f"CREATE OR REPLACE TEMP VIEW watched AS SELECT {', '.join(chosen)}, {AT}, {HASH}, {EARLIER} FROM known"
        )
        own = {*self.features, *roles}
        return {name: kind for name, kind in database.types_of(self.connection, "watched").items() if name in own}

    def _labels(self, where: str) -> dict[str, int]:
        return dict(self._rows(f"SELECT {LABEL}, count(*) FROM known WHERE {where} GROUP BY ALL ORDER BY ALL"))

    def _time(self, query: str) -> datetime | None:
        (found,) = self._row(query)
        return utc(found) if found else None

    def _row(self, query: str) -> tuple[Any, ...]:
        return self._rows(query)[0]

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What rows must have: a label, else rows without one are kept, too; a time, else those without one are left out.

    `dated` says that there must be a column of times; without it, rows of a source that has none count as of now.
    `reserve` says which rows are held out.
    """

    label: bool = True
    time: bool = True
    dated: bool = True
    reserve: Reserve = NOTHING


ALL = Need()


@contextmanager
def opened(
    source: str,
    *,
    labels: str | None = None,
    columns: Mapping[str, str],
    now: datetime,
    key: str = "data.labelled",
    need: Need = ALL,
) -> Iterator[LabelledRows]:
    """Open labelled rows: Parquet, CSV or JSONL; a file, a folder of one kind of them, or a glob.

    `labels` is a source of ground truth to join by id, if it is not in the rows. `key` is the setting that names the
    source. Raises DataError if there is no file, a file cannot be read, the column of labels, times or groups is missing
    (`column 'label'`), or a row has no readable time.
    """
    try:
        with database.connected() as connection:

            def load(files: Sequence[FileState], truth: Sequence[FileState]) -> dict[str, str]:
                types = tables.create_labelled(
                    connection, files, labels=truth, columns=columns, now=now, nested=not need.label
                )
                kind = "VIEW" if tables.is_columnar(files) else "TABLE"
                _Known(connection, columns, types, now, source, need).create(kind)
                return types

            types = undisturbed({key: source, "logs.labels": labels}, load)
            yield LabelledRows(connection, columns, types, need.reserve)
    except duckdb.Error as error:
        raise DataError(f"{source} cannot be read: {database.told(error)}") from error


@dataclass(frozen=True, slots=True)
class _Known:
    """The rows of the view `source` that are known at `now`."""

    connection: duckdb.DuckDBPyConnection
    columns: Mapping[str, str]
    types: Mapping[str, str]
    now: datetime
    source: str
    need: Need

    def create(self, kind: str) -> None:
        """Make the rows, each with its time, canonical label, and hash.

        Parquet is read again by each count, only the columns it needs; text is parsed once and kept.
        """
        self._check_roles()
        columns, types, connection, now = self.columns, self.types, self.connection, self.now
        time, label = columns["timestamp"], columns["label"]
        at = as_time(time, types[time]) if time in types else moment(now)
        truth = canonical(quoted(label), types[label]) if label in types else "NULL::VARCHAR"
        wanted = f"NOT {is_missing(label, types[label])}" if self.need.label else "true"
        missing = connection.execute(f"SELECT count(*) FROM source WHERE {wanted} AND ({at}) IS NULL").fetchone()
        if self.need.time and missing and missing[0]:
            raise DataError(f"column {time!r} has no readable time in {missing[0]} labelled rows of {self.source}")
        known = f"{wanted} AND ({at}) <= {moment(now)}"
        if columns["labelled_at"] in types:
            arrived = times.arrival(columns["labelled_at"], types[columns["labelled_at"]])
            known += f" AND (({arrived}) IS NULL OR ({arrived}) <= {moment(now)})"
        unlabelled = sorted(set(types) - {label, columns["labelled_at"]})
        row_hash = "md5(concat_ws(chr(31), " + ", ".join(f"coalesce({quoted(c)}::VARCHAR, chr(30))" for c in unlabelled)
        row_hash += "))"
        # DuckDB's readers rewrite what looks like a UUID or a truth value: case and blanks make no other id.
        name = quoted(columns["id"])
        identity = f"coalesce(md5(lower(trim({name}::VARCHAR))), {row_hash})" if columns["id"] in types else row_hash
        reserve = self.need.reserve
        group = self._group(reserve.group or "", identity)
        earlier = [
            f"(({at}) <= {moment(until)} AND {_held_out(reserve.share, _hash(self._group(each, identity)))})"
            for each, until in reserve.earlier.items()
            if each != (reserve.group or "") and each in {"", *types}
        ]
        connection.execute(
            f"""
            CREATE OR REPLACE {kind} known AS SELECT *, {at} AS {AT}, {truth} AS {LABEL}, {row_hash} AS {ROW_HASH},
                {group} AS {GROUP}, {_hash(group)} AS {HASH}, {" OR ".join(earlier) or "false"} AS {EARLIER}
            FROM source WHERE {known}
            """
        )

    def _group(self, name: str, identity: str) -> str:
        """Return SQL for what a row is held out by: the group it is of, or itself."""
        if not name:
            return identity
        kind, column = self.types[name], quoted(name)
        return f"if({is_missing(name, kind)}, {identity}, md5('group ' || {canonical(column, kind)}))"

    def _check_roles(self) -> None:
        needed = (*(["timestamp"] if self.need.dated else []), *(["label"] if self.need.label else []))
        for role in needed:
            if self.columns[role] not in self.types:
                raise DataError(tables.missing(self.columns[role], role, self.types, where=self.source))
        group = self.need.reserve.group
        if group and group not in self.types:
            raise DataError(tables.missing(group, "group", self.types, where=self.source, key="data"))


def _hash(identity: str) -> str:
    return f"('0x' || substr({identity}, 1, 8))::UBIGINT"


def _held_out(share: float, hashed: str = HASH) -> str:
    return f"{hashed} < {int(share * _RESERVED_OF)}"


def _listed(names: Collection[str]) -> str:
    return ", ".join(text(name) for name in sorted(names)) or "NULL"


def _after(at: datetime | None, comparison: str) -> str:
    return f"{AT} {comparison} {moment(at)}" if at else "true"
