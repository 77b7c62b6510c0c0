"""The training command: started, watched, and ended with everything it started."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from retrain_trigger.core.errors import BusyError, TrainingError
from retrain_trigger.core.events import Reason
from retrain_trigger.core.records import encoded
from retrain_trigger.process import output, tree
from retrain_trigger.store import files, holders, lock

RUN_ID = "RETRAIN_RUN_ID"
LOCK_ID = "RETRAIN_LOCK_ID"
"""Tells whose run it is: a project that was copied has the same runs, and another lock."""
GRACE = 5.0
"""Seconds between asking a training tree to end (SIGTERM) and ending it (SIGKILL)."""
_POLL = 0.05


def train(
    command: str, *, folder: Path, environment: Mapping[str, str], timeout: float, log: Path, training_lock: Path
) -> None:
    """Run the user's training command to its end, as `completed` does.

    Raises TrainingError on a non-zero exit or a timeout.
    """
    how = completed(
        command, folder=folder, environment=environment, timeout=timeout, log=log, training_lock=training_lock
    )
    if how is not None:
        lines = output.last_lines(log)
        quoted = "".join(f"\n  | {line}" for line in lines)
        said = f"; its last output ({log}):{quoted}" if lines else f"; it printed nothing ({log})"
        raise TrainingError(f"`{command}` {how}{said}")


def completed(
    command: str, *, folder: Path, environment: Mapping[str, str], timeout: float, log: Path, training_lock: Path
) -> str | None:
    """Run a command of the user's to its end, its output in `log`; return how it failed, None if it exited with 0.

    `timeout` is in seconds. `environment` must carry RETRAIN_RUN_ID: with it, and with the lock that every descendant
    inherits, the whole tree is found again, whoever has become its parent. When this returns or raises, nothing of
    the tree is left. Raises TrainingError if some of it cannot be ended.
    """
    run = environment[RUN_ID]
    others = tree.adopt_orphans()
    with inheritable_lock(training_lock, run) as descriptor, output.kept(log) as printed:
        process = None
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=folder,
                env={**inherited(), **environment, **marks(run, training_lock)},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                pass_fds=(descriptor,),
                start_new_session=True,
            )
            code = process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            return f"did not end within {timeout:.0f} s and was stopped"
        finally:  # also of a signal that came while it was being started
            end_tree(run, training_lock, but=others)
            if process is not None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=GRACE)
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"exited with {code}" if code else None


def environment(
    run: str,
    reason: Reason,
    *,
    rows: Path | None = None,
    output: Path | None = None,
    settings: Path | None = None,
) -> dict[str, str]:
    """Return what a command of the user's is told: the run, why, and the files that it reads and leaves."""
    told = {RUN_ID: run, "RETRAIN_REASON": json.dumps(encoded(reason))}
    paths = {"RETRAIN_TRAIN_DATA": rows, "RETRAIN_OUTPUT": output, "RETRAIN_CONFIG": settings}
    return told | {name: str(path) for name, path in paths.items() if path is not None}


def inherited() -> dict[str, str]:
    """Return the environment without what a run around this one may have set: unset must mean unset."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RETRAIN_")}


def marks(run: str, held: Path) -> dict[str, str]:
    """Return the variables by which what a run starts is found again, with the lock that it inherits."""
    return {RUN_ID: run, LOCK_ID: _identity(held)}


def is_alive(run: str, training_lock: Path) -> bool:
    """Say whether anything of a training is still running: the lock is held, or a process carries the run's id."""
    return lock.is_held(training_lock) or any(_carriers(run, training_lock))


def check_ended(training_lock: Path) -> None:
    """Raise BusyError, naming the processes that can be seen, while anything of an earlier training holds the lock."""
    if lock.is_held(training_lock):
        seen = ", ".join(f"process {pid}" for pid in sorted(holders.of_file(training_lock)))
        raise BusyError(
            f"an earlier training is still running ({seen or 'as a user whose processes cannot be seen'}) and could not "
            f"be ended; nothing was started. End it by hand"
        )


def deadlines(timeout: timedelta) -> tuple[float, float]:
    """Return when a training that starts now must have ended: by the clock, and by one that nobody can set back.

    The second counts from the start of the machine; no training outlives that.
    """
    return time.time() + timeout.total_seconds(), time.monotonic() + timeout.total_seconds()


def end_tree(run: str, held: Path, *, but: AbstractSet[int] | None = None, grace: float = GRACE) -> None:
    """End every process of a training or a scoring: ask, wait up to `grace` seconds, then kill until none is left.

    Members are the processes that carry the ids of run and lock in their environment, those that hold the lock, and,
    where this process has started it, all its descendants but those that were there before (`but`). Raises
    TrainingError when some cannot be ended.
    """
    try:
        _end(run, held, but, grace)
    except Exception:
        raise
    except BaseException:  # a signal ends this run while the tree is being ended: the tree is ended first
        _end(run, held, but, grace)
        raise


def _end(run: str, held: Path, but: AbstractSet[int] | None, grace: float) -> None:
    deadline = time.monotonic() + grace
    sent: set[int] = set()
    while members := _members(run, held, but):
        patient = time.monotonic() < deadline
        for pid in members if not patient else members - sent:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM if patient else signal.SIGKILL)
        sent |= members
        if time.monotonic() > deadline + GRACE:
            raise TrainingError(f"processes {sorted(members)} of run {run} could not be ended; end them by hand")
        time.sleep(_POLL)


def _members(run: str, held: Path, but: AbstractSet[int] | None) -> set[int]:
    """Return the live members of a tree, reaping those that have already ended."""
    own = set() if but is None else tree.of(os.getpid(), but=but)
    members = own | set(_carriers(run, held)) | holders.of_file(held, locking=True)
    members.discard(os.getpid())
    return {pid for pid in members if not tree.is_gone(pid)}


def _carriers(run: str, training_lock: Path) -> Iterator[int]:
    """Yield the processes whose environment names the run and its lock; the run alone where that lock is gone."""
    wanted = {f"{RUN_ID}={run}".encode()}
    with suppress(OSError):
        wanted.add(f"{LOCK_ID}={_identity(training_lock)}".encode())
    for pid in holders.processes():
        with suppress(OSError):
            if wanted <= set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
                yield pid


def _identity(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"


@contextmanager
def inheritable_lock(path: Path, run: str) -> Iterator[int]:
    """Lock a file whose descriptor the training inherits: it stays locked while any of its processes lives."""
    descriptor = files.open_lock(path)
    try:
        if not lock.taken(descriptor, path):
            raise BusyError("a training of another run is still running; nothing was started")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{run}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)
