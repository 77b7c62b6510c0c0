"""The live model is looked at by every run and status, and `rollback` works wherever a whole predecessor is on disk."""

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from projects import Project, day

from retrain_trigger.core.card import Card
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.pipeline import guard
from retrain_trigger.store.registry import Registry


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a champion and its predecessor, judged from a metrics log."""
    project = Project(tmp_path_factory.mktemp("twice") / "project")
    project.write("config.yaml", "performance_threshold: 0.85\n")
    project.trains("old")
    project.retrain_check("run", "--bootstrap", "--now", day(0).isoformat())
    project.trains("new")
    project.run("--force", "a second one", day=1)
    second = max(card.parent.name for card in (project.folder / "models").glob("*/card.json"))
    project.retrain_check("promote", second, "--reason", "better", "--now", day(1.1).isoformat())
    project.log(0.9, since=day(2))
    assert project.run(day=3).stdout.startswith("healthy")
    return project


@pytest.fixture
def live(twice: Project, tmp_path: Path) -> Project:
    shutil.copytree(twice.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def model(project: Project) -> Path:
    """Return the live model, in a folder that may be changed."""
    path = project.folder / "models" / str(project.pointer["version"]) / "model.joblib"
    path.parent.chmod(0o755)
    path.chmod(0o644)
    return path


def pointer(project: Project) -> Path:
    return project.folder / "models/champion.json"


def replaced(make: Callable[[Path], object]) -> Callable[[Project], object]:
    """Return a fault that puts something in the model's place."""

    def fault(project: Project) -> None:
        path = model(project)
        path.unlink()
        make(path)

    return fault


def with_its_times(project: Project) -> None:
    path = model(project)
    seen = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def elsewhere(path: Path) -> None:
    path.with_name("aside").write_bytes(b"another")
    path.symlink_to("aside")


def rewritten(old: str, new: str) -> Callable[[Project], object]:
    return lambda project: pointer(project).write_text(re.sub(old, new, pointer(project).read_text()))


def no_file(project: Project) -> None:
    pointer(project).unlink()
    pointer(project).mkdir()


def both(*faults: Callable[[Project], object]) -> Callable[[Project], object]:
    """Return the faults one after the other."""

    def fault(project: Project) -> None:
        for each in faults:
            each(project)

    return fault


def folder_replaced(make: Callable[[Path], object]) -> Callable[[Project], object]:
    """Return a fault that puts something in the place of the model's folder."""

    def fault(project: Project) -> None:
        folder = model(project).parent
        shutil.rmtree(folder)
        make(folder)

    return fault


def no_pointer(project: Project) -> None:
    pointer(project).unlink()


def dangling_pointer(project: Project) -> None:
    pointer(project).unlink()
    pointer(project).symlink_to("nowhere")


FAULTS: dict[str, Callable[[Project], object]] = {
    "deleted": lambda project: model(project).unlink(),
    "a byte more": lambda project: model(project).write_bytes(model(project).read_bytes() + b"x"),
    "a byte less": lambda project: os.truncate(model(project), 10),
    "empty": lambda project: os.truncate(model(project), 0),
    "same size and times": with_its_times,
    "another model": lambda project: shutil.copy(project.folder / "config.yaml", model(project)),
    "a dangling link": replaced(lambda path: path.symlink_to("nowhere")),
    "a link to another file": replaced(elsewhere),
    "a link to itself": replaced(lambda path: path.symlink_to(path.name)),
    "a folder": replaced(lambda path: path.mkdir()),
    "a pipe": replaced(os.mkfifo),
    "its folder gone": lambda project: shutil.rmtree(model(project).parent),
    "its folder moved": lambda project: model(project).parent.rename(project.folder / "models/moved"),
    "its folder a file": folder_replaced(lambda folder: folder.write_text("")),
    "its folder a dangling link": folder_replaced(lambda folder: folder.symlink_to("nowhere")),
    "pointer gone": no_pointer,
    "pointer empty": lambda project: pointer(project).write_text(""),
    "pointer cut off": lambda project: os.truncate(pointer(project), 40),
    "pointer no JSON": lambda project: pointer(project).write_text("models/v1"),
    "pointer a list": lambda project: pointer(project).write_text("[]"),
    "pointer of NULs": lambda project: pointer(project).write_bytes(b"\0" * 300),
    "pointer a folder": no_file,
    "pointer a dangling link": dangling_pointer,
    "pointer of another schema": rewritten('"schema": 1', '"schema": 9'),
    "pointer to outside": rewritten('"path": "[^"]*"', '"path": "../../etc/passwd"'),
    "pointer with another hash": rewritten('"sha256": "[^"]*"', f'"sha256": "{"0" * 64}"'),
    "pointer to no version": rewritten(r'20\d+T\d+Z-\w+(?=/model|",\n?})', "v0"),
    "pointer without a version": rewritten('"version"', '"vers"'),
    "pointer and model gone": both(lambda project: model(project).unlink(), no_pointer),
    "pointer torn, model changed": both(
        lambda project: model(project).write_bytes(b"x"), lambda project: pointer(project).write_text("{")
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_broken_live_model_is_passed_over_and_what_is_told_mends_it(live: Project, fault: str) -> None:
    first, second = sorted(card.parent.name for card in (live.folder / "models").glob("*/card.json"))
    FAULTS[fault](live)
    for command in (["run"], ["run", "--dry-run"], ["status"]):
        done = live.retrain_check(*command, "--now", day(3.1).isoformat(), code=6)
        said = " ".join((done.stdout + done.stderr).split())
        assert second in said
        assert "healthy" not in said
    told = re.search("`retrain-check ([^`]*)`", live.retrain_check("run", "--now", day(3.1).isoformat(), code=6).stderr)
    assert told is not None
    copy = Project(live.folder.with_name("copy"))
    shutil.copytree(
        live.folder,
        copy.folder,
        symlinks=True,
        ignore=shutil.ignore_patterns("model.joblib") if "pipe" in fault else None,
    )
    if "pipe" not in fault:
        copy.retrain_check(*shlex.split(told[1]), "--now", day(3.2).isoformat())
        copy.run(day=3.3)
    assert live.retrain_check("rollback", "--now", day(3.2).isoformat()).stdout.startswith("rolled back: ")
    assert live.pointer["version"] == first
    live.run(day=3.3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"hello " * 2000),
        lambda path: path.write_bytes(b""),
        lambda path: os.truncate(path, 5000),
        lambda path: edited(path, "UPDATE entry SET body = '{}'"),
        lambda path: edited(path, "PRAGMA user_version = 99"),
    ],
)
@pytest.mark.parametrize("fault", ["none", "deleted", "pointer cut off", "pointer and model gone"])
def test_rollback_goes_without_a_ledger_that_cannot_be_used_and_the_next_run_enters_it(
    live: Project, damage: Callable[[Path], object], fault: str
) -> None:
    ledger = live.folder / ".retrain-check/ledger.sqlite"
    whole = ledger.read_bytes()
    first = min(card.parent.name for card in (live.folder / "models").glob("*/card.json"))
    if fault != "none":
        FAULTS[fault](live)
    damage(ledger)
    done = live.retrain_check("rollback", "--reason", "it broke", "--now", day(3.2).isoformat())
    assert done.stdout.startswith("rolled back: ")
    assert "the next run that can write it enters it" in done.stderr
    assert live.pointer["version"] == first
    ledger.write_bytes(whole)
    shown = live.retrain_check("status", "--now", day(3.3).isoformat())
    assert first in shown.stdout
    assert "by hand" not in live.run(day=3.3).stderr
    entered = [entry for entry in live.history() if entry["kind"] == "promoted"][-1]
    assert (entered["by"], entered["pointer"]["version"]) == ("rollback", first)
    assert entered["because"].startswith("it broke (without the ledger")
    kinds = live.kinds()
    live.run(day=3.4)
    assert live.kinds()[: len(kinds)] == kinds
    assert live.kinds().count("promoted") == kinds.count("promoted"), "it is entered once"


def edited(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("point", ["RollbackRecord.append", "Registry.point_at"])
@pytest.mark.parametrize("after", [False, True])
def test_a_rollback_without_the_ledger_that_is_killed_is_finished_or_done_anew(
    live: Project, point: str, *, after: bool
) -> None:
    ledger = live.folder / ".retrain-check/ledger.sqlite"
    whole, first = ledger.read_bytes(), min(c.parent.name for c in (live.folder / "models").glob("*/card.json"))
    ledger.write_bytes(b"damaged")
    owner, name = point.split(".")
    module = {"RollbackRecord": "rollback_record", "Registry": "registry"}[owner]
    does = "real(*a); os.kill(os.getpid(), 9)" if after else "os.kill(os.getpid(), 9)"
    site = live.write(
        "site/sitecustomize.py",
        f"import os\nfrom retrain_trigger.store.{module} import {owner}\nreal = {owner}.{name}\n"
        f"def killed(*a):\n    {does}\n{owner}.{name} = killed\n",
    ).parent
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    live.retrain_check("rollback", "--now", day(3.2).isoformat(), code=-9, PYTHONPATH=path)
    copy = Project(live.folder.with_name("copy"))
    shutil.copytree(live.folder, copy.folder)
    live.retrain_check("rollback", "--now", day(3.3).isoformat())
    assert live.pointer["version"] == first
    (copy.folder / ".retrain-check/ledger.sqlite").write_bytes(whole)
    copy.run(day=3.3)


@pytest.mark.parametrize("where", ["models", ".retrain-check"])
def test_rollback_has_its_room_on_a_full_disk(live: Project, where: str) -> None:
    disk, first = live.folder / where, min(c.parent.name for c in (live.folder / "models").glob("*/card.json"))
    aside = live.folder / "aside"
    disk.rename(aside)
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        shutil.copytree(aside, disk, dirs_exist_ok=True)
        fill(disk / "filler")
        assert live.retrain_check("rollback", "--now", day(3.2).isoformat()).stdout.startswith("rolled back: ")
        assert live.pointer["version"] == first
        (disk / "filler").unlink()
        live.run(day=3.3)
    finally:
        subprocess.run(["umount", disk], check=True)


def fill(path: Path) -> None:
    """Leave no room on a disk."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 512)


def test_a_healthy_tick_does_not_read_the_model_again(live: Project) -> None:
    live.run(day=3.1)
    path = model(live)
    live.run(day=3.2)
    looked = live.folder / ".retrain-check/live.json"
    before = looked.stat().st_mtime_ns
    live.run(day=3.3)
    assert looked.stat().st_mtime_ns == before
    path.touch()
    live.run(day=3.4)
    assert looked.stat().st_mtime_ns != before


def test_the_way_back_passes_over_what_was_quarantined(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models", tmp_path / "models/champion.json")
    (tmp_path / "left").write_bytes(b"a model")
    served: dict[str, Pointer] = {}
    for number, version in enumerate(("v1", "v2", "v3")):
        (tmp_path / "left").write_bytes(version.encode())
        digest = registry.seal(Card(version=version), model=tmp_path / "left", profile=None, log=None)
        served[version] = Pointer(
            generation=number,
            version=version,
            path=registry.relative_path(version),
            sha256=digest,
            previous=f"v{number}" if number else None,
            promoted_at="2026-01-01T00:00:00Z",
            run="r",
        )
    bad = frozenset({served["v2"].sha256})
    assert guard.predecessor(registry, served, served["v3"], quarantined=frozenset()) == "v2"
    assert guard.predecessor(registry, served, served["v3"], quarantined=bad) == "v1"
    assert guard.predecessor(registry, {}, served["v3"], quarantined=bad) == "v1"
