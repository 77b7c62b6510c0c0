"""Where files lie that nobody needs afterwards: those of a question, and what DuckDB has no room for in memory."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from retrain_trigger.store import files, lock

QUESTION = "retrain-check-question-"
"""How the folders of questions begin, below TMPDIR: a question may write nothing into the project."""

YOUNG = 60.0
"""Seconds in which a folder is left alone that nobody holds yet."""

_LOCK = "lock"
_spill: ContextVar[Path | None] = ContextVar("spill", default=None)


@contextmanager
def private() -> Iterator[Path]:
    """Make a folder for a question, and remove it; what killed questions of this user have left is removed first."""
    for left in Path(tempfile.gettempdir()).glob(f"{QUESTION}*"):
        if _is_left(left):
            files.remove_folder(left)
    with tempfile.TemporaryDirectory(prefix=QUESTION) as own, lock.hold(Path(own, _LOCK)):
        yield Path(own)


@contextmanager
def spilling(folder: Path) -> Iterator[None]:
    """Let DuckDB write into this folder, meanwhile, what it has no room for in memory."""
    token = _spill.set(folder)
    try:
        yield
    finally:
        _spill.reset(token)


def spill() -> Path:
    """Return where DuckDB writes what it has no room for in memory; it makes and removes the folder as it needs it."""
    return _spill.get() or Path(tempfile.gettempdir(), f"retrain-check-spill-{os.getpid()}")


def _is_left(folder: Path) -> bool:
    with suppress(OSError):
        about = folder.lstat()
        own = about.st_uid == os.getuid() and not folder.is_symlink()
        return own and time.time() - about.st_mtime > YOUNG and not lock.is_held(folder / _LOCK)
    return False
