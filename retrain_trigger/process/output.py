"""What a command prints: its beginning and its end are kept, whatever it prints in between; known secrets are not."""

import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from retrain_trigger.core.redaction import HIDDEN, known_secrets
from retrain_trigger.store import files

HEAD = 8 << 20
"""Bytes of a command's output that are kept from its beginning."""

TAIL = 1 << 20
"""Bytes that are kept from its end, where it is longer than that."""

_CHUNK = 1 << 16
_WIDEST = 400  # characters of one line in an error message
_PATIENCE = 5.0  # seconds to wait for what was printed last, should somebody still hold the pipe


@contextmanager
def kept(log: Path) -> Iterator[int]:
    """Yield the descriptor that a command prints to; when the block ends, `log` holds what it printed.

    More than HEAD and TAIL is never written, so that a command cannot fill the disk by printing; nor are the values
    of secret variables of the environment. A log that cannot be written loses lines, and the command goes on.
    """
    secrets = known_secrets(os.environ)
    reading, writing = os.pipe()
    with files.create(log) as file:
        keeper = Thread(target=_keep, args=(reading, file, secrets), daemon=True)
        keeper.start()
        try:
            yield writing
        finally:
            os.close(writing)
            keeper.join(_PATIENCE)


def last_lines(log: Path, *, lines: int = 5, size: int = 2000) -> list[str]:
    """Return the last few lines of a command's output, printable, for an error message; none if there is no log."""
    try:
        with files.open_regular(log) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            text = file.read(size).decode(errors="replace")
    except OSError:
        return []
    shown = ["".join(c for c in line[-_WIDEST:] if c.isprintable()) for line in text.splitlines()[-lines:]]
    return [line for line in shown if line.strip()]


def _keep(reading: int, file: BinaryIO, secrets: re.Pattern[bytes] | None) -> None:
    head, size, left_out = HEAD, 0, 0
    tail: deque[bytes] = deque()
    with os.fdopen(reading, "rb", buffering=0) as pipe, suppress(OSError, ValueError):
        for piece in _pieces(pipe, secrets):
            if head > 0:
                head -= len(piece)
                with suppress(OSError):
                    file.write(piece)
                    file.flush()
                continue
            tail.append(piece)
            size += len(piece)
            while size > TAIL:
                size -= len(tail[0])
                left_out += len(tail.popleft())
        if left_out:
            file.write(f"\n[{left_out:,} bytes left out here]\n".encode())
        file.write(b"".join(tail))


def _pieces(pipe: BinaryIO, secrets: re.Pattern[bytes] | None) -> Iterator[bytes]:
    """Yield what is printed, cut after line ends if there are any, so that a secret is seen whole."""
    rest = b""
    while chunk := pipe.read(_CHUNK):
        whole, end, rest = (rest + chunk).rpartition(b"\n")
        if not end and len(rest) > _CHUNK:
            whole, rest = rest, b""
        if whole or end:
            yield _redacted(whole + end, secrets)
    if rest:
        yield _redacted(rest, secrets)


def _redacted(piece: bytes, secrets: re.Pattern[bytes] | None) -> bytes:
    return secrets.sub(HIDDEN.encode(), piece) if secrets else piece
