"""The real command in forks of one process that has loaded it: to start Python and load it anew takes longest.

Exit codes, signals and both streams are those of `python -m retrain_trigger`; what is loaded when, what the environment
does to an interpreter and how one ends, only a process of its own shows.
"""

import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ADDRESS = "RETRAIN_CHECK_TESTS_FORK_AT"
"""The variable that tells the processes that run tests where the one that forks listens."""

_LARGEST = 1 << 16


@contextmanager
def offered() -> Iterator[None]:
    """Let a process wait for commands; it is no child of those that run tests, which end theirs."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(f"{folder}/socket")
            listening.listen()
            process = subprocess.Popen(
                [sys.executable, __file__, str(listening.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[listening.fileno()],
            )
        with process:  # it ends with its stdin
            os.environ[ADDRESS] = f"{folder}/socket"
            yield
            del os.environ[ADDRESS]


def run(
    arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], within: float
) -> "subprocess.CompletedProcess[str] | None":
    """Run a command to its end, and until nobody holds its streams any more, as `subprocess.run` does.

    None where no process forks, or where an interpreter would start in another way than the tests did.
    """
    given = {**os.environ, **environment}
    if _looked_at(given) != _BEGUN_WITH:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
        try:
            channel.connect(os.environ.get(ADDRESS, ""))
        except OSError:
            return None
        return _asked(channel, arguments, folder, given, time.monotonic() + within)


def _looked_at(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what an interpreter, its loader and libraries look at once; a fork is given the rest as it is."""
    return {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LD_", "TMPDIR"))}


_BEGUN_WITH = _looked_at(os.environ)


def _asked(
    channel: socket.socket,
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    deadline: float,
) -> "subprocess.CompletedProcess[str]":
    request = {"arguments": arguments, "folder": str(folder), "environment": environment}
    pipes = [os.pipe(), os.pipe()]
    socket.send_fds(channel, [json.dumps(request).encode()], [write for _, write in pipes])
    for _, write in pipes:
        os.close(write)
    pid = int(channel.recv(_LARGEST))
    try:
        out, err = _read([read for read, _ in pipes], deadline)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise
    status = os.waitstatus_to_exitcode(int(channel.recv(_LARGEST)))
    return subprocess.CompletedProcess(arguments, status, out, err)


def _read(pipes: list[int], deadline: float) -> list[str]:
    """Read pipes, each to its end, and close them."""
    read = dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError("a command did not end")
            for key, _ in ready:
                piece = os.read(key.fd, _LARGEST)
                read[key.fd] += piece
                if not piece:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return [said.decode() for said in read.values()]


def _load() -> None:
    """Load all that a command may load."""
    import retrain_trigger  # noqa: PLC0415  (only the process that forks loads all of it)

    for found in pkgutil.walk_packages(retrain_trigger.__path__, "retrain_trigger."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def _serve(listening: socket.socket) -> list[str]:
    """Fork for every request until stdin ends; return, in the fork, the arguments of its command."""
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while all(key.fileobj is listening for key, _ in selector.select()):
            channel, _ = listening.accept()
            with channel:
                if not os.fork():
                    listening.close()
                    return _watched(channel)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    with suppress(ChildProcessError):
        while os.wait():
            pass
    sys.exit()


def _watched(channel: socket.socket) -> list[str]:
    """Fork once more, and tell how that one ends; return, in it, the arguments of its command."""
    request, descriptors, _, _ = socket.recv_fds(channel, _LARGEST, 2)
    pid = os.fork()
    if not pid:
        channel.close()
        return _placed(json.loads(request), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    channel.send(str(pid).encode())
    channel.send(str(os.waitpid(pid, 0)[1]).encode())
    os._exit(0)


def _placed(request: dict[str, object], descriptors: list[int]) -> list[str]:
    """Give this fork the streams, the folder and the environment of its command; return the command's arguments."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate([nothing, *descriptors]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(str(request["folder"]))
    sys.path[0] = str(Path.cwd())
    environment, arguments = request["environment"], request["arguments"]
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    os.environ.clear()
    os.environ.update(environment)
    return arguments


if __name__ == "__main__":
    _load()
    sys.argv[1:] = _serve(socket.socket(fileno=int(sys.argv[1])))
    try:
        runpy.run_module("retrain_trigger", run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(ending.code or 0))  # to take apart all that is loaded takes longer than most commands
