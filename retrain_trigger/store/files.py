"""Every change to a file or folder: written beside, synced, renamed, and the folder synced."""

import errno
import glob
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

CHUNK = 1 << 20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace the whole file at once: a reader sees the old bytes or the new ones, and so does a machine after a crash.

    Raises OSError with the old file untouched. A failed sync is not retried: the temporary file is dropped.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.unlink(missing_ok=True)
    try:
        with _created(beside, mode) as file:
            file.write(data)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def clear_beside(path: Path) -> None:
    """Remove what writers of this file left beside it when they were killed; only for whoever is its one writer."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        remove(stale)


def copy_hashing(source: Path, target: Path, *, mode: int = 0o444) -> str:
    """Copy a regular file to a new path while hashing it; return the SHA-256 of exactly the bytes that were written."""
    digest = hashlib.sha256()
    with open_regular(source) as reading, _created(target, mode) as writing:
        while chunk := reading.read(CHUNK):
            digest.update(chunk)
            writing.write(chunk)
    return digest.hexdigest()


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; a link, a pipe or a device raises OSError instead of being followed or waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb")


def sha256(path: Path) -> str:
    """Hash a file in pieces: memory does not grow with its size."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def is_writable(folder: Path) -> bool:
    """Say whether this user may change names in a folder, or make it where it is still missing."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return os.access(there, os.W_OK | os.X_OK)


def is_empty(path: Path) -> bool:
    """Say whether there is a file with nothing in it."""
    try:
        return path.stat().st_size == 0
    except OSError:
        return False


def create(path: Path, *, mode: int = 0o600) -> BinaryIO:
    """Open a file that must not exist yet, for writing."""
    return os.fdopen(os.open(path, _CREATE, mode), "wb")


def open_append(path: Path, *, mode: int = 0o644) -> int:
    """Return a descriptor whose every write goes to the end of the file, which is created if missing."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def open_lock(path: Path) -> int:
    """Return a descriptor of a lock file, which is created if missing and never removed."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Make a folder, and those above it, durable; an existing one keeps its mode.

    Its name is synced even then: who made it may have been killed before.
    """
    if path.is_dir():
        with suppress(PermissionError):  # a folder that was always there may stand in one that is not ours to read
            sync_folder(path.parent)
        return
    make_folder(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode)  # never wider than wanted, not even for a moment
        path.chmod(mode)  # whatever the umask is: the service may run under another user
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "Not a folder, nor a link to one", str(path))
    sync_folder(path.parent)


def overwrite(path: Path, data: bytes) -> None:
    """Write over a file in its own room, durable when this returns; it takes none of a full disk. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.pwrite(descriptor, data, 0) != len(data):
            raise OSError(errno.ENOSPC, "could not be written whole", str(path))
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Make a file durable that another program wrote."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(beside: Path, path: Path) -> None:
    """Give a file that was written and synced beside its place its name."""
    beside.replace(path)
    sync_folder(path.parent)


def publish_folder(staged: Path, target: Path) -> None:
    """Make a staged folder and its files read-only and give it its name; the name must be free.

    Both stand in one folder: only there can a read-only folder be renamed, and so a version is never seen writable.
    """
    for file in staged.iterdir():
        file.chmod(0o444)
    staged.chmod(0o555)
    sync_folder(staged)
    staged.rename(target)
    sync_folder(target.parent)


def rename_folder(source: Path, target: Path) -> None:
    """Give a folder another, free name beside it."""
    source.rename(target)
    sync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file; a missing one is fine."""
    path.unlink(missing_ok=True)


def remove_empty(folder: Path) -> None:
    """Remove a folder with nothing in it; one that somebody uses again stays."""
    with suppress(OSError):
        folder.rmdir()


def remove_folder(path: Path) -> None:
    """Remove a folder with everything in it, read-only or not; a missing one is fine.

    What cannot be removed is left for a later run: a run that did its work does not fail because of leftover files.
    """
    if not path.is_dir() or path.is_symlink():
        return
    for folder, _, _ in os.walk(path):
        with suppress(OSError):
            Path(folder).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _created(path: Path, mode: int) -> Iterator[BinaryIO]:
    with create(path, mode=mode) as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask is: an inference service under another user reads these
        yield file
        file.flush()
        os.fsync(file.fileno())
