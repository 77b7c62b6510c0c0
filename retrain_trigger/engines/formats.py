"""What reads each kind of file."""

from collections.abc import Iterator, Sequence

import duckdb

from retrain_trigger.engines import csv_files, json_lines, parquet_files
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.spelled import Group, Readable

FORMATS = {"parquet": parquet_files.groups, "csv": csv_files.groups, "json": json_lines.groups}


def groups(connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], plan: Plan) -> Iterator[Group]:
    """Put files together that one call reads. Raises DataError for a file that has no columns."""
    for kind, read in FORMATS.items():
        own = [file for file in files if file.kind == kind]
        if own:
            yield from read(connection, own, plan)
