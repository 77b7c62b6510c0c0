"""What champion and challenger both said of the same requests, counted from the prediction log by DuckDB."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from retrain_trigger.core.errors import CannotJudgeError, DataError
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.engines import database, tables
from retrain_trigger.engines.rotation import undisturbed
from retrain_trigger.engines.sources import FileState
from retrain_trigger.engines.sql import canonical, quoted, text
from retrain_trigger.engines.times import as_time, moment

COLUMNS = PREDICTION, MODEL = "shadow_prediction", "shadow_model"
"""Columns of the prediction log, by these names: what the challenger said, and its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two models of which one runs in shadow: the names of the champion, the challenger's version, and since when."""

    champion: Collection[str]
    challenger: str
    since: datetime


def joint_counts(
    predictions: str, pair: Pair, *, labels: str | None, columns: Mapping[str, str], now: datetime
) -> JointCounts:
    """Count rows by what label, champion and challenger say: those since the shadow began that have all three at `now`.

    A row that says which model it is of (`model`, `shadow_model`) counts only for these two. Nothing is counted as long
    as the log has no `shadow_prediction`. Raises CannotJudgeError if the log cannot be read.
    """

    def counted(files: Sequence[FileState], truth: Sequence[FileState]) -> list[list[Any]]:
        with database.connected() as connection:
            types = tables.create_labelled(connection, files, labels=truth, columns=columns, now=now)
            if not {columns["timestamp"], columns["prediction"], columns["label"], PREDICTION} <= types.keys():
                return []
            said = [canonical(quoted(name), types[name]) for name in (columns["prediction"], PREDICTION)]
            label = canonical(quoted(columns["label"]), types[columns["label"]])
            at = as_time(columns["timestamp"], types[columns["timestamp"]])
            known = [f"({at}) BETWEEN {moment(pair.since)} AND {moment(now)}"]
            known += [f"({cell}) IS NOT NULL" for cell in (label, *said)]
            for name, own in ((columns["model"], pair.champion), (MODEL, [pair.challenger])):
                if name in types:
                    listed = ", ".join(text(each) for each in sorted(own))
                    known.append(f"coalesce({quoted(name)}::VARCHAR IN ({listed}), true)")
            arrived = columns["labelled_at"]
            if arrived in types:
                known.append(f"coalesce({as_time(arrived, types[arrived])} <= {moment(now)}, true)")
            query = f"SELECT {label}, {', '.join(said)}, count(*) FROM source WHERE {' AND '.join(known)} GROUP BY ALL ORDER BY ALL"
            return [list(row) for row in connection.execute(query).fetchall()]

    try:
        found = undisturbed({"logs.predictions": predictions, "logs.labels": labels}, counted)
    except (duckdb.Error, DataError) as error:
        raise CannotJudgeError(f"{predictions} cannot be counted: {str(error).splitlines()[0]}") from error
    return JointCounts.counted(found)
