"""The limits that a process with somebody's model in it sets itself, before it loads the model."""

import ctypes
import os
import resource
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from retrain_trigger.process import tree

MEMORY = 0.8
"""Share of this machine's memory that a model may take."""

FILE_SIZE = 4 << 30
"""Bytes that any one file written by a model may have."""

_PR_SET_PDEATHSIG = 1
_GRACE = 10.0


def guarded(*, parent: int) -> None:
    """Leave a guard beside this process, which ends it and all that it will have started as soon as `parent` has ended.

    So nothing of a model outlives a controller that was killed. The guard is no child of this process: a model may wait
    for its own children. If the kernel cannot tell it of an end (Linux before 5.3), this process ends alone.
    """
    try:
        ends = [os.pidfd_open(parent), os.pidfd_open(os.getpid())]
    except (OSError, AttributeError):
        _end_with_parent()
        return
    own = os.getpid()
    if not (between := os.fork()):
        if not os.fork():
            _guard(own, *ends)
        os._exit(0)
    os.waitpid(between, 0)
    for end in ends:
        os.close(end)
    tree.adopt_orphans()


def begin(*, seconds: float, parent: int) -> None:
    """Limit memory, file size and time (wall clock), leave no core file, and end where `parent` has ended.

    If memory runs out for all, this process is the first to be ended.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, FILE_SIZE)
    if memory := _memory():
        _limit(resource.RLIMIT_AS, int(memory * MEMORY))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    if os.getppid() != parent:  # it ended before it could be watched
        os._exit(1)


def _guard(own: int, parents_end: int, own_end: int) -> NoReturn:
    ended, _, _ = select.select([parents_end, own_end], [], [])
    if own_end not in ended:
        with suppress(ProcessLookupError):
            os.kill(own, signal.SIGSTOP)  # it starts nothing more, and what it started stays below it
        tree.kill_below(own, within=_GRACE)
        with suppress(ProcessLookupError):
            os.kill(own, signal.SIGKILL)
    os._exit(0)


def _end_with_parent() -> None:
    """Let the kernel end this process with its parent."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _limit(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _memory() -> int:
    """Return the bytes of memory that this machine has; 0 if it does not say."""
    if sys.platform != "linux":
        return 0
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal")), 0)
