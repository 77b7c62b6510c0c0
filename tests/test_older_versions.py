"""What an earlier version wrote, and left unfinished, is gone on with, verified, explained and rolled back."""

import json
import re
import tarfile
from pathlib import Path

import pytest
from projects import Project, write_rows

from retrain_trigger.core.records import encoded
from retrain_trigger.store.ledger import Ledger

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.tar.xz"))
"""Projects of earlier versions, each cut off after an entry of a kind: see golden/make.py."""
THRESHOLDS = "performance_threshold: 0.85\ndrift_threshold: 0.20\n"
SOON, LATER, LAST = "2026-01-23T13:00Z", "2026-01-24T13:00Z", "2026-01-24T14:00Z"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "labelled.parquet"
    write_rows(path, per_hour=4)
    return path


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name.removesuffix(".tar.xz"))
def older(request: pytest.FixtureRequest, rows: Path, tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    with tarfile.open(request.param) as packed:
        packed.extractall(project.folder, filter="tar")
    (project.folder / "labelled.parquet").symlink_to(rows)
    project.trains("new")
    project.log(0.7, 0.7, 0.7)
    return project


@pytest.mark.parametrize(
    "packed", [path for path in GOLDEN if path.name.startswith("f8bd330")], ids=lambda path: path.name
)
def test_what_the_release_before_wrote_would_be_written_the_same_today(packed: Path, tmp_path: Path) -> None:
    with tarfile.open(packed) as members:
        members.extractall(tmp_path, filter="tar")
    with Ledger.reading(tmp_path / ".retrain-check/ledger.sqlite") as ledger:
        entries = ledger.entries()
    assert entries
    assert [encoded(entry.event) for entry in entries] == [entry.body for entry in entries]


def test_what_an_earlier_version_left_is_finished_and_goes_on(older: Project, request: pytest.FixtureRequest) -> None:
    before = older.history()
    said = older.retrain_check("history", "--verify").stdout
    assert re.match(r"\d+ entries", said)
    for question in (("status",), ("history",), ("explain",), ("history", "-v"), ("history", "--at", SOON)):
        older.retrain_check(*question)
    told = [older.retrain_check("run", "--now", SOON).stderr for _ in range(3)]
    decided = any(entry["kind"] == "decided" for entry in before)
    assert sum("trigger.budget 8 per 30d, saving (4 per 30d)" in each for each in told) == decided, told
    assert json.loads(older.retrain_check("status", "--now", SOON, "--format", "json").stdout)["unfinished"] is None
    sealed = older.kinds().count("sealed")
    if sealed == 1 or "promoted" in request.node.name:  # where all was promoted, every entry before it is there, too
        older.retrain_check("run", "--force", "once more", "--now", LATER)
    for run in {entry["run"] for entry in older.history()}:
        older.retrain_check("explain", run)
    newest = json.loads(older.retrain_check("history", "--verify", "--format", "json").stdout)["newest"]
    assert re.fullmatch("[0-9a-f]{64}", newest)
    first = next(entry["version"] for entry in older.history() if entry["kind"] == "sealed")
    if older.pointer["version"] == first:
        last = [entry["version"] for entry in older.history() if entry["kind"] == "sealed"][-1]
        older.retrain_check("promote", last, "--reason", "seen", "--even-if-worse", "--now", LAST)
    older.retrain_check("rollback", "--now", LAST)
    assert older.pointer["version"] == first
    older.retrain_check("history", "--verify")


@pytest.fixture
def of_327854e(rows: Path, tmp_path: Path) -> Project:
    """A project of that version, which had these keys and other defaults, with a champion that is bad again."""
    project = Project(tmp_path / "project")
    with tarfile.open(Path(__file__).parent / "golden/327854e-promoted.tar.xz") as packed:
        packed.extractall(project.folder, filter="tar")
    (project.folder / "labelled.parquet").symlink_to(rows)
    project.trains("worse")
    return project


GIVEN = "data: {{labelled: labelled.parquet, holdout: 40%{data}}}\npromotion: {{{promotion}}}\ntrigger: {{{trigger}}}\n"
MIN_ROWS, WARNS = "min_rows: 50", "healthy, warned: "


@pytest.mark.parametrize(
    ("promotion", "asked", "trials"),
    [
        (f"out_of_time: 2, {MIN_ROWS}", "rows=50 certainty=87.84", "selected"),
        (f"out_of_time: 0, {MIN_ROWS}", "rows=50 certainty=95", "compared"),
        ("out_of_time: 0", "rows=500 certainty=95", None),
        (f"certainty: 90%, {MIN_ROWS}", "rows=50 certainty=90", "selected"),
        (f"decide_on: holdout, certainty: 80%, {MIN_ROWS}", "rows=50 certainty=80", "compared"),
        ("min_rows: 60", "rows=60 certainty=87.84", "selected"),
        ("", "rows=100 certainty=87.84", "selected"),
    ],
)
def test_what_a_config_of_then_says_of_a_comparison_is_meant_as_it_was(
    of_327854e: Project, promotion: str, asked: str, trials: str | None
) -> None:
    project = of_327854e
    project.write("config.yaml", THRESHOLDS + GIVEN.format(data="", promotion=promotion, trigger=""))
    done = project.retrain_check("run", "--force", "a test", "--now", LATER)
    if promotion.startswith("out_of_time"):
        meant = "`decide_on: newest` and `windows: 2`" if "2" in promotion else "`decide_on: holdout`"
        assert f"is read as {meant} of promotion; write that" in done.stderr
    rows, certainty = (float(each.split("=")[1]) for each in asked.split())
    entries = project.history()
    kinds = [entry["kind"] for entry in entries]
    began = len(kinds) - kinds[::-1].index("training")
    found = next(entry for entry in entries[began:] if entry["kind"] in {"selected", "compared"})
    assert found["kind"] == (trials or "compared")
    gates = {gate["name"]: gate for gate in found["trials"][0]["gates"]}
    assert gates["rows"]["limit"] == rows
    assert found["trials"][0]["comparison"]["certainty"] == pytest.approx(certainty / 100)


@pytest.mark.parametrize(
    ("data", "reaches"), [("", 3), (", windows: [all]", 1), (", windows: [7d, all]", 2), (", windows: auto", 3)]
)
def test_reaches_of_a_config_of_then_are_those_it_names(of_327854e: Project, data: str, reaches: int) -> None:
    of_327854e.write("config.yaml", THRESHOLDS + GIVEN.format(data=data, promotion=MIN_ROWS, trigger=""))
    of_327854e.retrain_check("run", "--force", "a test", "--now", LATER)
    begun = [entry for entry in of_327854e.history() if entry["kind"] == "training"]
    assert len(begun[-1]["reaches"]) == reaches


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ("budget: 1 per 30d", "the budget of 1 trainings per 30d is used up until 2026-02-22 12:00Z"),
        ("budget: 4 per 30d", "kept: f1 0.5 is under"),
        ("", "kept: f1 0.5 is under"),
    ],
)
def test_a_budget_of_a_config_of_then_is_strict_and_counts_its_old_attempts(
    of_327854e: Project, trigger: str, said: str
) -> None:
    project = of_327854e
    project.trains("new")
    project.write("config.yaml", THRESHOLDS + GIVEN.format(data="", promotion=MIN_ROWS, trigger=trigger))
    bad = [{"timestamp": f"2026-01-{day}T00:00:00Z", "f1": 0.5, "n": 500} for day in (24, 25, 26, 27)]
    project.write("logs/metrics.jsonl", "".join(json.dumps(line) + "\n" for line in bad))
    done = project.retrain_check("run", "--now", "2026-01-27T13:00Z", code=None)
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("trigger", "word"),
    [("", WARNS), ("on_drift: retrain", "would retrain: "), ("on_drift: warn", WARNS), ("on_drift: auto", WARNS)],
)
def test_drift_of_a_config_of_then_acts_as_it_names(of_327854e: Project, trigger: str, word: str) -> None:
    project = of_327854e
    project.write("config.yaml", THRESHOLDS + GIVEN.format(data="", promotion=MIN_ROWS, trigger=trigger))
    lines = [{"timestamp": f"2026-01-{day}T00:00:00Z", "f1": 0.9, "drift": 0.9} for day in (24, 25, 26, 27)]
    project.write("logs/metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    done = project.retrain_check("run", "--now", "2026-01-27T13:00Z", "--dry-run", code=None)
    assert done.stdout.startswith(word), done.stdout


@pytest.mark.parametrize("beside", ["decide_on: newest", "decide_on: holdout", "windows: 3"])
def test_a_key_of_then_beside_the_one_that_took_its_place_is_a_mistake(of_327854e: Project, beside: str) -> None:
    given = GIVEN.format(data="", promotion=f"out_of_time: 2, {beside}", trigger="")
    of_327854e.write("config.yaml", THRESHOLDS + given)
    assert "out_of_time" in of_327854e.retrain_check("run", code=2).stderr
