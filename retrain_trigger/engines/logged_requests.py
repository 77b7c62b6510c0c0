"""The newest requests of a prediction log: written out for models to answer again, and tallied by DuckDB."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.engines import labelled, tallies
from retrain_trigger.engines.sql import canonical, is_missing, quoted, text
from retrain_trigger.engines.tables import AT
from retrain_trigger.engines.times import as_time, moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was said of logged requests: the log itself, and two models asked again.

    `requests`, `champion` and `challenger` are Parquet files of the same rows in the same order; `columns` maps roles
    to the names they have in the log.
    """

    requests: Path
    columns: Mapping[str, str]
    champion: Path
    challenger: Path

    def tally(self, *, names: Collection[str], since: datetime) -> list[list[Any]]:
        """Count rows by (of this model, logged, label, champion said, challenger said); no label is None.

        A row is of a model where the log's column of models has one of its `names`, or, where it has none, from `since`
        on.
        """
        with self._answered() as (connection, types):
            model, time = self.columns["model"], self.columns["timestamp"]
            own = f"{as_time(time, types[time])} >= {moment(since)}"
            if model in types:
                own = (
                    f"coalesce({quoted(model)}::VARCHAR IN ({', '.join(text(name) for name in sorted(names))}), false)"
                )
            roles = [f"{own} AS own"] + [f"{self._role(types, role)} AS {role}" for role in ("prediction", "label")]
            return _counted(connection, ", ".join(roles), "own, asked.prediction, label")

    def sliced(self, column: str, *, at_most: int) -> dict[str, list[list[Any]]]:
        """Count rows by (champion said, challenger said) for each of the most frequent values of a column.

        Empty if the log has no such column; rows without a value are told as "".
        """
        counts: dict[str, list[list[Any]]] = {}
        with self._answered() as (connection, types):
            if column in types:
                value = f"if({is_missing(column, types[column])}, '', {quoted(column)}::VARCHAR) AS part"
                for part, *cell in _counted(connection, value, "part"):
                    counts.setdefault(part, []).append(cell)
        most = sorted(counts, key=lambda part: (-sum(cell[-1] for cell in counts[part]), part))
        return {part: counts[part] for part in most[:at_most]}

    @contextmanager
    def _answered(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, str]]]:
        """Open the three files as `held`, `c` and `d`; yield the types of the first, too. Raises DataError."""
        try:
            with tallies.answered(self.requests, self.champion, self.challenger) as opened:
                yield opened
        except duckdb.Error as error:
            raise DataError(f"the logged requests cannot be tallied: {str(error).splitlines()[0]}") from error

    def _role(self, types: Mapping[str, str], role: str) -> str:
        name = self.columns[role]
        if name not in types:
            return "NULL::VARCHAR"
        return f"if({is_missing(name, types[name])}, NULL, {canonical(quoted(name), types[name])})"


def write_newest(
    source: str, *, labels: str | None, columns: Mapping[str, str], now: datetime, at_most: int, target: Path
) -> tuple[int, tuple[str, ...]]:
    """Write the newest rows of a prediction log as Parquet; return how many they are, and which columns are features.

    `labels` is a source of ground truth to join by id. Raises DataError if the log cannot be read.
    """
    opened = labelled.opened(
        source, labels=labels, columns=columns, now=now, key="logs.predictions", need=labelled.Need(label=False)
    )
    with opened as rows:
        names = ", ".join(quoted(name) for name in rows.types)
        query = f"SELECT {names} FROM known ORDER BY {AT} DESC LIMIT {at_most}"
        rows.connection.execute(f"COPY ({query}) TO {text(str(target))} (FORMAT parquet)")
        return min(rows.count("true"), at_most), rows.features


def _counted(connection: duckdb.DuckDBPyConnection, chosen: str, keys: str) -> list[list[Any]]:
    """Count rows by `keys`, which `chosen` makes of the requests' columns, and by what both models said."""
    query = f"""
        SELECT {keys}, c.prediction, d.prediction, count(*)
        FROM (SELECT {chosen} FROM held) AS asked POSITIONAL JOIN c POSITIONAL JOIN d GROUP BY ALL ORDER BY ALL
    """
    return [list(row) for row in connection.execute(query).fetchall()]
