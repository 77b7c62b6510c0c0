"""What a person decides: approval, promotion against a verdict, rollback, waiting, and what was live when."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from projects import Project, day

from retrain_trigger.store import lock


@pytest.fixture(scope="module")
def pending(bootstrapped: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that asks: a better challenger waits for approval, and a later, worse one was refused."""
    project = Project(tmp_path_factory.mktemp("asks") / "project")
    shutil.copytree(bootstrapped.folder, project.folder)
    config = (project.folder / "config.yaml").read_text()
    project.write("config.yaml", config.replace("min_rows: 200", "min_rows: 200, mode: ask"))
    project.trains("new")
    project.run(day=3)
    project.trains("worse")
    project.run("--force", "a second try", day=3.5)
    return project


@pytest.fixture
def asks(pending: Project, tmp_path: Path) -> Project:
    shutil.copytree(pending.folder, tmp_path / "asks")
    return Project(tmp_path / "asks")


def sealed(project: Project) -> list[str]:
    return sorted(card.parent.name for card in (project.folder / "models").glob("*/card.json"))


def promote(project: Project, version: str, *more: str, at: float = 4, code: int = 0) -> str:
    now = day(at).isoformat()
    done = project.retrain_check("promote", version, "--reason", "because", "--now", now, *more, code=code)
    return done.stdout + done.stderr


def test_a_better_challenger_waits_for_approval_and_a_refused_one_does_not_take_its_place(asks: Project) -> None:
    first, new, _ = sealed(asks)
    assert asks.pointer["version"] == first
    assert asks.kinds()[-7:] == ["compared", "waits for approval", "decided", "training", "sealed", "compared", "kept"]
    said = asks.retrain_check("status").stdout
    assert f"approval   {new} waits for approval since 2026-01-24 00:00Z: `retrain-check promote {new} --reason" in said
    document = json.loads(asks.retrain_check("status", "--format", "json").stdout)
    assert document["waits_for_approval"] == new
    done = asks.run(day=3.6)
    assert done.stdout.startswith("waiting: "), "the cooldown holds"
    assert f"{new} waits for approval" in done.stderr


def test_approval_promotes_what_was_compared_and_history_tells_what_was_live_when(asks: Project) -> None:
    first, new, _ = sealed(asks)
    assert f"{new} is the champion now: because" in promote(asks, new)
    assert asks.pointer["version"] == new
    assert asks.history()[-1]["by"] == "approval"
    assert "approval   " not in asks.retrain_check("status").stdout
    then = asks.retrain_check("history", "--at", day(3.9).isoformat()).stdout
    assert f"champion   {first} " in then
    assert f"until 2026-01-25 00:00Z, when {new} took its place" in then
    assert "replaced   nothing: it was the first" in then
    assert "numbers    none" in then
    now = json.loads(asks.retrain_check("history", "--at", "2026-01-25", "--format", "json").stdout)["champion"]
    assert (now["version"], now["by"], now["replaced"], now["until"]) == (new, "approval", first, None)
    assert now["contest"]["champion"] == first
    assert now["contest"]["comparison"]["difference"] > 0.1
    told = asks.retrain_check("history", "--at", "2026-01-25").stdout
    assert "numbers    f1 0.9" in told
    assert f"of {first} on " in told
    assert "there was no champion yet" in asks.retrain_check("history", "--at", "2025-01-01").stdout
    assert "is not a time" in asks.retrain_check("history", "--at", "yesterday", code=2).stderr


def test_a_version_that_was_found_worse_needs_even_if_worse_and_an_approval_today_s_champion(asks: Project) -> None:
    first, new, worse = sealed(asks)
    before = (asks.folder / "models/champion.json").read_bytes()
    said = promote(asks, worse, code=6)
    assert (
        f"the last comparison of {worse} (2026-01-24 12:00Z, run {worse}) did not find it better than {first}" in said
    )
    assert "is under promotion.margin 0.02" in said
    assert "--even-if-worse promotes it all the same" in said
    assert (asks.folder / "models/champion.json").read_bytes() == before
    promote(asks, worse, "--even-if-worse")
    assert asks.pointer["version"] == worse
    last = asks.history()[-1]
    assert last["by"] == "hand"
    assert "(--even-if-worse: the last comparison of" in last["because"]
    said = promote(asks, new, at=4.1, code=6)
    assert f"was with {first}, and the champion is {worse} now; `retrain-check compare {new}`" in said
    promote(asks, new, "--even-if-worse", at=4.2)
    asks.retrain_check("rollback", "--now", day(4.3).isoformat())
    assert asks.pointer["version"] == worse
    promotions = ["promoting", "promoted"]
    assert asks.kinds()[-6:] == promotions * 3, "a rollback is one effect: its intent and its outcome"


def test_a_run_killed_before_it_asked_asks_when_the_next_one_goes_on(asks: Project, tmp_path: Path) -> None:
    die = "import os\nimport retrain_trigger.pipeline.approval as a\na.ask = lambda *_: os._exit(9)\n"
    (tmp_path / "sitecustomize.py").write_text(die)
    asks.trains("new")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    asks.retrain_check("run", "--now", day(3.7).isoformat(), "--force", "a third try", code=9, PYTHONPATH=path)
    assert asks.kinds()[-1] == "compared"
    done = asks.run(day=3.8)
    assert done.stdout.startswith("waits for approval: ")
    document = json.loads(asks.retrain_check("status", "--format", "json").stdout)
    assert document["waits_for_approval"] == sealed(asks)[-1], "the newer one has taken the place of the first"


def test_a_model_changed_together_with_its_card_is_not_promoted(asks: Project) -> None:
    _, new, _ = sealed(asks)
    folder = asks.folder / "models" / new
    folder.chmod(0o755)
    for name in ("model.joblib", "card.json"):
        (folder / name).chmod(0o644)
    (folder / "model.joblib").write_bytes(b"another")
    card = json.loads((folder / "card.json").read_text())
    card["sha256"] = hashlib.sha256(b"another").hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    assert "not the file that was sealed: the ledger has" in promote(asks, new, "--even-if-worse", code=6)


def test_a_run_waits_for_another_one_only_when_told_to(simple: Project) -> None:
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    simple.log(0.9)
    with lock.hold(simple.folder / ".retrain-check/lock"):
        assert "another run is active" in simple.run(day=1, code=75).stderr
        said = simple.run("--wait", "1s", day=1, code=75).stderr
        assert "waiting for it, at most 1 s" in said
        assert "1 s were waited" in said
        waiting = subprocess.Popen(
            [sys.executable, "-m", "retrain_trigger", "run", "--now", day(1).isoformat(), "--wait"],
            cwd=simple.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr is not None
        assert "waiting for it, at most 600 s" in waiting.stderr.readline()
    said, _ = waiting.communicate(timeout=60)
    assert said.startswith("healthy: ")
    assert "a duration" in simple.run("--wait", "soon", day=1, code=2).stderr


def test_a_challenger_that_could_not_be_scored_is_promoted_only_on_purpose(champion: Project) -> None:
    champion.write("broken.py", "class Broken:\n    def predict(self, table):\n        raise ValueError('cannot')\n")
    champion.write(
        "train.py", "import os, joblib, broken\njoblib.dump(broken.Broken(), os.environ['RETRAIN_OUTPUT'])\n"
    )
    champion.run(day=3, code=6)
    said = promote(champion, sealed(champion)[-1], code=6)
    assert "could not be compared in run" in said
    assert "ValueError: cannot" in said


@pytest.mark.parametrize("command", [("adopt", "production.model"), ("promote", "v1"), ("rollback",)])
def test_a_reason_that_is_given_says_something(simple: Project, command: tuple[str, ...]) -> None:
    said = simple.retrain_check(*command, "--reason", " ", "--yes", code=2).stderr
    assert "it is blank; write why, for those who read the history later" in said
    assert not (simple.folder / "models").exists()
