"""Tables whose columns nobody knows: their types are what DuckDB sees in the values, and labels are joined by id."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.engines.database import OWN, told, types_of
from retrain_trigger.engines.plan import label_columns
from retrain_trigger.engines.sources import FileState, header_of, kind, literal, separator_of
from retrain_trigger.engines.sql import quoted, text, whole_id
from retrain_trigger.engines.times import arrival, moment

FORMATS = {
    "parquet": "read_parquet({files}, union_by_name = true)",
    "csv": "read_csv({files}, union_by_name = true, sample_size = -1, quote = '\"', escape = '\"'{options}, "
    "auto_type_candidates = ['BIGINT', 'DOUBLE', 'DATE', 'TIMESTAMP', 'TIMESTAMPTZ', 'VARCHAR'], "
    "max_line_size = 2000000, buffer_size = 8000000)",
    "json": "read_json({files}, format = 'newline_delimited', union_by_name = true, sample_size = -1, ignore_errors = true)",
}
"""How rows are read whose columns nobody knows, by what files hold. Words are words: yes, t and F are no booleans."""

BAD_SHARE = 0.01
"""The share of lines that may be no JSON: one line can always be half written."""

AT, LABEL, HASH, ROW_HASH, GROUP, EARLIER = (
    f'"{OWN}{name}"' for name in ("at", "label", "hash", "row hash", "group", "held out earlier")
)
"""Columns of our own beside those of the data, as SQL; no column of a user has such a name."""


def create_view(
    connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[FileState], *, nested: bool = False
) -> None:
    """Make a view of files of one kind; what is nested in `features`, or (`nested`) in any column, becomes columns.

    Half a line at the end of a growing JSONL file is left out. Raises DataError if more than 1 % of the lines are
    not JSON.
    """
    try:
        connection.execute(f"CREATE OR REPLACE VIEW {name}_raw AS SELECT * FROM {_reading(files)}")
    except duckdb.Error as error:
        raise DataError(f"{files[0].path} cannot be read: {told(error, files)}") from error
    types = types_of(connection, f"{name}_raw")
    json = kind(files[0].path) == "json"
    whole = f"NOT ({' AND '.join(f'{quoted(column)} IS NULL' for column in types)})" if json else "true"
    if json:
        ((bad, total),) = connection.execute(
            f"SELECT count(*) FILTER (NOT ({whole})), count(*) FROM {name}_raw"
        ).fetchall()
        check_lines(files[0].path, bad, total)
    objects = [column for column, holds in types.items() if holds.startswith("STRUCT") and not holds.endswith("]")]
    spread = [column for column in objects if nested or column == "features"]
    truths = _truths(connection, f"{name}_raw", types) if kind(files[0].path) == "csv" else []
    replaced = (
        f" REPLACE ({', '.join(f'lower({each}) = {chr(39)}true{chr(39)} AS {each}' for each in map(quoted, truths))})"
    )
    chosen = "*" + (f" EXCLUDE ({', '.join(map(quoted, spread))})" if spread else "") + (replaced if truths else "")
    chosen += "".join(f", {quoted(column)}.*" for column in spread)
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT {chosen} FROM {name}_raw WHERE {whole}")


def create_labelled(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[FileState],
    *,
    labels: Sequence[FileState],
    columns: Mapping[str, str],
    now: datetime,
    nested: bool = False,
) -> dict[str, str]:
    """Make the view `source` of files and, joined by id, what is known at `now` of any files of labels; return its types."""
    create_view(connection, "plain", files, nested=nested)
    rows = "plain"
    if labels:
        rows = joined_labels(connection, "plain", labels, columns=columns, now=now, key="logs.labels")
    connection.execute(f"CREATE OR REPLACE VIEW source AS SELECT * FROM {rows}")
    return types_of(connection, "source")


def joined_labels(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    labels: Sequence[FileState],
    *,
    columns: Mapping[str, str],
    now: datetime,
    key: str,
) -> str:
    """Return SQL for `rows` with the label of each id as known at `now` from files of labels: the latest one counts.

    Ids are compared as text. Raises DataError if the files lack the id or the label column.
    """
    create_view(connection, "read_labels", labels)
    connection.execute(f"CREATE OR REPLACE VIEW labels AS {_own_names(connection, columns, key)}")
    known, own = types_of(connection, "labels"), types_of(connection, rows)
    identity, label, arrived = (quoted(columns[role]) for role in ("id", "label", "labelled_at"))
    if columns["id"] not in own:
        raise DataError(f"{missing(columns['id'], 'id', own)}; labels of {key} are joined by it")
    dated = columns["labelled_at"] in known
    at = arrival(columns["labelled_at"], known[columns["labelled_at"]]) if dated else "TIMESTAMP '1970-01-01'"
    when = f"(({at}) IS NULL OR ({at}) <= {moment(now)})" if dated else "true"
    replaced = [quoted(columns[role]) for role in ("label", "labelled_at") if columns[role] in own]
    rest = f"r.* EXCLUDE ({', '.join(replaced)})" if replaced else "r.*"
    stamp = f", l._labelled_at AS {arrived}" if dated else ""
    earlier = f"coalesce(l._label, r.{label})" if columns["label"] in own else "l._label"
    order = f"{{'at': coalesce({at}, TIMESTAMP '1970-01-01'), 'nth': _nth}}"
    return (
        f"(SELECT {rest}, {earlier} AS {label}{stamp} FROM {rows} AS r LEFT JOIN (SELECT {_plain_id(identity)} AS _id, "
        f"arg_max({label}, {order}) AS _label, max({at}) AS _labelled_at "
        f"FROM (SELECT *, row_number() OVER () AS _nth FROM labels) WHERE {when} GROUP BY 1) AS l "
        f"ON {_plain_id(f'r.{identity}')} = l._id)"
    )


def _plain_id(column: str) -> str:
    return whole_id(f"trim({column}::VARCHAR)")


def check_lines(path: str, bad: int, total: int, *, csv: bool = False) -> None:
    """Raise DataError if more than 1 % of the lines, and more than one, are no rows."""
    if bad > max(1, BAD_SHARE * total):
        why = "have more fields than the first, or an open quotation mark" if csv else "are not JSON objects"
        raise DataError(f"{path} cannot be read: {bad:,} of {total:,} lines {why}")


def is_columnar(files: Sequence[FileState]) -> bool:
    """Say whether reading some columns costs only those: then a view is as good as a table."""
    return kind(files[0].path) == "parquet"


def has(names: Collection[str]) -> str:
    """Say which columns there are, for a message that one is missing."""
    if not names or list(names) == ["json"]:  # DuckDB's name for lines that are no objects, and for no line at all
        return "it is empty, or a line of it is JSON but no object, as {...} is"
    return f"it has {', '.join(names)}"


def missing(name: str, role: str, names: Collection[str], *, where: str = "", key: str = "logs.columns") -> str:
    """Say that the column of a role is not there, and which key names it."""
    within = f" in {where}" if where else ""
    return f"column {name!r} ({role}) is missing{within}; {has(names)}. Name it in {key}.{role}"


def _truths(connection: duckdb.DuckDBPyConnection, relation: str, types: Mapping[str, str]) -> list[str]:
    """Return the columns of text that hold nothing but true and false."""
    texts = [name for name, holds in types.items() if holds == "VARCHAR"]
    if not texts:
        return []
    asked = ", ".join(f"coalesce(bool_and(lower({quoted(name)}) IN ('true', 'false')), false)" for name in texts)
    found = connection.execute(f"SELECT {asked} FROM {relation}").fetchall()[0]
    return [name for name, is_truth in zip(texts, found, strict=True) if is_truth]


def _own_names(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, str], key: str) -> str:
    """Return SQL for the columns of `read_labels` that labels need, under the names that they have in the log."""
    known, chosen = types_of(connection, "read_labels"), []
    for role, name in label_columns(columns).items():
        if name in known:
            chosen.append(f"{quoted(name)} AS {quoted(columns[role])}")
        elif role != "labelled_at":
            raise DataError(missing(name, role, known, where=key, key="logs.label_columns"))
    return f"SELECT {', '.join(chosen)} FROM read_labels"


def _reading(files: Sequence[FileState]) -> str:
    """Return the SQL table function that reads files of one kind."""
    names = "[" + ", ".join(text(literal(file.path)) for file in files) + "]"
    options, holds = "", kind(files[0].path) or ""
    if holds == "csv":
        header = header_of(files[0].path)
        separator = separator_of(header)
        options = f", delim = {text(separator)}" if separator.encode() in header else ""
    return FORMATS[holds].format(files=names, options=options)
