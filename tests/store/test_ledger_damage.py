"""The ledger is what was written, or it is said clearly that it is not."""

import json
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from projects import Project, day

from retrain_trigger.core.errors import PromotionError
from retrain_trigger.core.events import Decided, Kept, Training
from retrain_trigger.store import ledger as ledgers
from retrain_trigger.store.ledger import Ledger

NOW = datetime(2026, 1, 5, 6, tzinfo=UTC)
DECIDED, KEPT = Decided(action="healthy", because="all is well"), Kept(because="no better")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with five entries."""
    path = tmp_path / "ledger.sqlite"
    with Ledger.writing(path) as opened:
        for number, event in enumerate((DECIDED, Training(), KEPT, DECIDED, DECIDED)):
            opened.append(event, at=NOW, run=f"run-{number}")
    return path


def test_entries_are_chained_and_the_newest_hash_stands_for_all(ledger: Path) -> None:
    with Ledger.reading(ledger) as opened:
        count, newest = opened.verified()
    assert count == 5
    assert re.fullmatch("[0-9a-f]{64}", newest)
    with Ledger.writing(ledger) as opened:
        opened.append(DECIDED, at=NOW, run="run-5")
        assert opened.verified()[0] == 6
        assert opened.verified()[1] != newest


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE entry SET body = '{}' WHERE seq = 3", "entry 3 is not what was written"),
        ("UPDATE entry SET at = '2026-01-01T00:00:00+00:00' WHERE seq = 1", "entry 1 is not what was written"),
        ("UPDATE entry SET kind = 'kept' WHERE seq = 4", "entry 4 is not what was written"),
        ("UPDATE entry SET hash = '' WHERE seq = 2", "entry 2 is not what was written"),
        ("DELETE FROM entry WHERE seq = 2", "the entry before entry 3 is missing"),
        ("DELETE FROM entry WHERE seq = 1", "the entry before entry 2 is missing"),
        ("DELETE FROM entry WHERE seq > 3", "it has 3 entries, and 5 were written"),
        ("DELETE FROM entry", "it has 0 entries, and 5 were written"),
    ],
)
def test_an_edited_history_is_found(ledger: Path, statement: str, said: str) -> None:
    with sqlite3.connect(ledger) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(PromotionError, match=said), Ledger.reading(ledger) as opened:
        opened.verified()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET body = '{}' WHERE seq = 3",
        "UPDATE entry SET kind = 'decided' WHERE seq = 2",
        "DELETE FROM entry WHERE seq = 4",
        "DELETE FROM entry WHERE seq = 5",
    ],
)
def test_a_tick_does_not_go_on_with_entries_that_were_changed(ledger: Path, statement: str) -> None:
    with sqlite3.connect(ledger) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(PromotionError, match="nothing was trained or promoted"), Ledger.writing(ledger) as opened:
        opened.effects()


def test_an_old_ledger_is_chained_when_it_is_next_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    for statement in (*ledgers._ENTRIES, *ledgers._COUNTED, "PRAGMA user_version = 2"):  # noqa: SLF001  (what version 2 was)
        connection.execute(statement)
    for number in range(3):
        row = (NOW.isoformat(), f"run-{number}", "kept", json.dumps({"because": str(number)}))
        connection.execute("INSERT INTO entry (at, run, kind, body) VALUES (?, ?, ?, ?)", row)
    connection.commit()
    connection.close()
    with Ledger.reading(path) as opened:
        assert [entry.event for entry in opened.effects()] == [Kept(because=str(number)) for number in range(3)]
        assert opened.verified() == (3, "")
    with Ledger.writing(path) as opened:
        assert opened.verified()[0] == 3
        opened.append(Kept(because="3"), at=NOW, run="run-3")
        assert [entry.event for entry in opened.effects()] == [Kept(because=str(number)) for number in range(4)]
        assert opened.verified()[0] == 4


def test_a_new_ledger_is_whole_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    (tmp_path / ".ledger.sqlite.tmp").write_text("what a killed run left")
    with Ledger.writing(path) as opened:
        assert opened.effects() == []
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600


def bad_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xa5" * 4096
    path.write_bytes(data)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def without(table: str, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"DROP TABLE {table}")
    connection.close()


def edited(statement: str, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "bad page": bad_page,
    "cut off": cut_off,
    "not a database": lambda path: path.write_bytes(b"hello " * 2000),
    "zero bytes": lambda path: path.write_bytes(b""),
    "no table": lambda path: without("entry", path),
    "not JSON": lambda path: edited("UPDATE entry SET body = '{' WHERE kind = 'promoted'", path),
    "another kind": lambda path: edited("UPDATE entry SET kind = 'blessed' WHERE kind = 'promoted'", path),
    "another verdict": lambda path: edited("UPDATE entry SET body = replace(body, 'adopt', 'gate')", path),
    "newest entries deleted": lambda path: edited("DELETE FROM entry WHERE seq > 1", path),
    "a newer version": lambda path: edited("PRAGMA user_version = 99", path),
}


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a champion and a breach: an undisturbed run would train."""
    project = Project(tmp_path_factory.mktemp("adopted"))
    project.write("config.yaml", "performance_threshold: 0.85\n")
    project.makefile("@touch make-was-started; echo a new model > $$RETRAIN_OUTPUT")
    project.has_in_production()
    project.run("--bootstrap", "--adopt", "production.model", day=0)
    project.log(0.7, 0.7)
    return project


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ledger_is_said_and_nothing_is_trained_or_flipped(adopted: Project, damage: str) -> None:
    path, pointer = adopted.folder / ".retrain-check/ledger.sqlite", adopted.folder / "models/champion.json"
    whole, live = path.read_bytes(), pointer.read_bytes()
    try:
        DAMAGES[damage](path)
        damaged = path.read_bytes()
        done = adopted.run(day=2, code=6)
        assert f"the ledger {path}" in done.stderr
        assert not (adopted.folder / "make-was-started").exists()
        assert pointer.read_bytes() == live
        assert path.read_bytes() == damaged, "it is left as it is, for whoever looks into it"
        assert "the ledger" in adopted.retrain_check("history", "--verify", code=6).stderr
    finally:
        path.write_bytes(whole)


def foreign(path: Path, kind: str, body: str) -> None:
    """Write another body in the place of those of a kind, and chain it as if it had been written so."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entry SET body = ? WHERE kind = ?", (body, kind))
        ledgers._chain(connection)  # noqa: SLF001  (what a program that is not ours may have done)
    connection.close()


@pytest.mark.parametrize("body", ["{}", "[]", "3", '{"pointer": {}}', '{"pointer": "v1", "by": "hand", "because": ""}'])
def test_an_entry_that_is_none_of_its_kind_is_said_by_every_command(adopted: Project, body: str) -> None:
    path = adopted.folder / ".retrain-check/ledger.sqlite"
    whole = path.read_bytes()
    try:
        foreign(path, "promoted", body)
        for command in (
            ("run",),
            ("status",),
            ("history",),
            ("history", "-v"),
            ("explain",),
            ("history", "--at", "2027-01-01"),
        ):
            said = adopted.retrain_check(*command, code=6).stderr
            assert "the ledger " in said
            assert "cannot be used: entry 3 " in said
        assert not (adopted.folder / "make-was-started").exists()
    finally:
        path.write_bytes(whole)


def test_history_verify_says_that_all_is_as_written(adopted: Project) -> None:
    said = adopted.retrain_check("history", "--verify").stdout
    assert re.fullmatch(r"3 entries, each as it was written; hash of the newest: [0-9a-f]{64}\n", said)
    as_json = json.loads(adopted.retrain_check("history", "--verify", "--format", "json").stdout)
    assert as_json["entries"] == 3


def test_an_older_copy_of_the_ledger_does_not_fit_the_pointer(adopted: Project, tmp_path: Path) -> None:
    import shutil  # noqa: PLC0415

    folder = tmp_path / "project"
    shutil.copytree(adopted.folder, folder)
    project = Project(folder)
    path = folder / ".retrain-check/ledger.sqlite"
    older = path.read_bytes()
    project.run(day=2)
    version = next(entry["version"] for entry in reversed(project.history()) if entry["kind"] == "sealed")
    project.retrain_check("promote", version, "--reason", "by hand", "--now", day(2.1).isoformat())
    path.write_bytes(older)
    assert "somebody moved it by hand" in project.run(day=2.2, code=6).stderr


def test_a_ledger_that_is_away_for_now_is_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.symlink_to(tmp_path / "not mounted/ledger.sqlite")
    with pytest.raises(PromotionError, match="cannot be used now"), Ledger.writing(path):
        pass
    assert path.is_symlink()


@pytest.mark.parametrize("way", ["a link that leads nowhere", "a file"])
def test_a_state_folder_that_cannot_be_reached_is_not_an_empty_history(adopted: Project, way: str) -> None:
    state, aside = adopted.folder / ".retrain-check", adopted.folder / "aside"
    state.rename(aside)
    try:
        state.write_text("") if way == "a file" else state.symlink_to("not-mounted")
        for question in ("status", "history", "run"):
            said = adopted.retrain_check(question, code=6).stderr
            assert f"{state}" in said
            assert "mount" in said
    finally:
        state.unlink()
        aside.rename(state)
