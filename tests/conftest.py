import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import forks
import pytest
from projects import CONFIG, Project, write_rows

LONGEST = {"test_torture.py", "test_benchmarks.py"}


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell ignores it in the background; tests send it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup; commands that tests start are to hear it
        signal.signal(signal.SIGHUP, lambda *_: None)
    if not hasattr(config, "workerinput"):  # pytest-xdist's word for a process that others gave its tests
        waiting = ExitStack()
        waiting.enter_context(forks.offered())
        config.add_cleanup(waiting.close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: begun at the end, it would leave the other worker without work."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """Take back what the tests of a module, or what they load, leave in the environment."""
    with mock.patch.dict(os.environ, COLUMNS="500"):  # sentences are looked for in `status`, which wraps them
        yield


@pytest.fixture
def simple(tmp_path: Path) -> Project:
    """The simple path: an F1 log, a Makefile and two thresholds."""
    project = Project(tmp_path)
    project.write("config.yaml", "performance_threshold: 0.85\ndrift_threshold: 0.20\n")
    project.makefile("@echo a new model > $$RETRAIN_OUTPUT")
    project.has_in_production()
    return project


@pytest.fixture(scope="session")
def bootstrapped(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make a project once: labelled rows, hourly for 40 days, and a champion that repeats `old`, bad after day 20."""
    project = Project(tmp_path_factory.mktemp("bootstrapped"))
    project.write("config.yaml", CONFIG)
    write_rows(project.folder / "labelled.parquet")
    project.trains("old")
    project.run("--bootstrap", day=0)
    project.log(0.7, 0.7, 0.7)
    return project


@pytest.fixture
def champion(bootstrapped: Project, tmp_path: Path) -> Project:
    """A project with a champion that was trained until the break, and has been measured bad since."""
    shutil.copytree(bootstrapped.folder, tmp_path / "project")
    return Project(tmp_path / "project")
