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
