"""Faults: the shim, built with gcc, and the page through which it is told what to do at which call."""

import ctypes
import mmap
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
MAGIC = 0x746F7274


class Action(IntEnum):
    """What happens at the call; the order is shim.c's."""

    NOTHING = 0
    KILL_BEFORE = 1
    KILL_HALF = 2
    KILL_AFTER = 3
    FAIL_ONCE = 4
    FAIL_FROM = 5


class Op(IntEnum):
    """What a call changes; the order is shim.c's."""

    REFUSED = 0  # by the kernel: nothing changed
    CREATE = 1
    TRUNCATE = 2
    WRITE = 3
    SYNC = 4
    RENAME = 5
    UNLINK = 6
    RMDIR = 7
    MKDIR = 8
    CHMOD = 9
    LINK = 10
    SYMLINK = 11


class _Layout(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_uint64),
        ("at", ctypes.c_uint64),
        ("action", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("target", ctypes.c_int32),
        ("hit", ctypes.c_int32),
        ("hit_op", ctypes.c_int32),
        ("others", ctypes.c_int32),
        ("claim", ctypes.c_int32),
        ("hit_path", ctypes.c_char * 256),
        ("root", ctypes.c_char * 512),
        ("log", ctypes.c_char * 512),
    )


class _Head(ctypes.Structure):
    _fields_ = (
        ("magic", ctypes.c_uint32),
        ("op", ctypes.c_uint32),
        ("pid", ctypes.c_int32),
        ("first", ctypes.c_uint32),
        ("second", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("length", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """Take `action` at call number `at`, counted from 1; `others`: calls of what the run started count, too."""

    at: int = 0
    action: Action = Action.NOTHING
    error: int = 0
    others: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """One recorded change; `path` and `other` (the new name of a rename) are relative to the watched folder."""

    op: Op
    path: str
    other: str
    offset: int
    data: bytes


class Page:
    """The shared page of one run after the other; where a run is a program of its own, of one run only.

    What a killed run had started may otherwise come back and be taken for the next one.
    """

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(ctypes.sizeof(_Layout)))
        with path.open("r+b") as file:
            self._layout = _Layout.from_buffer(mmap.mmap(file.fileno(), 0))
        self.path = path

    def set(self, root: Path, fault: Fault, *, log: Path | None = None, claim: bool = False) -> None:
        """Prepare for one run below `root`; `claim`: it is the first program that finds the page, else it arms itself."""
        ctypes.memset(ctypes.byref(self._layout), 0, ctypes.sizeof(_Layout))
        self._layout.root = os.fsencode(root)
        self._layout.log = os.fsencode(log) if log else b""
        self._layout.at, self._layout.action, self._layout.error = fault.at, int(fault.action), fault.error
        self._layout.others, self._layout.claim = int(fault.others), int(claim)

    @property
    def count(self) -> int:
        """Return how many calls there were."""
        return int(self._layout.count)

    @property
    def hit(self) -> str | None:
        """Say what the call was that the fault struck; None where the run had fewer calls."""
        if not self._layout.hit:
            return None
        return f"{Op(self._layout.hit_op).name.lower()} {os.fsdecode(self._layout.hit_path)}"

    @property
    def hit_write(self) -> bool:
        """Say whether the call has a half-way."""
        return bool(self._layout.hit_op == Op.WRITE)


def build(folder: Path) -> Path:
    """Compile the shim into a folder; return the library."""
    library = folder / "shim.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True)
    return library


def environment(library: Path, page: Page | None = None) -> Mapping[str, str]:
    """Return what a process needs to run under the shim; without a page it is loaded and idle."""
    found = {"LD_PRELOAD": str(library)}
    return {**found, "TORTURE_STATE": str(page.path)} if page else found


def changes(log: Path, root: Path) -> list[Change]:
    """Read a log of changes, oldest first."""
    return list(_changes(log.read_bytes(), root)) if log.exists() else []


def _changes(data: bytes, root: Path) -> Iterator[Change]:
    """Yield the records of a log; the path of the root itself is empty."""

    def relative(path: bytes) -> str:
        return os.fsdecode(path).removeprefix(str(root)).removeprefix("/")

    at, size = 0, ctypes.sizeof(_Head)
    while at < len(data):
        head = _Head.from_buffer_copy(data, at)
        assert head.magic == MAGIC
        at += size
        first, at = data[at : at + head.first], at + head.first
        second, at = data[at : at + head.second], at + head.second
        op = Op(head.op)
        content = data[at : at + head.length] if op is Op.WRITE else b""
        at += len(content)
        yield Change(op, relative(first), relative(second), head.offset, content)
