"""A check of one's own (`data.command`): the last word on whether data is fit to train on."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from retrain_trigger.core.errors import TrainingError
from retrain_trigger.core.events import Reason
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.redaction import redacted
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.process import output, training
from retrain_trigger.store import lock

TIME = timedelta(minutes=10)
"""How long the check of one split may take; then its whole tree is ended, and the data is refused."""

NAME = "data.command"


def judged(tick: Tick, splits: Mapping[str, Path | None], *, reason: Reason) -> tuple[Finding, ...]:
    """Run the check once for each split, by its reach; its exit code is the finding. None if none is configured.

    A question does not run it. A split of None is data that the training command finds by itself: RETRAIN_TRAIN_DATA is then unset.
    """
    command = tick.config.data.command
    if command is None or tick.asks:
        return ()
    return tuple(_judged(tick, command, reach, rows, reason) for reach, rows in splits.items())


def end_leftover(tick: Tick) -> None:
    """End what a killed run left of its check: nobody waits for it any more.

    What cannot be ended holds up the next check, which says so, and no run that needs none.
    """
    if lock.is_held(_lock(tick)):
        with suppress(TrainingError):
            training.end_tree(tick.run, _lock(tick))


def _judged(tick: Tick, command: str, reach: str, rows: Path | None, reason: Reason) -> Finding:
    log = tick.scratch / f"check-{reach}.log"
    how = training.completed(
        command,
        folder=tick.config.folder,
        environment=training.environment(tick.run, reason, rows=rows, settings=tick.config.file),
        timeout=TIME.total_seconds(),
        log=log,
        training_lock=_lock(tick),
    )
    said = " / ".join(output.last_lines(log))
    because = f"{NAME} `{redacted(command)}` {how or 'exited with 0'} on the rows of {reach}"
    because += f": {said}" if said else "; it printed nothing"
    verdict = Verdict.PASS if how is None else Verdict.BREACH
    return Finding(name=NAME, verdict=verdict, value=float(how is not None), limit=0.0, because=because)


def _lock(tick: Tick) -> Path:
    return tick.config.state / "check.lock"
