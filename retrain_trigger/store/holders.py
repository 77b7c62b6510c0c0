"""Which processes there are, and which of them have a file open."""

import os
from contextlib import suppress
from pathlib import Path


def processes() -> list[int]:
    """Return all processes that can be seen; none if there is no /proc."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  (there may be thousands)
    except OSError:
        return []


def of_file(path: Path, *, locking: bool = False) -> set[int]:
    """Return the processes that have a file open, as far as they can be seen; `locking`: only those that hold its lock.

    A backup may read a lock file at any time: it holds no lock, and is not ours to end.
    """
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
                    same = (opened.st_dev, opened.st_ino) == (wanted.st_dev, wanted.st_ino)
                    if same and not (locking and "FLOCK" not in _info(pid, descriptor.name)):
                        found.add(pid)
    return found


def _info(pid: int, descriptor: str) -> str:
    return Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text()
