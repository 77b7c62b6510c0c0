"""Files that are rotated, emptied or replaced while they are read: they are read again, and never judged on half of it."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.engines import parts
from retrain_trigger.engines.parts import Span
from retrain_trigger.engines.sources import FileState, files_of

TRIES = 3
"""Times that files are read before it is said that they do not hold still: a rotation comes once an hour or a day."""

Found = TypeVar("Found")

_BLOCK = 4096


def undisturbed(sources: Mapping[str, str | None], read: Callable[..., Found]) -> Found:
    """Return what `read` makes of the files of each source, from one moment at which all of them were whole.

    `sources` maps the setting that names a source to it; `read` is given a list of files for each, empty if the
    source is None, and is called again where a file was renamed, removed, emptied or replaced meanwhile. Text may grow:
    what is read may or may not have what came. Raises DataError if the files did not hold still in any of TRIES
    readings, if there are none or the system refuses them, and whatever `read` raises of files that held still.
    """
    try:
        return _read(sources, read)
    except OSError as error:
        raise DataError(f"{error.filename or 'a file'} cannot be read ({error.strerror})") from error


def _read(sources: Mapping[str, str | None], read: Callable[..., Found]) -> Found:
    for _ in range(TRIES):
        seen, failed = _Seen(sources), None
        try:
            found = read(*seen.files)
        except (duckdb.Error, DataError, OSError) as error:
            failed = error
        moved = seen.moved()
        if not moved and failed:
            raise failed
        if not moved:
            return found
    raise DataError(
        f"{moved} was rotated, emptied or replaced while it was read, {TRIES} times; nothing is judged on half of it, "
        f"and a later run reads it again"
    )


class _Seen:
    """The files of each source, as they were before they were read."""

    def __init__(self, sources: Mapping[str, str | None]) -> None:
        self._sources, self._began = sources, time.time_ns()
        self.files = [files_of(source, key=key) if source else [] for key, source in sources.items()]
        self._ends = {file: _end(file) for listed in self.files for file in listed}

    def moved(self) -> str:
        """Return the first file that is not what it was with more at its end, or has another name; empty for none."""
        for (key, source), before in zip(self._sources.items(), self.files, strict=True):
            try:
                after = {file.path: file for file in files_of(source, key=key)} if source else {}
            except DataError:
                return str(source)
            for file in before:
                now = after.pop(file.path, None)
                if now is None or not _goes_on(file, now, self._ends[file]):
                    return file.path
            # A file that was there before, under a name that was not: it was renamed while the names were read.
            for new in after.values():
                if new.changed < self._began:
                    return new.path
        return ""


def _goes_on(before: FileState, now: FileState, end: str) -> bool:
    if before == now:
        return True
    return parts.grows(now) and now.inode == before.inode and now.size >= before.size and _end(before) == end


def _end(file: FileState) -> str:
    """Return the fingerprint of a text file's last block, which nothing but more text leaves as it is."""
    if not parts.grows(file):
        return ""
    try:
        return parts.fingerprint(file.path, Span(max(0, file.size - _BLOCK), file.size))
    except FileNotFoundError:
        return "gone"
