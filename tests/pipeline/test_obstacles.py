"""What stands in the way of a run from outside: each message names the file, the cause, and what to do."""

import errno
import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from projects import CONFIG, Project

from retrain_trigger.core.errors import BusyError, PromotionError, refused
from retrain_trigger.core.events import Kept
from retrain_trigger.store import ledger as ledgers
from retrain_trigger.store import lock
from retrain_trigger.store.ledger import Ledger

NOW = datetime(2026, 1, 5, tzinfo=UTC)
KEPT = Kept(because="no better")
READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM entry").fetchone()
print("reading", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def ledger() -> Iterator[Path]:
    """A ledger in a folder that every user may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    with Ledger.writing(folder / "ledger.sqlite"):
        pass
    yield folder / "ledger.sqlite"
    shutil.rmtree(folder)


def test_a_reader_that_holds_the_ledger_is_named(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "_PATIENCE", 0.1)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(ledger)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with reader:
        assert reader.stdout
        assert reader.stdout.readline() == "reading\n"
        with pytest.raises(BusyError) as busy, Ledger.writing(ledger) as opened:
            opened.append(KEPT, at=NOW, run="run")
        reader.communicate("")
    assert str(busy.value).startswith(f"the ledger {ledger} is held by another program (process {reader.pid})")
    with Ledger.writing(ledger) as opened:
        opened.append(KEPT, at=NOW, run="run")


@contextmanager
def somebody_else(path: Path) -> Iterator[None]:
    """Be a user who may read a file and not write it."""
    path.chmod(0o444)
    if os.geteuid():
        path.parent.chmod(0o555)
        yield
        path.parent.chmod(0o755)
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_ledger_of_another_user_names_its_owner(ledger: Path) -> None:
    with (
        somebody_else(ledger),
        pytest.raises(PromotionError, match=rf"{ledger} cannot be used now.*Run this as {ledger.owner()}, who owns it"),
        Ledger.writing(ledger) as opened,
    ):
        opened.append(KEPT, at=NOW, run="run")
    with somebody_else(ledger), Ledger.reading(ledger) as opened:
        assert opened.entries() == []


def test_a_full_disk_asks_for_room(ledger: Path) -> None:
    with (
        pytest.raises(PromotionError, match=rf"the ledger {ledger} cannot be used now: .*full. Make room on its disk"),
        Ledger.writing(ledger),
        sqlite3.connect(":memory:") as full,
    ):
        full.executescript("PRAGMA max_page_count = 1; CREATE TABLE a (b)")


@pytest.mark.parametrize("refusal", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int) -> None:
    def without(*_: int) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.raises(OSError, match=str(tmp_path / "lock")) as error, lock.hold(tmp_path / "lock"):
        pass
    assert refused(error.value).startswith(
        f"{tmp_path / 'lock'}: {os.strerror(refusal)}; that file system keeps no locks"
    )
    assert "`state` in config.yaml" in refused(error.value)


def test_a_positive_label_that_no_row_has_is_a_mistake_before_anything_is_trained(champion: Project) -> None:
    champion.write("config.yaml", CONFIG + "positive: churned\n")
    said = champion.run("--force", "a test", day=3, code=2).stderr
    assert "positive is 'churned', and of " in said
    assert " labelled rows none has that label: the labels are 0, 1. f1 looks at the positive one" in said
    assert champion.trainings() == 1
    champion.write("config.yaml", CONFIG + "positive: churned\nmetric: accuracy\n")
    champion.run("--force", "a test", day=3)
    assert champion.trainings() == 2
