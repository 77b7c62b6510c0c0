"""What this process has started, directly or not: found, counted, and ended."""

import ctypes
import os
import signal
import time
from collections.abc import Set as AbstractSet
from contextlib import suppress

from retrain_trigger.store import holders

_PR_SET_CHILD_SUBREAPER = 36
_POLL = 0.05
_LONGEST = 1 << 12


def adopt_orphans() -> set[int]:
    """Become the parent of descendants whose own has ended, so that what calls setsid and forks twice stays ours.

    Returns those that are there already. Linux; elsewhere nothing changes.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return of(os.getpid())


def of(root: int, *, but: AbstractSet[int] = frozenset()) -> set[int]:
    """Return all descendants of a process, also those that have ended and that nobody has reaped.

    `but` are left out, with theirs: what was there before (a shell's background jobs, after `exec`) is not ours to end.
    """
    parents: dict[int, int] = {}
    for pid in holders.processes():
        with suppress(OSError, ValueError, IndexError):
            parents[pid] = int(_status(pid)[1])
    found: set[int] = set()
    level = {root}
    while level := {pid for pid, parent in parents.items() if parent in level} - found - but:
        found |= level
    return found


def is_gone(pid: int) -> bool:
    """Reap a process where it is a dead child of ours; say whether it is gone."""
    with suppress(OSError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    try:
        return _status(pid)[0] in {b"Z", b"X"}
    except OSError:
        return True


def kill(*, within: float, but: AbstractSet[int] = frozenset()) -> set[int]:
    """Kill all descendants but some at once, for as long as new ones come; return those that live after so many seconds."""
    return kill_below(os.getpid(), within=within, but=but)


def kill_below(root: int, *, within: float, but: AbstractSet[int] = frozenset()) -> set[int]:
    """Kill the descendants of a process, as `kill` does those of this one."""
    deadline = time.monotonic() + within
    while (members := {p for p in of(root, but=but) if not is_gone(p)}) and time.monotonic() < deadline:
        for pid in members:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL)
    return members


def _status(pid: int) -> list[bytes]:
    """Return what /proc says of a process after its name: its state, its parent, and so on. Raises OSError.

    It is read by hand, as all processes of a machine are looked at several times in a run.
    """
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    try:
        return os.read(descriptor, _LONGEST).rpartition(b")")[2].split()
    finally:
        os.close(descriptor)
