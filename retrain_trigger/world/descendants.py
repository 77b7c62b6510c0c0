"""What this process has started, directly or not: found, counted, and ended."""

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_POLL = 0.05


def adopt_orphans() -> None:
    """Become the parent of descendants whose own has ended, so that what calls setsid and forks twice stays ours.

    Linux; elsewhere nothing changes.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def living() -> set[int]:
    """Return the descendants of this process that live, reaping those that have ended."""
    return {pid for pid in of(os.getpid()) if not is_gone(pid)}


def of(root: int) -> set[int]:
    """Return all descendants of a process, also those that have ended and that nobody has reaped."""
    parents: dict[int, int] = {}
    for pid in processes():
        with suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            parents[pid] = int(status.rpartition(")")[2].split()[1])
    found: set[int] = set()
    level = {root}
    while level := {pid for pid, parent in parents.items() if parent in level} - found:
        found |= level
    return found


def processes() -> list[int]:
    """Return all processes that can be seen; none where there is no /proc."""
    try:
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    except OSError:
        return []


def holders(path: Path) -> set[int]:
    """Return the processes that have a file open, as far as they can be seen."""
    try:
        wanted = path.stat()
    except OSError:
        return set()
    found = set()
    for pid in processes():
        with suppress(OSError):
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    opened = descriptor.stat()
                    if (opened.st_dev, opened.st_ino) == (wanted.st_dev, wanted.st_ino):
                        found.add(pid)
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


def kill(*, within: float) -> set[int]:
    """Kill all descendants at once, for as long as new ones come; return those that live after so many seconds."""
    deadline = time.monotonic() + within
    while (members := living()) and time.monotonic() < deadline:
        for pid in members:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL)
    return members
