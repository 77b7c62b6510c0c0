"""One run at a time: an advisory lock that the kernel drops with its holder."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from retrain_trigger.core.errors import BusyError
from retrain_trigger.store import files

POLL = 0.2
"""Seconds between two looks at a lock that is waited for."""


@contextmanager
def hold(path: Path, *, wait: float = 0.0, say: Callable[[str], None] = print) -> Iterator[None]:
    """Hold the lock while the block runs, after waiting at most `wait` seconds for it; `say` hears that it waits.

    Raises BusyError, naming the holder's process, when another run holds it still. The file is never unlinked: two runs
    would then hold two different locks of one name.
    """
    descriptor = files.open_lock(path)
    try:
        if not taken(descriptor, path):
            _wait_for(descriptor, path, wait, say)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold a file that others hold a shared lock on while they use it; False if one of them does.

    A missing file is used by nobody; one that cannot be opened may be.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        yield isinstance(error, FileNotFoundError)
        return
    try:
        yield _claimed(descriptor, path)
    finally:
        os.close(descriptor)


def holder(path: Path) -> str | None:
    """Return the process that holds a lock of `hold`, None if nobody does.

    The lock is not tried, for in that moment a run could not take it: the process that is named in the file is looked at.
    """
    try:
        wanted, named = path.stat(), path.read_text().strip()
    except FileNotFoundError:
        return None
    try:
        opened = list(os.scandir(f"/proc/{int(named)}/fd"))
    except (FileNotFoundError, ValueError):  # it has ended, or there never was one
        return None
    except OSError:  # of another user
        return named if is_held(path) else None
    for descriptor in opened:
        with suppress(OSError):
            if os.path.samestat(descriptor.stat(), wanted):
                return named
    return None


def is_held(path: Path) -> bool:
    """Say whether any process holds the lock; a missing lock file is held by nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not taken(descriptor, path, how=fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def taken(descriptor: int, path: Path, *, how: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file if nobody else holds it; say whether it is locked now.

    Raises OSError, naming the file, on a file system that has no such locks.
    """
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    return True


def _wait_for(descriptor: int, path: Path, wait: float, say: Callable[[str], None]) -> None:
    active, until = f"another run is active (process {_holder(descriptor)})", time.monotonic() + wait
    if wait:
        say(f"{active}; waiting for it, at most {wait:g} s")
    while time.monotonic() < until:
        time.sleep(POLL)
        if taken(descriptor, path):
            return
    waited = f"{wait:g} s were waited, and " if wait else ""
    raise BusyError(f"{active}; {waited}nothing was done")


def _claimed(descriptor: int, path: Path) -> bool:
    try:
        return taken(descriptor, path)
    except OSError:  # a file system without such locks cannot say who uses it
        return False


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
