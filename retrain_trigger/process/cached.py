"""A training command that is run once for the same rows, command and code: `python -m retrain_trigger.process.cached`.

A backtest trains on the same rows again and again: for one policy as for another, and after it was killed.
"""

import fcntl
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path

from retrain_trigger.process import warm
from retrain_trigger.store import files

SUFFIXES = frozenset({".py", ".mk", ".toml", ".cfg", ".ini", ".sh", ".txt", ".yaml", ".yml", ".R", ".r", ".jl"})
"""Files beside config.yaml that may be the code or the settings of a training: where one changes, it is run again."""

DEEP, LARGEST = 3, 1 << 20
"""How many folders deep they are looked for, and their bytes at most."""

_PLACE = 15
"""Hexadecimal digits of a name that are its place in the file of locks."""
_TOLD = "retrain-check cache: "


def command(cache: Path, asked: str, output: Path | None) -> str:
    """Return the command that asks the cache before it trains; `output` is where the training leaves its model."""
    return shlex.join([sys.executable, "-m", __name__, str(cache), str(output or ""), asked])


def taken(cache: Path, rows: Path, asked: str, folder: Path) -> Path | None:
    """Return the model that a command run in `folder` made of these rows; None if it is not in the cache."""
    model = cache / f"{key(rows, asked, folder)}.model"
    return model if model.exists() else None


def seconds(cache: Path, name: str) -> float:
    """Return how long a training in the cache took."""
    return float(json.loads((cache / f"{name}.json").read_text())["seconds"])


def named(log: Path) -> list[str]:
    """Return the names in the cache of the models that a training command got, from its output."""
    return [line.removeprefix(_TOLD) for line in log.read_text(errors="replace").splitlines() if line.startswith(_TOLD)]


def main(cache: Path, output: str, asked: str) -> int:
    """Take the model from the cache, or train it and keep it there; return the exit code of the training."""
    target = Path(os.environ["RETRAIN_OUTPUT"])
    name = key(Path(os.environ["RETRAIN_TRAIN_DATA"]), asked, Path.cwd())
    model = cache / f"{name}.model"
    with _alone(cache, name):
        code = 0 if model.exists() else _kept(cache, name, asked, target=target, output=output)
    if code == 0 and model.exists():
        files.write(target, model.read_bytes())
        sys.stdout.write(f"{_TOLD}{name}\n")
    return code


def _kept(cache: Path, name: str, asked: str, *, target: Path, output: str) -> int:
    """Train, and keep the model if one is left; return the exit code."""
    began = time.monotonic()
    code = warm.trained(cache, asked)
    if code is None:
        code = subprocess.run(["/bin/sh", "-c", asked], check=False).returncode
    left = target if target.exists() or not output else Path(output)
    if code == 0 and left.is_file():
        took = {"seconds": round(time.monotonic() - began, 3)}
        files.write(cache / f"{name}.json", json.dumps(took).encode())
        files.write(cache / f"{name}.model", left.read_bytes())
        files.remove(left)
    return code


@contextmanager
def _alone(cache: Path, name: str) -> Iterator[None]:
    """Hold a name while the block runs: of lives that train the same at a time, one does, and the others wait for it."""
    with os.fdopen(files.open_lock(cache / "lock"), "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 1, int(name[:_PLACE], 16))
        yield


def key(rows: Path, asked: str, folder: Path) -> str:
    """Return the name in the cache of what a command, run in `folder`, makes of rows.

    It is made of their bytes, those of the code, and the versions of Python and of what is installed beside this package.
    """
    digest = hashlib.sha256(f"{sys.version}\n{_packages()}\n{asked}".encode())
    digest.update(rows.read_bytes())
    for path in _code(folder, DEEP):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


@cache
def _packages() -> str:
    found = {f"{each.metadata['Name']} {each.version}" for each in metadata.distributions()}
    return "\n".join(sorted(found))


def _code(folder: Path, deep: int) -> Iterator[Path]:
    """Yield the files that may be code, in a fixed order; none in hidden folders, or of an interpreter."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink() or (path / "pyvenv.cfg").exists():
            continue
        if path.is_dir() and deep > 1:
            yield from _code(path, deep - 1)
        elif path.is_file() and (path.suffix in SUFFIXES or path.name == "Makefile") and path.stat().st_size <= LARGEST:
            yield path


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
