"""Labelled rows in the order of time, cut into windows: what a backtest lives through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path

from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.engines import database
from retrain_trigger.engines.labelled import LabelledRows, Need, opened
from retrain_trigger.engines.sql import canonical, is_missing, quoted, text
from retrain_trigger.engines.tables import AT
from retrain_trigger.engines.times import arrival, as_time, interval, moment

_KEPT = ("timestamp", "id", "label", "labelled_at")
"""Roles whose columns stay; what another model said of the rows is of no use here."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Labelled rows in a Parquet file, oldest first, and the start of each window that has some.

    `ends` counts the rows up to the end of each window. `columns` has the names by role, `features` those without one.
    `left_out` says of how many rows of the source nothing can be known at a time, by what they lack.
    """

    path: Path
    columns: Mapping[str, str]
    features: tuple[str, ...]
    length: timedelta
    starts: tuple[datetime, ...]
    ends: tuple[int, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def cut(
        cls, source: str, target: Path, *, columns: Mapping[str, str], length: timedelta, late: timedelta, now: datetime
    ) -> "Stream":
        """Write the rows of a source, sorted, to `target`; `late` is how long labels take if the rows do not say it.

        Raises DataError if the source cannot be read, or is no labelled data.
        """
        with opened(source, columns=columns, now=now, key="--data", need=Need(time=False)) as rows:
            kept = [*(columns[role] for role in _KEPT if columns[role] in rows.types), *rows.features]
            chosen = ", ".join(quoted(name) for name in kept)
            if late and columns["labelled_at"] not in kept:
                chosen += f", {AT} + {interval(late)} AS {quoted(columns['labelled_at'])}"
            with database.writing(target):
                rows.connection.execute(
                    f"COPY (SELECT {chosen} FROM known ORDER BY {AT}) TO {text(str(target))} (FORMAT parquet)"
                )
            windows = rows.by_window(length)
            starts, ends = (start for start, _ in windows), accumulate(count for _, count in windows)
            left_out = _left_out(rows, now)
            return cls(target, columns, rows.features, length, tuple(starts), tuple(ends), left_out)

    def end(self, window: int) -> datetime:
        """Return when a window is over."""
        return self.starts[window] + self.length

    def write(self, window: int, target: Path, *, said: Path | None = None) -> None:
        """Write the rows of one window as Parquet; with `said`, beside what a model said of all rows."""
        before = self.ends[window - 1] if window else 0
        with database.connected() as connection, database.writing(target):
            rows = f"SELECT held.*{self._prediction(said)} FROM {self._joined(said)}"
            connection.execute(
                f"COPY ({rows} LIMIT {self.ends[window] - before} OFFSET {before}) TO {text(str(target))} (FORMAT parquet)"
            )

    def counts(self, said: Path) -> tuple[Confusion, ...]:
        """Count, for each window, what a model said against the truth."""
        with database.connected() as connection:
            connection.execute(f"CREATE VIEW held AS SELECT * FROM read_parquet({text(str(self.path))})")
            label = self.columns["label"]
            truth = canonical(f"held.{quoted(label)}", database.types_of(connection, "held")[label])
            bounds = ", ".join(str(end) for end in self.ends)
            number = f"len(list_filter([{bounds}], lambda bound: bound <= place))"
            numbered = f"SELECT {truth} AS truth, p.prediction AS said, row_number() OVER () - 1 AS place FROM {self._joined(said)}"
            query = (
                f"SELECT {number}, truth, said, count(*) FROM ({numbered}) WHERE place < {self.ends[-1]} GROUP BY ALL"
            )
            cells: list[dict[tuple[str, str], int]] = [{} for _ in self.ends]
            for window, truth, answer, count in connection.execute(query).fetchall():
                cells[window][truth, answer] = count
        return tuple(Confusion(each) for each in cells)

    def _joined(self, said: Path | None) -> str:
        held = f"read_parquet({text(str(self.path))}) AS held"
        return held if said is None else f"{held} POSITIONAL JOIN read_parquet({text(str(said))}) AS p"

    def _prediction(self, said: Path | None) -> str:
        return "" if said is None else f", p.prediction AS {quoted(self.columns['prediction'])}"


def _left_out(rows: LabelledRows, now: datetime) -> dict[str, int]:
    """Count the rows of the source that are not known at `now`, by why."""
    time, label, labelled_at = (rows.columns[role] for role in ("timestamp", "label", "labelled_at"))
    at = as_time(time, rows.types[time])
    arrived = arrival(labelled_at, rows.types[labelled_at]) if labelled_at in rows.types else "NULL"
    why = f"""
        CASE WHEN {is_missing(label, rows.types[label])} THEN 'without a label'
             WHEN ({at}) IS NULL THEN 'without a readable time'
             WHEN ({at}) > {moment(now)} THEN 'dated later than now'
             WHEN ({arrived}) > {moment(now)} THEN 'labelled later than now' END
    """
    found = rows.connection.execute(f"SELECT {why} AS why, count(*) FROM source GROUP BY 1 ORDER BY 1").fetchall()
    return {each: count for each, count in found if each is not None}


def write_training(stream: Stream, target: Path, *, since: datetime, now: datetime) -> None:
    """Write the rows from `since` on that were known, with their labels, at `now`. Raises DataError."""
    with opened(str(stream.path), columns=stream.columns, now=now, key="--data") as rows:
        rows.write(rows.training(since=since), target)
