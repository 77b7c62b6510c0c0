"""Twelve set-ups, each from its first champion through a healthy run, a breach and a rollback: what `status` says is true."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import joblib
import pytest
from projects import Project, day, repeating

FALL = 3
"""The day on which the champion's answers get bad; it is live from day 0."""
PER_HOUR = 10
WIDTH, MOST_LINES = 80, 20

SETTINGS = """\
performance_threshold: 0.85
drift_threshold: 0.20
trigger: {on_drift: warn}
promotion: {min_rows: 200}
"""
SOURCES = {
    ("metrics", "in the row"): "data: {labelled: labelled.jsonl, holdout: 40%}\n",
    ("metrics", "late"): "data: {labelled: labelled.jsonl, holdout: 40%}\n",
    ("metrics", "hold-out file"): "data: {labelled: labelled.jsonl, holdout_file: holdout.jsonl}\n",
    ("predictions", "in the row"): "logs: {predictions: predictions.jsonl}\ndata: {holdout: 40%}\n",
    ("predictions", "late"): "logs: {predictions: predictions.jsonl, labels: labels.jsonl}\ndata: {holdout: 40%}\n",
    ("predictions", "hold-out file"): (
        "logs: {predictions: predictions.jsonl}\ndata: {labelled: predictions.jsonl, holdout_file: holdout.jsonl}\n"
    ),
}


@dataclass(frozen=True)
class SetUp:
    """A project, and what its monitoring writes from day to day."""

    project: Project
    log: str
    labels: str
    adopted: bool

    @classmethod
    def begun(cls, folder: Path, log: str, labels: str, *, adopted: bool) -> "SetUp":
        project = Project(folder)
        project.write("config.yaml", SETTINGS + SOURCES[log, labels])
        project.trains("old")
        made = cls(project, log, labels, adopted)
        for number in range(-20, 0):
            made.serve(number)
        return made

    def serve(self, number: int) -> None:
        """Log one day: the service's rows, their labels, and in a metrics log the day's F1."""
        rows, counted = list(_rows(number)), {"tp": 0, "fp": 0, "fn": 0, "tn": 0}
        for row in rows:
            truth, said = row["label"], row["prediction"]
            counted[("t" if truth == said else "f") + ("p" if said else "n")] += 1
        if self.labels == "late":
            for row in rows:
                row["labelled_at"] = (day(number + 1) + timedelta(hours=18)).isoformat()
        if self.labels == "hold-out file":
            self.append("holdout.jsonl", [{**row, "id": f"apart-{row['id']}"} for row in _rows(number, seed=1)])
        if self.log == "metrics":
            self.append("labelled.jsonl", rows)
            f1 = 2 * counted["tp"] / (2 * counted["tp"] + counted["fp"] + counted["fn"])
            self.append("logs/metrics.jsonl", [{"timestamp": day(number).isoformat(), "f1": f1, **counted}])
        elif self.labels == "late":
            later = ("id", "label", "labelled_at")
            self.append("labels.jsonl", [{name: row[name] for name in later} for row in rows])
            self.append("predictions.jsonl", [{n: v for n, v in row.items() if n not in later[1:]} for row in rows])
        else:
            self.append("predictions.jsonl", rows)

    def append(self, name: str, rows: list[dict[str, Any]]) -> None:
        with self.project.write_folder(name).open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def first_champion(self) -> str:
        """Train the first champion, or take over the one in production; return what was said."""
        if not self.adopted:
            return self.project.run("--bootstrap", day=0).stdout
        joblib.dump(repeating("old"), self.project.folder / "production.joblib")
        return self.project.run("--bootstrap", "--adopt", "production.joblib", day=0).stdout

    def status(self, at: float) -> "Status":
        return Status(
            self.project.retrain_check("status", "--now", day(at).isoformat(), code=None, COLUMNS="80").stdout
        )


def _rows(number: int, *, seed: int = 0) -> Iterator[dict[str, Any]]:
    random = Random(number * 2 + seed)
    right = {"old": 0.95 if number < FALL else 0.6, "new": 0.95, "slight": 0.7, "worse": 0.5}
    for place in range(24 * PER_HOUR):
        label = random.random() < 0.4
        said = {name: int(label if random.random() < share else not label) for name, share in right.items()}
        at = day(number) + timedelta(hours=place / PER_HOUR)
        yield {
            "timestamp": at.isoformat(),
            "id": f"{number}-{place}",
            **said,
            "prediction": said["old"],
            "label": int(label),
        }


class Status:
    """What `status` printed, by its labels."""

    def __init__(self, printed: str) -> None:
        self.lines = printed.splitlines()
        self.rows: list[str] = []
        for line in self.lines:
            if line.startswith(" " * 8) and self.rows:
                self.rows[-1] += " " + line.strip()
            else:
                self.rows.append(" ".join(line.split()))

    def holds(self, *patterns: str) -> None:
        """Each sentence is one of those expected, and each of those is there; nothing is said twice."""
        told = "\n".join(self.lines)
        assert len(self.lines) <= MOST_LINES, told
        assert all(len(line) <= WIDTH for line in self.lines), told
        assert len(set(self.rows)) == len(self.rows), told
        for row in self.rows:
            assert any(re.match(pattern, row) for pattern in (*patterns, *_ALWAYS)), f"not expected: {row}\n\n{told}"
        for pattern in patterns:
            assert any(re.match(pattern, row) for row in self.rows), f"missing: {pattern}\n\n{told}"


RUN = r"\d{8}T\d{6}Z-[0-9a-f]{6}"
VERSION = rf"{RUN}(-\w+)?"
AT = r"\d{4}-\d\d-\d\d \d\d:\d\dZ"
PLACE = rf"(window {AT}|logs/metrics\.jsonl:\d+)"
_ALERT = (
    r"warns: f1 0\.\d\d is under performance_threshold 0\.85 beyond chance: evidence \S+ from this window alone, "
    rf"alerts begin at 1,000,000 \(240 labelled rows, {PLACE}\)$"
)
_ALWAYS = (
    _ALERT,
    rf"champion {VERSION} since {AT}$",
    rf"last run {AT}$",
    r"budget \d of 8 trainings left \(8 per 30d\)$",
    r"not judged drift \((the metrics log states none|there is nothing to measure it from)\)$",
    rf"pass drift 0(\.\d+)? is under drift_threshold 0\.2 \(.*\) \(window {AT}, 240 rows\)$",
    r"note .*(adopted|first windows|labels? (come|came|take|arrive))",
)
"""Sentences that may be there at any time; those of a moment are asked for."""
SINCE = rf"now waiting: nothing was measured since {VERSION} .* at {AT}; waiting for the first measurement until {AT}$"
LATE = rf"(; a window waits for labels: 0% of 240 rows of {AT} have theirs, trigger\.label_coverage is 80%)?"
HEALTHY = (
    r"now healthy: f1 0\.9\d is at or above performance_threshold 0\.85: evidence 0 of 1,000 that it is under it "
    rf"\(240 labelled rows, {PLACE}\){LATE}$"
)
BREACHED = (
    r"now would retrain: f1 0\.\d\d over the last \d windows is under performance_threshold 0\.85: evidence \S+ reaches "
    rf"trigger\.false_alarm_every 1,000 \([\d,]+ labelled rows; 240 labelled rows, {PLACE}\){LATE}(; a retraining would start: .*| \.\.\.)$"
)
COOLDOWN = rf"cooldown until {AT}$"
SET_UPS = list(product(("metrics", "predictions"), ("in the row", "late", "hold-out file"), (False, True)))


@pytest.mark.parametrize(
    ("log", "labels", "adopted"),
    SET_UPS,
    ids=[f"{log}, labels {labels}, {'adopted' if adopted else 'trained'}" for log, labels, adopted in SET_UPS],
)
def test_from_the_first_champion_to_a_rollback(tmp_path: Path, log: str, labels: str, *, adopted: bool) -> None:
    made = SetUp.begun(tmp_path, log, labels, adopted=adopted)
    project = made.project
    assert re.match(rf"promoted: {VERSION}", made.first_champion())
    first = project.pointer["version"]
    made.status(0.1).holds(SINCE)
    for number in range(FALL):
        made.serve(number)
    assert project.run(day=FALL + 0.5).stdout.startswith("healthy: f1 0.9")
    made.status(FALL + 0.5).holds(HEALTHY)
    for number in range(FALL, 8):
        made.serve(number)
    project.trains("new")
    made.status(8.5).holds(BREACHED)
    assert project.run(day=8.5).stdout.startswith("promoted: f1 0.")
    second = project.pointer["version"]
    assert second != first
    made.status(8.6).holds(SINCE, COOLDOWN)
    explained = project.retrain_check("explain").stdout
    run = re.match(RUN, second)
    assert run
    assert explained.startswith(f"run {run[0]}\n")
    assert "BREACH   f1 0." in explained
    assert re.search(
        rf"promoted +{second} by gate: (on the newest windows, )?challenger {second}(-candidate)? has f1 0\.9",
        explained,
    )
    back = project.retrain_check("rollback", "--reason", "a test", "--now", day(8.7).isoformat())
    assert back.stdout == f"rolled back: from {second} to {first}: a test\n"
    assert project.pointer["version"] == first
    made.status(8.8).holds(SINCE, COOLDOWN)
