"""Adopting while something else is under way: a shadow, a probation, a wait for approval, a broken model, a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
from projects import CONFIG, Project, day, repeating

from retrain_trigger.store import lock

PROMOTION = "min_rows: 200}"
UNDER_WAY = {
    "a shadow": ("shadow: {rows: 300, hours: 24}", "in shadow", "is ended: a person adopts a model"),
    "a probation": ("probation: 7d", "promoted", "the probation of {version} is ended"),
    "an approval": ("mode: ask", "waits for approval", "{version} no longer waits for approval"),
}
KILLED = """
import os, signal, sys
import retrain_trigger.__main__ as command
from retrain_trigger.store import files
from retrain_trigger.store.ledger import Ledger

left = int(os.environ["KILLED_AT"])

def struck(effect):
    def instead(*arguments, **more):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return effect(*arguments, **more)
    return instead

for name in ("write", "copy_hashing", "publish_folder", "remove_folder"):
    setattr(files, name, struck(getattr(files, name)))
Ledger.append = struck(Ledger.append)
sys.argv[0] = "retrain-check"
command.main()
"""
"""The command, killed before so many of its effects."""


def predictions(project: Project) -> None:
    """Log what the service answered: requests without a label, which say nothing of F1."""
    rows = [{"timestamp": day(2 + place / 100).isoformat(), "id": f"q{place}", "prediction": 1} for place in range(90)]
    project.write("predictions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("what", UNDER_WAY)
def test_it_ends_what_is_under_way_and_says_so(champion: Project, what: str) -> None:
    setting, word, told = UNDER_WAY[what]
    settings = CONFIG.replace(PROMOTION, f"min_rows: 200, {setting}}}")
    champion.write(
        "config.yaml", settings + ("logs: {predictions: predictions.jsonl}\n" if "shadow" in setting else "")
    )
    predictions(champion)
    champion.trains("new")
    assert champion.run(day=3).stdout.startswith(word)
    version = champion.history()[-1]["run"]
    joblib.dump(repeating("slight"), champion.folder / "live.joblib")
    arguments = ("adopt", "live.joblib", "--reason", "the team switched", "--now", day(3.1).isoformat())
    said = champion.retrain_check(*arguments)
    assert said.stdout.startswith("promoted: ")
    assert told.format(version=version) in said.stderr
    assert not (champion.folder / "models/challenger.json").exists()
    status = champion.retrain_check("status", "--now", day(3.2).isoformat()).stdout
    assert not any(each in status for each in ("shadow", "probation", "approval"))


def test_where_no_version_is_whole_a_run_says_that_another_model_can_be_adopted(simple: Project) -> None:
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    simple.log(0.9, since=day(1))
    shutil.rmtree(simple.folder / "models" / simple.pointer["version"])
    said = simple.run(day=1, code=6).stderr
    assert "`retrain-check adopt PATH --reason TEXT` makes another model live" in said
    simple.retrain_check(
        "adopt", "production.model", "--reason", "its folder was lost", "--yes", "--now", day(0.9).isoformat()
    )
    assert simple.run(day=1.1).stdout.startswith("healthy")


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a champion, and a model that can be adopted in its place."""
    project = Project(tmp_path_factory.mktemp("light"))
    project.write("config.yaml", "performance_threshold: 0.85\n")
    joblib.dump(repeating("old"), project.folder / "live.joblib")
    project.retrain_check("adopt", "live.joblib", "--now", day(0).isoformat())
    joblib.dump(repeating("new"), project.folder / "live.joblib")
    project.log(0.9, since=day(1))
    return project


ARGUMENTS = ("adopt", "live.joblib", "--reason", "the team switched", "--now", day(1.1).isoformat())


def killed(project: Project, at: int) -> bool:
    """Adopt, and be killed before an effect; False where there are not so many."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *ARGUMENTS],
        cwd=project.folder,
        env={**os.environ, "KILLED_AT": str(at)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode != 0


def test_killed_before_any_of_its_effects_the_next_run_goes_on(light: Project, tmp_path: Path) -> None:
    first = light.pointer["version"]
    reached = 0
    for at in range(1, 99):
        project = Project(Path(shutil.copytree(light.folder, tmp_path / str(at), symlinks=True)))
        if not killed(project, at):
            break
        reached = at
        assert project.run(day=1.2).returncode == 0
        version = project.pointer["version"]
        promoted = [entry["pointer"]["version"] for entry in project.history() if entry["kind"] == "promoted"]
        assert promoted == [first, version] if version != first else [first]
        left = {path.name for path in (project.folder / ".retrain-check").rglob("*")}
        assert left == {"ledger.sqlite", "lock", "live.json", "rollback.jsonl", "runs", "hearings"} & left
        assert not list((project.folder / "models").glob(".staging-*"))
        status = project.retrain_check("status", "--format", "json", "--now", day(1.3).isoformat())
        assert json.loads(status.stdout)["unfinished"] is None
    assert reached >= 8


def test_killed_while_the_model_answers_nothing_is_left_anywhere(light: Project, tmp_path: Path) -> None:
    project = Project(Path(shutil.copytree(light.folder, tmp_path / "project", symlinks=True)), forked=False)
    (tmp_path / "tmp").mkdir()
    project.write("killer.py", "import os\n\ndef kill():\n    os.kill(os.getppid(), 9)\n")
    (project.folder / "live.joblib").write_bytes(b"\x80\x02ckiller\nkill\n)R.")
    assert project.retrain_check(*ARGUMENTS, code=-9, TMPDIR=str(tmp_path / "tmp")).stdout == ""
    assert list((project.folder / ".retrain-check/hearings").iterdir())
    assert project.run(day=1.2).stdout.startswith("healthy")
    assert not list((project.folder / ".retrain-check/hearings").iterdir())
    assert not list((tmp_path / "tmp").iterdir())


def test_a_run_leaves_the_hearing_of_another_process_alone(light: Project, tmp_path: Path) -> None:
    project = Project(Path(shutil.copytree(light.folder, tmp_path / "project", symlinks=True)))
    own = project.folder / ".retrain-check/hearings/1234"
    own.mkdir(parents=True)
    with lock.hold(own / "lock"):
        project.run(day=1.2)
        assert own.exists()
    project.run(day=1.3)
    assert not own.exists()
