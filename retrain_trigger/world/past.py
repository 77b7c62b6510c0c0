"""A prediction log as it was known at earlier times: loaded once, asked often."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import duckdb

from retrain_trigger.errors import CannotJudgeError, DataError
from retrain_trigger.world import tables, tally
from retrain_trigger.world.rotation import undisturbed
from retrain_trigger.world.tables import FileState, moment, quoted
from retrain_trigger.world.tally import Plan


@contextmanager
def replaying(plan: Plan, *, until: datetime) -> Iterator["Past"]:
    """Load a log once, to be asked what was known at any time up to `until`. Raises CannotJudgeError."""
    try:
        with tables.connected() as connection:

            def load(files: Sequence[FileState], labels: Sequence[FileState]) -> "Past":
                aside = tally.load(connection, plan, files, labels, until)
                return Past(connection, plan, files, labels, until, aside=aside)

            yield undisturbed({"logs.predictions": plan.predictions, "logs.labels": plan.labels}, load)
    except (duckdb.Error, DataError) as error:
        raise CannotJudgeError(f"{plan.predictions} cannot be counted: {str(error).splitlines()[0]}") from error


class Past:
    """A loaded log, as it was known at earlier times."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        plan: Plan,
        files: Sequence[FileState],
        labels: Sequence[FileState],
        until: datetime,
        *,
        aside: Mapping[str, Any],
    ) -> None:
        self._connection, self._plan, self._files, self._labels = connection, plan, files, labels
        self._aside = {**aside, "open": 0, "ahead": 0, "lines": [0, 0], "file": [""]}
        self._corrected = (
            bool(labels)
            and tally.only_row(
                connection, f"SELECT count(*) > count(DISTINCT {quoted(plan.columns['id'])}) FROM labels"
            )[0]
        )
        self._final = tally.counted(connection, plan, until, "true")
        self._settled = {
            start.replace(tzinfo=UTC): max(arrived.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + plan.window)
            for start, arrived in connection.execute(
                "SELECT _start, max(coalesce(_labelled_at, _at)) FROM logged GROUP BY ALL"
            ).fetchall()
        }

    def ends(self) -> list[datetime]:
        """Return the ends of all windows, in order."""
        return sorted(start + self._plan.window for start in self._settled)

    def at(self, now: datetime) -> dict[str, Any]:
        """Return what `count` would have counted at `now`, as one piece.

        Windows whose labels had all arrived by then are as they are now; the others are counted again, and so is
        everything where labels were corrected later.
        """
        if self._corrected:
            aside = tally.load(self._connection, self._plan, self._files, self._labels, now)
            return {**self._aside, **aside, **tally.counted(self._connection, self._plan, now, "true")}
        over = [start for start in self._settled if start + self._plan.window <= now]
        open_ones = [start for start in over if self._settled[start] > now]
        done = {start for start in over if self._settled[start] <= now}
        windows = [each for each in self._final["windows"] if datetime.fromisoformat(each["start"]) in done]
        if open_ones:
            listed = ", ".join(moment(start) for start in open_ones)
            windows += tally.counted(self._connection, self._plan, now, f"_start IN ({listed})")["windows"]
        ends = tally.newest(self._connection, now)
        return {
            **self._aside,
            **ends,
            "truth": self._final["truth"],
            "windows": sorted(windows, key=lambda each: (each["start"], each["model"] or "")),
        }
