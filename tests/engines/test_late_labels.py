"""Labels that come days after their predictions: what is waited for, until when, and what is acted on meanwhile."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from projects import Project, day

from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.checks import lateness

SETTINGS = """\
performance_threshold: 0.85
drift_threshold: 0.20
data: {holdout: 40%, windows: [all]}
promotion: {decide_on: holdout, min_rows: 100}
trigger: {on_drift: retrain}
"""
LATE = timedelta(days=5)
APART = "logs: {predictions: predictions.jsonl, labels: labels.jsonl}\n"
TOGETHER = "logs: {predictions: predictions.jsonl}\n"
DAYS = range(-12, 20)


def rows_of(number: int, *, right: float, age: float) -> list[dict[str, Any]]:
    """Make the rows of one day: `old` is right so often, `new` always mostly is, and `age` may move."""
    random, rows = Random(number), []
    for place in range(240):
        label = random.random() < 0.4
        right_of = {"old": right, "new": 0.95, "slight": 0.71, "worse": 0.5}
        said = {name: int(label if random.random() < share else not label) for name, share in right_of.items()}
        at = day(number) + timedelta(minutes=6 * place)
        row = {"timestamp": at.isoformat(), "id": f"{number}-{place}", **said, "age": round(random.gauss(age, 10), 2)}
        rows.append(row | {"prediction": said["old"], "label": int(label), "labelled_at": (at + LATE).isoformat()})
    return rows


def serve(
    project: Project, *, falls: float = 99, moves: float = 99, stops: float = 99, stated: bool = True, logs: str = APART
) -> None:
    """Log all days: the model falls, an input moves, labels stop coming for the days from then on."""
    rows = [
        row
        for number in DAYS
        for row in rows_of(number, right=0.7 if number >= falls else 0.95, age=80 if number >= moves else 40)
    ]
    project.write("config.yaml", SETTINGS + logs)
    if logs == APART:
        apart = {"label", "labelled_at"}
        labelled = [row for row in rows if row["timestamp"] < day(stops).isoformat()]
        told = {"id", *(apart if stated else {"label"})}
        labels = [{name: value for name, value in row.items() if name in told} for row in labelled]
        labels.append({"id": "of nothing here", "label": 1})
        project.write("labels.jsonl", "".join(json.dumps(row) + "\n" for row in labels))
        rows = [{name: value for name, value in row.items() if name not in apart} for row in rows]
    project.write("predictions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("begun"))
    project.trains("old")
    serve(project)
    project.run("--bootstrap", day=0)
    return project


@pytest.fixture
def service(begun: Project, tmp_path: Path) -> Project:
    shutil.copytree(begun.folder, tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.mark.parametrize("logs", [APART, TOGETHER], ids=["in a file of their own", "in the row"])
def test_drift_in_windows_without_labels_waits_for_them_and_then_acts(service: Project, logs: str) -> None:
    serve(service, moves=3, logs=logs)
    waiting = service.run(day=1)
    assert waiting.stdout.startswith("waiting: a window waits for labels: 0% of 240 rows of 2026-01-21 00:00Z")
    assert "the first of them are waited for until 2026-01-30 00:00Z" in waiting.stdout
    assert waiting.stderr.count("labels take 5 days (median), 5 days (99 %)") == 1
    for number in (4, 6, 7.9):
        said = service.run(day=number).stdout
        assert said.startswith("waiting: drift ")
        assert "none of the breached window of 2026-01-24 00:00Z yet: its labels are expected about 2026-01-30" in said
        assert "and waited for until 2026-02-02 00:00Z (labels take 5 days (median), 5 days (99 %))" in said
        assert said == service.run("--dry-run", day=number).stdout
    assert service.run(day=8.1).stdout.startswith("kept: drift "), "the first of those that moved has its labels"
    assert service.trainings() == 2


def test_a_fall_that_is_labelled_is_acted_on_whatever_drift_does(service: Project) -> None:
    serve(service, falls=0, moves=6)
    service.trains("new")
    assert "promoted: f1 0." in service.run(day=8).stdout


def test_labels_that_come_after_a_training_for_drift_are_new_evidence(service: Project) -> None:
    serve(service, falls=5, moves=3)
    service.trains("slight")
    assert service.run(day=8.1).stdout.startswith("kept: drift "), "the fall of day 5 has no label yet"
    said = service.run(day=12).stdout
    assert "f1 0." in said
    assert "used up this evidence" not in said
    assert service.trainings() == 3


def test_with_no_time_of_labels_their_delay_is_what_the_windows_show(service: Project) -> None:
    serve(service, stops=4, stated=False)
    status = service.retrain_check("status", "--format", "json", "--now", day(9).isoformat())
    said = "labels take at most 5 days (half of them), 5 days (99 %), by what each window has"
    assert said in json.loads(status.stdout)["notes"]


def test_labels_that_stopped_are_told_from_late_ones(service: Project) -> None:
    serve(service, moves=3, stops=2)
    assert service.run(day=7).stdout.startswith("waiting: ")
    said = service.run(day=12.1, code=6).stderr
    assert "their newest is of 2026-01-22 23:54Z; trigger.max_age is 3d, and labels take 5 days" in said
    assert service.trainings() == 1


def test_where_no_label_ever_came_nothing_is_known_and_nothing_fails(simple: Project) -> None:
    serve(simple, stops=-20)
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    assert "are waited for until 2026-01-25 00:00Z" in simple.run(day=2).stdout
    assert "do labels still come?" in simple.run(day=6, code=3).stdout


def test_a_cron_that_runs_every_other_day_never_fails(service: Project) -> None:
    serve(service, falls=2, moves=4)
    codes = [service.run(day=number + 0.1, code=None).returncode for number in range(1, 20, 2)]
    assert codes == [0] * 10
    assert service.trainings() > 1


def window(number: int, coverage: float) -> WindowCounts:
    labelled = int(100 * coverage)
    return WindowCounts(start=day(number), model=None, rows=100, labelled=labelled, confusion=Confusion({}))


def test_a_delay_is_measured_from_the_windows_only_where_some_wait() -> None:
    length = timedelta(days=1)
    assert lateness.of_windows([], length=length, now=day(9)) is None
    assert lateness.of_windows([window(0, 0), window(1, 0)], length=length, now=day(9)) is None
    assert lateness.of_windows([window(0, 0.9), window(1, 0.9)], length=length, now=day(9)) is None
    seen = [window(0, 0.9), window(1, 0.9), window(2, 0.5), window(3, 0.1)]
    found = lateness.of_windows(seen, length=length, now=day(9))
    assert found is not None
    assert (found.median, found.most) == (timedelta(days=6), timedelta(days=7))
