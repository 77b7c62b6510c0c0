import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from retrain_trigger.core.errors import TrainingError
from retrain_trigger.process import training
from retrain_trigger.store import lock

RUN = "20260301T120000Z-abc123"


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "GRACE", 1.0)


def train(command: str, folder: Path, *, timeout: float = 20, **environment: str) -> str:
    """Run a training command; return what it printed."""
    log = folder / "train.log"
    log.unlink(missing_ok=True)
    training.train(
        command,
        folder=folder,
        environment={"RETRAIN_RUN_ID": RUN, **environment},
        timeout=timeout,
        log=log,
        training_lock=folder / "training.lock",
    )
    return log.read_text()


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def pids(folder: Path, count: int) -> list[int]:
    """Wait until so many processes have left their number as NAME.pid."""
    deadline = time.monotonic() + 10
    while len(found := [path.read_text() for path in folder.glob("*.pid")]) < count or not all(found):
        assert time.monotonic() < deadline, "they never started"
        time.sleep(0.01)
    return [int(text) for text in found]


def test_the_command_runs_in_the_folder_of_the_settings_and_its_output_is_logged(tmp_path: Path) -> None:
    said = train('pwd; echo to stderr >&2; printf %s "$RETRAIN_OUTPUT"; cat', tmp_path, RETRAIN_OUTPUT="/a path")
    assert said == f"{tmp_path}\nto stderr\n/a path", "and its stdin is empty"


def variables(printed: str) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in printed.splitlines() if line.startswith("RETRAIN_"))


def test_only_the_variables_of_this_run_are_set_and_the_rest_of_the_environment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRAIN_TRAIN_DATA", "left over from another run")
    monkeypatch.setenv("RETRAIN_RUN_ID", "another")
    monkeypatch.setenv("OF_THE_USER", "kept")
    said = train("env", tmp_path, RETRAIN_OUTPUT="out")
    assert "OF_THE_USER=kept" in said.splitlines()
    found = (tmp_path / "training.lock").stat()
    identity = f"{found.st_dev}:{found.st_ino}"
    assert variables(said) == {"RETRAIN_RUN_ID": RUN, "RETRAIN_LOCK_ID": identity, "RETRAIN_OUTPUT": "out"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("exit 7", r"^`exit 7` exited with 7; it printed nothing \(.*train\.log\)$"),
        ("kill -TERM $$", r"was ended by SIGTERM"),
        ("no-such-command", r"exited with 127; its last output \(.*\):\n  \| .*not found$"),
        ("seq 5000; exit 1", r":\n  \| 4996\n  \| 4997\n  \| 4998\n  \| 4999\n  \| 5000$"),
        ("seq 20; exit 1", r":\n  \| 16\n  \| 17\n  \| 18\n  \| 19\n  \| 20$"),
        ("printf 'bad \\033[31mred\\007\\n\\n  indented\\n'; exit 1", r":\n  \| bad \[31mred\n  \|   indented$"),
        ("printf 'caf\\351'; exit 1", ":\n  \\| caf\ufffd$"),
        ("yes | head -c 100000 | tr -d '\\n'; exit 1", r":\n  \| y{400}$"),
    ],
)
def test_a_failure_quotes_the_last_lines_printable_and_short(tmp_path: Path, command: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        train(command, tmp_path)


def test_a_timeout_ends_all_of_it_whoever_called_setsid_or_forked_twice(tmp_path: Path) -> None:
    escapes = f"""
env -i {sys.executable} orphan.py
echo $$ > shell.pid
sleep 600 &
setsid sh -c 'echo $$ > session.pid; exec sleep 600' &
( ( setsid sh -c 'echo $$ > daemon.pid; exec sleep 600' & ) & )
env -i setsid sh -c 'echo $$ > nameless.pid; exec sleep 600' &
env -i setsid sh -c 'trap "" TERM HUP; echo $$ > deaf.pid; while :; do sleep 1; done' &
wait
"""
    # Neither the run's name nor its lock is left to it, and its parent is gone: only who adopts it can find it.
    (tmp_path / "orphan.py").write_text(
        "import subprocess\n"
        "orphan = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "open('orphan.pid', 'w').write(str(orphan.pid))\n"
    )
    started = time.monotonic()
    with pytest.raises(TrainingError, match="did not end within 1 s and was stopped"):
        train(escapes, tmp_path, timeout=1)
    assert time.monotonic() - started < 8
    assert [pid for pid in pids(tmp_path, 6) if alive(pid)] == []
    assert not training.is_alive(RUN, tmp_path / "training.lock")


@pytest.mark.parametrize("ending", ["exit 0", "exit 3"])
def test_what_a_training_leaves_running_is_ended_however_it_ended(tmp_path: Path, ending: str) -> None:
    command = f"setsid sh -c 'echo $$ > daemon.pid; exec sleep 600' & while ! [ -s daemon.pid ]; do sleep 0.01; done; {ending}"
    try:
        train(command, tmp_path)
    except TrainingError:
        assert ending == "exit 3"
    assert [pid for pid in pids(tmp_path, 1) if alive(pid)] == []


def test_a_process_that_asks_for_time_to_end_gets_it(tmp_path: Path) -> None:
    command = "trap 'sleep 0.2; echo saved > saved; exit' TERM; echo $$ > shell.pid; while :; do sleep 0.05; done"
    with pytest.raises(TrainingError, match="did not end"):
        train(command, tmp_path, timeout=0.5)
    assert (tmp_path / "saved").exists()


def test_a_training_that_outlived_its_run_is_seen_and_ended_by_another(tmp_path: Path) -> None:
    """The controller is killed: nothing of its training is a descendant of the next."""
    script = f"""
import sys
from pathlib import Path
from retrain_trigger.process import training
command = (
    "setsid sh -c 'echo $$ > named.pid; exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec sleep 600' & "
    "env -i setsid sh -c 'echo $$ > holder.pid; exec sleep 600' & wait"
)
folder = Path({str(tmp_path)!r})
training.train(command, folder=folder, environment={{"RETRAIN_RUN_ID": {RUN!r}}}, timeout=600,
    log=folder / "train.log", training_lock=folder / "training.lock")
"""
    controller = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, start_new_session=True)
    members = pids(tmp_path, 2)
    controller.kill()
    controller.wait()
    assert all(alive(pid) for pid in members)
    assert lock.is_held(tmp_path / "training.lock")
    assert training.is_alive(RUN, tmp_path / "training.lock")
    assert not training.is_alive("another run", tmp_path / "no.lock")
    (tmp_path / "copy.lock").touch()
    assert not training.is_alive(RUN, tmp_path / "copy.lock"), "a copied project would end the training of its original"
    # In a process of its own: those that are left have become children of this one, where that is a subreaper.
    end = f"training.end_tree({RUN!r}, Path({str(tmp_path / 'training.lock')!r}))"
    program = f"from pathlib import Path\nfrom retrain_trigger.process import training\n{end}"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert [pid for pid in members if alive(pid)] == []
    assert not training.is_alive(RUN, tmp_path / "training.lock")


def test_nothing_of_a_training_is_nothing_to_end(tmp_path: Path) -> None:
    assert not training.is_alive(RUN, tmp_path / "training.lock")
    training.end_tree(RUN, tmp_path / "training.lock")
    assert list(tmp_path.iterdir()) == []


def test_the_log_is_private_and_a_training_never_writes_over_one(tmp_path: Path) -> None:
    train("echo first", tmp_path)
    assert (tmp_path / "train.log").stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        training.train(
            "echo second",
            folder=tmp_path,
            environment={"RETRAIN_RUN_ID": RUN},
            timeout=5,
            log=tmp_path / "train.log",
            training_lock=tmp_path / "training.lock",
        )
    assert (tmp_path / "train.log").read_text() == "first\n"
    assert not lock.is_held(tmp_path / "training.lock")
