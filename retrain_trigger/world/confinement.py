"""The limits that a process with somebody's model in it sets itself, before it loads the model."""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

MEMORY = 0.8
"""Share of this machine's memory that a model may take."""

FILE_SIZE = 4 << 30
"""Bytes that any one file written by a model may have."""

_PR_SET_PDEATHSIG = 1


def begin(*, seconds: float, parent: int) -> None:
    """Limit memory, file size and time (wall clock), leave no core file, and end with `parent`, a process.

    Where memory runs out for all, this process is the first to be ended.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, FILE_SIZE)
    if memory := _memory():
        _limit(resource.RLIMIT_AS, int(memory * MEMORY))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before it could be watched
        os._exit(1)


def _limit(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _memory() -> int:
    """Return the bytes of memory that this machine has; 0 where it does not say."""
    if sys.platform != "linux":
        return 0
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal")), 0)
