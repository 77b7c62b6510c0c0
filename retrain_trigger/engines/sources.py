"""The files of rows at a path: which there are, what they hold, and the first line of a table."""

import gzip
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import BinaryIO, cast

from retrain_trigger.core.errors import DataError

LONGEST_HEADER = 1 << 20
"""Bytes of the first line of a CSV file; more are no names of columns."""

SAMPLE = 64 << 10
"""Bytes from the beginning of a file of text in which is looked for what it holds."""

ENDINGS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json"}
"""What files hold, by the ending of their name; text may be packed, too, as in log.csv.gz."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it was found: its path, device and inode, size, and time of change (ns)."""

    path: str
    inode: tuple[int, int]
    size: int
    changed: int


def files_of(source: str, *, key: str) -> list[FileState]:
    """Return the files of one kind at a path: a file, a folder (read with those below it), or a glob; sorted.

    `key` is the setting that names it. Raises DataError if there is none, or there are several kinds.
    """
    path = Path(source)
    if path.is_dir():
        found = [file for file in path.rglob("*") if kind(file) and file.is_file() and file.name[0] != "."]
    elif path.is_file():
        found = [path]
    else:
        found = [Path(name) for name in glob(source, recursive=True)] if has_magic(source) else []  # noqa: PTH207  (the pattern is absolute)
    kinds = {kind(file) for file in found}
    if not found:
        raise DataError(f"there are no rows at {source}; {key} names a file, a folder or a glob")
    if len(kinds) > 1 or None in kinds:
        held = ", ".join(sorted({file.suffix for file in found}))
        raise DataError(f"{source} holds {held}; one of {', '.join(ENDINGS)} can be read")
    for file in found:
        if not _is_utf8(file):
            raise DataError(f"{source} holds a file whose name is not UTF-8 ({str(file)!a}); rename it")
    return [state for file in sorted(found) if (state := _state(file)) is not None]


def kind(path: str | Path) -> str | None:
    """Return what a file holds, by the ending of its name; None for what cannot be read.

    >>> kind("log.csv.gz"), kind("log.ndjson"), kind("log.parquet"), kind("log.xlsx")
    ('csv', 'json', 'parquet', None)
    """
    return ENDINGS.get(Path(str(path).removesuffix(".gz")).suffix)


def opened(path: str) -> BinaryIO:
    """Open a file of text to be read, unpacked."""
    return cast("BinaryIO", gzip.open(path, "rb")) if path.endswith(".gz") else Path(path).open("rb")


def beginning(path: str) -> bytes:
    """Return the first SAMPLE bytes of a file of text, unpacked."""
    with opened(path) as file:
        return unpacked(path, lambda: file.read(SAMPLE))


def unpacked(path: str, read: Callable[[], bytes]) -> bytes:
    """Return what is read of a file. Raises DataError for a packed one that was cut short or is damaged."""
    try:
        return read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} cannot be read: it is no whole gzip file ({error})") from error


def separator_of(header: bytes) -> str:
    """Return what separates the names in the first line of a CSV file: a guess over all lines is slow."""
    return max(",;\t|", key=lambda each: header.count(each.encode()))


def header_of(path: str) -> bytes:
    """Return the first row of a CSV file, of several lines if a name has them. Raises DataError if it is longer than LONGEST_HEADER, or no text."""
    with opened(path) as file:
        header = unpacked(path, lambda: _first_row(file))
    for start, why in _NO_HEADERS.items():
        if header.startswith(start):
            raise DataError(f"{path} cannot be read: {why}")
    if len(header) > LONGEST_HEADER:
        raise DataError(f"{path} cannot be read: its first line is longer than {LONGEST_HEADER} bytes")
    return header


def _first_row(file: BinaryIO) -> bytes:
    first = row = file.readline(LONGEST_HEADER + 1)
    while row.count(b'"') % 2 and len(row) <= LONGEST_HEADER:
        more = file.readline(LONGEST_HEADER + 1)
        if not more:
            return first
        row += more
    return row if len(row) <= LONGEST_HEADER else first


def literal(path: str) -> str:
    """Return a path as a pattern that only this path fits: DuckDB takes every name for a pattern."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)


def _state(file: Path) -> FileState | None:
    """Return a file as it is now; None if it is gone since its name was read."""
    try:
        at = file.stat()
    except FileNotFoundError:
        return None
    return FileState(str(file), (at.st_dev, at.st_ino), at.st_size, at.st_mtime_ns)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


_NO_HEADERS = {
    b"\0": "it begins with NUL bytes, not with the names of its columns: it was emptied in place, and the program that "
    "writes it went on at its old end; begin it again with that line",
    b"\xff\xfe": "it is UTF-16; write it as UTF-8",
    b"\xfe\xff": "it is UTF-16; write it as UTF-8",
}
