"""What is not known of an adopted model: its drift is measured from its first windows, and `status` says what follows."""

import json
import re
from datetime import timedelta
from pathlib import Path
from random import Random

import duckdb
import joblib
import pytest
import sklearn
from projects import ONE, Project, day
from sklearn.dummy import DummyClassifier

PER_DAY = 400
SETTINGS = "performance_threshold: 0.5\ndrift_threshold: 0.20\nlogs: {predictions: predictions/*.jsonl}\n"


def serve(project: Project, number: int, *, at: float = 0.0, model: str | None = None, bad_time: bool = False) -> None:
    """Log a day: requests whose input `a` lies about `at`, each answered rightly."""
    dice, rows = Random(number), []
    for place in range(PER_DAY):
        when = (day(number) + timedelta(days=place / PER_DAY)).isoformat()
        row = {
            "timestamp": when,
            "id": f"{number}-{model}-{place}",
            "a": dice.gauss(at, 1),
            "prediction": 1,
            "label": 1,
        }
        rows.append(row | ({"model": model} if model else {}))
    if bad_time:
        rows.append({**rows[-1], "timestamp": "soon", "id": f"{number}-bad"})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    project.write(f"predictions/{number + 50}{model or ''}.jsonl", text)


@pytest.fixture
def served(tmp_path: Path) -> Project:
    """A project whose service has a model that says 1, and logs its requests."""
    project = Project(tmp_path)
    project.write("config.yaml", SETTINGS)
    joblib.dump(ONE, tmp_path / "live.joblib")
    return project


def adopt(project: Project, *arguments: str, code: int = 0) -> str:
    done = project.retrain_check("adopt", "live.joblib", *arguments, "--now", day(0).isoformat(), code=code)
    return done.stdout + done.stderr


def status(project: Project, at: float) -> str:
    return " ".join(project.retrain_check("status", "--now", day(at).isoformat()).stdout.split())


UNKNOWN = (
    "the champion was adopted, and what it was trained on is not known: rows before 2026-01-21 00:00Z never decide, and "
    "drift is measured from its first windows, 1,000 rows or more"
)


def test_drift_is_measured_from_its_first_windows_for_good(served: Project) -> None:
    serve(served, -1, at=9)
    adopt(served)
    for number in range(3):
        serve(served, number, bad_time=number == 1)
    before = status(served, 2.5)
    assert UNKNOWN in before
    assert "not judged drift (there is nothing to measure it from)" in before
    assert served.run("--verbose", day=3.1).stdout.startswith("healthy: f1 1 is")
    serve(served, 3, at=3)
    for number in range(-1, 3):
        (served.folder / f"predictions/{number + 50}.jsonl").unlink()  # rotated away
    said = served.run(day=4.1).stdout
    assert re.search(r"warns: drift .* drift_threshold 0\.2 \(a \d", said)
    assert UNKNOWN in status(served, 4.2)


def test_rows_of_another_model_are_not_its_first_windows(served: Project) -> None:
    adopt(served, "--known-as", "live-7")
    for number in range(3):
        serve(served, number, model="live-7")
        serve(served, number, at=9, model="another")
    serve(served, 3, model="live-7")
    told = served.run("--verbose", day=4.1).stdout
    assert "warns: " not in told
    assert "PASS     drift" in told


def training(project: Project, name: str, *, columns: str = "timestamp, id, a, label") -> None:
    """Write what the model was trained on: rows of the day before it was adopted."""
    serve(project, -1)
    form = {"csv": "csv, header true", "parquet": "parquet"}[name.rpartition(".")[2]]
    with duckdb.connect() as connection:
        rows = f"SELECT {columns} FROM read_json('{project.folder}/predictions/49.jsonl')"
        connection.execute(f"COPY ({rows}) TO '{project.folder}/{name}' (FORMAT {form})")
    (project.folder / "predictions/49.jsonl").unlink()


@pytest.mark.parametrize("name", ["training.csv", "training.parquet"])
def test_what_it_was_trained_on_gives_it_a_profile(served: Project, name: str) -> None:
    training(served, name)
    adopt(served, "--trained-on", name)
    serve(served, 0, at=3)
    assert re.search(r"warns: drift .* drift_threshold 0\.2 \(a \d", served.run(day=1.1).stdout)
    said = status(served, 1.2)
    assert "is not known" not in said
    assert "first windows" not in said
    profile = json.loads((served.folder / "models" / served.pointer["path"]).with_name("profile.json").read_text())
    assert profile["rows"] == PER_DAY
    assert profile["newest"] < day(0).isoformat()


def test_rows_without_times_give_it_a_profile_too_and_status_says_what_follows(served: Project) -> None:
    training(served, "training.csv", columns="a, label")
    adopt(served, "--trained-on", "training.csv")
    serve(served, 0, at=3)
    assert re.search(r"warns: drift .* drift_threshold 0\.2 \(a \d", served.run(day=1.1).stdout)
    said = status(served, 1.2)
    assert "the rows it was trained on have no times: rows before 2026-01-21 00:00Z never decide" in said
    assert "first windows" not in said


@pytest.mark.parametrize(
    ("name", "columns", "why"),
    [
        ("nowhere.csv", None, "there are no rows at nowhere.csv; --trained-on names a file, a folder or a glob"),
        ("live.joblib", None, "live.joblib holds .joblib; one of .parquet, .csv, .tsv, .jsonl, .ndjson can be read"),
        ("training.csv", "timestamp, id, a", "column 'label' (label) is missing in training.csv"),
    ],
    ids=["no file", "no table", "no label"],
)
def test_what_it_cannot_have_been_trained_on_is_refused(
    served: Project, name: str, columns: str | None, why: str
) -> None:
    if columns is not None:
        training(served, name, columns=columns)
    assert f"--trained-on: {why}" in adopt(served, "--trained-on", name, code=2)
    assert not (served.folder / "models").exists()


def test_a_model_that_another_scikit_learn_wrote_is_said(served: Project) -> None:
    path = served.folder / "live.joblib"
    joblib.dump(DummyClassifier(strategy="constant", constant=1).fit([[0], [1]], [0, 1]), path)
    written = path.read_bytes()
    other = ".".join([*sklearn.__version__.split(".")[:-1], "0"])
    assert len(other) == len(sklearn.__version__)
    path.write_bytes(written.replace(sklearn.__version__.encode(), other.encode()))
    told = f"was written by scikit-learn {other} and is read by {sklearn.__version__}: it may answer otherwise here"
    assert told in adopt(served)
    serve(served, 0)
    assert told in status(served, 1.1)
