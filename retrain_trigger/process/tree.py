"""What this process has started, directly or not: found, counted, and ended."""

import ctypes
import os
import signal
import time
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from retrain_trigger.store import holders

_PR_SET_CHILD_SUBREAPER = 36
_POLL = 0.05


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
            status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            parents[pid] = int(status.rpartition(")")[2].split()[1])
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
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] in {"Z", "X"}


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
