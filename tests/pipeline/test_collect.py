"""Old versions are removed, and never one that is live, may be again, or is in use."""

import fcntl
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from projects import Project, day

from retrain_trigger.config import load as settings
from retrain_trigger.core.errors import PromotionError
from retrain_trigger.core.events import Asked, Kept, Removing, Sealed
from retrain_trigger.pipeline import by_hand, collect, decide, run, staging
from retrain_trigger.pipeline.tick import begun
from retrain_trigger.questions import standing
from retrain_trigger.store.ledger import Ledger


def quiet(_: str) -> None:
    """Hear nothing."""


class Shop:
    """A project that trains without a hold-out, in this process: many versions in little time."""

    def __init__(self, project: Project) -> None:
        self.project, self.models = project, project.folder / "models"
        self.days = 1.0

    def train(self) -> str:
        """Train and seal one more version; return its name."""
        self.days += 1
        outcome = run.run(self.config, now=day(self.days), wish=decide.Wish(force="again"), say=quiet)
        assert outcome.run is not None
        return outcome.run

    def tick(self) -> None:
        self.days += 0.1
        run.run(self.config, now=day(self.days), say=quiet)

    @property
    def config(self) -> settings.Config:
        return settings.load(self.project.folder / "config.yaml", ["trigger.max_age=1000d"])

    @property
    def there(self) -> list[str]:
        return sorted(card.parent.name for card in self.models.glob("[!.]*/card.json"))

    def kinds(self) -> list[str]:
        return [entry.kind.value for entry in standing.history(self.config)]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that keeps two versions, and has adopted its first champion."""
    project = Project(tmp_path_factory.mktemp("opened") / "project")
    project.write("config.yaml", "performance_threshold: 0.85\nmodel: {keep: 2}\n")
    project.makefile("@echo a new model > $$RETRAIN_OUTPUT")
    project.has_in_production()
    project.run("--bootstrap", "--adopt", "production.model", day=0)
    project.log(0.9)
    return project


@pytest.fixture
def shop(opened: Project, tmp_path: Path) -> Shop:
    shutil.copytree(opened.folder, tmp_path / "shop")
    return Shop(Project(tmp_path / "shop"))


def test_the_newest_are_kept_and_what_is_live_and_history_outlives_what_was_removed(shop: Shop) -> None:
    live = shop.project.pointer["version"]
    first, second, third = (shop.train() for _ in range(3))
    assert shop.there == sorted([live, second, third])
    assert shop.kinds()[-2:] == ["removing", "removed"]
    assert f"{first} (model.keep is 2)" in shop.project.retrain_check("history").stdout
    assert "sealed" in shop.project.retrain_check("explain", first).stdout
    done = shop.project.retrain_check("promote", first, "--reason", "too late", code=6)
    assert f"{first} was removed at 2026-01-25 00:00Z (model.keep was 2)" in done.stderr
    assert f"has {live}, {second}, {third}" in done.stderr
    assert "was removed" in shop.project.retrain_check("compare", first, code=6).stderr


def test_former_champions_are_kept_beside_the_newest(shop: Shop) -> None:
    shop.project.write("config.yaml", "performance_threshold: 0.85\nmodel: {keep: 3}\n")
    adopted = shop.project.pointer["version"]
    served = [shop.train() for _ in range(2)]
    for version in served:
        by_hand.promote(shop.config, version, reason="better", now=day(shop.days), say=quiet)
    refused = [shop.train() for _ in range(4)]
    assert shop.there == sorted([adopted, *served, *refused[1:]])
    for _ in range(2):
        by_hand.rollback(shop.config, None, reason="back", now=day(9), say=quiet)
    assert shop.project.pointer["version"] == adopted


def test_there_is_no_way_back_to_a_champion_that_was_removed(shop: Shop) -> None:
    adopted = shop.project.pointer["version"]
    for _ in range(3):
        version = shop.train()
        by_hand.promote(shop.config, version, reason="better", now=day(shop.days), say=quiet)
    shop.tick()
    assert adopted not in shop.there
    with pytest.raises(PromotionError, match=rf"{adopted} was removed at 2026-01-25 00:00Z \(model.keep was 2\)"):
        by_hand.rollback(shop.config, adopted, reason="too late", now=day(9), say=quiet)
    assert shop.project.pointer["version"] == version


def test_a_removal_explains_nothing_by_itself(shop: Shop) -> None:
    last = [shop.train() for _ in range(2)][-1]
    shop.project.write("config.yaml", "performance_threshold: 0.85\nmodel: {keep: 1}\n")
    shop.tick()
    assert shop.kinds()[-1] == "removed"
    assert standing.explained(shop.config, None)[0].run == last


def test_what_is_in_use_stays_until_it_is_not(shop: Shop) -> None:
    first = shop.train()
    with (shop.models / first / "model.joblib").open("rb") as serving:
        fcntl.flock(serving, fcntl.LOCK_SH)
        shop.train()
        shop.train()
        assert first in shop.there
        assert "removing" not in shop.kinds()
    shop.tick()
    assert first not in shop.there


def test_what_is_staged_or_waits_for_approval_stays(shop: Shop) -> None:
    shop.project.write("config.yaml", "performance_threshold: 0.85\nmodel: {keep: 9}\n")
    staged, waiting, other, *newest = (shop.train() for _ in range(5))
    shop.project.write("config.yaml", "performance_threshold: 0.85\nmodel: {keep: 2}\n")
    challenger = shop.models / "challenger.json"
    with begun(shop.config, now=day(shop.days), say=quiet) as tick:
        tick.record(Asked(version=waiting, sha256="", champion=None, because="waits"))
        staging.stage(tick, staged, "it is better")
        whole = challenger.read_bytes()
        challenger.write_text("{")
        collect.collect(tick)
        assert other in shop.there, "nothing is removed while it is not known what is staged"
        challenger.write_bytes(whole)
        collect.collect(tick)
        assert set(shop.there) == {shop.project.pointer["version"], staged, waiting, *newest}
        challenger.unlink()
        collect.collect(tick)
        assert staged not in shop.there


@pytest.mark.parametrize("how_far", ["intent", "renamed", "half gone", "gone"])
def test_a_removal_that_was_killed_is_finished(shop: Shop, how_far: str) -> None:
    first, _ = shop.train(), shop.train()
    with begun(shop.config, now=day(shop.days), say=quiet) as tick:
        tick.record(Removing(versions=(first,), keep=1))
    hidden = shop.models / f".removed-{first}"
    if how_far != "intent":
        (shop.models / first).rename(hidden)
    if how_far in {"half gone", "gone"}:
        hidden.chmod(0o755)
        (hidden / "model.joblib").unlink()
    if how_far == "gone":
        (hidden / "card.json").unlink()
        (hidden / "train.log").unlink()
        hidden.rmdir()
    shop.project.write("config.yaml", "performance_threshold: 0.85\nmodel: {keep: 1}\n")
    shop.tick()
    assert first not in shop.there
    assert not hidden.exists()
    assert shop.kinds()[-1] == "removed"
    before = shop.kinds()
    shop.tick()
    assert [kind for kind in shop.kinds() if kind.startswith("remov")] == ["removing", "removed"]
    assert len(shop.kinds()) == len(before) + 1


def test_a_folder_that_no_run_sealed_is_never_removed(shop: Shop) -> None:
    shop.models.joinpath("20200101T000000Z-theirs").mkdir()
    (shop.models / "20200101T000000Z-theirs/card.json").write_text("{}")
    for _ in range(3):
        shop.train()
    assert "20200101T000000Z-theirs" in shop.there


def test_a_removal_that_the_system_forbids_does_not_break_the_run(shop: Shop) -> None:
    first = shop.train()
    shop.train()
    (shop.models / f".removed-{first}").write_text("a file in the way")
    said: list[str] = []
    shop.days += 1
    run.run(shop.config, now=day(shop.days), wish=decide.Wish(force="again"), say=said.append)
    assert any(f"the old version {first} cannot be removed" in line for line in said)
    (shop.models / f".removed-{first}").unlink()
    shop.tick()
    assert first not in shop.there


def test_more_old_versions_than_files_may_be_open_are_removed(shop: Shop) -> None:
    first = shop.train()
    names = [f"20260101T000000Z-{number:06d}" for number in range(150)]
    with begun(shop.config, now=day(shop.days), say=quiet) as tick:
        for name in names:
            shutil.copytree(shop.models / first, shop.models / name)
            tick.record(Sealed(version=name, sha256="", reach="all"))
        tick.record(Kept(because="they are old"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        shop.tick()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert shop.there == [*names[-2:], shop.project.pointer["version"]]
    assert shop.kinds().count("removing") == shop.kinds().count("removed") > 1


def test_a_removal_that_breaks_is_said_and_what_was_done_before_is_done(shop: Shop) -> None:
    first, last = shop.train(), shop.train()
    shop.project.write("config.yaml", "performance_threshold: 0.85\nmodel: {keep: 1}\n")
    ledger = shop.config.state / "ledger.sqlite"
    with Ledger.writing(ledger) as closed:
        pass
    with begun(shop.config, now=day(shop.days), say=quiet) as tick:
        said = collect.collected(replace(tick, ledger=closed))
    assert said == (
        "old versions could not be removed now: Cannot operate on a closed database. The next run tries again"
    )
    assert {first, last} <= set(shop.there)
    shop.tick()
    assert first not in shop.there
