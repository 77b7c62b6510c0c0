"""A champion that does worse than its predecessor was doing is rolled back by itself, quarantined, and never promoted again."""

import json
import os
import shutil
from pathlib import Path

import duckdb
import pytest
from projects import CONFIG, Project, day

SETTINGS = CONFIG.replace("min_rows: 200", "min_rows: 200, probation: 7d") + (
    "trigger: {min_rows: 100}\nlogs: {predictions: predictions/*.jsonl}\n"
)


def serve(project: Project, number: int, column: str) -> None:
    """Log the day `number` after the break, on which the live model answered as this column."""
    query = (
        f"SELECT strftime(timestamp::TIMESTAMP, '%Y-%m-%dT%H:%M:%SZ'), id, {column}, label "
        f"FROM '{project.folder}/labelled.parquet' WHERE timestamp::TIMESTAMP >= "
        f"TIMESTAMP '{day(number):%Y-%m-%d}' AND timestamp::TIMESTAMP < TIMESTAMP '{day(number + 1):%Y-%m-%d}'"
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.execute(query).fetchall()
    lines = [json.dumps(dict(zip(("timestamp", "id", "prediction", "label"), row, strict=True))) for row in rows]
    project.write(f"predictions/{number:03}.jsonl", "".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="module")
def promoted_once(bootstrapped: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("promoted") / "project"
    shutil.copytree(bootstrapped.folder, folder)
    project = Project(folder)
    project.write("config.yaml", SETTINGS)
    project.trains("new")
    for number in range(3):
        serve(project, number, "old")
    assert project.run(day=3).stdout.startswith("promoted: ")
    return project


@pytest.fixture
def promoted(promoted_once: Project, tmp_path: Path) -> Project:
    """A project whose champion passed the gate on day 3; how it does in service is for the test to say."""
    shutil.copytree(promoted_once.folder, tmp_path / "promoted")
    return Project(tmp_path / "promoted")


def test_a_bad_champion_that_passed_the_gate_is_rolled_back_and_never_picked_again(promoted: Project) -> None:
    bad = promoted.pointer
    serve(promoted, 3, "worse")
    assert not promoted.run("--dry-run", day=4).stdout.startswith("would roll back")
    serve(promoted, 4, "worse")
    serve(promoted, 5, "worse")
    assert promoted.run("--dry-run", day=6).stdout.startswith("would roll back: f1 0.")
    done = promoted.run(day=6)
    assert done.stdout.startswith(f"rolled back: {bad['previous']} is the champion again; ")
    assert "is worse than the 0.6" in done.stdout
    pointer = promoted.pointer
    assert (pointer["version"], pointer["previous"]) == (bad["previous"], None)
    assert promoted.kinds()[-3:] == ["decided", "promoting", "promoted"]
    ended = promoted.history()[-1]
    assert (ended["by"], ended["quarantined"]) == ("probation", {"version": bad["version"], "sha256": bad["sha256"]})
    assert f"rolled back from {bad['version']}, which is quarantined" in promoted.retrain_check("history").stdout
    assert "BREACH   f1 0." in promoted.retrain_check("explain").stdout

    assert "nothing was measured since" in promoted.run(day=6.1).stdout
    for number in (6, 7, 8, 9):
        serve(promoted, number, "old")
    again = promoted.run(day=10).stdout
    assert again.startswith("kept: f1 0.")
    assert "byte for byte" in again
    assert promoted.pointer == pointer
    assert "no earlier champion" in promoted.retrain_check("rollback", "--now", day(10.1).isoformat(), code=2).stderr
    refused = promoted.retrain_check("rollback", bad["version"], "--now", day(10.1).isoformat(), code=2)
    assert "is quarantined" in refused.stderr
    adopting = ("adopt", f"models/{bad['path']}", "--reason", "it was fine", "--now", day(10.1).isoformat())
    assert "and was quarantined" in promoted.retrain_check(*adopting, code=2).stderr
    assert promoted.pointer == pointer


def test_a_champion_as_good_as_its_predecessor_stays_and_its_probation_is_shown(promoted: Project) -> None:
    before = promoted.pointer
    for number in (3, 4, 5):
        serve(promoted, number, "old")
    promoted.run(day=6)
    asked = promoted.retrain_check("status", "--now", day(6).isoformat()).stdout
    assert "(on probation until 2026-01-31 00:00Z)" in asked
    for number in (9, 10, 11):
        serve(promoted, number, "worse")
    assert "probation" not in promoted.run("--dry-run", "--verbose", day=14.5).stdout, "it is over, and long ago"
    assert promoted.pointer == before


def test_a_predecessor_that_is_gone_is_not_rolled_back_to(promoted: Project) -> None:
    before = promoted.pointer
    gone = promoted.folder / "models" / before["previous"]
    gone.chmod(0o755)
    gone.rename(gone.with_name(".moved"))
    for number in (3, 4, 5):
        serve(promoted, number, "worse")
    done = promoted.run(day=6)
    assert "it is not rolled back: there is no version" in done.stderr
    assert promoted.pointer == before


def test_a_rollback_that_was_cut_off_is_finished_and_quarantines(promoted: Project) -> None:
    bad = promoted.pointer
    for number in (3, 4, 5):
        serve(promoted, number, "worse")
    site = promoted.write(
        "site/sitecustomize.py",
        "import os\nfrom retrain_trigger.store.registry import Registry\n"
        "Registry.point_at = lambda *_: os.kill(os.getpid(), 9)\n",
    ).parent
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    now = day(6).isoformat()
    promoted.retrain_check("run", "--now", now, code=-9, PYTHONPATH=path)
    assert (promoted.kinds()[-1], promoted.pointer) == ("promoting", bad)
    promoted.run(day=6.1)
    assert promoted.pointer["version"] == bad["previous"]
    assert promoted.history()[-1]["quarantined"]["sha256"] == bad["sha256"]


def test_with_values_only_the_swing_of_the_predecessor_tells_chance_from_worse(
    bootstrapped: Project, tmp_path: Path
) -> None:
    shutil.copytree(bootstrapped.folder, tmp_path / "project")
    project = Project(tmp_path / "project")
    project.write("config.yaml", CONFIG.replace("min_rows: 200", "min_rows: 200, probation: 7d"))
    project.log(*[0.72, 0.69, 0.71] * 4, since=day(3))
    project.trains("new")
    before = project.pointer
    assert project.run(day=15).stdout.startswith("promoted: ")
    project.log(0.68, since=day(15))
    assert project.run("--dry-run", "--verbose", day=16).stdout.count("(on probation until") == 1
    project.log(0.5, 0.52, since=day(16))
    assert project.run(day=18).stdout.startswith(f"rolled back: {before['version']} is the champion again")
