import math
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from retrain_trigger.core.entries import Kind, entry
from retrain_trigger.core.errors import PromotionError
from retrain_trigger.core.events import Decided, Event, Kept, Refused, Sealed, Training
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.store.ledger import Ledger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


DECIDED, KEPT, TRAINING = Decided(action="healthy", because="all is well"), Kept(because="no better"), Training()
SEALED = Sealed(version="v1", sha256="ab")


def append(path: Path, *events: Event, run: str = "r1") -> None:
    with Ledger.writing(path) as ledger:
        for event in events:
            ledger.append(event, at=NOON, run=run)


def kinds(path: Path) -> list[Kind]:
    with Ledger.reading(path) as ledger:
        return [entry.kind for entry in ledger.entries()]


def test_entries_survive_reopening_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    append(path, DECIDED, TRAINING)
    append(path, SEALED, run="r2")
    with Ledger.reading(path) as ledger:
        assert ledger.entries() == [
            entry(DECIDED, seq=1, at=NOON, run="r1"),
            entry(TRAINING, seq=2, at=NOON, run="r1"),
            entry(SEALED, seq=3, at=NOON, run="r2"),
        ]
        assert [each.event for each in ledger.entries()] == [DECIDED, TRAINING, SEALED]
        assert [entry.seq for entry in ledger.entries(run="r2")] == [3]
        assert ledger.entries(run="' OR 1=1 --") == []


def test_times_are_kept_in_utc_and_bodies_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    nested = {"none": None, "text": "é'\x00\"", "list": [1, 2.5, True], "map": {"b": 1}}
    finding = Finding(name="f1", verdict=Verdict.PASS, value=0.9, limit=None, because="é'\x00\"", evidence=nested)
    decided = Decided(action="healthy", because="so", findings=(finding,))
    with Ledger.writing(path) as ledger:
        ledger.append(decided, at=NOON.astimezone(timezone(timedelta(hours=2))), run="r")
    with Ledger.reading(path) as ledger:
        (found,) = ledger.entries()
    assert found.at.isoformat() == "2026-03-01T12:00:00+00:00"
    assert found.event == decided


def test_effects_leave_out_all_decisions_but_the_last(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    append(path, DECIDED, TRAINING, KEPT, DECIDED, DECIDED, Refused(because="unfit"))
    with Ledger.reading(path) as ledger:
        assert [entry.seq for entry in ledger.effects()] == [2, 3, 5, 6]


def test_a_question_creates_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    assert kinds(path) == []
    assert list(tmp_path.iterdir()) == []
    append(path, DECIDED)
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert kinds(path) == [Kind.DECIDED]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [path], "and no journal is left"
    with Ledger.reading(path) as ledger:
        ledger.append(TRAINING, at=NOON, run="supposed")
        assert [entry.kind for entry in ledger.effects()] == [Kind.DECIDED, Kind.TRAINING]
        assert [entry.run for entry in ledger.entries(run="supposed")] == ["supposed"]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before, "it was remembered, and nothing written"


@pytest.mark.parametrize("name", ["a ledger?mode=memory.sqlite", "#1.sqlite", "100%.sqlite"])
def test_a_path_may_hold_what_a_uri_may_not(tmp_path: Path, name: str) -> None:
    append(tmp_path / name, DECIDED)
    assert kinds(tmp_path / name) == [Kind.DECIDED]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("damage", ["no database", "cut in half", "overwritten"])
def test_a_damaged_ledger_is_named_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ledger.sqlite"
    append(path, *[DECIDED] * 200)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "no database": b"this was never a database, and it is long enough to be looked at" * 20,
            "cut in half": whole[: len(whole) // 2],
            "overwritten": whole[:4096] + b"\xff" * (len(whole) - 4096),
        }[damage]
    )
    damaged = path.read_bytes()
    for opened in (Ledger.reading, Ledger.writing):
        said = pytest.raises(PromotionError, match=r"ledger .*ledger\.sqlite cannot be used: .*backup")
        with said, opened(path) as ledger:
            ledger.entries()
    assert path.read_bytes() == damaged


def test_a_ledger_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    append(path, DECIDED)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    for opened in (Ledger.writing, Ledger.reading):
        with pytest.raises(PromotionError, match="newer retrain-check; upgrade"), opened(path) as ledger:
            ledger.entries()
    assert path.read_bytes() == before


def cut_off(path: Path) -> None:
    """Append two entries, and leave the ledger as a run does that is killed while it writes a third."""
    script = f"""
import os, signal
from datetime import UTC, datetime
from pathlib import Path
from retrain_trigger.core.events import Sealed, Training
from retrain_trigger.store.ledger import Ledger
with Ledger.writing(Path({str(path)!r})) as ledger:
    ledger.append(Training(), at=datetime.now(UTC), run="r")
    ledger.append(Sealed(version="v1", sha256="ab"), at=datetime.now(UTC), run="r")
    ledger._connection.execute("INSERT INTO entry (at, run, kind, body) VALUES ('', '', 'kept', ?)", ("x" * 10**7,))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert Path(f"{path}-journal").stat().st_size > 0, "the kill came too early to show anything"


def test_what_was_appended_is_there_after_a_kill_and_what_was_begun_is_not(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    cut_off(path)
    assert kinds(path) == [Kind.TRAINING, Kind.SEALED], "a question is answered before the next run has tidied up"
    append(path, KEPT)
    assert kinds(path) == [Kind.TRAINING, Kind.SEALED, Kind.KEPT]
    assert list(tmp_path.iterdir()) == [path]


def test_a_question_is_answered_when_the_disk_has_become_read_only_with_the_crash(tmp_path: Path) -> None:
    cut_off(tmp_path / "ledger.sqlite")
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    mounted = tmp_path.with_name("mounted")
    mounted.mkdir()
    if subprocess.run(["mount", "--bind", tmp_path, mounted], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
        assert kinds(mounted / "ledger.sqlite") == [Kind.TRAINING, Kind.SEALED]
    finally:
        subprocess.run(["umount", mounted], check=True)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_a_ledger_that_was_cut_off_while_it_was_made_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    (tmp_path / ".ledger.sqlite.tmp").write_bytes(b"half a ledger")
    assert kinds(path) == []
    append(path, DECIDED)
    assert kinds(path) == [Kind.DECIDED]
    assert list(tmp_path.iterdir()) == [path]


def test_an_entry_of_an_unknown_kind_is_damage_and_no_bug(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    append(path, DECIDED)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE entry SET kind = 'shadowing'")
    connection.commit()
    connection.close()
    with pytest.raises(PromotionError, match="cannot be used"):
        kinds(path)


def test_an_append_is_synced_to_the_disk_before_it_returns(tmp_path: Path) -> None:
    with Ledger.writing(tmp_path / "ledger.sqlite") as ledger:
        connection = ledger._connection  # noqa: SLF001  (what a power loss would show, and no test can)
        asked = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert asked == ["delete", 3]


def test_a_value_that_is_no_json_is_refused_and_leaves_no_half_entry(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    finding = Finding(name="f1", verdict=Verdict.PASS, value=0.9, limit=0.8, because="", evidence={"at": math.nan})
    with Ledger.writing(path) as ledger:
        with pytest.raises(ValueError, match="JSON"):
            ledger.append(Decided(action="healthy", because="", findings=(finding,)), at=NOON, run="r")
        ledger.append(KEPT, at=NOON, run="r")
    assert kinds(path) == [Kind.KEPT]
