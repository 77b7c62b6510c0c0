"""What every zoo does with an animal: a project of its own, one run that meets it, and one ordinary run after that."""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ["PYTHONPATH"] = str(ROOT)  # the commands are those of this tree, wherever another one is installed

from projects import CONFIG, Project, write_rows  # noqa: E402  (found only now)

LANES = (os.cpu_count() or 1) + 1
"""Animals that are met at a time: most of them wait."""
HUNG = -1000
"""Stands for the exit code of a run that did not end."""


@contextmanager
def ground() -> Iterator[Project]:
    """Make a project once: labelled rows, and a champion that has been measured bad since; it is copied from here."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would have its runs ignore it
    with tempfile.TemporaryDirectory(prefix="retrain-zoo-", ignore_cleanup_errors=True) as folder:
        project = Project(Path(folder) / "ground")
        project.folder.mkdir()
        project.write("config.yaml", f"{CONFIG}train: {{timeout: 40s}}\n")
        write_rows(project.folder / "labelled.parquet")
        project.trains("old")
        project.run("--bootstrap", day=0)
        project.log(0.7, 0.7, 0.7)
        yield project
        for path in Path(folder).rglob("*"):  # versions are read-only, and some animals leave what nobody may read
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o700)


def copied(project: Project, name: str) -> Project:
    """Copy a project for one animal."""
    folder = project.folder.parent / name
    shutil.copytree(project.folder, folder, symlinks=True)
    return Project(folder)


def released(project: Project) -> None:
    """Remove the project of one animal."""
    for folder, _, _ in os.walk(project.folder):
        with suppress(OSError):
            Path(folder).chmod(0o700)
    shutil.rmtree(project.folder, ignore_errors=True)


def tick(project: Project, *arguments: str, day: float, seconds: float = 300) -> tuple[int, str]:
    """Run the real command; return its exit code and all that it said."""
    from projects import day as at  # noqa: PLC0415  (the name is that of the argument)

    run = subprocess.Popen(
        [sys.executable, "-m", "retrain_trigger", "run", "--now", at(day).isoformat(), *arguments],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        said, _ = run.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        run.terminate()  # it ends what it started
        said, _ = run.communicate()
        return HUNG, f"it did not end within {seconds:.0f} s: {said}"
    return run.returncode, said


def alive(project: Project) -> list[int]:
    """Return the processes that still work in the project's folder or carry one of its runs."""
    found = []
    mark = os.fsencode(str(project.folder))
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            if (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z":
                continue
            cwd = os.fsencode((entry / "cwd").readlink())
            if cwd.startswith(mark) or mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def left_alive(project: Project) -> list[int]:
    """Return the processes that still live after what is dying has had a moment to die."""
    for _ in range(20):
        if not (found := alive(project)):
            return []
        time.sleep(0.1)
    return found


def untidy(project: Project) -> list[str]:
    """Return what a run left lying about: half-copied versions, temporary files, files of runs."""
    models, state = project.folder / "models", project.folder / ".retrain-check"
    left = [*models.glob(".staging-*"), *models.glob(".*.tmp"), *state.glob(".*.tmp")]
    return [str(path.relative_to(project.folder)) for path in left]


def run(
    animals: Mapping[str, Any],
    met: Callable[[Project, Any], list[str] | None],
    *,
    number: int | None = None,
    seed: int = 7,
    names: Sequence[str] = (),
    verbose: bool = False,
) -> tuple[int, list[str]]:
    """Meet `number` animals (all where it is None), chosen by `seed`, or those named, several at a time.

    Return how many were met, and what went wrong; `met` returns None where this machine has no place for an animal.
    """
    chosen = list(names) or random.Random(seed).sample(list(animals), min(number or len(animals), len(animals)))

    def meet(place: int) -> list[str] | None:
        project = copied(ground_project, f"{place:03}-{chosen[place]}")
        wrong = met(project, animals[chosen[place]])
        found = None if wrong is None else [f"{chosen[place]}: {each}" for each in wrong]
        if verbose:
            print(chosen[place], *(found or ()), sep="\n  ", flush=True)
        released(project)
        return found

    with ground() as ground_project, ThreadPoolExecutor(LANES) as pool:
        results = [found for found in pool.map(meet, range(len(chosen))) if found is not None]
    return len(results), [each for found in results for each in found]


def visit(visited: Callable[..., tuple[int, list[str]]], *, called: str, about: str | None) -> None:
    """Meet the animals that the command line names, or all, and say what went wrong; ends with 1 where anything did."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--number", type=int)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("-v", "--verbose", action="store_true", help="name each as it is met")
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    count, violations = visited(number=asked.number, seed=asked.seed, names=asked.names, verbose=asked.verbose)
    print("\n".join([*violations, f"{count} {called}, {len(violations)} violations"]))
    sys.exit(bool(violations))
