"""What `run --dry-run` and `status` announce is what `run` then does, and neither of them changes a file."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from projects import BREAK, CONFIG, START, Project, day, write_rows

DONE = {
    "would retrain": {"promoted", "kept", "sealed"},
    "would resume": {"promoted", "kept"},
    "would promote": {"promoted"},
    "would keep": {"kept", "sealed"},
}
"""What a plan may end in; what it announces besides comes word for word."""
STARTS = {"training", "promoted"}
"""Entries without which `--exit-code` must not have answered 10."""

KILLER = """
import os
from retrain_trigger.core.entries import KINDS
from retrain_trigger.store.ledger import Ledger
append = Ledger.append
def killing(self, event, **more):
    append(self, event, **more)
    if os.environ.get("KILL_AFTER") == KINDS[type(event)]:
        os.kill(os.getpid(), 9)
Ledger.append = killing
"""


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """Return when each file was written, and what it holds."""
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def agree(project: Project, *arguments: str, at: float = 3) -> tuple[int, str]:
    """Ask what a run would do, let it, and compare: word, exit code, reason. Return the run's exit code and what it said."""
    before = contents(project.folder)
    planned = project.run("--dry-run", "--exit-code", "--format", "json", *arguments, day=at, code=None)
    status = project.retrain_check("status", "--format", "json", "--now", day(at).isoformat(), code=None)
    assert contents(project.folder) == before
    kinds = project.kinds()
    done = project.run("--format", "json", *arguments, day=at, code=None)
    started = bool(STARTS & set(project.kinds()[len(kinds) :]))
    assert (planned.returncode == 10) == started, planned.stdout + planned.stderr
    if planned.returncode not in {10, done.returncode}:
        raise AssertionError(f"announced {planned.returncode}, and it was {done.returncode}: {done.stderr}")
    if not planned.stdout:
        assert planned.stderr == done.stderr
        return done.returncode, done.stderr
    announced = json.loads(planned.stdout)
    if not arguments:
        assert json.loads(status.stdout)["because"] == announced["because"]
        assert json.loads(status.stdout)["outcome"] == announced["outcome"]
    said = json.loads(done.stdout) if done.stdout else {"outcome": "", "because": done.stderr}
    if announced["outcome"] in DONE:
        assert said["outcome"] in DONE[announced["outcome"]]
        because, _, _ = announced["because"].partition("; a retraining would start")
        assert announced["outcome"] != "would retrain" or said["because"].startswith(because)
        return done.returncode, f"{announced['because']} {said['because']}"
    assert (announced["outcome"], announced["because"]) == (said["outcome"], said["because"])
    return done.returncode, said["because"]


def measured(project: Project, *values: float, **more: Any) -> Project:
    """Put other measurements in the place of those that the project has."""
    (project.folder / "logs/metrics.jsonl").unlink()
    project.log(*values, **more)
    return project


def configured(project: Project, old: str, new: str, more: str = "") -> Project:
    project.write("config.yaml", CONFIG.replace(old, new) + more)
    return project


def refused(project: Project, kind: str = "worse") -> Project:
    """Let a challenger be refused at day 3."""
    project.trains(kind)
    assert project.run(day=3).stdout.startswith("kept: ")
    project.log(0.7, 0.7, since=day(3))
    return project


def one_class(project: Project) -> Project:
    configured(project, "labelled: labelled.parquet, holdout: 40%", "holdout_file: one.parquet")
    source, target = project.folder / "labelled.parquet", project.folder / "one.parquet"
    duckdb.sql(f"COPY (FROM '{source}' WHERE label = 0) TO '{target}' (FORMAT parquet)")
    return project


def leaking(project: Project) -> Project:
    configured(project, "holdout: 40%", "holdout_file: held.parquet")
    source, target = project.folder / "labelled.parquet", project.folder / "held.parquet"
    later = f"timestamp::TIMESTAMPTZ >= '{BREAK.isoformat()}'"
    duckdb.sql(f"COPY (FROM '{source}' WHERE {later}) TO '{target}' (FORMAT parquet)")
    return project


def late(project: Project) -> Project:
    write_rows(project.folder / "labelled.parquet", hours=(BREAK - START).days * 24)
    return project


def stopped(project: Project) -> Project:
    """Let labels stop after two days, and the model be measured bad a week later."""
    write_rows(project.folder / "labelled.parquet", hours=22 * 24)
    project.log(0.7, since=day(9))
    return project


def metrics_only(project: Project) -> Project:
    project.write("config.yaml", "performance_threshold: 0.85\ndrift_threshold: 0.20\n")
    return project


SITUATIONS: dict[str, tuple[Callable[[Project], object], float, int, str]] = {
    "healthy": (lambda p: measured(p, 0.9, 0.9, 0.9), 3, 0, "f1 0.9"),
    "breach": (lambda p: p.trains("new"), 3, 0, "promoted"),
    "breach, no better challenger": (lambda p: p.trains("worse"), 3, 0, "the champion is kept"),
    "cooldown": (refused, 3.1, 0, "cooldown until"),
    "evidence is spent": (lambda p: (refused(p), measured(p, 0.7, 0.7, 0.7)), 4.9, 0, "used up this evidence"),
    "budget": (
        lambda p: (refused(p), configured(p, "promotion:", "trigger: {cooldown: 1h, budget: 1 per 30d}\npromotion:")),
        4.1,
        0,
        "the budget of 1",
    ),
    "a column is missing": (
        lambda p: write_rows(p.folder / "labelled.parquet", select="* EXCLUDE (new)"),
        3,
        4,
        "column 'new' is missing",
    ),
    "a column is empty": (
        lambda p: write_rows(p.folder / "labelled.parquet", select="* REPLACE (NULL::INTEGER AS new)"),
        3,
        4,
        "column 'new' has no value",
    ),
    "ids are not unique": (
        lambda p: write_rows(p.folder / "labelled.parquet", select="* REPLACE ('r1' AS id)"),
        3,
        4,
        "id",
    ),
    "no labels": (
        lambda p: write_rows(p.folder / "labelled.parquet", select="* EXCLUDE (label)"),
        3,
        4,
        "column 'label'",
    ),
    "no labelled data": (lambda p: (p.folder / "labelled.parquet").unlink(), 3, 4, "there are no rows at"),
    "too few rows": (lambda p: configured(p, "min_rows: 200", "min_rows: 5000"), 3, 0, "rows more needed"),
    "one class": (one_class, 3, 6, "have one class only, '0'"),
    "late labels": (late, 2.9, 0, "none of the breached window of 2026-01-21 00:00Z yet"),
    "labels stopped": (late, 9, 3, "see whether monitoring is still running"),
    "labels stopped under a breach": (stopped, 10, 6, "are labelled rows still written?"),
    "drift only": (
        lambda p: (
            measured(p, 0.95, 0.95, 0.95, drift=0.5),
            configured(p, "promotion:", "trigger: {on_drift: retrain}\npromotion:"),
        ),
        3,
        0,
        "drift 0.5",
    ),
    "drift only warns": (
        lambda p: (
            measured(p, 0.95, 0.95, 0.95, drift=0.5),
            configured(p, "promotion:", "trigger: {on_drift: warn}\npromotion:"),
        ),
        3,
        0,
        "f1 0.95 is at or above",
    ),
    "a hold-out row is trained on": (leaking, 3, 4, "of the hold-out are in the training data"),
    "golden rows are gone": (
        lambda p: configured(p, "min_rows: 200", "min_rows: 200, golden: gone.csv"),
        3,
        6,
        "promotion.golden",
    ),
    "a slice has no column": (
        lambda p: configured(p, "min_rows: 200", "min_rows: 200, slices: [regoin]"),
        3,
        6,
        "column 'regoin'",
    ),
    "a check of one's own accepts": (
        lambda p: configured(p, "holdout: 40%", f"holdout: 40%, command: '{sys.executable} -c \"\"'"),
        3,
        0,
        "then data.command",
    ),
    "metrics only": (metrics_only, 3, 0, "no hold-out: set data.labelled"),
    "the log has stopped": (lambda _: None, 9, 3, "see whether monitoring is still running"),
    "the log is gone": (lambda p: (p.folder / "logs/metrics.jsonl").unlink(), 3, 3, "does not exist"),
    "no champion": (lambda p: shutil.rmtree(p.folder / "models"), 3, 6, "somebody moved it by hand"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_is_announced_is_what_happens(champion: Project, situation: str) -> None:
    prepare, at, code, said = SITUATIONS[situation]
    champion.trains("slight")
    prepare(champion)
    happened, told = agree(champion, at=at)
    assert happened == code
    assert said in told


def test_a_question_leaves_nothing_of_the_training_data_behind(champion: Project, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    now = day(3).isoformat()
    asked = champion.retrain_check("run", "--dry-run", "--now", now, TMPDIR=str(tmp_path / "temporary"))
    assert asked.stdout.startswith("would retrain: ")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_is_announced_of_a_forced_run_is_what_happens(champion: Project) -> None:
    measured(champion, 0.95, 0.95, 0.95)
    _, told = agree(champion, "--force", "a new feature")
    assert told.startswith("forced: a new feature")
    write_rows(champion.folder / "labelled.parquet", select="* EXCLUDE (new)")
    assert agree(champion, "--force", "a new feature", at=3.1)[0] == 4


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ("training", "waiting"),
        ("sealed", "would resume"),
        ("compared", "would promote"),
        ("promoting", "would promote"),
    ],
)
def test_what_an_unfinished_run_becomes_is_announced(champion: Project, after: str, outcome: str) -> None:
    champion.trains("new")
    site = champion.write("site/sitecustomize.py", KILLER).parent
    paths = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    champion.retrain_check("run", "--now", day(3).isoformat(), code=-9, PYTHONPATH=paths, KILL_AFTER=after)
    plan = champion.run("--dry-run", day=3.1)
    assert plan.stdout.startswith(f"{outcome}: ")
    assert "was cut off; a run would finish it first" in plan.stderr
    assert ("would be given up: it was cut off before a model was sealed" in plan.stderr) == (after == "training")
    agree(champion, at=3.1)


def test_while_a_training_runs_a_question_says_since_when_and_until_when(champion: Project) -> None:
    champion.makefile(
        f"@{sys.executable} -m retrain_trigger run --dry-run --now {day(3).isoformat()} > said 2>&1; echo $$? >> said",
        "@exit 1",
    )
    champion.run(day=3, code=5)
    said = (champion.folder / "said").read_text()
    assert said.endswith("\n75\n")
    assert "another run is active (process " in said
    assert "is still running since 2026-01-24 00:00Z (process " in said
    assert "train.log" in said
    assert "s before its deadline (" in said
