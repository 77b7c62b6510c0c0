"""A growing text file in parts: whole lines, so that what was counted need not be read again."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from retrain_trigger.core.errors import DataError
from retrain_trigger.engines import sources
from retrain_trigger.engines.sources import FileState
from retrain_trigger.store import files

LARGEST = 8 << 20
"""Bytes of a part, where a line does not need more: a part is counted as a whole, and copied to be read."""

QUIET = 10.0
"""Seconds without a change after which a file is not being written."""

LONGEST = 16 << 20
"""Bytes that a row may have; a file of one endless line must not fill the memory."""

OPEN = 100
"""Lines that may stand after a quotation mark that is not closed: more are no value that is still being written."""

ABANDONED = 3600.0
"""Seconds without a change after which half a row at the end of a file is none that is being written."""

_BLOCKS, _BLOCK = 4, 4096
_DELIMITERS = b",;\t|"


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` to `end` of a file; if it is not `closed`, its last line has no newline yet."""

    start: int
    end: int
    closed: bool = True


def grows(file: FileState) -> bool:
    """Say whether a file is one line a row, so that it can grow and be read in parts."""
    return not file.path.endswith((".parquet", ".gz"))


def is_quiet(file: FileState) -> bool:
    """Say whether a file of text can be read where it lies: nothing has been written for a while, and it is whole."""
    if time.time() - file.changed / 1e9 <= QUIET:
        return False
    with Path(file.path).open("rb") as text:
        ends_whole = os.pread(text.fileno(), 1, file.size - 1) == b"\n"
        return ends_whole and _is_clean(text.fileno(), file.size, quoted=_header(file) is not None)


def left_out(file: FileState, start: int) -> int:
    """Return how many lines at the end of a file are half a row that nobody has gone on with for ABANDONED."""
    if start >= file.size or time.time() - file.changed / 1e9 <= ABANDONED:
        return 0
    with Path(file.path).open("rb") as text:
        rest = os.pread(text.fileno(), file.size - start, start)
    return sum(bool(line.strip(b"\0\r")) for line in rest.split(b"\n"))


def fingerprint(path: str, span: Span) -> str:
    """Return a hash of four blocks of 4 KB, evenly spread from the first byte to the last, or of all where that is less.

    A log that was rotated, truncated and written anew, or rewritten with anything longer or shorter differs in one of
    them. Bytes changed in place between the blocks, by others of the same number, are not seen.
    """
    seen = hashlib.sha256()
    with Path(path).open("rb") as file:
        for start, length in _blocks(span.end - span.start):
            seen.update(os.pread(file.fileno(), length, span.start + start))
    return seen.hexdigest()


def goes_on(before: FileState, file: FileState, marks: Sequence[tuple[Span, str]]) -> bool:
    """Say whether a file is what it was `before`, with nothing but more bytes at the end."""
    if before == file:
        return True
    return (
        grows(file)
        and before.inode == file.inode
        and file.size > before.size
        and all(fingerprint(file.path, span) == seen for span, seen in marks)
    )


def spans(file: FileState, start: int, end: int) -> Iterator[tuple[Span, bytes]]:
    """Yield the lines between two offsets in parts of about LARGEST bytes, and what stands in them.

    NULs before a line are left out: where a log was emptied in place, a program writes on at its old end. A last line
    without a newline is a part of its own where it is a whole row, and is left out where it is half of one.
    Raises DataError for a line longer than LONGEST, and for more than OPEN lines in open quotation marks.
    """
    header = _header(file)
    with Path(file.path).open("rb") as source:
        while (start := _after_padding(source.fileno(), start, end)) < end:
            data = _lines(file.path, source.fileno(), start, end, quoted=header is not None)
            if data:
                yield Span(start, start + len(data)), data
                start += len(data)
                continue
            rest = os.pread(source.fileno(), end - start, start)
            if rest.count(b"\n") > OPEN:
                line = _line_number(source.fileno(), start)
                raise DataError(f"{file.path}:{line}: a quotation mark is not closed; write it twice within a value")
            if _is_row(rest, header):
                yield Span(start, start + len(rest), closed=False), rest
            return


def line_number(file: FileState, offset: int) -> int:
    """Return the number of the line that begins at an offset, counted from 1."""
    with Path(file.path).open("rb") as source:
        return _line_number(source.fileno(), offset)


def places(
    lines: Iterable[bytes], rows: Collection[int], *, quoted: bool, rejected: Collection[int] = ()
) -> dict[int, int]:
    r"""Return in which of the lines rows begin, both counted from 0: empty lines are no rows, and a row of CSV may go on.

    Lines that are `rejected` are no rows, either.

    >>> places([b"a,b\n", b"\n", b'"x\n', b'y",1\n', b"z,2\n"], {1, 2}, quoted=True)
    {1: 2, 2: 4}
    """
    found: dict[int, int] = {}
    row, last, begins = 0, max(rows, default=-1), True
    for number, line in enumerate(lines):
        if begins and number not in rejected and line.strip(b"\0\r\n"):
            if row in rows:
                found[row] = number
            if row == last:
                break
            row += 1
        if quoted and line.count(b'"') % 2:
            begins = not begins
    return found


def last_line(file: FileState) -> int:
    """Return the offset just after the last whole line, as `spans` finds it."""
    ends = [span.end for span, _ in spans(file, _tail(file), file.size) if span.closed]
    return max(ends, default=0)


@contextmanager
def folder(within: Path | None = None) -> Iterator[str]:
    """Make a folder for parts that are copied to be read, for as long as they are."""
    if within is not None:
        files.make_folder(within, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="retrain-check-", dir=within) as made:
        yield made


def copied(file: FileState, span: Span, data: bytes, folder: Path) -> Path:
    """Write a part to a file of its own in a folder, below the header that a CSV file has."""
    header = _header(file)
    path = folder / f"{uuid4().hex}{Path(file.path).suffix}"
    text = data.replace(b"\0", b"")  # a crash leaves NULs where a line begins; no text has them
    path.write_bytes((header or b"") + text if span.start else text)
    return path


def _is_clean(descriptor: int, size: int, *, quoted: bool) -> bool:
    """Say whether a file has no NULs, which a crash leaves, and of a table an even number of quotation marks: else a newline ends no row."""
    quotes = 0
    for at in range(0, size, LARGEST):
        data = os.pread(descriptor, LARGEST, at)
        if b"\0" in data:
            return False
        quotes += data.count(b'"') if quoted else 0
    return quotes % 2 == 0


def _blocks(length: int) -> list[tuple[int, int]]:
    if length <= _BLOCKS * _BLOCK:
        return [(0, length)]
    return [((length - _BLOCK) * number // (_BLOCKS - 1), _BLOCK) for number in range(_BLOCKS)]


def _after_padding(descriptor: int, start: int, end: int) -> int:
    """Return the first offset from `start` on with anything but NUL, however many there are."""
    while start < end and os.pread(descriptor, 1, start) == b"\0":
        data = os.pread(descriptor, min(LARGEST, end - start), start)
        start += len(data) - len(data.lstrip(b"\0"))
    return start


def _lines(path: str, descriptor: int, start: int, end: int, *, quoted: bool) -> bytes:
    """Return whole lines from `start`, at least one if there is one; between quotes a newline ends no row."""
    length = LARGEST
    while True:
        data = os.pread(descriptor, min(length, end - start), start)
        cut = _end_of_rows(data) if quoted else data.rfind(b"\n") + 1
        if cut or len(data) < length:
            return data[:cut]
        if length >= LONGEST:
            line = _line_number(descriptor, start)
            raise DataError(f"{path}:{line}: longer than {LONGEST >> 20} MB, or a quotation mark is not closed")
        length *= 2


def _end_of_rows(data: bytes) -> int:
    """Return the offset after the last newline that does not stand between quotes; 0 if there is none."""
    cut = data.rfind(b"\n") + 1
    odd = data.count(b'"', 0, cut) % 2
    while odd and cut:  # each byte is looked at once, however many lines stand in open quotes
        before = data.rfind(b"\n", 0, cut - 1) + 1
        odd ^= data.count(b'"', before, cut) % 2
        cut = before
    return cut


def _line_number(descriptor: int, offset: int) -> int:
    """Count the lines up to an offset; for a message, so that a person finds the place."""
    return 1 + sum(os.pread(descriptor, min(LARGEST, offset - at), at).count(b"\n") for at in range(0, offset, LARGEST))


def _tail(file: FileState) -> int:
    """Return where a JSON line begins, near the end; 0 for CSV: only what lies before says where a row ends.

    Raises DataError if the last line is longer than LONGEST.
    """
    if _header(file) is not None or file.size <= _BLOCK:
        return 0
    with Path(file.path).open("rb") as source:
        reach = _BLOCK
        while reach < file.size:
            source.seek(file.size - reach)
            first = source.read(reach).find(b"\n")
            if 0 <= first < reach - 1:
                return file.size - reach + first + 1
            if reach >= LONGEST:
                line = _line_number(source.fileno(), file.size - reach)
                raise DataError(f"{file.path}:{line}: longer than {LONGEST >> 20} MB")
            reach *= 2
    return 0


def _header(file: FileState) -> bytes | None:
    """Return the first line of a CSV file, None for JSON lines."""
    if sources.kind(file.path) != "csv":
        return None
    return sources.header_of(file.path)


def _is_row(line: bytes, header: bytes | None) -> bool:
    if header is not None:
        delimiter = max(_DELIMITERS, key=header.count)
        return bool(line.strip()) and line.count(delimiter) == header.count(delimiter) and line.count(b'"') % 2 == 0
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
