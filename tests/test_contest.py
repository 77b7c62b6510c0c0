"""`compare`: two versions on the hold-out and on the logged requests, and nothing is written."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from projects import Project, day

LOGGED = 400
SKEWED = 10


@pytest.fixture(scope="module")
def rivals(bootstrapped: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose better challenger waits, sealed."""
    project = Project(tmp_path_factory.mktemp("rivals") / "project")
    shutil.copytree(bootstrapped.folder, project.folder)
    project.trains("new")
    project.run("--no-promote", day=3)
    return project


def versions(project: Project) -> tuple[str, str]:
    first, second = (entry["version"] for entry in project.history() if entry["kind"] == "sealed")
    return first, second


def compare(project: Project, *arguments: str, code: int = 0, **environment: str) -> str:
    done = project.retrain_check("compare", "--now", day(3.5).isoformat(), *arguments, code=code, **environment)
    return done.stdout + done.stderr


def state(folder: Path) -> dict[str, tuple[int, int]]:
    paths = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}


def test_the_newest_version_is_compared_with_the_champion_and_nothing_is_written(
    rivals: Project, tmp_path: Path
) -> None:
    champion, challenger = versions(rivals)
    before = state(rivals.folder)
    said = compare(rivals, "--exit-code", code=10, TMPDIR=str(tmp_path))
    assert state(rivals.folder) == before
    assert list(tmp_path.iterdir()) == []
    assert f"champion   {champion}\nchallenger {challenger}\n" in said
    assert f"challenger {challenger} has f1 0.9" in said
    assert "PASS     the 95% interval of the difference is from +0." in said
    assert "the champion said '0', the challenger '1'" in said
    assert "verdict    better: every gate passes" in said


def test_the_scores_are_those_of_the_run(rivals: Project) -> None:
    champion, challenger = versions(rivals)
    recorded = next(entry for entry in rivals.history() if entry["kind"] == "compared")["trials"][0]
    document = json.loads(compare(rivals, challenger, "--format", "json", "--now", day(3).isoformat()))
    assert document["better"] is True
    assert document["holdout"]["comparison"] == recorded["comparison"]
    assert document["holdout"]["joint"] == recorded["joint"]
    back = json.loads(compare(rivals, champion, "--champion", challenger, "--format", "json"))
    assert back["better"] is False
    assert back["holdout"]["comparison"]["difference"] < -0.1
    assert "is the champion itself" in compare(rivals, champion, code=2)
    assert "there is no version 'v9'" in compare(rivals, "v9", code=6)


def test_both_answer_the_logged_requests_again_with_and_without_labels(rivals: Project) -> None:
    champion, challenger = versions(rivals)
    rows = []
    for number in range(LOGGED):
        old, new = number % 2, number % 4 // 2
        logged = 1 - old if number < SKEWED else old
        at = (day(3) + timedelta(minutes=number)).isoformat()
        features = {"old": old, "new": new, "slight": 0, "worse": 0, "region": "north" if number % 2 else "south"}
        row = {"timestamp": at, "id": f"q{number}", "prediction": logged, "model": champion, **features}
        rows.append(row | ({"label": new} if number >= LOGGED // 2 else {}))
    rivals.write("served/day.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    served = rivals.folder / "config.yaml"
    config = served.read_text()
    try:
        served.write_text(
            config.replace("min_rows: 200", "min_rows: 200, slices: [old]") + 'logs: {predictions: "served/*.jsonl"}\n'
        )
        document = json.loads(compare(rivals, "--format", "json"))["rehearsal"]
        said = compare(rivals)
    finally:
        served.write_text(config)
        (rivals.folder / "served/day.jsonl").unlink()
    assert (document["rows"], document["share"]) == (LOGGED, 0.5)
    assert document["flips"] == [["0", "1", 100], ["1", "0", 100]]
    assert document["shares"] == {"0": [0.5, 0.5], "1": [0.5, 0.5]}
    assert document["skew"]["rows"] == LOGGED
    assert document["skew"]["share"] == 1 - SKEWED / LOGGED
    assert document["slices"]["old=0"]["rows"] == LOGGED // 2
    assert document["labelled"] == LOGGED // 2
    assert document["scores"] == {"champion": 0.5, "challenger": 1.0}
    assert "requests   both say the same on 50.0% of 400 rows of the log" in said
    assert "skew       asked again, the champion says what it logged on 97.5% of 400 rows" in said
    assert "f1 of the champion 0.500, of the challenger 1.000 on the 200 labelled ones" in said
    assert challenger in said


def test_without_rows_there_is_nothing_to_compare_on(simple: Project) -> None:
    assert "there is no champion" in simple.retrain_check("compare", code=2).stderr
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    assert "there is no sealed version beside" in simple.retrain_check("compare", code=2).stderr
    simple.log(0.8)
    simple.run(day=1)
    assert "set data.labelled or data.holdout_file" in simple.retrain_check("compare", code=6).stderr
