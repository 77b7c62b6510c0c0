"""A process that has loaded what the built-in model needs, and forks for each training and each scoring of that model.

A backtest asks for hundreds of them, and to load scikit-learn for each takes longer than all the rest. The rows, the code
that learns and the code that predicts are those of a process of its own; only its start is spared. Whoever asks does it by
itself where that process is not there. A model of the user's is never loaded here: it has a child of its own, with limits.
"""

import gc
import json
import os
import select
import shlex
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from threading import Thread
from typing import Any

from retrain_trigger.process.scoring import scorer
from retrain_trigger.store import files

BASELINE = shlex.join([sys.executable, "-m", "retrain_trigger.process.baseline"])
"""How the command begins that trains the built-in model."""

_THREADING = {"OMP_WAIT_POLICY": "passive"}
"""Threads of a model that wait for each other leave the cores to other lives. OpenBLAS gets one: who forks may have no more."""

_NAME = "warm"
_WAITING = 128
_CHUNK = 1 << 16
_used: ContextVar[Path | None] = ContextVar("warm", default=None)


@contextmanager
def serving(folder: Path, *, threads: int) -> Iterator[None]:
    """Have such a process listen in a folder while the block runs; models learn and predict with so many threads.

    It ends with this one, however this one ends: then its input is closed. A folder that can hold no socket has none.
    """
    try:
        process = _started(folder, threads)
    except OSError:
        yield
        return
    with process:
        try:
            yield
        finally:
            process.kill()
            files.remove(folder / _NAME)


def _started(folder: Path, threads: int) -> "subprocess.Popen[bytes]":
    files.remove(folder / _NAME)
    with socket.socket(socket.AF_UNIX) as listener:
        with _near(folder) as path:
            listener.bind(path)
        (folder / _NAME).chmod(0o600)
        listener.listen(_WAITING)
        return subprocess.Popen(
            [sys.executable, "-m", __name__, "--serve", str(listener.fileno())],
            env={**_THREADING, "OMP_NUM_THREADS": str(threads), **os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
            start_new_session=True,
        )


@contextmanager
def used(folder: Path | None) -> Iterator[None]:
    """Let models be scored by the process that listens in a folder, while the block runs; None for children of their own."""
    token = _used.set(folder)
    try:
        yield
    finally:
        _used.reset(token)


def scoring() -> list[str]:
    """Return the command that scores a model, with the request on its input."""
    folder = _used.get()
    own = ["retrain_trigger.process.scoring.scorer"] if folder is None else [__name__, str(folder)]
    return [sys.executable, "-m", *own]


def trained(folder: Path, asked: str) -> int | None:
    """Train the built-in model in the process that listens in a folder; return the exit code.

    None if that is not what is asked for, or no process listens.
    """
    if not asked.startswith(f"{BASELINE} "):
        return None
    names = ("RETRAIN_TRAIN_DATA", "RETRAIN_OUTPUT")
    told = {"arguments": shlex.split(asked)[3:], "environment": {name: os.environ[name] for name in names}}
    failed = _asked(folder, {"train": told})
    if failed is not None:
        sys.stderr.write(failed["error"])
    return None if failed is None else int(bool(failed["error"]))


def _asked(folder: Path, question: Mapping[str, Any]) -> dict[str, Any] | None:
    """Ask the process that listens in a folder; None if there is none, or it ended before it had answered."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            with _near(folder) as path:
                connection.connect(path)
            connection.sendall(json.dumps(question).encode())
            connection.shutdown(socket.SHUT_WR)
            answer = _read(connection)
    except OSError:
        return None
    return json.loads(answer) if answer else None


@contextmanager
def _near(folder: Path) -> Iterator[str]:
    """Name the socket by an open descriptor: 107 bytes are all that a path to one may have."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{_NAME}"
    finally:
        os.close(descriptor)


def _read(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(_CHUNK), b""))


def _serve(listener: socket.socket) -> None:
    """Answer each question in a process of its own, until the input is closed."""
    from retrain_trigger.process import baseline

    def train(told: Mapping[str, Any]) -> dict[str, str]:
        os.environ.update(told["environment"])
        label, features = told["arguments"]
        try:
            baseline.main(label, json.loads(features))
        except Exception:  # noqa: BLE001  (it is printed, as that of a process of its own would be)
            return {"error": traceback.format_exc()}
        return {"error": ""}

    answered = {"train": train, "score": scorer.replied}
    gc.freeze()
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        with suppress(ChildProcessError):  # those that have answered
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        connection, _ = listener.accept()
        with connection:
            if not os.fork():
                try:
                    ((kind, told),) = json.loads(_read(connection)).items()
                    Thread(target=_end_with, args=(connection,), daemon=True).start()
                    connection.sendall(json.dumps(answered[kind](told)).encode())
                finally:
                    os._exit(0)


def _end_with(connection: socket.socket) -> None:
    """End this process as soon as the one that asked has ended: a training that was stopped leaves nothing behind."""
    poll = select.poll()
    poll.register(connection, 0)
    poll.poll()
    os._exit(1)


def _score(folder: Path) -> None:
    """Answer one request, as the child that scores models does."""
    request = json.load(sys.stdin)
    reply = _asked(folder, {"score": request})
    if reply is None:
        reply = scorer.replied(request)
    Path(request["reply"]).write_text(json.dumps(reply))


def main(arguments: Sequence[str]) -> None:
    """Serve, or answer one request."""
    if arguments[0] == "--serve":
        with socket.socket(fileno=int(arguments[1])) as listener:
            _serve(listener)
    else:
        _score(Path(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
