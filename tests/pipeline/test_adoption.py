"""Adopting a model that is live: what is refused, what is its own in the logs, and how it is undone."""

import json
from datetime import timedelta
from pathlib import Path

import joblib
import pytest
from projects import ONE, Project, day
from sklearn.preprocessing import StandardScaler


def log(project: Project, *lines: tuple[float, float, str | None]) -> None:
    with project.write_folder("logs/metrics.jsonl").open("a") as file:
        for number, f1, model in lines:
            named = {"model": model} if model else {}
            file.write(json.dumps({"timestamp": day(number).isoformat(), "f1": f1, "n": 500, **named}) + "\n")


def adopt(project: Project, path: str, *arguments: str, at: float, code: int = 0) -> str:
    done = project.retrain_check("adopt", path, *arguments, "--now", day(at).isoformat(), code=code)
    return done.stdout + done.stderr


@pytest.mark.parametrize("what", ["a dict", "a function", "a text", "a folder", "nothing", "a transformer"])
def test_what_is_no_model_is_refused_and_nothing_is_written(simple: Project, what: str) -> None:
    path = simple.folder / "live"
    match what:
        case "a dict":
            joblib.dump({"predict": 1}, path)
        case "a function":
            joblib.dump(len, path)
        case "a text":
            path.write_text("no model")
        case "a folder":
            path.mkdir()
        case "a transformer":
            joblib.dump(StandardScaler().fit([[0], [1]]), path)
    before = sorted(each.name for each in simple.folder.iterdir())
    adopt(simple, "live", at=0, code=2)
    assert sorted(each.name for each in simple.folder.iterdir()) == before


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("who_knows", "install who_knows where retrain-check runs, or put who_knows.py beside config.yaml"),
        ("joblib.gone", "it was saved with another version of joblib than the one that is installed here"),
        ("__main__", "put its class in a module beside config.yaml, import it from there, and save the model again"),
    ],
    ids=["not installed", "another version", "a script"],
)
def test_for_want_of_its_code_it_says_what_to_do(simple: Project, module: str, why: str) -> None:
    (simple.folder / "live").write_bytes(b"\x80\x02c" + module.encode() + b"\nMine\n)\x81.")  # an object of class Mine
    said = adopt(simple, "live", at=0, code=2)
    assert module.partition(".")[0] in said
    assert f"{why}. Nothing was adopted" in said


HOSTILE = """
import os, subprocess, sys, time

def exits():
    os._exit(0)

def never_ends():
    time.sleep(600)

def writes_the_reply():
    os.write(1, b'{"features": null}')
    raise SystemExit(0)

def leaves_a_process():
    held = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    open("left", "w").write(str(held.pid))
    raise ValueError("no model")
"""


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("exits", "the process that loads it left no reply"),
        ("never_ends", "the process that loads it did not end within 2 s"),
        ("writes_the_reply", "could not be used: SystemExit: 0"),
        ("leaves_a_process", "could not be used: ValueError: no model"),
    ],
)
def test_what_runs_when_it_is_loaded_harms_no_more_than_itself(simple: Project, what: str, why: str) -> None:
    simple.write("config.yaml", "performance_threshold: 0.85\ntrain: {timeout: 2s}\n")
    simple.write("hostile.py", HOSTILE)
    (simple.folder / "live").write_bytes(b"\x80\x02chostile\n" + what.encode() + b"\n)R.")
    assert why in adopt(simple, "live", at=0, code=2)
    assert not (simple.folder / "models").exists()
    assert not (simple.folder / ".retrain-check").exists()
    left = simple.folder / "left"
    assert not left.exists() or not Path(f"/proc/{left.read_text()}").exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [("circle", "cannot be read (Too many levels of symbolic links)"), ("x" * 300, "File name too long")],
    ids=["a circle of links", "a long name"],
)
def test_a_path_that_leads_to_nothing_is_refused(simple: Project, name: str, why: str) -> None:
    (simple.folder / "circle").symlink_to("circle")
    assert why in adopt(simple, name, at=0, code=2)


@pytest.mark.parametrize("name", ["a link", "has blanks", "b\udcff"], ids=["a link", "blanks", "bytes"])
def test_whatever_its_path_is_called(simple: Project, name: str) -> None:
    path = simple.folder / name
    if name == "a link":
        path.symlink_to("production.model")
    else:
        (simple.folder / "production.model").rename(path)
    adopt(simple, name, at=0)
    assert (simple.folder / "models" / simple.pointer["path"]).is_file()
    assert adopted_by(simple) == "adopt"


def adopted_by(project: Project) -> str:
    return str(project.history()[-1]["by"])


def test_since_lets_the_first_run_judge(simple: Project) -> None:
    log(simple, (-5, 0.9, None), (-1, 0.9, None))
    adopt(simple, "production.model", "--since", day(-3).isoformat(), at=0)
    assert simple.run(day=0.1).stdout.startswith("healthy: f1 0.9")


def test_without_since_what_was_before_is_not_its_own(simple: Project) -> None:
    log(simple, (-1, 0.3, None))
    adopt(simple, "production.model", at=0)
    assert simple.run(day=0.1).stdout.startswith("waiting")


def test_a_name_makes_lines_its_own_whenever_they_are_and_those_of_others_not(simple: Project) -> None:
    log(simple, (-9, 0.91, "live-7"), (0.05, 0.2, "another"))
    adopt(simple, "production.model", "--known-as", "live-7", at=0)
    assert "f1 0.91" in simple.run(day=0.1).stdout


LOGS = ["metrics", "predictions"]


def measured(project: Project, form: str, *days: tuple[int, bool, str | None]) -> None:
    """Log days on which all was right, or all wrong: as a line of a metrics log, or as the rows of a prediction log."""
    if form == "metrics":
        log(project, *((number, float(right), model) for number, right, model in days))
        return
    project.write("config.yaml", "performance_threshold: 0.85\nlogs: {predictions: predictions.jsonl}\n")
    with (project.folder / "predictions.jsonl").open("a") as file:
        for number, right, model in days:
            for place in range(96):
                at = (day(number) + timedelta(minutes=15 * place)).isoformat()
                row = {"timestamp": at, "id": f"{number}-{place}", "prediction": int(right), "label": 1}
                file.write(json.dumps(row | ({"model": model} if model else {})) + "\n")


def replaced_and_back(project: Project) -> None:
    """Put another model in the adopted one's place on day 1, and go back on day 3."""
    joblib.dump(ONE, project.folder / "other")
    adopt(project, "other", "--reason", "the team switched", at=1)
    project.retrain_check("rollback", "--yes", "--now", day(3).isoformat())


@pytest.mark.parametrize("form", LOGS)
def test_since_holds_after_a_rollback_and_gives_it_no_window_of_the_other(simple: Project, form: str) -> None:
    measured(simple, form, (-5, False, None), (-2, True, None), (-1, True, None), (2, False, None))
    adopt(simple, "production.model", "--since", day(-3).isoformat(), at=0)
    replaced_and_back(simple)
    assert simple.run(day=3.1).stdout.startswith("healthy: f1 1 is")


def test_what_was_trained_against_is_used_up_after_a_rollback_too(simple: Project) -> None:
    log(simple, (-3, 0.5, None), (-2, 0.5, None), (-1, 0.5, None))
    adopt(simple, "production.model", "--since", day(-4).isoformat(), at=0)
    simple.run(day=0.1)
    trained = max(card.parent.name for card in (simple.folder / "models").glob("*/card.json"))
    simple.retrain_check("promote", trained, "--reason", "a try", "--yes", "--now", day(1).isoformat())
    simple.retrain_check("rollback", "--yes", "--now", day(1.5).isoformat())
    said = simple.run(day=1.9).stdout
    assert said.startswith("waiting: f1 0.5 is under performance_threshold 0.85")
    assert "the last training used up this evidence" in said
    assert simple.trainings() == 1


@pytest.mark.parametrize("form", LOGS)
def test_a_name_holds_after_a_rollback(simple: Project, form: str) -> None:
    measured(simple, form, (-2, True, "live-7"), (2, False, "another"))
    adopt(simple, "production.model", "--known-as", "live-7", at=0)
    replaced_and_back(simple)
    assert simple.run(day=3.1).stdout.startswith("healthy: f1 1 is")


@pytest.mark.parametrize("form", LOGS)
def test_without_since_a_rollback_begins_anew(simple: Project, form: str) -> None:
    measured(simple, form, (-2, True, None), (0, True, None))
    adopt(simple, "production.model", at=0)
    replaced_and_back(simple)
    assert simple.run(day=3.1).stdout.startswith("waiting: nothing was measured since")


def test_since_cannot_be_later_than_now(simple: Project) -> None:
    assert "later than now" in adopt(simple, "production.model", "--since", day(1).isoformat(), at=0, code=2)


def test_another_champion_is_replaced_for_a_reason_only_and_rollback_undoes_it(simple: Project) -> None:
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    first = simple.pointer["version"]
    joblib.dump(ONE, simple.folder / "other")
    assert "--reason" in adopt(simple, "other", at=1, code=2)
    assert simple.pointer["version"] == first
    adopt(simple, "other", "--reason", "the team switched", at=1)
    assert simple.pointer["previous"] == first
    assert simple.history()[-1]["by"] == "adopt"
    simple.retrain_check("rollback", "--yes", "--now", day(2).isoformat())
    assert simple.pointer["version"] == first


def test_a_first_training_that_leaves_no_model_makes_no_champion(simple: Project) -> None:
    assert "no usable model" in simple.run("--bootstrap", day=0, code=5).stderr
    assert not (simple.folder / "models/champion.json").exists()
