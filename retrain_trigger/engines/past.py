"""A prediction log as it was known at earlier times: read once, asked often."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb

from retrain_trigger.core.errors import CannotJudgeError, DataError
from retrain_trigger.counts.tally import total
from retrain_trigger.engines import database, matching, parts, portable
from retrain_trigger.engines.counted import Counted
from retrain_trigger.engines.counting import Counting
from retrain_trigger.engines.plan import Plan, micros
from retrain_trigger.engines.portable import DUCKDB
from retrain_trigger.engines.rotation import undisturbed
from retrain_trigger.engines.sources import FileState
from retrain_trigger.engines.waiting import Waiting


@contextmanager
def replaying(plan: Plan, *, until: datetime) -> Iterator["Past"]:
    """Read a log once, to be asked what was known at any time up to `until`. Raises CannotJudgeError."""
    with database.connected() as connection, ExitStack() as stack:
        folder = Path(stack.enter_context(parts.folder()))

        def read(files: Sequence[FileState], labels: Sequence[FileState]) -> "Past":
            waiting = Waiting(connection, plan, folder, folder, everything=True)
            counted = Counting(waiting, Counted(), now=until, scratch=folder).of(files, labels)
            return Past(waiting, counted, until=until)

        try:
            yield undisturbed({"logs.predictions": plan.predictions, "logs.labels": plan.labels}, read)
        except (duckdb.Error, DataError) as error:
            raise CannotJudgeError(f"{plan.predictions} cannot be counted: {database.told(error)}") from error


class Past:
    """A log that was read, as it was known at earlier times."""

    def __init__(self, waiting: Waiting, counted: Counted, *, until: datetime) -> None:
        self._waiting, self._plan, self._counted = waiting, waiting.plan, counted
        self._final = total(counted.matched.values())
        relation = matching.relation(waiting, counted, now=until)
        query = f"SELECT w, max(greatest(us, coalesce(label_us, us))) FROM ({relation}) WHERE own GROUP BY w"
        length = micros(self._plan.start(1)) - micros(self._plan.start(0))
        self._settled = {w: max(at, micros(self._plan.start(w)) + length) for w, at in waiting.ask(query)}

    def ends(self) -> list[datetime]:
        """Return the ends of all windows, in order."""
        return [self._plan.start(window + 1) for window in sorted(self._settled)]

    def at(self, now: datetime) -> Counted:
        """Return what counting would have come to at `now`.

        Windows whose labels had all come by then are as they are now; the others are counted again.
        """
        present, over = micros(now), self._plan.number(now)
        done = {window for window, at in self._settled.items() if window < over and at <= present}
        waiting = [window for window in self._settled if window < over and window not in done]
        found = [self._final.only(done.__contains__)]
        if waiting:
            listed = ", ".join(map(str, waiting))
            relation = (
                f"SELECT * FROM ({matching.relation(self._waiting, self._counted, now=now)}) WHERE w IN ({listed})"
            )
            found += portable.cells(self._waiting.ask, DUCKDB, relation, slices=self._plan.slices).values()
        pieces = tuple(
            replace(piece, tally=piece.tally.only(lambda window: window is not None and window < over))
            for piece in self._counted.pieces
        )
        return replace(self._counted, pieces=pieces, matched={"": total(found)}, late=0)
