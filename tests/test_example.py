"""The housing example: its settings, its data and its training script."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import joblib

from retrain_trigger.config import load

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "housing"


def train(**variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RETRAIN_")}
    command = [sys.executable, str(EXAMPLE / "train.py")]
    env = {**kept, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_the_shipped_settings_load_and_write_only_into_the_ignored_folder() -> None:
    config = load(ROOT / "config.yaml")
    assert (config.performance_threshold, config.drift_threshold) == (0.85, 0.20)
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
