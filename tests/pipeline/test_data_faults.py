"""Faults injected into the labelled rows of a real project: each stops before `make`, and names its column."""

import json
import shutil
from pathlib import Path

import duckdb
import pytest
from projects import BREAK, CONFIG, Project, day, write_rows

from retrain_trigger.config import load
from retrain_trigger.core.errors import TrainingError
from retrain_trigger.core.outcomes import ExitCode, Outcome
from retrain_trigger.pipeline import run
from retrain_trigger.store import lock

MORE = """*,
    10 * exp((hash(id) % 1000) / 250.0 - 2) AS amount,
    (hash(id || 'a') % 1000 + hash(id || 'b') % 1000 + hash(id || 'c') % 1000) / 500.0 - 3 AS level,
    ['Bergen', 'Oslo', 'Turku'][(hash(id || 'd') % 3 + 1)::INTEGER] AS city,
    'customer ' || hash(id || 'e') AS customer
"""
NEW = f"timestamp::TIMESTAMPTZ >= '{BREAK.isoformat()}'"
DAY = 4.0
"""Days after the break: older than trigger.max_age, and so are then rows that end at the break."""


@pytest.fixture(scope="session")
def bootstrapped(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make a project once: numbers, texts and an identifier beside what the champion predicts from."""
    project = Project(tmp_path_factory.mktemp("faults"))
    project.write("config.yaml", CONFIG)
    write_rows(project.folder / "labelled.parquet", select=MORE)
    shutil.copy(project.folder / "labelled.parquet", project.folder / "good.parquet")
    project.trains("old")
    project.run("--bootstrap", day=0)
    project.log(0.7, 0.7, 0.7)
    project.makefile("@touch make-was-started; exit 1")
    return project


def inject(project: Project, query: str) -> None:
    """Make the labelled rows anew from the good ones."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW good AS SELECT * FROM '{project.folder / 'good.parquet'}'")
        connection.execute(f"COPY ({query}) TO '{project.folder / 'labelled.parquet'}' (FORMAT parquet)")


def tick(project: Project, number: float) -> Outcome:
    """Run a tick so many days after the break, in this process: there are many, and starting one takes longest."""
    return run.run(load.load(project.folder / "config.yaml"), now=day(number), say=lambda _: None)


def trains(project: Project, number: float) -> None:
    with pytest.raises(TrainingError):
        tick(project, number)
    assert started(project)


def started(project: Project) -> bool:
    return (project.folder / "make-was-started").exists()


def some(column: str, what: str, *, of: int = 8, when: str = NEW) -> str:
    """Return a query that writes something else into one of so many rows of a column."""
    return f"SELECT * REPLACE (if({when} AND hash(id || 'x') % {of} = 0, {what}, {column}) AS {column}) FROM good"


FAULTS = {
    "missing column": ("SELECT * EXCLUDE (amount) FROM good", "column 'amount' is missing"),
    "retyped column": ("SELECT * REPLACE (amount || ' EUR' AS amount) FROM good", "column 'amount' holds text values"),
    "empty column": ("SELECT * REPLACE (NULL::DOUBLE AS level) FROM good", "column 'level' has no value"),
    "nulls": (some("level", "NULL"), "column 'level' has no value in 13.8%"),
    "NaN": (some("level", "'nan'::DOUBLE"), "column 'level' has no value in 13.8%"),
    "infinity": (some("level", "'inf'::DOUBLE"), "column 'level' has no value in 13.8%"),
    "unit": (some("amount", "amount * 100", of=1), "column 'amount' is outside"),
    "sentinel": (some("level", "-999"), "column 'level' is outside"),
    "respelled": (some("city", "upper(city)", of=2), "column 'city' holds values that the champion never saw in 4"),
    "stuck": (some("level", "0.5", of=1), "column 'level' has one single value"),
    "duplicate ids": ("SELECT * REPLACE ('r1' AS id) FROM good", "repeat the id of another"),
    "one class": ("SELECT * REPLACE (1 AS label) FROM good", "class"),
    "labels not there yet": (
        f"SELECT * REPLACE (if({NEW} AND hash(id) % 50 > 0, 0, label) AS label) FROM good",
        "column 'label' holds '1' in",
    ),
    "no new rows": (f"SELECT * FROM good WHERE NOT {NEW}", "the newest labelled row is of 2026-01-20 23:00Z"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_stops_before_make_and_names_its_column_until_it_is_mended(champion: Project, fault: str) -> None:
    query, said = FAULTS[fault]
    inject(champion, query)
    refused = tick(champion, DAY)
    assert refused.code is ExitCode.DATA_REFUSED, refused.because
    assert said in refused.because
    assert not started(champion)
    inject(champion, "SELECT * FROM good")
    trains(champion, DAY + 0.1)


HONEST = f"""SELECT * REPLACE (
        CASE WHEN NOT {NEW} THEN level WHEN hash(id) % 50 = 0 THEN NULL WHEN hash(id) % 50 = 1 THEN -999 ELSE level + 1 END AS level,
        if({NEW} AND hash(id) % 3 = 0, 0, label) AS label,
        if({NEW} AND hash(id) % 6 = 0, 'Umea', city) AS city,
        if({NEW}, 'new ' || customer, customer) AS customer
    ), 1 AS more FROM good
"""
"""A mean moves by one standard deviation, the base rate falls from 40 % to 27 %, a city opens, and all customers are new.
2 % of nulls and of sentinels, and a column more, are no reason to stop either."""


def test_ordinary_drift_is_trained_on(champion: Project) -> None:
    inject(champion, HONEST)
    trains(champion, DAY)


def test_a_column_that_is_named_as_unchecked_may_change_its_unit(champion: Project) -> None:
    champion.write("config.yaml", CONFIG.replace("holdout: 40%", "holdout: 40%, unchecked: [amount]"))
    inject(champion, FAULTS["unit"][0])
    trains(champion, DAY)


def test_a_fault_that_was_mended_two_windows_ago_stops_nothing(champion: Project) -> None:
    hours = f"date_diff('hour', TIMESTAMPTZ '{BREAK.isoformat()}', timestamp::TIMESTAMPTZ)"
    inject(champion, some("level", "NULL", of=1, when=f"{hours} BETWEEN 0 AND 20"))
    trains(champion, DAY)


def test_a_column_without_any_value_can_be_named_as_unchecked_also_for_a_first_champion(champion: Project) -> None:
    inject(champion, FAULTS["empty column"][0])
    assert tick(champion, DAY).code is ExitCode.DATA_REFUSED
    champion.write("config.yaml", CONFIG.replace("holdout: 40%", "holdout: 40%, unchecked: [level]"))
    trains(champion, DAY + 0.1)
    shutil.rmtree(champion.folder / "models")
    shutil.rmtree(champion.folder / ".retrain-check")
    champion.trains("old")
    assert champion.run("--bootstrap", day=DAY).stdout.startswith("promoted: ")


def test_newest_windows_of_one_class_are_waited_for(champion: Project) -> None:
    champion.write("config.yaml", CONFIG.replace("promotion: {decide_on: holdout, min_rows: 200}", ""))
    one_class = f"if(timestamp::TIMESTAMPTZ > '{day(DAY - 3).isoformat()}', 0, label)"
    inject(champion, f"SELECT * REPLACE ({one_class} AS label) FROM good")
    waits = tick(champion, DAY)
    assert waits.code is ExitCode.OK
    assert "have one class only, '0'" in waits.because
    assert "training waits for at least 1 row of another class" in waits.because


def with_check(project: Project, script: str, settings: str = CONFIG) -> None:
    project.write("check.sh", script)
    project.write("config.yaml", settings.replace("holdout: 40%", "holdout: 40%, command: sh check.sh"))


def test_a_check_of_ones_own_refuses_with_its_last_words(champion: Project) -> None:
    with_check(champion, "echo looking; printf 'too many \\033pensioners\\n'; exit 3\n")
    done = champion.run(day=DAY, code=4)
    assert "data.command `sh check.sh` exited with 3 on the rows of all: looking / too many pensioners" in done.stdout
    assert not started(champion)
    with_check(champion, "exit 0\n")
    champion.run(day=DAY + 0.1, code=5)
    assert started(champion)


def test_a_check_of_ones_own_sees_each_split_and_the_reason(champion: Project) -> None:
    script = 'echo "$RETRAIN_TRAIN_DATA" >> seen; cp "$RETRAIN_TRAIN_DATA" seen.parquet; echo "$RETRAIN_REASON" > why\n'
    with_check(champion, script, CONFIG.replace("[all]", "[2d, all]"))
    champion.run(day=DAY, code=5)
    seen = [Path(line).name for line in (champion.folder / "seen").read_text().splitlines()]
    assert seen == ["train-all.parquet", "train-2d.parquet"]
    assert len(duckdb.read_parquet(str(champion.folder / "seen.parquet")).project("id").fetchall()) > 100
    reason = json.loads((champion.folder / "why").read_text())
    assert reason["because"].startswith("f1 0.7 is under performance_threshold 0.85")
    assert {finding["verdict"] for finding in reason["findings"]} == {"PASS"}


def test_a_check_of_ones_own_stands_before_the_simple_path_too(simple: Project) -> None:
    simple.write(
        "config.yaml", 'performance_threshold: 0.85\ndata: {command: "test -z \\"$RETRAIN_TRAIN_DATA\\"; exit 1"}\n'
    )
    assert "exited with 1 on the rows of all; it printed nothing" in simple.run("--bootstrap", day=0, code=4).stdout
    assert not (simple.folder / "models").exists()


def test_a_check_of_ones_own_that_hangs_is_ended_with_everything_it_started(champion: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from datetime import timedelta\nimport retrain_trigger.pipeline.data_check as d\nd.TIME = timedelta(seconds=1)\n"
    )
    with_check(champion, "setsid sleep 600 & echo $! > escaped.pid; sleep 600\n")
    done = champion.retrain_check(
        "run", "--now", day(DAY).isoformat(), code=4, PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2]}"
    )
    assert "data.command `sh check.sh` did not end within 1 s and was stopped" in done.stdout
    assert not Path(f"/proc/{(champion.folder / 'escaped.pid').read_text().strip()}").exists()
    assert not started(champion)


def test_a_check_of_ones_own_that_outlived_its_run_is_ended_by_the_next(champion: Project) -> None:
    with_check(champion, "kill -KILL $(cat .retrain-check/lock); sleep 600\n")
    champion.run(day=DAY, code=-9)
    held = champion.folder / ".retrain-check/check.lock"
    assert lock.is_held(held)
    champion.log(0.95, since=day(3))
    assert champion.run(day=4).stdout.startswith("healthy: ")
    assert not lock.is_held(held)
