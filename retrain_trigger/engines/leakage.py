"""Rows that stand in two files: what a challenger learns from must not decide about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.engines import database
from retrain_trigger.engines.sql import canonical, is_missing, kind_of, quoted, text
from retrain_trigger.engines.times import as_time

NAMED = 3
"""A message names at most so many rows."""


@dataclass(frozen=True, slots=True)
class Leakage:
    """How many rows of a hold-out stand in a training file, and the first few of them: their id, or their time."""

    rows: int
    first: tuple[str, ...]


def between(training: Path, holdout: Path, *, columns: Mapping[str, str], group: str | None = None) -> Leakage:
    """Count the rows of a hold-out (Parquet) that a training file (Parquet) has, too.

    Rows are the same where their ids are (case and blanks aside). If either file has no id, or a row has none, they
    are the same where they agree in every column that both files have, but for the label and the time it came; numbers
    agree as numbers. Rows that have the same value of the column `group` are the same here. Raises DataError if a file
    cannot be read.
    """
    try:
        with database.connected() as connection:
            for name, path in (("trained", training), ("held", holdout)):
                connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({text(str(path))})")
            types = [database.types_of(connection, name) for name in ("trained", "held")]
            keys = [_identity(kinds, set(types[0]) & set(types[1]), columns, group) for kinds in types]
            told = columns["id"] if columns["id"] in types[1] else columns["timestamp"]
            found = connection.execute(
                f"SELECT count(*) OVER (), {quoted(told)}::VARCHAR FROM held "
                f"WHERE {keys[1]} IN (SELECT {keys[0]} FROM trained) ORDER BY 2 LIMIT {NAMED}"
            ).fetchall()
    except duckdb.Error as error:
        raise DataError(f"{training} and {holdout} cannot be compared: {str(error).splitlines()[0]}") from error
    return Leakage(found[0][0] if found else 0, tuple(str(row[1]) for row in found))


def _identity(types: Mapping[str, str], shared: set[str], columns: Mapping[str, str], group: str | None) -> str:
    """Return SQL for what tells a row from others: its group, its id, else a hash of the columns that both files have."""
    if group in shared:
        own = _identity(types, shared, columns, None)
        value = canonical(quoted(group), types[group])
        return f"if({is_missing(group, types[group])}, {own}, md5('group ' || {value}))"
    compared = sorted(shared - {columns["label"], columns["labelled_at"]})
    parts = [f"coalesce({_as_text(name, types[name], columns)}, chr(30))" for name in compared]
    whole = f"md5(concat_ws(chr(31), {', '.join(parts) or repr('')}))"
    if columns["id"] not in shared:
        return whole
    return f"coalesce(md5(lower(trim({quoted(columns['id'])}::VARCHAR))), {whole})"


def _as_text(name: str, kind: str, columns: Mapping[str, str]) -> str:
    if name == columns["timestamp"]:
        return f"({as_time(name, kind)})::VARCHAR"
    return f"{quoted(name)}::DOUBLE::VARCHAR" if kind_of(kind) == "number" else f"{quoted(name)}::VARCHAR"
