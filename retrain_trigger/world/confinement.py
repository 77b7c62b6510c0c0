"""The limits that a process with somebody's model in it sets itself, before it loads the model."""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from retrain_trigger.world import descendants

MEMORY = 0.8
"""Share of this machine's memory that a model may take."""

FILE_SIZE = 4 << 30
"""Bytes that any one file written by a model may have."""

_PR_SET_PDEATHSIG = 1
_AWAITED = {signal.SIGCHLD, signal.SIGUSR1}
_POLL = 0.25
_GRACE = 10.0


def guarded(*, parent: int) -> int:
    """Fork, and return in the child, with the id of this process: it stays its guard, and ends as it does.

    When `parent` has ended, or the child has, the guard ends all that the child has started: nothing of a model outlives
    a controller that was killed. The guard holds little, and no model is in it.
    """
    descendants.adopt_orphans()
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    _end_with_parent(signal.SIGUSR1)
    guard = os.getpid()
    if child := os.fork():
        _guard(child, parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
    return guard


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
    _end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it could be watched
        os._exit(1)


def _guard(child: int, parent: int) -> NoReturn:
    status = None
    while status is None and os.getppid() == parent:
        signal.sigtimedwait(_AWAITED, _POLL)
        found, code = os.waitpid(child, os.WNOHANG)
        status = code if found else None
    descendants.kill(within=_GRACE)
    _end_like(status or 0)


def _end_with_parent(number: int) -> None:
    """Let the kernel send a signal when the parent ends."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def _end_like(status: int) -> NoReturn:
    """End as another process has, which left this status."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        _limit(resource.RLIMIT_CORE, 0)
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _limit(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _memory() -> int:
    """Return the bytes of memory that this machine has; 0 where it does not say."""
    if sys.platform != "linux":
        return 0
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal")), 0)
