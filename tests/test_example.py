"""The housing example: its settings, its data and its training script."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import joblib
import play
import pytest
import train as script

from retrain_trigger.config.load import load

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "housing"


def train(**variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RETRAIN_")}
    command = [sys.executable, str(EXAMPLE / "train.py")]
    env = {**kept, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_the_shipped_settings_load_and_write_only_into_the_ignored_folder() -> None:
    config = load(ROOT / "config.yaml")
    assert (config.performance_threshold, config.drift_threshold) == (play.THRESHOLD, 0.20)
    written = [config.logs.metrics, Path(config.data.labelled or ""), config.model.pointer, config.model.folder]
    assert all(path.is_relative_to(ROOT / "demo") for path in [*written, config.state])
    assert "/demo/" in (ROOT / ".gitignore").read_text().split()


def test_the_data_is_what_its_readme_describes() -> None:
    described = re.search(r"sha256: `([0-9a-f]{64})`", (EXAMPLE / "README.md").read_text())
    assert described
    assert hashlib.sha256((EXAMPLE / "housing.parquet").read_bytes()).hexdigest() == described[1]


def test_training_without_its_data_ends_in_one_line() -> None:
    ended = train()
    assert ended.returncode == 1
    assert ended.stderr.startswith("RETRAIN_TRAIN_DATA is not set")
    assert ended.stderr.count("\n") == 1


def test_training_leaves_a_model_that_knows_its_features(tmp_path: Path) -> None:
    source, target = tmp_path / "rows.parquet", tmp_path / "model.joblib"
    duckdb.execute(
        f"COPY (SELECT * EXCLUDE (t, y), t AS timestamp, y AS label FROM '{EXAMPLE / 'housing.parquet'}' "
        f"ORDER BY t LIMIT 500) TO '{source}'"
    )
    ended = train(RETRAIN_TRAIN_DATA=str(source), RETRAIN_OUTPUT=str(target))
    assert ended.stdout == "trained on 500 rows from 2020-10-01 to 2020-10-21\n", ended.stderr
    model = joblib.load(target)
    assert list(model.feature_names_in_) == [
        "MedInc",
        "HouseAge",
        "AveRooms",
        "AveBedrms",
        "Population",
        "AveOccup",
        "Latitude",
        "Longitude",
    ]
    assert list(model.classes_) == ["0", "1"]


def week(*, f1: float, outcome: str = "watching", looked_at: int = 40, verdict: str = "PASS") -> dict[str, Any]:
    finding = {"verdict": verdict, "value": 95.3, "limit": 1000, "evidence": {"overdispersion": 8.0}}
    return {"week": play.START, "f1": f1, "outcome": outcome, "looked_at": looked_at, "findings": [finding]}


def test_retraining_by_the_calendar_uses_the_rows_so_far_and_every_fourth_model() -> None:
    starts = list(play.every_week())[:2]
    scores = play.by_the_calendar(starts)
    assert (len(scores[1]), scores[1][0]) == (2, scores[4][0])
    served = play.rows(starts[1], starts[1] + play.WEEK)
    for every, trained_until in ((1, starts[1]), (4, starts[0])):
        said = script.fitted(play.rows(play.BEGIN, trained_until)).predict(served[script.FEATURES])
        assert scores[every][1] == play.f1_counts(served["label"], said)["f1"]
    assert scores[1][1] != scores[4][1]


@pytest.mark.parametrize(
    ("outcome", "f1", "praised"),
    [("healthy", 0.84, True), ("healthy, warned", 0.84, True), ("watching", 0.84, False), ("healthy", 0.85, False)],
)
def test_a_week_under_the_threshold_may_not_be_called_healthy(*, outcome: str, f1: float, praised: bool) -> None:
    assert play.is_praised(week(f1=f1, outcome=outcome)) is praised


def test_a_very_low_week_is_followed_by_an_alarm_or_it_is_said_why_not() -> None:
    alarm = week(f1=0.7, verdict="BREACH")
    low, few, fine = week(f1=0.4), week(f1=0.4, looked_at=19), week(f1=0.9)
    assert play.low_weeks([low, fine, alarm, few, fine]) == [
        "Weeks with F1 under 0.5 on 20 or more rows that F1 looks at: 1, of which 1 were followed by an alarm within 2 weeks."
    ]
    told, why = play.low_weeks([low, fine, fine, alarm])
    assert told.endswith("1, of which 0 were followed by an alarm within 2 weeks.")
    assert "differ 8.0 times as much as their rows explain, so its 40 rows count as 5 (evidence 95 of 1,000)" in why
