"""The policy played on rows of the past: real trainings in a scratch folder, beside plain rules."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from projects import ECHO, START, Project, write_rows

from retrain_trigger.config import load
from retrain_trigger.engines.stream import Stream
from retrain_trigger.process import cached, tree
from retrain_trigger.questions import backtest
from retrain_trigger.questions.backtest import Asked
from retrain_trigger.questions.tried import choices

LEARN = """
import json, os, pickle
import duckdb
from echo import Echo
rows = os.environ["RETRAIN_TRAIN_DATA"]
newest = f"FROM '{rows}' WHERE timestamp::TIMESTAMP > (SELECT max(timestamp::TIMESTAMP) - INTERVAL 3 DAY FROM '{rows}')"
right = {c: duckdb.sql(f"SELECT avg(({c} = label)::INT) {newest}").fetchall()[0][0] for c in ("old", "new", "worse")}
with open(os.environ["RETRAIN_OUTPUT"], "wb") as file:
    pickle.dump(Echo(max(right, key=right.get)), file)
with open("trained.log", "a") as file:
    file.write(json.dumps(right) + "\\n")
"""
"""Learns to repeat the column that was right most often in the newest three days; tells that it was asked."""


DAYS, FIRST = 12, 3
BREAK = START + timedelta(days=6)


@pytest.fixture(scope="session")
def past(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with labelled rows: until the break `old` is right, and `new` by chance; then it is the other way round."""
    project = Project(tmp_path_factory.mktemp("past"))
    write_rows(project.folder / "all.parquet", hours=DAYS * 24)
    chosen = f"if(timestamp::TIMESTAMPTZ < '{BREAK.isoformat()}'"
    told = f"SELECT * REPLACE ({chosen}, new, worse) AS old, {chosen}, worse, new) AS new) FROM '{project.folder}/all.parquet' ORDER BY hash(id)"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({told}) TO '{project.folder}/rows.parquet' (FORMAT parquet)")
    project.write("echo.py", ECHO)
    project.write("train.py", LEARN)
    project.makefile(f"@{sys.executable} train.py")
    project.write("config.yaml", "performance_threshold: 0.85\ndrift_threshold: 0.2\n")
    return project


def played(project: Project, cache: Path, *arguments: str) -> dict[str, Any]:
    command = ("backtest", "--data", "rows.parquet", "--first", str(FIRST), "--cache", str(cache), "--format", "json")
    document: dict[str, Any] = json.loads(project.retrain_check(*command, *arguments).stdout)
    return document


@pytest.fixture(scope="session")
def whole(past: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What a backtest came to, and its cache."""
    cache = tmp_path_factory.mktemp("cache")
    return played(past, cache, "--try", "performance_threshold=0.2"), cache


def test_what_was_live_is_scored_beside_plain_rules_and_other_settings(whole: tuple[dict[str, Any], Path]) -> None:
    found, _ = whole
    assert (found["windows"], found["metric"]) == (DAYS - FIRST, "f1")
    others = {other["name"]: other for other in found["others"]}
    assert list(others) == ["never", "periodic", "every window", "threshold"]
    assert others["never"]["score"] + 0.05 < found["score"] <= others["every window"]["score"]
    assert others["never"]["gain"]["difference"] > 0.05
    assert others["never"]["gain"]["lower"] >= 0
    assert others["never"]["trainings"] == 1
    assert others["every window"]["trainings"] == DAYS - FIRST
    (never_acts,) = found["tried"]
    assert never_acts["name"] == "performance_threshold=0.2"
    assert never_acts["score"] == others["never"]["score"]
    assert found["worst"]["live"] <= found["score"]
    refused, promoted = found["attempts"]
    assert not refused["promoted"]
    assert promoted["promoted"]
    assert not promoted["wrong"]
    assert promoted["gain"] > 0.1
    assert promoted["window"] > BREAK.isoformat()


def test_played_again_from_the_cache_nothing_is_trained_and_every_byte_is_the_same(
    past: Project, whole: tuple[dict[str, Any], Path]
) -> None:
    found, cache = whole
    before = (past.folder / "trained.log").read_text()
    started = Project(past.folder, forked=False)  # several at a time are processes of their own
    command = ("backtest", "--data", "rows.parquet", "--first", str(FIRST), "--cache", str(cache), "--format", "json")
    again = started.retrain_check(*command, "--try", "performance_threshold=0.2", "--jobs", "2", "-v")
    assert json.loads(again.stdout) == found
    told = [line for line in again.stderr.splitlines() if ": window " in line]
    assert re.match(r"as configured: window \d of 9, (1 training|\d+ trainings)(; |$)", told[0])
    assert (past.folder / "trained.log").read_text() == before
    assert not (past.folder / "models").exists()
    assert not (past.folder / ".retrain-check").exists()


def test_a_backtest_that_was_killed_goes_on_from_what_it_had_trained(
    past: Project, whole: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    found, _ = whole
    begun = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "retrain_trigger",
            "backtest",
            "--data",
            "rows.parquet",
            "--first",
            str(FIRST),
            "--cache",
            str(tmp_path / "c"),
            "--jobs",
            "2",
        ],
        cwd=past.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "c").glob("models/*.model"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    lives = [pid for pid in tree.of(begun.pid) if b"LokyProcess" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(lives) == 2
    os.kill(begun.pid, signal.SIGKILL)
    begun.wait()
    while not all(tree.is_gone(pid) for pid in lives):
        assert time.monotonic() < deadline + 60
        time.sleep(0.05)
    assert played(past, tmp_path / "c", "--try", "performance_threshold=0.2")["decisions"] == found["decisions"]


def test_a_training_that_took_long_counts_as_long_where_the_cache_spares_it(
    past: Project, whole: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    found, cache = whole
    shutil.copytree(cache, tmp_path / "c", ignore=shutil.ignore_patterns("lives"))
    for about in tmp_path.glob("c/models/*.json"):
        about.write_text(json.dumps({"seconds": 700.0}))
    slow = played(past, tmp_path / "c")
    assert slow["trainings"] < found["trainings"], "only the reach of the champion is trained again"
    assert slow["seconds"] == 700.0 * slow["trainings"]


def test_code_that_changed_is_trained_again(past: Project, whole: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    _, cache = whole
    stream = tmp_path / "rows.parquet"
    stream.write_bytes(b"rows")
    key = cached.taken(cache / "models", stream, "make train-model", past.folder)
    assert key is None
    model = cache / "models" / f"{cached.key(stream, 'make train-model', past.folder)}.model"
    model.write_bytes(b"a model")
    assert cached.taken(cache / "models", stream, "make train-model", past.folder) == model
    past.write("train.py", LEARN + "\n")
    assert cached.taken(cache / "models", stream, "make train-model", past.folder) is None
    past.write("train.py", LEARN)
    model.unlink()


def test_no_decision_looks_ahead(past: Project, whole: tuple[dict[str, Any], Path]) -> None:
    _, cache = whole
    said = past.retrain_check(
        "backtest", "--data", "rows.parquet", "--first", str(FIRST), "--cache", str(cache), "--check"
    ).stdout
    assert said.startswith("no decision looks ahead")


def test_a_decision_that_looks_ahead_is_found(
    past: Project, whole: tuple[dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cache = whole
    write = Stream.write

    def with_the_future(stream: Stream, window: int, target: Path, *, said: Path | None = None) -> None:
        """Log the rows of the last window there is in the place of today's: their labels are of another world."""
        late = stream.starts[window] >= START and said is not None and window % 3 == 0
        write(stream, window, target, said=said)
        if late:
            with duckdb.connect() as connection:
                ahead = min(window + 4, len(stream.starts) - 1)
                shifted = (stream.starts[ahead] - stream.starts[window]).days
                write(stream, ahead, target, said=said)
                moved = f"SELECT * REPLACE ((timestamp::TIMESTAMPTZ - INTERVAL {shifted} DAY)::VARCHAR AS timestamp) FROM '{target}'"
                connection.execute(f"COPY ({moved}) TO '{target}.moved' (FORMAT parquet)")
            Path(f"{target}.moved").rename(target)

    monkeypatch.setattr(Stream, "write", with_the_future)
    monkeypatch.chdir(past.folder)
    asked = Asked(data=Path("rows.parquet"), first=FIRST, cache=cache)
    told = backtest.looked_ahead(Path("config.yaml"), asked, say=lambda _: None)
    assert told is not None
    assert "looks ahead" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--first", "9"), "has rows in 12 windows of 1d"),
        (("--try", "promotion.margin"), "--try promotion.margin: write KEY=VALUE"),
        (("--try", "promotion.margin=high"), "promotion.margin needs a number"),
    ],
)
def test_mistakes_are_said(past: Project, tmp_path: Path, arguments: Sequence[str], said: str) -> None:
    done = past.retrain_check("backtest", "--data", "rows.parquet", "--cache", str(tmp_path), *arguments, code=2)
    assert said in done.stderr


def test_rows_that_cannot_be_played_are_counted_also_if_too_few_are_left(past: Project, tmp_path: Path) -> None:
    odd = f"""
        SELECT * REPLACE (
            CASE WHEN number % 2 = 0 THEN 'soon' WHEN number < 6 THEN '2100-01-01T00:00:00Z' ELSE timestamp::VARCHAR END AS timestamp,
            CASE WHEN number = 9 THEN NULL ELSE label END AS label
        ) FROM (SELECT *, row_number() OVER () AS number FROM '{past.folder}/rows.parquet' LIMIT 10)
    """
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * EXCLUDE (number) FROM ({odd})) TO '{tmp_path}/odd.parquet' (FORMAT parquet)"
        )
    done = past.retrain_check("backtest", "--data", f"{tmp_path}/odd.parquet", "--cache", str(tmp_path), code=2)
    assert "odd.parquet has rows in 1 window of 1d" in done.stderr
    assert "; left out: 3 rows dated later than now, 1 without a label, 5 without a readable time" in done.stderr


def test_choices_are_read_as_settings(past: Project) -> None:
    for given in choices(["promotion.margin=0.01,0.02", "data.windows=[7d, all]"]):
        load.load(past.folder / "config.yaml", given)
