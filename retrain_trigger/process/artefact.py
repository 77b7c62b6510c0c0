"""The model that a training left: where it stands, and whether it is one at all."""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from retrain_trigger.core.errors import TrainingError
from retrain_trigger.core.redaction import redacted
from retrain_trigger.process import output
from retrain_trigger.store import files

MTIME_SLACK_NS = 1_000_000_000
"""File systems round the time of a change: a model this little older than the start may be of this training."""

Identity = tuple[int, int, int]
"""Inode, size, and time of change (ns)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Where a model may be left: at `output`, which did not exist, or at `named` (`train.output`), newer than `started`.

    `before` is what stood at `named` when the training began, `started` the time of that (ns since the epoch).
    """

    output: Path
    named: Path | None
    before: Identity | None
    started: int


def identity(path: Path | None) -> Identity | None:
    """Return what tells a file from its successor at the same path; None if there is none. Links are followed."""
    if path is None:
        return None
    with suppress(OSError):
        found = path.stat()
        return (found.st_ino, found.st_size, found.st_mtime_ns)
    return None


def found(expected: Expected, *, command: str, log: Path) -> Path:
    """Return the path of the model that a training left. Exit 0 proves nothing: raises TrainingError if none is there.

    A link at `named` is followed, as many keep one to the latest model; one at `output` is refused.
    """
    model, named = expected.output, expected.named
    if not os.path.lexists(model) and named is not None and _is_new(expected):
        model = named.resolve()
    wrong = _wrong(model)
    if wrong is None:
        return model
    if not os.path.lexists(model):
        wrong = "no model at RETRAIN_OUTPUT" + (f", and {named} is not newer than its start" if named else "")
    printed = output.last_lines(log)
    named_like_it = any("up to date" in line for line in printed)
    advice = (
        "make did nothing, because a file or folder is called like the target: declare it in the Makefile with "
        "`.PHONY: train-model`"
        if named_like_it
        else "it must write the model to the path in RETRAIN_OUTPUT, or train.output must name the path that it does write to"
    )
    last = "".join(f"\n  {line}" for line in printed)
    raise TrainingError(f"`{redacted(command)}` exited with 0 but left {wrong}; {advice} ({log}){last}")


def discard(path: Path) -> None:
    """Remove what a failed training left, whatever it is: a full disk needs the room."""
    if path.is_dir() and not path.is_symlink():
        files.remove_folder(path)
    else:
        with suppress(OSError):
            files.remove(path)


def _is_new(expected: Expected) -> bool:
    after = identity(expected.named)
    return after is not None and after != expected.before and after[-1] >= expected.started - MTIME_SLACK_NS


def _wrong(model: Path) -> str | None:
    """Say what stands in the place of a model; None if a regular file with something in it does."""
    try:
        mode = model.lstat().st_mode
        if not stat.S_ISREG(mode):
            return f"{_KINDS.get(stat.S_IFMT(mode), 'a device')} at {model}"
        with files.open_regular(model) as file:
            return None if file.read(1) else f"an empty file at {model}"
    except OSError as error:
        return f"a file at {model} that cannot be read ({error.strerror})"


_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
