import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import joblib
import pytest

from retrain_trigger.core.errors import PromotionError
from retrain_trigger.process import cached, tree, warm
from retrain_trigger.process.scoring import models

ASKED = f"""{warm.BASELINE} label '["x", "word"]'"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose path is longer than that of a socket may be, with rows in it."""
    deep = tmp_path / ("deep" * 20) / ("deeper" * 10)
    deep.mkdir(parents=True)
    rows = "SELECT i % 7 AS x, if(i % 2 = 0, 'even', 'odd') AS word, (i % 7 > 3)::INT AS label FROM range(500) AS t(i)"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({rows}) TO '{deep}/rows.parquet' (FORMAT parquet)")
        connection.execute(
            f"COPY (SELECT * REPLACE (0 AS label) FROM ({rows})) TO '{deep}/one.parquet' (FORMAT parquet)"
        )
    return deep


@pytest.fixture
def serving(folder: Path) -> Iterator[Path]:
    with warm.serving(folder, threads=1), warm.used(folder):
        yield folder


def trained(folder: Path, name: str, *, rows: str = "rows.parquet") -> "subprocess.CompletedProcess[str]":
    environment = {"RETRAIN_TRAIN_DATA": str(folder / rows), "RETRAIN_OUTPUT": str(folder / name)}
    command = cached.command(folder, ASKED, None)
    return subprocess.run(
        ["/bin/sh", "-c", command], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def asked(folder: Path, model: Path) -> tuple[models.ModelFacts, list[tuple[str]]]:
    said = folder / "said.parquet"
    request = models.Request(tables={folder / "rows.parquet": said}, features=("x", "word"), hidden=("label",))
    found = models.ask(model, request, folder=folder, scratch=folder)
    return found, duckdb.read_parquet(str(said)).fetchall()


def test_a_warm_process_gives_the_model_and_the_answers_of_one_of_its_own(
    serving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RETRAIN_TRAIN_DATA", "RETRAIN_OUTPUT"):
        monkeypatch.setenv(name, str(serving / ("rows.parquet" if name.endswith("DATA") else "warm.model")))
    assert warm.trained(serving, ASKED) == 0
    warmly = asked(serving, serving / "warm.model")
    monkeypatch.setenv("RETRAIN_OUTPUT", str(serving / "own.model"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the number is written into the model
    subprocess.run(["/bin/sh", "-c", ASKED], check=True)
    assert (serving / "own.model").read_bytes() == (serving / "warm.model").read_bytes()
    with warm.used(None):
        assert asked(serving, serving / "own.model") == warmly
    assert warmly[0].rows == 500


def test_only_the_built_in_model_is_trained_there(serving: Path) -> None:
    assert warm.trained(serving, "make train-model") is None
    assert warm.trained(serving, f"{warm.BASELINE}d label") is None


def test_a_training_that_fails_says_why_in_its_log(serving: Path) -> None:
    done = trained(serving, "model", rows="absent.parquet")
    assert done.returncode == 1
    assert "absent.parquet" in done.stderr.splitlines()[-1]
    assert not list(serving.glob("*.model"))


def test_an_unusable_model_is_said(serving: Path) -> None:
    joblib.dump([1, 2], serving / "list.model")
    with pytest.raises(PromotionError, match="it is a list without a predict method"):
        asked(serving, serving / "list.model")


def test_without_such_a_process_each_is_started_by_itself(folder: Path) -> None:
    (folder / "warm").mkdir()  # where its socket would be
    with warm.serving(folder, threads=1), warm.used(folder):
        assert trained(folder, "model").returncode == 0
        assert asked(folder, folder / "model")[0].rows == 500


def test_a_training_that_is_stopped_leaves_nothing_behind(serving: Path) -> None:
    os.mkfifo(serving / "model")  # whoever writes it waits until somebody reads
    told = {"RETRAIN_TRAIN_DATA": str(serving / "rows.parquet"), "RETRAIN_OUTPUT": str(serving / "model")}
    command = shlex.split(cached.command(serving, ASKED, None))
    (server,) = (pid for pid in tree.of(os.getpid()) if b"--serve" in Path(f"/proc/{pid}/cmdline").read_bytes())
    with subprocess.Popen(command, env={**os.environ, **told}) as begun:
        assert until(lambda: len(tree.of(server)) == 1)
        (trainer,) = tree.of(server)
        begun.kill()
    assert until(lambda: tree.is_gone(trainer))


def test_it_ends_with_the_one_that_started_it(folder: Path) -> None:
    code = f"from pathlib import Path; from retrain_trigger.process import warm\nwith warm.serving(Path({str(folder)!r}), threads=1): print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as begun:
        assert begun.stdout is not None
        begun.stdout.readline()
        (server,) = tree.of(begun.pid)
        begun.kill()
    assert until(lambda: tree.is_gone(server))


def test_of_two_that_train_the_same_one_does(folder: Path) -> None:
    command = cached.command(folder, "echo >> trained.log; sleep 0.5; cp rows.parquet $RETRAIN_OUTPUT", None)
    started = []
    for name in ("one", "other"):
        told = {"RETRAIN_TRAIN_DATA": str(folder / "rows.parquet"), "RETRAIN_OUTPUT": str(folder / f"{name}.model")}
        started.append(subprocess.Popen(["/bin/sh", "-c", command], cwd=folder, env={**os.environ, **told}))
    for each in started:
        assert each.wait() == 0
    assert (folder / "trained.log").read_text() == "\n"
    assert (folder / "one.model").read_bytes() == (folder / "other.model").read_bytes()


def until(fulfilled: Callable[[], bool]) -> bool:
    """Wait until something is so, a minute at most."""
    deadline = time.monotonic() + 60
    while not (found := fulfilled()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
