"""Labelled rows, counted and split by DuckDB: what may be trained on, and what decides."""

import glob
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from retrain_trigger.errors import DataError

FORMATS = {
    ".parquet": "read_parquet({files}, union_by_name = true)",
    ".csv": "read_csv({files}, union_by_name = true, sample_size = -1)",
    ".jsonl": "read_json({files}, format = 'newline_delimited', union_by_name = true)",
    ".ndjson": "read_json({files}, format = 'newline_delimited', union_by_name = true)",
}
"""How rows are read, by the ending of the file name."""

_KINDS = {"boolean": "boolean", "varchar": "text", "date": "time", "time": "time"}
_NUMBERS = ("tinyint", "smallint", "integer", "bigint", "hugeint", "ubig", "uint", "usm", "utiny", "uhuge", "float")
_AT, _LABEL, _HASH, _ROW_HASH = (f'"retrain-check {name}"' for name in ("at", "label", "hash", "row hash"))
"""Columns of our own beside those of the data; no column of a user has such a name."""
_FIRST_SECOND, _END_OF_SECONDS = 1e8, 1e10  # seconds and milliseconds from 1973 to 2286 do not overlap
_RESERVED_OF = 1 << 32  # a row's hash is its first 32 bits, read as a share of this


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Labelled rows as known at `now`: rows dated later, labelled later, or without a label are not there.

    `columns` maps a role (timestamp, id, label, ...) to the name it has in the data. Columns without a role are
    features, in the order of the data.
    """

    connection: duckdb.DuckDBPyConnection
    columns: Mapping[str, str]
    types: Mapping[str, str]

    @property
    def features(self) -> tuple[str, ...]:
        """Return the columns that have no role."""
        roles = {*self.columns.values(), "shadow_prediction"}
        return tuple(name for name in self.types if name not in roles)

    def newest(self) -> datetime | None:
        """Return the time of the newest row (UTC); None where there is no row."""
        return self._time(f"SELECT max({_AT}) FROM known")

    def reserved(self, share: float) -> str:
        """Return the SQL condition for rows that are held out: by hash of the id, or of the whole row without one."""
        return f"{_HASH} < {int(share * _RESERVED_OF)}"

    def training(self, *, share: float, since: datetime | None) -> str:
        """Return the SQL condition for rows that may be trained on: not reserved, and not older than `since`."""
        return f"NOT ({self.reserved(share)}) AND {_after(since, '>=')}"

    def deciding(self, *, share: float, after: datetime | None) -> str:
        """Return the SQL condition for held-out rows newer than the champion's training data."""
        return f"{self.reserved(share)} AND {_after(after, '>')}"

    def newer(self, after: datetime | None) -> str:
        """Return the SQL condition for all rows newer than `after`; every row where it is None."""
        return _after(after, ">")

    def count(self, where: str) -> int:
        """Count the rows that fulfil a condition of this class."""
        return int(self._row(f"SELECT count(*) FROM known WHERE {where}")[0])

    def within(self, where: str, *, start: datetime, length: timedelta) -> int:
        """Count the rows that fulfil a condition and lie in one window."""
        return self.count(f"{where} AND {_after(start, '>=')} AND NOT {_after(start + length, '>=')}")

    def write(self, where: str, target: Path) -> None:
        """Write the rows that fulfil a condition as Parquet, with the names and types of the source."""
        names = ", ".join(_quoted(name) for name in self.types)
        self.connection.execute(
            f"COPY (SELECT {names} FROM known WHERE {where}) TO {_text(str(target))} (FORMAT parquet)"
        )

    def labels(self) -> dict[str, int]:
        """Count the rows of each label."""
        return self._labels("true")

    def describe(self, where: str) -> dict[str, Any]:
        """Count what data rules and profiles need of the rows that fulfil a condition, as plain JSON."""
        name = self.columns["id"]
        ids = f"count({_quoted(name)}) - count(DISTINCT {_quoted(name)})" if name in self.types else "0"
        missing = "".join(f", count(*) FILTER ({_is_missing(name, self.types[name])})" for name in self.features)
        rows, newest, again, equal, *lacking = self._row(
            f"SELECT count(*), max({_AT}), {ids}, count(*) - count(DISTINCT {_ROW_HASH}) {missing} FROM known WHERE {where}"
        )
        return {
            "rows": rows,
            "columns": {
                name: {"type": _kind(self.types[name]), "missing": count}
                for name, count in zip(self.features, lacking, strict=True)
            },
            "labels": self._labels(where),
            "duplicate_ids": again,
            "duplicate_rows": equal,
            "newest": _utc(newest).isoformat() if newest else None,
        }

    def _labels(self, where: str) -> dict[str, int]:
        return dict(self._rows(f"SELECT {_LABEL}, count(*) FROM known WHERE {where} GROUP BY ALL ORDER BY ALL"))

    def _time(self, query: str) -> datetime | None:
        (found,) = self._row(query)
        return _utc(found) if found else None

    def _row(self, query: str) -> tuple[Any, ...]:
        return self._rows(query)[0]

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()


@contextmanager
def opened(source: str, *, columns: Mapping[str, str], now: datetime) -> Iterator[LabelledRows]:
    """Open labelled rows: a Parquet, CSV or JSONL file, a folder of one kind of them, or a glob.

    Raises DataError where there is no file, a file cannot be read, the label or timestamp column is missing
    (`column 'label'`), or a row has no readable time.
    """
    try:
        with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"CREATE VIEW source AS SELECT * FROM {_reading(source)}")
            types = {row[0]: row[1] for row in connection.execute("DESCRIBE source").fetchall()}
            for role in ("timestamp", "label"):
                if columns[role] not in types:
                    raise DataError(
                        f"column {columns[role]!r} ({role}) is missing in {source}; it has {', '.join(types)}. "
                        f"Name it in logs.columns.{role}"
                    )
            _create_known(connection, columns, types, now, source)
            yield LabelledRows(connection, columns, types)
    except duckdb.Error as error:
        raise DataError(f"{source} cannot be read: {str(error).splitlines()[0]}") from error


def joint_counts(holdout: Path, *, label: str, champion: Path, challenger: Path) -> list[list[Any]]:
    """Count rows by (label, champion said, challenger said); the three files have the same rows in the same order."""
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"CREATE VIEW held AS SELECT * FROM read_parquet({_text(str(holdout))})")
        types = {row[0]: row[1] for row in connection.execute("DESCRIBE held").fetchall()}
        query = f"""
            SELECT {_canonical(f"held.{_quoted(label)}", types[label])}, c.prediction, d.prediction, count(*)
            FROM held POSITIONAL JOIN read_parquet({_text(str(champion))}) AS c
            POSITIONAL JOIN read_parquet({_text(str(challenger))}) AS d
            GROUP BY ALL ORDER BY ALL
        """
        return [list(row) for row in connection.execute(query).fetchall()]


def _reading(source: str) -> str:
    path = Path(source)
    if path.is_dir():
        found = sorted(
            file
            for file in path.rglob("*")
            if file.suffix in FORMATS and not file.name.startswith(".") and file.is_file()
        )
    elif path.is_file():
        found = [path]
    else:
        found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))) if glob.has_magic(source) else []
    kinds = {file.suffix for file in found}
    if not found:
        raise DataError(f"there are no labelled rows at {source}; data.labelled names a file, a folder or a glob")
    if len(kinds) > 1 or not kinds <= set(FORMATS):
        raise DataError(f"{source} holds {', '.join(sorted(kinds))}; one of {', '.join(FORMATS)} can be read")
    return FORMATS[kinds.pop()].format(files="[" + ", ".join(_text(str(file)) for file in found) + "]")


def _create_known(
    connection: duckdb.DuckDBPyConnection,
    columns: Mapping[str, str],
    types: Mapping[str, str],
    now: datetime,
    source: str,
) -> None:
    """Make the rows known at `now`, each with its time, canonical label, and hash.

    Parquet is read again by each count, only the columns it needs; text is parsed once and kept.
    """
    time, label = columns["timestamp"], columns["label"]
    at = _as_time(time, types[time])
    labelled = f"NOT ({_is_missing(label, types[label])})"
    missing = connection.execute(f"SELECT count(*) FROM source WHERE {labelled} AND ({at}) IS NULL").fetchone()
    if missing and missing[0]:
        raise DataError(f"column {time!r} has no readable time in {missing[0]} labelled rows of {source}")
    known = f"{labelled} AND ({at}) <= {_moment(now)}"
    if columns["labelled_at"] in types:
        arrived = _as_time(columns["labelled_at"], types[columns["labelled_at"]])
        known += f" AND (({arrived}) IS NULL OR ({arrived}) <= {_moment(now)})"
    unlabelled = sorted(set(types) - {label, columns["labelled_at"]})
    row_hash = "md5(concat_ws(chr(31), " + ", ".join(f"coalesce({_quoted(c)}::VARCHAR, chr(30))" for c in unlabelled)
    row_hash += "))"
    # DuckDB's readers rewrite what looks like a UUID or a truth value: case and blanks make no other id.
    name = _quoted(columns["id"])
    identity = f"coalesce(md5(lower(trim({name}::VARCHAR))), {row_hash})" if columns["id"] in types else row_hash
    connection.execute(
        f"""
        CREATE {"VIEW" if source.endswith(".parquet") else "TABLE"} known AS SELECT *, {at} AS {_AT}, {_canonical(_quoted(label), types[label])} AS {_LABEL},
            {row_hash} AS {_ROW_HASH}, ('0x' || substr({identity}, 1, 8))::UBIGINT AS {_HASH}
        FROM source WHERE {known}
        """
    )


def _is_missing(name: str, kind: str) -> str:
    absent = f"{_quoted(name)} IS NULL"
    return f"{absent} OR isnan({_quoted(name)})" if kind in {"FLOAT", "DOUBLE"} else absent


def _as_time(name: str, kind: str) -> str:
    """Return SQL for a column as a UTC timestamp without zone; null where it cannot be read as a time."""
    column = _quoted(name)
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"({column} AT TIME ZONE 'UTC')"
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"{column}::TIMESTAMP"
    if kind == "VARCHAR":
        return f"(try_cast({column} AS TIMESTAMPTZ) AT TIME ZONE 'UTC')"
    if _kind(kind) == "number":
        seconds = f"(CASE WHEN {column} < {_END_OF_SECONDS} THEN {column} ELSE {column} / 1000.0 END)::DOUBLE"
        plausible = f"{seconds} >= {_FIRST_SECOND} AND {seconds} < {_END_OF_SECONDS}"
        return f"(CASE WHEN {plausible} THEN to_timestamp({seconds}) END AT TIME ZONE 'UTC')"
    return "NULL::TIMESTAMP"


def _canonical(column: str, kind: str) -> str:
    """Return SQL for a label as text: 1, 1.0 and true are all '1', so that labels and predictions can be compared."""
    if kind == "BOOLEAN":
        return f"{column}::INTEGER::VARCHAR"
    return f"regexp_replace({column}::VARCHAR, '^(-?[0-9]+)\\.0+$', '\\1')"


def _kind(type_name: str) -> str:
    name = type_name.lower()
    if name.startswith("timestamp"):
        return "time"
    if name.startswith((*_NUMBERS, "double", "decimal")):
        return "number"
    return "text" if name.startswith("enum") else _KINDS.get(name, "other")


def _after(moment: datetime | None, comparison: str) -> str:
    return f"{_AT} {comparison} {_moment(moment)}" if moment else "true"


def _moment(at: datetime) -> str:
    return f"TIMESTAMP '{at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')}'"


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
