"""A model of three classes: evidence from the whole table, from the first bad day to the promotion of its successor."""

import re
import sys
from datetime import timedelta
from pathlib import Path
from random import Random

import joblib
import pytest
from projects import Project, day, write_parquet

from retrain_trigger.config import load as settings
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.memory import Memory
from retrain_trigger.pipeline.check import Observed, champion_measurements

SETTINGS = """\
performance_threshold: 0.80
drift_threshold: 0.20
metric: f1_macro
logs: {predictions: predictions}
trigger: {on_drift: warn}
data: {windows: [3d]}
promotion: {min_rows: 200}
"""

NEAREST = '''
"""A model that says the class whose rows were nearest, on average."""

class Nearest:
    def __init__(self, centres):
        self.centres = centres
        self.classes_ = sorted(centres)
        self.feature_names_in_ = ["x", "y"]

    def predict(self, table):
        return [self.said(x, y) for x, y in zip(table["x"], table["y"])]

    def said(self, x, y):
        return min(self.classes_, key=lambda name: (x - self.centres[name][0]) ** 2 + (y - self.centres[name][1]) ** 2)
'''

TRAIN = """
import os, duckdb, joblib
from nearest import Nearest
rows = duckdb.sql(f"SELECT label, avg(x), avg(y) FROM '{os.environ['RETRAIN_TRAIN_DATA']}' GROUP BY label").fetchall()
joblib.dump(Nearest({label: (x, y) for label, x, y in rows}), os.environ["RETRAIN_OUTPUT"])
"""

CENTRES = {"cat": (0.0, 0.0), "dog": (3.0, 0.0), "fox": (0.0, 3.0)}
MOVED = {"cat": (0.0, 0.0), "dog": (1.0, 1.5), "fox": (0.0, 3.0)}
"""What the classes look like, at first and after the fall: dogs have come nearer to both others."""
SHARES = {"cat": 80, "dog": 50, "fox": 20}
FALL = 4


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A champion of three classes, which is live from day 0 and is fine for some days."""
    made = Project(tmp_path)
    made.write("config.yaml", SETTINGS)
    made.write("nearest.py", NEAREST)
    made.write("train.py", TRAIN)
    made.makefile(f"@{sys.executable} train.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    return made


def rows_of(number: int) -> list[dict[str, object]]:
    random, centres = Random(number), CENTRES if number < FALL else MOVED
    labels = [name for name, rows in SHARES.items() for _ in range(rows)]
    random.shuffle(labels)
    return [
        {
            "timestamp": (day(number) + timedelta(minutes=9 * place)).isoformat(),
            "id": f"{number}-{place}",
            "x": random.gauss(centres[label][0], 0.6),
            "y": random.gauss(centres[label][1], 0.6),
            "label": label,
        }
        for place, label in enumerate(labels)
    ]


def serve(project: Project, number: int) -> None:
    """Log one day of predictions by the model that is live, as Parquet."""
    live = project.folder / "models" / project.pointer["path"] if (project.folder / "models").exists() else None
    model = joblib.load(live) if live else None
    logged = [
        {**row, "prediction": model.said(row["x"], row["y"]) if model else row["label"]} for row in rows_of(number)
    ]
    write_parquet(project.write_folder(f"predictions/{number + 30}.parquet"), logged)


def test_a_fall_is_proved_from_the_whole_table_and_its_successor_is_healthy(project: Project) -> None:
    for number in range(-8, 0):
        serve(project, number)
    assert project.run("--bootstrap", day=0).stdout.startswith("promoted: ")
    first = project.pointer["version"]
    said = []
    for number in range(8):
        serve(project, number)
        said += [project.run(day=number + 1).stdout] if number >= FALL - 1 else []
    healthy, watching, waiting, promoted, after = said
    assert re.match(
        r"healthy: f1_macro 0\.9\d is at or above performance_threshold 0\.8: evidence 0 of 1,000 that it is under it "
        r"\(150 labelled rows, window 2026-01-24 00:00Z\)\n$",
        healthy,
    )
    assert re.match(
        r"watching: f1_macro 0\.6\d? is under performance_threshold 0\.8, not proven yet: evidence \d+ of 1,000, "
        r"1 more such window would prove it \(150 labelled rows, window 2026-01-25 00:00Z\)\n",
        watching,
    )
    assert re.match(
        r"waiting: f1_macro 0\.6\d? over the last 2 windows is under performance_threshold 0\.8: evidence [\d,]+ reaches "
        r"trigger\.false_alarm_every 1,000 \(300 labelled rows; 150 labelled rows, window 2026-01-26 00:00Z\); 1 more window "
        r"of rows needed: all rows since 2026-01-25 00:00Z, when the breach began, decide",
        waiting,
    )
    assert re.match(
        r"promoted: f1_macro 0\.5\d over the last 3 windows is under .*; on the newest windows, challenger \S+ has f1_macro "
        r"0\.\d+ against the champion's 0\.\d+ on 300 deciding rows",
        promoted,
    )
    assert project.pointer["version"] != first
    assert re.match(r"healthy: f1_macro 0\.\d+ is at or above performance_threshold 0\.8: evidence 0 of 1,000", after)
    assert (project.trainings(), project.kinds().count("promoted")) == (2, 2)


def test_the_classes_that_the_champion_knows_are_waited_for_whether_they_occur_or_not() -> None:
    window = WindowCounts(start=day(0), model=None, rows=90, labelled=90, confusion=Confusion({("cat", "cat"): 90}))
    observed = Observed(windows=[window], labelled=True, classes=tuple(SHARES))
    config = settings.defaults(["metric=f1_macro", "logs.predictions=log.parquet"])
    (measured,) = champion_measurements(config, observed, Memory())
    assert measured.confusion == Confusion({("cat", "cat"): 90, ("dog", "dog"): 0, ("fox", "fox"): 0})
    of_one_class = settings.defaults(["metric=accuracy", "logs.predictions=log.parquet"])
    assert champion_measurements(of_one_class, observed, Memory())[0].confusion is None
