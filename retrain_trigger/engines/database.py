"""DuckDB as this program opens it, and what it says when it cannot read a file."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from retrain_trigger.engines.sources import FileState, kind
from retrain_trigger.engines.sql import text
from retrain_trigger.store import scratch

OWN = "retrain-check "
"""How the names of columns of our own begin; no column of a user has such a name."""


@contextmanager
def connected() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in memory that knows times in UTC, fetches nothing, and leaves half of the cores to the service."""
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET threads = {max(1, (os.cpu_count() or 1) // 2)}")
        connection.execute(f"SET temp_directory = {text(str(scratch.spill()))}")
        yield connection


def told(error: Exception, files: Sequence[FileState] = ()) -> str:
    """Say in one sentence why DuckDB could not read files, in its own words where they are clear."""
    lines = str(error).splitlines() or [type(error).__name__]
    cut = next((file.path for file in files if _is_csv([file]) and not _ends_whole(file.path)), None)
    if cut is not None:
        return f"the last line of {cut} has no end yet; a later run reads it when it is whole"
    if "recursion depth" in lines[0]:
        return "a value in a line is nested deeper than 128 levels"
    if "maximum_object_size" in lines[0]:
        return "a line is longer than 16 MB"
    if "Error when sniffing" in lines[0]:
        return "its lines do not have the same number of fields, or a quotation mark is not closed"
    details = [line for line in lines[1:] if line.startswith(_CLEAR)]
    return "; ".join([lines[0].removeprefix("Invalid Input Error: "), *details[:1]])


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Raise OSError if the system refuses to write a file: DuckDB says that in words only."""
    try:
        yield
    except duckdb.IOException as error:
        if target.name not in str(error):  # it is the source that cannot be read
            raise
        code = next((code for code in errno.errorcode if f": {os.strerror(code)}" in str(error)), errno.EIO)
        raise OSError(code, os.strerror(code), str(target)) from error


def types_of(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Return the columns of a relation with their types, in order; none of our own."""
    described = connection.execute(f"DESCRIBE {relation}").fetchall()
    return {name: kind for name, kind, *_ in described if not name.startswith(OWN)}


def _is_csv(files: Sequence[FileState]) -> bool:
    return kind(files[0].path) == "csv"


def _ends_whole(path: str) -> bool:
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 1))
        return file.read(1) in {b"\n", b"\r", b""}


_CLEAR = ("Expected Number of Columns", "Invalid unicode", "Maximum line size", "Value with unterminated quote")
