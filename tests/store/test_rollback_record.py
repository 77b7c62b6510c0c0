"""The small chained file that a rollback is written to where the ledger cannot be."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrain_trigger.core.pointer import Pointer
from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.store.rollback_record import KNOWN, ROOM, Done, Intent, Known, RollbackRecord


@pytest.fixture
def record(tmp_path: Path) -> RollbackRecord:
    """A file that remembers one champion, as a promotion leaves it."""
    made = RollbackRecord(tmp_path / "rollback.jsonl")
    made.begin_anew([pointer("first")], ["bad"])
    return made


def pointer(version: str) -> Pointer:
    return Pointer(generation=1, version=version, path="", sha256="ab", previous=None, promoted_at="", run="r")


def intent(because: str = "a test") -> Intent:
    return Intent(
        pointer=pointer("first"), origin=None, because=because, gone="second", at=datetime(2026, 1, 5, tzinfo=UTC)
    )


def kinds(record: RollbackRecord) -> list[str]:
    return [type(step).__name__.lower() for step in record.steps()]


def test_lines_are_written_into_the_reserved_room(record: RollbackRecord) -> None:
    record.append(intent())
    record.append(Done())
    assert kinds(record) == ["known", "intent", "done"]
    assert record.steps()[1] == intent()
    assert record.path.stat().st_size == ROOM


def test_beginning_anew_forgets_the_steps_and_remembers_the_latest_champions(record: RollbackRecord) -> None:
    record.append(intent())
    record.begin_anew([pointer(str(number)) for number in range(KNOWN + 4)], ["b", "a"])
    (known,) = record.steps()
    latest = tuple(pointer(str(number)) for number in range(4, KNOWN + 4))
    assert known == Known(pointers=latest, quarantined=("a", "b"))
    record.append(Done())
    assert kinds(record) == ["known", "done"], "the chain goes on"


@pytest.mark.parametrize("damage", [b"{", b'{"kind": "done"}', b"\xff\xfe", b"[" * 5000, b"\0" * 40])
def test_what_is_no_line_ends_the_file_and_is_written_over(record: RollbackRecord, damage: bytes) -> None:
    end = record.path.read_bytes().rstrip(b"\n") + b"\n"
    record.path.write_bytes((end + damage).ljust(ROOM, b"\n"))
    assert kinds(record) == ["known"]
    record.append(intent("a test of a longer line, which is longer than what was torn" * 2))
    assert kinds(record) == ["known", "intent"]


def test_a_changed_line_takes_those_after_it_along(record: RollbackRecord) -> None:
    record.append(intent("true"))
    record.append(Done())
    record.path.write_bytes(record.path.read_bytes().replace(b'"true"', b'"fake"'))
    assert kinds(record) == ["known"]


@pytest.mark.parametrize("obstacle", ["folder", "dangling link", "link", "pipe", "missing"])
def test_what_is_no_file_is_read_as_none(tmp_path: Path, obstacle: str) -> None:
    path, elsewhere = tmp_path / "rollback.jsonl", RollbackRecord(tmp_path / "elsewhere")
    elsewhere.begin_anew([], [])
    before = elsewhere.path.read_bytes()
    if obstacle == "folder":
        path.mkdir()
    elif obstacle == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    elif obstacle == "link":
        path.symlink_to(elsewhere.path)
    elif obstacle == "pipe":
        os.mkfifo(path)
    record = RollbackRecord(path)
    if obstacle != "link":
        assert record.steps() == []
    if obstacle in {"folder", "dangling link", "link"}:
        with pytest.raises(OSError, match="rollback"):
            record.append(intent())
    assert elsewhere.path.read_bytes() == before, "nothing is written through a link"


def test_an_intent_of_an_earlier_version_is_read() -> None:
    written = encoded(intent())
    assert decoded(Intent, {**{key: written[key] for key in written if key != "gone"}, "from": "second"}) == intent()
