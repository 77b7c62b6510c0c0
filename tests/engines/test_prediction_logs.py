"""Evidence from prediction logs and late labels, through the real command and the same functions."""

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from projects import BREAK, Project, day

from retrain_trigger.config import load
from retrain_trigger.counts.histograms import Bins
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.engines import prediction_log, reading
from retrain_trigger.engines.plan import Plan
from retrain_trigger.judge.policy import Action
from retrain_trigger.questions import simulate

SETTINGS = """\
performance_threshold: 0.85
drift_threshold: 0.20
logs: {predictions: "predictions/*.jsonl", labels: "labels.jsonl", reference: reference.parquet}
"""
ROWS = 400


def rows_of(
    number: int, *, right: float = 0.95, shift: float = 0.0, missing: float = 0.0, city: str = ""
) -> list[dict[str, Any]]:
    """Make the rows of one day: a number and a category, and a prediction that is right as often as `right`."""
    random = Random(number)
    rows = []
    for place in range(ROWS):
        label = random.random() < 0.4
        features = {
            "age": None if random.random() < missing else round(random.gauss(40 + 10 * shift, 10), 3),
            "city": city if city and random.random() < 0.3 else random.choice(["north", "south", "east"]),
        }
        at = day(number) + timedelta(seconds=place * 86400 / ROWS)
        said = label if random.random() < right else not label
        rows.append(
            {"timestamp": at.isoformat(), "id": f"{number}-{place}", "prediction": int(said), "truth": int(label)}
            | {"features": features}
        )
    return rows


class Service:
    """A service that logs its predictions by day, and whose labels arrive later in a file of their own."""

    def __init__(self, project: Project) -> None:
        self.project = project
        project.write("config.yaml", SETTINGS)
        flat = [
            {"timestamp": row["timestamp"], **row["features"]} for number in range(-20, 0) for row in rows_of(number)
        ]
        source = project.write("reference.jsonl", "".join(json.dumps(row) + "\n" for row in flat))
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT * FROM read_json('{source}')) TO '{source.with_suffix('.parquet')}' (FORMAT parquet)"
            )
        project.run("--bootstrap", "--adopt", "production.model", day=0)

    def serve(self, number: int, **how: Any) -> None:
        rows = rows_of(number, **how)
        for row in rows:
            row.pop("truth")
        self.project.write(f"predictions/{number:03}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def label(self, number: int, *, share: float = 1.0, arrives: float | None = None) -> None:
        arrived = day(number + 1 if arrives is None else arrives).isoformat()
        with self.project.write_folder("labels.jsonl").open("a") as file:
            for row in rows_of(number)[: int(share * ROWS)]:
                file.write(json.dumps({"id": row["id"], "label": row["truth"], "labelled_at": arrived}) + "\n")


@pytest.fixture
def service(simple: Project) -> Service:
    return Service(simple)


def test_a_fall_is_found_by_evidence_and_not_by_one_bad_day(service: Service) -> None:
    for number in range(8):
        service.serve(number, right=0.95 if number < 4 else 0.75)
        service.label(number)
    assert service.project.run(day=4).stdout.startswith("healthy: f1 0.9")
    first = service.project.run("--dry-run", day=5).stdout
    assert "evidence" in first
    done = service.project.run("--dry-run", "--exit-code", day=8, code=10)
    assert done.stdout.startswith("would retrain: f1 0.")
    assert "reaches trigger.false_alarm_every 1,000" in done.stdout


def test_a_day_with_a_third_of_its_labels_waits_and_is_judged_when_they_come(service: Service) -> None:
    for number in range(5):
        service.serve(number, right=0.95 if number < 1 else 0.5)
        service.label(number, share=1 if number < 1 else 0.3)
    done = service.project.run(day=5)
    assert done.stdout.startswith("healthy: ")
    assert "4 windows wait for labels: 30% of 400 rows" in done.stdout
    for number in range(1, 5):
        service.label(number, arrives=5.2)
    assert service.project.run("--dry-run", day=5.1).stdout.startswith("healthy: "), "they have not arrived yet"
    assert service.project.run("--dry-run", day=5.5).stdout.startswith(
        "would retrain: f1 0.45 over the last 4 windows is under"
    )


def test_a_log_that_stops_growing_is_never_healthy(service: Service) -> None:
    service.serve(0)
    service.label(0)
    assert service.project.run(day=2).stdout.startswith("healthy: ")
    assert "is monitoring still running" in service.project.run(day=5, code=3).stdout
    service.serve(4)
    service.serve(5)
    done = service.project.run(day=6, code=3)
    assert "no label has come since 2026-01-22 00:00Z" in done.stdout


@pytest.mark.parametrize(
    ("how", "named"),
    [({"shift": 1.0}, "age"), ({"missing": 0.4}, "age"), ({"city": "atlantis"}, "city")],
    ids=["shift", "nulls", "a new category"],
)
def test_drift_names_the_column(service: Service, how: dict[str, Any], named: str) -> None:
    service.serve(0)
    service.label(0)
    assert service.project.run(day=1).stdout.startswith("healthy: ")
    service.serve(1, **how)
    service.label(1)
    done = service.project.run("--dry-run", "--format", "json", day=2)
    drift = next(finding for finding in json.loads(done.stdout)["findings"] if finding["name"] == "drift")
    assert drift["verdict"] == "BREACH"
    assert drift["evidence"]["breached"] == [named]
    assert json.loads(done.stdout)["outcome"] != "would retrain"  # the metric is measured, so drift only warns
    service.project.write("config.yaml", SETTINGS + "trigger: {on_drift: warn}\n")
    warned = service.project.run(day=2)
    assert warned.stdout.startswith(("healthy, warned: ", "watching: "))
    assert "\nwarns: drift" in warned.stdout


def test_what_was_counted_is_counted_again_only_where_something_came(service: Service) -> None:
    for number in range(3):
        service.serve(number)
        service.label(number)
    service.project.run(day=3)
    old = service.project.folder / "predictions/000.jsonl"
    state = old.stat()
    old.write_bytes(b"x" * state.st_size)  # what an unchanged file holds is not looked at again
    os.utime(old, ns=(state.st_atime_ns, state.st_mtime_ns))
    service.serve(3)
    service.label(3)
    assert service.project.run(day=4).stdout.startswith("healthy: ")


def test_half_a_line_and_a_damaged_file(service: Service) -> None:
    service.serve(0)
    service.label(0)
    log = service.project.folder / "predictions/000.jsonl"
    log.write_text(log.read_text() + '{"timestamp": "2026-01-2')
    assert service.project.run(day=1).stdout.startswith("healthy: ")
    log.write_text("not json\n" * 50)
    assert "50 of 50 lines are not JSON" in service.project.run(day=1.1, code=3).stderr


def test_a_replay_of_a_recorded_history_gives_the_same_decisions(service: Service) -> None:
    for number in range(10):
        service.serve(number, right=0.95 if number < 5 else 0.7)
        service.label(number, arrives=number + 1 + (number % 3))
    for number in range(10):
        service.project.run(day=number + 1, code=None)
    recorded = [entry for entry in service.project.history() if entry["kind"] == "decided"]
    settings = load.load(service.project.folder / "config.yaml")
    replayed = [step.to_json() for step in simulate.simulate(settings, []).steps]
    assert any(step["action"] == Action.RETRAIN for step in replayed)
    measured = [entry for entry in recorded if entry["findings"]]
    assert len(measured) >= 9
    for entry in measured:
        step = next(
            each
            for each in replayed
            if datetime.fromisoformat(each["at"]) + timedelta(days=1) == datetime.fromisoformat(entry["at"])
        )
        assert json.dumps(step["findings"], sort_keys=True) == json.dumps(entry["findings"], sort_keys=True)
        assert step["because"].partition(";")[0] == entry["because"].partition(";")[0]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_every_format_comes_to_the_same_counts(tmp_path: Path, kind: str) -> None:
    (tmp_path / "log").mkdir()
    flat = [
        {**row["features"], **{k: v for k, v in row.items() if k != "features"}} for n in range(3) for row in rows_of(n)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in flat)
    (tmp_path / "all.jsonl").write_text(lines)
    with duckdb.connect() as connection:
        source = f"read_json('{tmp_path / 'all.jsonl'}')"
        for number, half in enumerate(("<", ">=")):
            where = f"timestamp::TIMESTAMP {half} TIMESTAMP '{day(1).replace(tzinfo=None)}'"
            options = {"jsonl": "FORMAT json", "csv": "FORMAT csv, HEADER", "parquet": "FORMAT parquet"}[kind]
            connection.execute(
                f"COPY (SELECT * FROM {source} WHERE {where}) TO '{tmp_path}/log/{number}.{kind}' ({options})"
            )
    names = ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")

    def counted(source: Path) -> list[WindowCounts]:
        plan = Plan(
            predictions=str(source),
            labels=None,
            columns={**{name: name for name in names}, "label": "truth"},
            window=timedelta(days=1),
            bins={
                "age": Bins.numeric([30.0, 40.0], [], low=0.0, high=99.0),
                "city": Bins.categorical({"north": 1}),
            },
            score_edges=(0.5,),
        )
        counted = prediction_log.count(plan, now=day(4))
        return reading.seen(plan, counted, now=day(4), told=lambda *_: "").windows

    apart = counted(tmp_path / "log")
    assert apart == counted(tmp_path / "all.jsonl"), "files add up to the whole"
    assert [window.rows for window in apart] == [ROWS] * 3
    assert sum(apart[0].confusion.cells.values()) == ROWS
    assert apart[0].start == BREAK


def test_a_column_that_is_no_longer_logged_has_moved(service: Service) -> None:
    service.serve(0)
    service.serve(1)
    log = service.project.folder / "predictions/001.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    for row in rows:
        del row["features"]["city"]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    service.label(0)
    service.label(1)
    assert "drift" in service.project.run("--dry-run", day=2).stdout
    assert "city" in service.project.run("--dry-run", day=2).stdout


def test_signs_of_a_feedback_loop_warn_and_may_keep_a_challenger_out(champion: Project) -> None:
    labelled = champion.folder / "labelled.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT *, old AS prediction, hash(id) % 100 < 97 AS exposed FROM '{labelled}') "
            f"TO '{champion.folder}/predictions.parquet' (FORMAT parquet)"
        )
    settings = (champion.folder / "config.yaml").read_text()
    logged = (
        settings.replace("promotion: {", "promotion: {feedback: block, ") + "logs: {predictions: predictions.parquet}\n"
    )
    champion.write("config.yaml", logged)
    champion.trains("new")
    kept = champion.run("--force", "to see", day=3)
    assert kept.stdout.startswith("kept: ")
    assert "promotion.feedback: block" in kept.stdout
    assert "97" in kept.stdout
    assert (
        next(e for e in champion.history() if e["kind"] == "training" and e["champion"])["served"]["rows"] == 3 * 24 * 8
    )
    champion.write("config.yaml", logged.replace("block", "warn"))
    assert champion.run("--force", "to see", day=3.1).stdout.startswith("promoted: ")


def test_a_slice_that_does_worse_alone_is_warned_of_and_never_retrains(service: Service) -> None:
    service.project.write("config.yaml", SETTINGS + "trigger: {slices: [city, colour]}\n")
    for number in range(9):
        rows = rows_of(number)
        for place, row in enumerate(rows):
            if row["features"]["city"] == "north" and place % 4 == 0:
                row["prediction"] = 1 - row["truth"]
            row.pop("truth")
        service.project.write(f"predictions/{number:03}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        service.label(number)
    named = "city 'north' is under performance_threshold 0.85: f1 0."
    done = service.project.run(day=9)
    assert done.stdout.startswith(("healthy, warned: ", "watching: "))
    assert named in done.stdout
    assert "warns: " in done.stdout
    assert "the log has no value of colour, which trigger.slices names" in done.stdout
    assert named in service.project.retrain_check("explain", service.project.history()[-1]["run"]).stdout
    replayed = service.project.retrain_check("simulate").stdout
    assert "0 retrainings" in replayed
    assert "slices warned in" in replayed
    assert named in replayed


def test_a_run_that_is_killed_while_it_reads_leaves_nothing_of_the_log(service: Service) -> None:
    service.serve(0)
    service.label(0)
    project = service.project
    private = project.folder / "private"
    private.mkdir()
    dies = "import os, sys; from retrain_trigger.cli import door; from retrain_trigger.engines import counting; "
    dies += "counting.Counting._of_batch = lambda *_: os.kill(os.getpid(), 9); door.main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", dies, "run", "--now", day(2).isoformat()],
        cwd=project.folder,
        env={**os.environ, "TMPDIR": str(private)},
        capture_output=True,
        check=False,
    )
    runs = project.folder / ".retrain-check/runs"
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(runs.glob("*/*.jsonl")), "it was killed while a part was there"
    assert not list(private.iterdir())
    project.run(day=2, code=None)
    assert not list(runs.iterdir())
