"""Where a command runs: its streams, which may be closed, and the signals that end it in order."""

import errno
import os
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper
from types import FrameType
from typing import IO

from retrain_trigger.core.outcomes import ExitCode

ENDINGS = {
    signal.SIGINT: ("interrupted", ExitCode.INTERRUPTED),
    signal.SIGTERM: ("terminated", ExitCode.TERMINATED),
    signal.SIGHUP: ("the terminal was closed", ExitCode.TERMINATED),
}
"""The signals that end a command in order, the word for each, and its exit code."""

_IMPORT = "<frozen importlib._bootstrap>"
_SOON = 0.005
"""Seconds after which a signal that came during an import is looked at again."""
_received: list[int] = []
_settled: list[bool] = []


class Ended(BaseException):
    """A signal has ended the command: the next run finishes or abandons what it began.

    It is no `Exception`, so that no `except Exception` on the way swallows it.
    """


def make_ready() -> None:
    """Make signals end the command in order, and replace streams that were closed before it began.

    A signal that was ignored when the command began (nohup, a shell's background job) stays ignored.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file to be opened, perhaps the ledger, would take its place
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115  (a descriptor)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names of files may hold what the terminal's encoding does not
            stream.reconfigure(errors="backslashreplace")
    # If SIGCHLD is ignored, exit codes of children are lost, and a failed training looks like a good one.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _settled.clear()
    for number in ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def settle() -> None:
    """Ignore signals from now on: the work is done, and only the exit code is still to be returned."""
    _settled.append(True)


def ended() -> tuple[str, ExitCode] | None:
    """Return the word and the exit code of the signal that has ended the command; None if none has."""
    return ENDINGS[signal.Signals(_received[0])] if _received else None


def write(stream: IO[str] | None, text: str) -> OSError | None:
    """Write a line; if nobody reads the stream any more, close it and go on.

    Returns the error, or None if the line was written or the reader has merely left.
    """
    if stream is None:
        return None
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except (OSError, ValueError) as error:
        _silence(stream)
        if isinstance(error, OSError) and error.errno not in {errno.EPIPE, errno.EBADF, errno.EIO}:
            return error
    return None


def _silence(stream: IO[str]) -> None:
    """Send what is still buffered to /dev/null: the interpreter flushes once more at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _end(number: int, frame: FrameType | None) -> None:
    # Cleaning up takes seconds at most; a second signal must not leave a training behind. SIGKILL always works.
    # The handlers stay: Python complains aloud of one that is taken away while its signal is on the way.
    if _received or _settled:
        return
    if _is_loading(frame):
        signal.signal(signal.SIGALRM, lambda _, later: _end(number, later))
        signal.setitimer(signal.ITIMER_REAL, _SOON)
        return
    _received.append(number)
    raise Ended


def _is_loading(frame: FrameType | None) -> bool:
    """Say whether a module is being imported: an exception inside a C++ one would abort the process."""
    while frame is not None and frame.f_code.co_filename != _IMPORT:
        frame = frame.f_back
    return frame is not None
