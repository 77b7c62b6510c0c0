"""The lab: runs of the product as a program of its own, and in forks of one process that has it loaded."""

import importlib
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from faults import Change, Fault, Page, changes, environment

PATIENCE = 60.0
"""Seconds after which a run counts as hanging."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a run ended: its exit code (negative: the signal), and what it said."""

    code: int
    said: str


def real(project: Path, arguments: tuple[str, ...], *, shim: Path | None = None, page: Page | None = None) -> Done:
    """Run the real command, under the shim where there is one, and wait for its end."""
    extra = environment(shim, page) if shim and page else {}
    inherited = {name: value for name, value in os.environ.items() if name not in {"LD_PRELOAD", "TORTURE_STATE"}}
    done = subprocess.run(
        [sys.executable, "-m", "retrain_trigger", *arguments],
        cwd=project,
        env={**inherited, **extra},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=10 * PATIENCE,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(errors="replace"))


class Lab:
    """A process in which the product is loaded once; each run is a fork of it, with its working folder its own."""

    def __init__(self, shim: Path, scratch: Path) -> None:
        import ctypes  # noqa: PLC0415  (loaded here only, beside the shim it speaks to)

        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process that forks has no threads
        import duckdb  # noqa: F401, PLC0415  (what each fork would load)
        import numpy as np  # noqa: F401, PLC0415

        import retrain_trigger  # noqa: PLC0415
        from retrain_trigger.cli import door  # noqa: PLC0415

        for module in pkgutil.walk_packages(retrain_trigger.__path__, "retrain_trigger."):
            if not module.name.endswith(".__main__"):
                importlib.import_module(module.name)
        self._arm = ctypes.CDLL(str(shim)).torture_arm
        self._main = door.main
        self._said = scratch / f"said-{os.getpid()}"
        self.package = Path(retrain_trigger.__path__[0])

    def start(self, project: Path, arguments: tuple[str, ...], page: Page | None = None) -> int:
        """Begin a command in a fork; return its process id."""
        child = os.fork()
        if child == 0:
            self._be_the_run(project, arguments, page)
        return child

    def run(self, project: Path, arguments: tuple[str, ...], page: Page | None = None) -> Done:
        """Run one command in a fork and wait for its end; one that hangs is killed, its code is then -14."""
        return self.wait(self.start(project, arguments, page))

    def wait(self, child: int) -> Done:
        """Wait for the end of what was started."""
        deadline = time.monotonic() + PATIENCE
        pause = 0.0005
        while True:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                break
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return Done(-signal.SIGALRM, "it hangs")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.01)
        return Done(os.waitstatus_to_exitcode(status), self._said.read_text(errors="replace"))

    def _be_the_run(self, project: Path, arguments: tuple[str, ...], page: Page | None) -> None:
        code = 99
        try:
            os.chdir(project)
            said = os.open(self._said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(said, 1)
            os.dup2(said, 2)
            if page is not None:
                os.environ["TORTURE_STATE"] = str(page.path)
                self._arm(os.fsencode(page.path))
            self._main(list(arguments))
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 99
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def folders(project: Path) -> list[str]:
    """Return the folders of a project, by their path relative to it."""
    return [str(Path(found).relative_to(project)) for found, _, _ in os.walk(project)]


def copy(source: Path, target: Path) -> Path:
    """Put a fresh copy of a project in a place, in the place of what was there."""
    remove(target)
    shutil.copytree(source, target, symlinks=True)
    return target


def remove(project: Path) -> None:
    """Remove a project, read-only folders and all."""
    if project.exists():
        for folder in folders(project):
            (project / folder).chmod(0o700)
        shutil.rmtree(project)


def recorded(lab: Lab, arguments: tuple[str, ...], source: Path, place: Path, page: Page) -> tuple[Done, list[Change]]:
    """Run a command in a copy of a project without a fault, and write down what it changes, in order."""
    project, log = copy(source, place), place.with_name(f"{place.name}.changes")
    log.unlink(missing_ok=True)
    page.set(project, Fault(), log=log)
    done = lab.run(project, arguments, page)
    return done, changes(log, project)
