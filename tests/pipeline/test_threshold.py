"""`performance_threshold: auto`, through the real command: what the champion scored, less the margin."""

import json
import shutil
from pathlib import Path

import pytest
from projects import Project, day


@pytest.fixture
def auto(bootstrapped: Project, tmp_path: Path) -> Project:
    """A project as before its first champion, with `performance_threshold: auto`."""
    project = Project(tmp_path / "auto")
    project.folder.mkdir()
    for name in ("labelled.parquet", "echo.py", "train.py", "Makefile"):
        (project.folder / name).write_bytes((bootstrapped.folder / name).read_bytes())
    project.write("config.yaml", (bootstrapped.folder / "config.yaml").read_text().replace("0.85", "auto"))
    return project


def told(project: Project) -> list[str]:
    """Return the thresholds that were written down, as they are explained."""
    return [entry["because"] for entry in project.history() if entry["kind"] == "threshold"]


def test_a_first_champion_is_held_against_its_score_on_rows_held_out_and_a_promoted_one_against_its_own(
    auto: Project,
) -> None:
    auto.trains("old")
    auto.run("--bootstrap", day=0)
    assert told(auto) == []
    auto.log(0.93)
    assert "f1 0.93 is at or above performance_threshold 0.9" in auto.run(day=1).stdout
    (first,) = told(auto)
    assert "rows held out of its training, less promotion.margin 0.02" in first
    auto.log(0.7, 0.7, since=day(1))
    auto.trains("new")
    assert "promoted: f1 0.7 is under performance_threshold 0.9" in auto.run(day=3).stdout
    auto.log(0.95, since=day(4))
    assert auto.run(day=5).stdout.startswith("healthy: ")
    assert auto.run(day=5.1).stdout.startswith("healthy: ")
    assert len(told(auto)) == 2
    assert "rows that decided its promotion, less promotion.margin 0.02" in told(auto)[1]
    shown = " ".join(auto.retrain_check("status").stdout.split())
    assert f"threshold {told(auto)[1]}" in shown


def test_an_adopted_champion_is_held_against_its_first_five_windows_and_waits_for_them(auto: Project) -> None:
    auto.trains("old")
    auto.retrain_check("run", "--bootstrap", "--now", day(-1).isoformat())
    shutil.copy(auto.folder / "models" / auto.pointer["path"], auto.folder / "live.model")
    auto.retrain_check("adopt", "live.model", "--reason", "it is live", "--now", day(0).isoformat())
    auto.log(0.9, 0.8)
    said = auto.run(day=2).stdout
    assert said.startswith(
        "waiting: performance_threshold: auto follows from the mean of the first 5 judged windows of "
    )
    assert "3 more are needed" in said
    auto.log(0.85, 0.86, 0.84, since=day(2))
    assert "f1 0.84 is at or above performance_threshold 0.83" in auto.run(day=5).stdout
    (auto.folder / "logs/metrics.jsonl").unlink()  # as logs are rotated away
    auto.log(0.2, since=day(5))
    assert "f1 0.2 is under performance_threshold 0.83" in auto.run("--dry-run", day=6).stdout


def test_a_first_champion_with_few_rows_held_out_waits_for_windows(auto: Project) -> None:
    auto.trains("old")
    settings = (auto.folder / "config.yaml").read_text()
    auto.write("config.yaml", settings.replace("min_rows: 200", "min_rows: 100000"))
    auto.run("--bootstrap", day=0)
    auto.log(0.93)
    assert "4 more are needed" in auto.run(day=1).stdout


def test_a_replay_takes_the_first_windows_of_the_log(auto: Project) -> None:
    auto.log(*[0.9] * 5, 0.87)
    shown = auto.retrain_check("simulate").stdout
    assert "1 retraining, 0 breaches waited, 4 waited for rows, 0 watched, 0 unknown" in shown
    assert "Retrain Triggered: f1 0.87 is under performance_threshold 0.88" in shown
    steps = json.loads(auto.retrain_check("simulate", "--format", "json").stdout)["steps"]
    assert [step["action"] for step in steps] == [*["waiting"] * 4, "healthy", "retrain"]
