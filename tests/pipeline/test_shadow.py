"""A challenger that passed the gates runs beside the champion, and is judged on what both said of the same requests."""

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from projects import CONFIG, Project, day

from retrain_trigger.config import load
from retrain_trigger.core.errors import ConfigError
from retrain_trigger.engines import shadow_log

SETTINGS = CONFIG.replace("min_rows: 200}", "min_rows: 200, shadow: {rows: 300, hours: 24}}") + (
    "logs: {predictions: predictions/*.jsonl}\n"
)

KILLER = """
import os
from retrain_trigger.store import files
def killing(effect, when):
    def instead(path, *rest, **more):
        aimed = path.name == "challenger.json" and os.environ["KILL_AT"] == effect.__name__
        if aimed and os.environ["KILL_WHEN"] == "half-way":
            path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(b"{")
        if aimed and os.environ["KILL_WHEN"] == "failing":
            raise OSError(5, os.strerror(5), str(path))
        if aimed and os.environ["KILL_WHEN"] != "after":
            os.kill(os.getpid(), 9)
        effect(path, *rest, **more)
        if aimed:
            os.kill(os.getpid(), 9)
    return instead
files.write, files.remove = killing(files.write, "w"), killing(files.remove, "r")
"""


class Service:
    """A service that answers with the champion's `old`, and asks the challenger, too, where one is named."""

    def __init__(self, project: Project) -> None:
        self.project = project
        if not (project.folder / "predictions").exists():
            project.write("config.yaml", SETTINGS)
            project.trains("new")
            for number in range(3):
                self.serve(number)

    @property
    def challenger(self) -> Path:
        return self.project.folder / "models/challenger.json"

    def serve(self, number: int, *, shadow: str = "new", labelled: bool = True) -> None:
        """Log the day `number` after the break."""
        version = json.loads(self.challenger.read_text())["version"] if self.challenger.exists() else None
        query = (
            f"SELECT strftime(timestamp::TIMESTAMP, '%Y-%m-%dT%H:%M:%SZ'), id, old, label, {shadow} "
            f"FROM '{self.project.folder}/labelled.parquet' WHERE timestamp::TIMESTAMP >= "
            f"TIMESTAMP '{day(number):%Y-%m-%d}' AND timestamp::TIMESTAMP < TIMESTAMP '{day(number + 1):%Y-%m-%d}'"
        )
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.execute(query).fetchall()
        rows: list[dict[str, Any]] = []
        for at, identity, said, label, other in found:
            row = {"timestamp": at, "id": identity, "prediction": said, "label": label if labelled else None}
            rows.append(row | ({"shadow_prediction": other, "shadow_model": version} if version else {}))
        self.project.write(f"predictions/{number:03}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def run_killed(self, effect: str, when: str, *, day: float) -> None:
        """Run a tick that is killed just before, half-way through or after challenger.json is written or removed; or fails at it."""
        site = self.project.write("site/sitecustomize.py", KILLER).parent
        path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
        os.environ |= {"KILL_AT": effect, "KILL_WHEN": when}
        before, os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH"), path
        try:
            self.project.run(day=day, code=6 if when == "failing" else -9)
        finally:
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before


@pytest.fixture
def service(champion: Project) -> Service:
    """A service beside which a challenger is about to be trained, on day 3."""
    return Service(champion)


@pytest.fixture(scope="module")
def staged_once(bootstrapped: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("staged") / "project"
    shutil.copytree(bootstrapped.folder, folder)
    project = Project(folder)
    Service(project)
    done = project.run(day=3)
    assert done.stdout.startswith("in shadow: ")
    assert "it runs in shadow before it may be promoted" in done.stdout
    return project


@pytest.fixture
def staged(staged_once: Project, tmp_path: Path) -> Service:
    """A service beside which a challenger has run in shadow since day 3."""
    shutil.copytree(staged_once.folder, tmp_path / "staged")
    return Service(Project(tmp_path / "staged"))


def test_a_challenger_runs_in_shadow_and_is_promoted_on_what_both_said(staged: Service) -> None:
    project, before = staged.project, staged.project.pointer
    named = json.loads(staged.challenger.read_text())
    assert (named["previous"], named["generation"]) == (before["version"], before["generation"] + 1)
    assert (staged.challenger.parent / named["path"]).is_file()
    assert project.kinds()[-4:] == ["sealed", "compared", "staging", "in shadow"]

    staged.serve(3)
    waiting = project.run(day=4)
    assert waiting.stdout.startswith("waiting: ")
    assert (
        "192 of 300 labelled rows, 24 of 24 hours; no training starts meanwhile, at the latest until 2026-02-03 00:00Z"
        in waiting.stdout
    )
    asked = project.retrain_check("status", "--now", day(4).isoformat()).stdout
    assert f"challenger {named['version']} is in shadow since 2026-01-24 00:00Z: 192 of 300" in asked
    assert project.pointer == before

    staged.serve(4)
    assert project.run("--dry-run", day=5).stdout.startswith("would promote: in shadow since 2026-01-24 00:00Z, ")
    assert project.run(day=5).stdout.startswith("promoted: in shadow since 2026-01-24 00:00Z, challenger ")
    assert project.pointer["version"] == named["version"]
    assert project.history()[-1]["by"] == "shadow"
    assert project.kinds()[-4:] == ["decided", "compared", "promoting", "promoted"]
    assert not staged.challenger.exists()


def test_a_challenger_that_does_worse_in_shadow_is_kept_out(staged: Service) -> None:
    before = staged.project.pointer
    staged.serve(3, shadow="worse")
    staged.serve(4, shadow="worse")
    done = staged.project.run(day=5)
    assert done.stdout.startswith("kept: in shadow since 2026-01-24 00:00Z, challenger ")
    assert staged.project.pointer == before
    assert not staged.challenger.exists()


def test_rows_of_a_champion_count_under_the_name_that_it_was_adopted_under(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    row = {"timestamp": day(0).isoformat(), "prediction": 1, "label": 1, "shadow_prediction": 0, "shadow_model": "v2"}
    names = ["v1", "live-7", None, "another"]
    log.write_text("".join(json.dumps({**row, "id": str(name), "model": name}) + "\n" for name in names))
    settings: dict[str, Any] = {"labels": None, "columns": load.defaults().logs.names, "now": day(1)}
    pair = partial(shadow_log.Pair, challenger="v2", since=day(0))
    for own, rows in ((["v1", "live-7"], 3), (["v1"], 2)):
        found = shadow_log.joint_counts(str(log), pair(champion=own), **settings)
        assert found.cells == {("1", "1", "0"): rows}


def test_rows_count_only_with_all_three_and_of_these_two_versions(staged: Service) -> None:
    staged.serve(3, labelled=False)
    assert ": 0 of 300 labelled rows" in staged.project.run(day=4).stdout
    staged.serve(3)
    log = staged.project.folder / "predictions/003.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    for row in rows[:100]:
        row["shadow_model"] = "another"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert ": 92 of 300 labelled rows" in staged.project.run(day=4.1).stdout


def test_a_shadow_that_never_gets_its_rows_ends_with_the_champion_kept(staged: Service) -> None:
    staged.serve(12)
    assert " 0 of 300" not in staged.project.run(day=12.9).stdout
    done = staged.project.run(day=13)
    assert done.stdout.startswith("kept: ")
    assert "the shadow ended at" in done.stdout
    assert not staged.challenger.exists()


def test_a_run_killed_while_it_stages_is_finished_by_the_next(service: Service) -> None:
    service.run_killed("write", "before", day=3)
    assert service.project.kinds()[-1] == "staging"
    assert not service.challenger.exists()
    for number in range(4):
        service.run_killed("write", "half-way", day=3.01 + number / 100)
    assert not service.challenger.exists()
    service.run_killed("write", "failing", day=3.05)
    service.run_killed("write", "after", day=3.1)
    assert service.project.kinds()[-2:] == ["compared", "staging"]
    assert service.challenger.exists()
    done = service.project.run(day=3.2)
    assert done.stdout.startswith("in shadow: finished the interrupted staging")
    assert service.challenger.exists()
    assert not list(service.challenger.parent.glob(".*.tmp"))
    assert service.project.trainings() == 2


def test_a_run_killed_at_the_verdict_is_finished_by_the_next(staged: Service) -> None:
    staged.serve(3)
    staged.serve(4)
    staged.run_killed("remove", "before", day=5)
    assert staged.project.kinds()[-1] == "compared"
    staged.run_killed("remove", "failing", day=5.05)
    assert staged.project.kinds()[-1] == "compared"
    staged.run_killed("remove", "after", day=5.1)
    assert not staged.challenger.exists()
    assert staged.project.run(day=5.2).stdout.startswith("promoted: ")
    assert staged.project.trainings() == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("run", "--force", "new features"), "a training is forced"),
        (("promote", "VERSION", "--reason", "by hand"), "a person promotes by hand"),
    ],
)
def test_a_person_ends_a_shadow(staged: Service, arguments: tuple[str, ...], why: str) -> None:
    version = json.loads(staged.challenger.read_text())["version"]
    words = [version if word == "VERSION" else word for word in arguments]
    staged.project.retrain_check(*words, "--now", day(3.5).isoformat())
    ended = next(entry for entry in staged.project.history() if entry["kind"] == "abandoned")
    assert ended["because"] == f"the shadow of {version} is ended: {why}"
    if "promote" in arguments:
        assert not staged.challenger.exists()
        assert staged.project.pointer["version"] == version
    else:
        assert json.loads(staged.challenger.read_text())["version"] != version, "the forced one is in shadow now"


def test_a_file_that_was_removed_or_changed_by_hand_ends_the_shadow(staged: Service) -> None:
    staged.challenger.unlink()
    staged.serve(3)
    assert "cooldown until" in staged.project.run(day=3.5).stdout
    assert "was removed or changed by hand" in staged.project.retrain_check("history").stdout
    staged.challenger.write_text("{}")
    staged.project.run(day=3.6)
    assert not staged.challenger.exists(), "what is left of a shadow that is over is taken away"


def test_a_shadow_without_a_prediction_log_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "performance_threshold: 0.85\npromotion:\n  shadow: {rows: 10}\nmodel: {pointer: challenger.json}\n"
    )
    with pytest.raises(ConfigError) as wrong:
        load.load(path)
    log, name = wrong.value.mistakes
    assert log.startswith(f"{path}:3:11: promotion.shadow needs logs.predictions: there the service logs ")
    assert (
        name
        == f"{path}:4:18: model.pointer is challenger.json, which names the challenger in shadow; choose another name"
    )
