import fcntl
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import joblib
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retrain_trigger.core.errors import PromotionError
from retrain_trigger.process import tree
from retrain_trigger.process.scoring import models
from retrain_trigger.store import holders


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    table = pd.DataFrame({"b": [0.0, 1.0] * 1500, "note": "x", "a": range(3000), "label": ["stay", "churn"] * 1500})
    table.to_csv(tmp_path / "rows.csv", index=False)
    with duckdb.connect() as connection:
        connection.execute(f"COPY (FROM '{tmp_path}/rows.csv') TO '{tmp_path}/rows.parquet' (FORMAT parquet)")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(table[["a", "b"]], table["label"])
    joblib.dump(model, tmp_path / "model.joblib")
    return tmp_path / "rows.parquet"


def test_a_model_says_what_it_needs_answers_and_how_long_it_takes(rows: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 5 AS a, 1.0 AS b) TO '{few}' (FORMAT parquet)")
    said, of_few = tmp_path / "said.parquet", tmp_path / "of_few.parquet"
    request = models.Request(tables={rows: said, few: of_few}, features=["not", "asked"], timed=True)
    found = models.ask(tmp_path / "model.joblib", request, folder=tmp_path, scratch=tmp_path)
    assert (found.features, found.width, found.classes) == (("a", "b"), 2, ("churn", "stay"))
    assert (found.rows, found.sample) == (3000, 1000)
    assert found.seconds is not None
    assert 0 < found.seconds < 5
    assert duckdb.read_parquet(str(said)).fetchall() == [("stay",), ("churn",)] * 1500
    assert duckdb.read_parquet(str(of_few)).fetchall() == [("churn",)]
    untimed = models.ask(tmp_path / "model.joblib", models.Request(), folder=tmp_path, scratch=tmp_path)
    assert (untimed.width, untimed.seconds, untimed.sample) == (2, None, 0)


def test_a_column_that_the_rows_do_not_have_is_named(rows: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT a FROM '{rows}') TO '{other}' (FORMAT parquet)")
    with pytest.raises(PromotionError, match=r"needs column 'b', which the rows of other\.parquet do not have"):
        models.ask(
            tmp_path / "model.joblib",
            models.Request(tables={other: tmp_path / "said.parquet"}),
            folder=tmp_path,
            scratch=tmp_path,
        )


RESTLESS = """
import os, subprocess, sys, time

def start(token):
    for twice in (False, True):
        if not os.fork():
            os.setsid()
            if twice and os.fork():
                os._exit(0)
            if twice:
                os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", token], {})
            os.closerange(3, 100)
            subprocess.run([sys.executable, "-c", "import time; time.sleep(600)", token])

class Restless:
    def __init__(self, token, when):
        self.token, self.when = token, when
    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.when == "loaded":
            start(self.token)
            time.sleep(600)
    def predict(self, table):
        start(self.token)
        time.sleep(600)
"""
"""A model that starts processes which call setsid, fork twice, close what they inherit or clear their environment."""

ASKING = """
import sys
from pathlib import Path
from retrain_trigger.process.scoring import models
here = Path.cwd()
request = models.Request(tables={here / "rows.parquet": here / "run/said.parquet"}, features=["a"])
models.ask(here / "v/restless.joblib", request, folder=here, scratch=here / "run")
"""


def alive(token: str) -> list[int]:
    """Return the processes with a token among their arguments."""
    found = []
    for pid in holders.processes():
        with suppress(OSError):
            if token.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def gone(token: str) -> bool:
    return not alive(token)


def waited(condition: Callable[[], bool], within: float = 60.0) -> bool:
    until = time.monotonic() + within
    while not (met := condition()) and time.monotonic() < until:
        time.sleep(0.02)
    return met


@pytest.fixture
def restless(rows: Path) -> Iterator[Callable[[str], tuple[str, subprocess.Popen[bytes]]]]:
    """Let a process of its own ask a model that starts processes; return their token and it, once they run."""
    tmp_path = rows.parent
    (tmp_path / "restless.py").write_text(RESTLESS)
    (tmp_path / "run").mkdir()
    (tmp_path / "v").mkdir()
    tokens = []

    def begin(when: str) -> tuple[str, subprocess.Popen[bytes]]:
        tokens.append(f"token-{secrets.token_hex(8)}")
        make = f"import joblib, restless; m = restless.Restless({tokens[-1]!r}, {when!r}); joblib.dump(m, 'v/restless.joblib')"
        subprocess.run([sys.executable, "-c", make], cwd=tmp_path, check=True)
        controller = subprocess.Popen([sys.executable, "-c", ASKING], cwd=tmp_path)
        assert waited(lambda: len(alive(tokens[-1])) >= 2), "they run"
        return tokens[-1], controller

    yield begin
    for token in tokens:
        for pid in alive(token):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("when", ["loaded", "asked"])
def test_nothing_of_a_model_outlives_a_killed_controller(restless: Any, when: str) -> None:
    for _ in range(2):
        token, controller = restless(when)
        controller.kill()
        controller.wait()
        assert waited(partial(gone, token), 20), "the guard ends them"


def test_the_next_run_ends_what_outlived_controller_and_guard(restless: Any, tmp_path: Path) -> None:
    token, controller = restless("asked")
    for pid in tree.of(controller.pid):
        with suppress(OSError):
            if b"retrain_trigger.process.scoring.scorer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGSTOP)  # a guard that does not guard
    controller.kill()
    controller.wait()
    assert alive(token)
    models.end_leftover(tmp_path / "run")
    assert waited(partial(gone, token), 20)


@pytest.mark.usefixtures("rows")
def test_what_the_controller_has_not_started_goes_on(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\nfrom pathlib import Path\nfrom retrain_trigger.process.scoring import models\n"
        "own = subprocess.Popen(['sleep', '60'])\nhere = Path.cwd()\n"
        "print(models.ask(here / 'model.joblib', models.Request(), folder=here, scratch=here).width, own.poll())\nown.kill()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "2 None\n"
    with (tmp_path / "lock").open("w") as held, (tmp_path / "lock").open():
        fcntl.flock(held, fcntl.LOCK_EX)
        reader = subprocess.Popen(["tail", "-f", str(tmp_path / "lock")])
        assert waited(lambda: reader.pid in holders.of_file(tmp_path / "lock"))
        assert holders.of_file(tmp_path / "lock", locking=True) == {os.getpid()}
        reader.kill()
        reader.wait()
