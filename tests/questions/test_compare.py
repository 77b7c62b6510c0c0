"""`compare`: two versions on the hold-out and on the logged requests, and nothing is written."""

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path

import joblib
import pandas as pd
import pytest
from projects import Project, day
from sklearn.tree import DecisionTreeClassifier

from retrain_trigger.cli import printing
from retrain_trigger.config import load
from retrain_trigger.core.card import Card
from retrain_trigger.core.errors import PromotionError
from retrain_trigger.judge.memory import Champion
from retrain_trigger.pipeline.tick import asked, registry
from retrain_trigger.questions import compare
from retrain_trigger.questions.rehearsal import rehearse

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
    first, second = sorted(card.parent.name for card in (project.folder / "models").glob("*/card.json"))
    return first, second


def state(folder: Path) -> dict[str, tuple[int, int]]:
    paths = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}


def test_no_promote_does_all_but_the_flip(rivals: Project) -> None:
    first, second = versions(rivals)
    assert rivals.pointer["version"] == first
    last = rivals.history()[-1]
    assert last["kind"] == "kept"
    assert f"would be promoted, and is kept out by --no-promote: `retrain-check promote {second} --" in last["because"]
    assert "--no-promote" in rivals.run("--bootstrap", "--no-promote", day=3, code=2).stderr


def test_the_newest_version_is_compared_as_in_a_run_and_nothing_is_written(rivals: Project, tmp_path: Path) -> None:
    _, challenger = versions(rivals)
    (recorded,) = next(entry for entry in rivals.history() if entry["kind"] == "compared")["trials"]
    before = state(rivals.folder)
    arguments = ("compare", "--now", day(3).isoformat(), "--exit-code", "--format", "json")
    done = rivals.retrain_check(*arguments, code=10, TMPDIR=str(tmp_path))
    assert state(rivals.folder) == before
    assert list(tmp_path.iterdir()) == []
    document = json.loads(done.stdout)
    assert (document["challenger"], document["better"]) == (challenger, True)
    assert document["holdout"]["comparison"] == recorded["comparison"]
    assert document["holdout"]["joint"] == recorded["joint"]


def test_where_the_newest_windows_decide_all_rows_count_that_neither_was_trained_on(
    rivals: Project, tmp_path: Path
) -> None:
    project = Project(shutil.copytree(rivals.folder, tmp_path / "project"))
    settings = (project.folder / "config.yaml").read_text()
    project.write("config.yaml", settings.replace("decide_on: holdout", "decide_on: newest"))
    arguments = ("compare", "--now", day(5).isoformat(), "--format", "json")
    document = json.loads(project.retrain_check(*arguments).stdout)
    told = re.match(
        r"neither was trained on these rows: (\d+) are held out, 384 are newer than what both", document["notes"][0]
    )
    assert told, document["notes"]
    assert 150 < int(told[1]) < 300, "two fifths of the rows of three days"
    assert document["holdout"]["comparison"]["rows"] == int(told[1]) + 384


def test_both_answer_the_logged_requests_again_with_and_without_labels(rivals: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    shutil.copytree(rivals.folder, project.folder)
    worse, better = versions(project)
    rows = []
    for number in range(LOGGED):
        old, new = number % 2, number % 4 // 2
        logged = 1 - new if number < SKEWED else new
        at = (day(3) + timedelta(minutes=number)).isoformat()
        row = {"timestamp": at, "id": f"q{number}", "prediction": logged, "model": better, "old": old, "new": new}
        rows.append(row | {"slight": 0, "worse": 0} | ({"label": new} if number >= LOGGED // 2 else {}))
    project.write("served/day.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    settings = (project.folder / "config.yaml").read_text().replace("min_rows: 200", "min_rows: 200, slices: [old]")
    project.write("config.yaml", f'{settings}logs: {{predictions: "served/*.jsonl"}}\n')
    loaded = load.load(project.folder / "config.yaml")
    found = compare.compare(loaded, worse, champion=better, now=day(3.5), say=lambda _: None)
    assert not found.better
    assert found.trial is not None
    assert found.trial.comparison.difference < -0.1
    document = found.to_json()["rehearsal"]
    assert (document["rows"], document["share"]) == (LOGGED, 0.5)
    assert document["flips"] == [["0", "1", 100], ["1", "0", 100]]
    assert document["shares"] == {"0": [0.5, 0.5], "1": [0.5, 0.5]}
    assert (document["skew"]["rows"], document["skew"]["share"]) == (LOGGED, 1 - SKEWED / LOGGED)
    assert document["slices"]["old=0"]["rows"] == LOGGED // 2
    assert (document["labelled"], document["scores"]) == (LOGGED // 2, {"champion": 1.0, "challenger": 0.5})
    said = "\n".join(printing.contest_lines(found))
    for line in (
        f"champion   {better}\nchallenger {worse}\nlabelled   challenger {worse} has f1 0.",
        "BREACH   the 95% interval of the difference is from -0.",
        "rows of '1': the champion said '1', the challenger '0'",
        "verdict    not better",
        "requests   both say the same on 50.0% of 400 rows of the log",
        "100 rows: the champion says '0', the challenger '1'",
        "'0' is said by the champion in 50.0%, by the challenger in 50.0% (+0.0%)",
        "old=1: the same on 50.0% of 200 rows",
        "skew       asked again, the champion says what it logged on 97.5% of 400 rows",
        "f1 of the champion 1.000, of the challenger 0.500 on the 200 labelled ones",
    ):
        assert line in said


def test_no_model_is_given_the_label_of_a_logged_request(rivals: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    shutil.copytree(rivals.folder, project.folder)
    row = {"timestamp": day(3).isoformat(), "id": "q", "prediction": 1, "old": 1, "new": 1, "slight": 0, "worse": 0}
    project.write("served.jsonl", json.dumps(row | {"label": 1}) + "\n")
    project.write("config.yaml", (project.folder / "config.yaml").read_text() + "logs: {predictions: served.jsonl}\n")
    loaded = load.load(project.folder / "config.yaml")
    asking = DecisionTreeClassifier().fit(pd.DataFrame({"label": [0, 1]}), [0, 1])
    joblib.dump(asking, tmp_path / "asking.joblib")
    registry(loaded).seal(Card(version="asking"), model=tmp_path / "asking.joblib", profile=None, log=None)
    with asked(loaded, now=day(3.5), say=lambda _: None) as tick, pytest.raises(PromotionError, match="column 'label'"):
        rehearse(tick, Champion(project.pointer["version"], day(0)), "asking")


@pytest.mark.parametrize("known_as", ["live-7", None])
def test_requests_are_the_champions_under_the_name_that_it_was_adopted_under(
    rivals: Project, tmp_path: Path, known_as: str | None
) -> None:
    project = Project(tmp_path / "project")
    shutil.copytree(rivals.folder, project.folder)
    worse, better = versions(project)
    row = {"timestamp": day(3).isoformat(), "id": "q", "prediction": 1, "model": "live-7", "old": 1, "new": 1}
    project.write("served.jsonl", json.dumps(row | {"slight": 0, "worse": 0}) + "\n")
    project.write("config.yaml", (project.folder / "config.yaml").read_text() + "logs: {predictions: served.jsonl}\n")
    with asked(load.load(project.folder / "config.yaml"), now=day(3.5), say=lambda _: None) as tick:
        found = rehearse(tick, Champion(worse, day(0), known_as=known_as), better)
    assert (found.skew is not None) == (known_as is not None)


def test_what_cannot_be_compared_is_named(rivals: Project) -> None:
    first, _ = versions(rivals)
    assert "is the champion itself" in rivals.retrain_check("compare", first, code=2).stderr
    assert "there is no version 'v9'" in rivals.retrain_check("compare", "v9", code=6).stderr


def test_without_rows_there_is_nothing_to_compare_on(simple: Project) -> None:
    assert "there is no champion" in simple.retrain_check("compare", code=2).stderr
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    assert "there is no sealed version beside" in simple.retrain_check("compare", code=2).stderr
    simple.log(0.8)
    simple.run(day=1)
    assert "set data.labelled or data.holdout_file" in simple.retrain_check("compare", code=6).stderr
