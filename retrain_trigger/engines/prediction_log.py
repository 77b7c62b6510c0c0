"""Prediction logs and late labels, counted per window by DuckDB: rows stay here, counts leave."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import duckdb

from retrain_trigger.core.errors import CannotJudgeError, DataError
from retrain_trigger.engines import parts
from retrain_trigger.engines.counted import Counted
from retrain_trigger.engines.counting import Counting
from retrain_trigger.engines.database import connected, told
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.rotation import undisturbed
from retrain_trigger.engines.sources import FileState
from retrain_trigger.engines.waiting import Waiting


def count(
    plan: Plan,
    *,
    now: datetime,
    known: Counted | None = None,
    store: Path | None = None,
    keep: Path | None = None,
    scratch: Path | None = None,
) -> Counted:
    """Count a log as known at `now`; of what is `known`, only what has come since, and what was written anew.

    A file that only grew is read from where it was read to. Rows that wait for labels from other files lie in `store`,
    and what is new of them goes to `keep`, into the folder `waiting.FOLDER`; parts of text are copied to `scratch` to
    be read. None: into a folder that is removed at the end. The counts are those of counting everything. Raises
    CannotJudgeError if a file cannot be read, does not hold still while it is read (see `undisturbed`), or lacks a
    column.
    """

    def counted(log: Sequence[FileState], labels: Sequence[FileState]) -> Counted:
        with connected() as connection, ExitStack() as stack:
            own = scratch or Path(stack.enter_context(parts.folder()))

            def anew(before: Counted) -> Counted:
                waiting = Waiting(connection, plan, store or own, keep or own)
                return Counting(waiting, before, now=now, scratch=own).of(log, labels)

            try:
                return anew(known or Counted())
            except (duckdb.Error, DataError):
                if known is None or not (known.rows or known.labels):
                    raise
            # What was kept may be damaged, or have been put together by a run meanwhile: all of it can be counted again.
            return anew(Counted())

    try:
        return undisturbed({"logs.predictions": plan.predictions, "logs.labels": plan.labels}, counted)
    except (duckdb.Error, DataError) as error:
        raise CannotJudgeError(f"{plan.predictions} cannot be counted: {told(error)}") from error
