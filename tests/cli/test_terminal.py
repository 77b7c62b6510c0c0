import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from projects import Project, day


@pytest.fixture(scope="module")
def adopted_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("adopted"))
    project.write("config.yaml", "performance_threshold: 0.85\ndrift_threshold: 0.20\n")
    project.makefile("@echo a new model > $$RETRAIN_OUTPUT")
    project.has_in_production()
    project.run("--bootstrap", "--adopt", "production.model", day=0)
    return project


@pytest.fixture
def adopted(adopted_once: Project, tmp_path: Path) -> Project:
    shutil.copytree(adopted_once.folder, tmp_path / "project")
    return Project(tmp_path / "project")


def begun(project: Project, *arguments: str, number: float = 3, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "retrain_trigger", "run", "--now", day(number).isoformat(), *arguments],
        cwd=project.folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(there: Callable[[], object]) -> None:
    for _ in range(1500):
        if there():
            return
        time.sleep(0.02)
    raise AssertionError("it never came")


def in_shell(project: Project, redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = f'"$0" -m retrain_trigger "$@" {redirections}'
    return subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, *arguments],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("how", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted; the next run finishes"),
        (signal.SIGHUP, 143, "the terminal was closed; the next run finishes"),
    ],
)
def test_a_signal_while_logs_are_read_ends_the_run(adopted: Project, how: signal.Signals, code: int, word: str) -> None:
    log = adopted.write_folder("logs/metrics.jsonl")
    os.mkfifo(log)
    run = begun(adopted, number=5)
    writing = opened_once_it_is_read(log)
    run.send_signal(how)
    _, said = run.communicate()
    assert (run.returncode, said.startswith(word)) == (code, True), said
    os.close(writing)
    log.unlink()
    adopted.log(0.9, 0.9, 0.9, 0.9, 0.9)
    assert adopted.run(day=5.1).stdout.startswith("healthy")


def test_signals_that_come_together_end_the_run_once(adopted: Project) -> None:
    log = adopted.write_folder("logs/metrics.jsonl")
    os.mkfifo(log)
    run = begun(adopted, number=5)
    writing = opened_once_it_is_read(log)
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCONT):
        run.send_signal(number)
    _, said = run.communicate()
    os.close(writing)
    assert re.fullmatch(r"[a-z ]+; the next run finishes or gives up what was begun\n", said), said
    assert run.returncode in {130, 143}


def test_a_signal_while_the_command_is_being_loaded_ends_it(adopted: Project) -> None:
    slow = "import sys, time\nopen('loading', 'w').close()\ntime.sleep(1)\ndel sys.modules['click'], sys.path[0]\n"
    adopted.write("click.py", f"{slow}import click\n")  # it is found before the real one
    os.mkfifo(adopted.write_folder("logs/metrics.jsonl"))  # reading it would not end
    run = begun(adopted)
    wait_for((adopted.folder / "loading").exists)
    run.send_signal(signal.SIGINT)
    said = "interrupted; the next run finishes or gives up what was begun\n"
    assert (run.communicate(), run.returncode) == (("", said), 130)


def test_a_signal_while_a_module_in_c_is_loaded_waits_until_it_can_be_raised(adopted: Project) -> None:
    """DuckDB calls Python while it is being loaded, and ends the process where an exception comes back."""
    early = "import enum\nbefore = enum.EnumType.__call__\ndef slow(*given, **named):\n    import os, time\n"
    early += "    if not os.path.exists('loading') and 'module' in named and 'duckdb' in str(named['module']):\n"
    early += "        open('loading', 'w').close()\n        time.sleep(1)\n    return before(*given, **named)\n"
    early += "enum.EnumType.__call__ = slow\n"
    adopted.write("early/sitecustomize.py", early)
    adopted.write("config.yaml", "performance_threshold: 0.85\nlogs: {predictions: 'p.jsonl'}\n")
    adopted.write("p.jsonl", '{"timestamp": "2026-01-22", "id": 1, "prediction": 1, "label": 1}\n')
    run = begun(adopted, PYTHONPATH=str(adopted.folder / "early"))
    wait_for((adopted.folder / "loading").exists)
    run.send_signal(signal.SIGTERM)
    said = "terminated; the next run finishes or gives up what was begun\n"
    assert (run.communicate(), run.returncode) == (("", said), 143)


def test_a_signal_after_the_work_is_over_changes_nothing(adopted: Project, tmp_path: Path) -> None:
    adopted.log(0.9, 0.9, 0.9)
    late = "import atexit, os, time\n\n@atexit.register\ndef wait():\n    open('ending', 'w').close()\n"
    late += "    while not os.path.exists('go'):\n        time.sleep(0.02)\n"
    (tmp_path / "late").mkdir()
    (tmp_path / "late/sitecustomize.py").write_text(late)
    run = begun(adopted, PYTHONPATH=str(tmp_path / "late"))
    wait_for((adopted.folder / "ending").exists)
    run.send_signal(signal.SIGTERM)
    adopted.write("go", "")
    out, said = run.communicate()
    assert (out.split(":")[0], said, run.returncode) == ("healthy", "", 0)


def opened_once_it_is_read(pipe: Path) -> int:
    """Open a pipe for writing as soon as somebody reads it, who then waits for ever."""
    for _ in range(3000):
        with suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.02)
    raise AssertionError("nobody reads it")


def test_a_signal_while_a_model_is_scored_ends_it_and_the_next_run_goes_on(champion: Project) -> None:
    champion.trains("new")
    echo = (champion.folder / "echo.py").read_text()
    slow = "    def predict(self, table):\n        import os, time\n        if os.path.exists('slow'):\n"
    slow += "            open('scoring.pid', 'w').write(str(os.getpid()))\n            time.sleep(600)\n"
    champion.write("echo.py", echo.replace("    def predict(self, table):\n", slow))
    champion.write("slow", "")
    run = begun(champion)
    wait_for(lambda: (champion.folder / "scoring.pid").exists() and (champion.folder / "scoring.pid").read_text())
    run.send_signal(signal.SIGTERM)
    run.communicate()
    assert run.returncode == 143
    assert not Path(f"/proc/{(champion.folder / 'scoring.pid').read_text()}").exists()
    (champion.folder / "slow").unlink()
    assert champion.run(day=3.1).stdout.startswith("promoted")
    assert champion.trainings() == 2


def test_a_scored_model_ends_with_a_killed_run(champion: Project) -> None:
    champion.trains("new")
    echo = (champion.folder / "echo.py").read_text()
    deaf = "    def predict(self, table):\n        import os, time\n"
    deaf += "        open('scoring.pid', 'w').write(str(os.getpid()))\n        time.sleep(600)\n"
    champion.write("echo.py", echo.replace("    def predict(self, table):\n", deaf))
    run = begun(champion)
    wait_for(lambda: (champion.folder / "scoring.pid").exists() and (champion.folder / "scoring.pid").read_text())
    run.kill()
    run.communicate()
    scorer = Path(f"/proc/{(champion.folder / 'scoring.pid').read_text()}/stat")
    wait_for(lambda: not scorer.exists() or ") Z " in scorer.read_text())


def test_under_nohup_a_closed_terminal_stops_nothing(champion: Project) -> None:
    champion.makefile("@touch training; while [ ! -e go ]; do sleep 0.05; done; exit 3")
    run = subprocess.Popen(
        ["nohup", sys.executable, "-m", "retrain_trigger", "run", "--now", day(3).isoformat()],
        cwd=champion.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for((champion.folder / "training").exists)
    run.send_signal(signal.SIGHUP)
    champion.write("go", "")
    assert run.wait() == 5


@pytest.mark.parametrize("redirections", ["<&- >&- 2>&-", "2>&1 | true; sleep 0", ">/dev/full 2>&1"])
def test_closed_streams_do_not_stop_the_work(adopted: Project, redirections: str) -> None:
    adopted.log(0.8)
    in_shell(adopted, redirections, "run", "--now", day(1).isoformat())
    assert adopted.kinds()[-1] == "kept"
    assert (adopted.folder / ".retrain-check/ledger.sqlite").read_bytes().startswith(b"SQLite format 3")


def test_a_result_that_cannot_be_written_is_missed_out_loud(adopted: Project) -> None:
    done = in_shell(adopted, ">/dev/full", "history")
    assert "the result could not be written (No space left on device)" in done.stderr


def test_a_run_far_ahead_of_the_clock_is_refused_and_a_question_is_not(adopted: Project) -> None:
    adopted.log(0.9)
    assert (
        "more than a day ahead of this machine's clock"
        in adopted.retrain_check("run", "--now", "2206-01-22", code=2).stderr
    )
    adopted.retrain_check("run", "--dry-run", "--now", "2206-01-22", code=3)
    assert "is not between 1970 and 2285" in adopted.retrain_check("run", "--now", "9999-12-31", code=2).stderr
    assert adopted.run(day=1).stdout.startswith("healthy")


def test_a_clock_that_went_back_is_said(adopted: Project) -> None:
    adopted.log(0.9)
    adopted.run(day=3)
    assert "an earlier run was at 2026-01-24 00:00Z" in adopted.run(day=1).stderr
