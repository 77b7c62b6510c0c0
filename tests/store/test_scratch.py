"""What lies outside the project, or in the state folder, only for a while: a kill leaves nothing for good."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from projects import Project

from retrain_trigger.engines import database
from retrain_trigger.store import scratch


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_what_does_not_fit_into_memory_lies_where_it_is_told_to(temporary: Path) -> None:
    state = temporary / "state/spill"
    state.parent.mkdir()
    with scratch.spilling(state), database.connected() as connection:
        connection.execute("SET memory_limit = '30MB'")
        connection.execute("CREATE TABLE big AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range(1000000)")
        assert any(state.iterdir()), "it was written there"
    assert list(temporary.iterdir()) == [temporary / "state"]


def test_without_a_run_it_lies_below_the_temporary_folder_and_never_in_the_project(temporary: Path) -> None:
    assert scratch.spill().parent == temporary


def test_the_folder_of_a_killed_question_is_removed_by_the_next_and_that_of_a_living_one_is_not(
    temporary: Path,
) -> None:
    waits = "import time; from retrain_trigger.store import scratch\nwith scratch.private() as own: print(own, flush=True); time.sleep(60)"
    variables = {**os.environ, "TMPDIR": str(temporary)}
    with ExitStack() as stack:
        asking = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE, env=variables, text=True)
            )
            for _ in range(2)
        ]
        folders = [Path(each.stdout.readline().strip()) for each in asking if each.stdout]
        asking[0].kill()
        asking[0].wait()
        for folder in folders:
            os.utime(folder, (time.time() - 2 * scratch.YOUNG,) * 2)
        with scratch.private() as own:
            assert own.exists()
            assert [folder.exists() for folder in folders] == [False, True]
        assert not own.exists()
        asking[1].kill()


def test_somebody_elses_link_is_left_alone(temporary: Path) -> None:
    (temporary / "kept").mkdir()
    (temporary / f"{scratch.QUESTION}x").symlink_to(temporary / "kept")
    with scratch.private():
        pass
    assert (temporary / "kept").exists()


def test_a_run_removes_what_a_killed_one_had_no_room_for(simple: Project) -> None:
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    simple.log(0.9)
    (simple.folder / ".retrain-check/spill").mkdir()
    (simple.folder / ".retrain-check/spill/duckdb_temp_storage-0.tmp").write_text("rows")
    simple.run(day=1.1)
    assert not (simple.folder / ".retrain-check/spill").exists()
