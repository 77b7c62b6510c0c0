"""A wrong clock: it is doubted, nothing is recorded under it, and what it stamped before is named and mended."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from projects import Project

START = datetime(2024, 3, 1, 6, tzinfo=UTC)
YEAR, MONTH, HOUR = timedelta(days=365), timedelta(days=30), timedelta(hours=1)


class Machine:
    """A project with an adopted champion, a log, and a clock that one may set."""

    def __init__(self, project: Project) -> None:
        self.project = project
        project.write("config.yaml", "performance_threshold: 0.85\n")
        project.makefile("@echo a new model > $$RETRAIN_OUTPUT")
        project.has_in_production()

    def adopt(self, at: datetime = START) -> None:
        self.project.retrain_check("run", "--bootstrap", "--adopt", "production.model", "--now", at.isoformat())

    def log(self, value: float, at: datetime | str) -> None:
        with self.project.write_folder("logs/metrics.jsonl").open("a") as file:
            file.write(json.dumps({"timestamp": at if isinstance(at, str) else at.isoformat(), "f1": value}) + "\n")

    def run(self, at: datetime, *arguments: str, code: int = 0) -> str:
        done = self.project.retrain_check("run", "--now", at.isoformat(), *arguments, code=code)
        return done.stdout + done.stderr

    def status(self, at: datetime) -> str:
        done = self.project.retrain_check("status", "--now", at.isoformat())
        return " ".join((done.stdout + done.stderr).split())  # it wraps its lines


@pytest.fixture
def machine(tmp_path: object) -> Machine:
    return Machine(Project(tmp_path))  # type: ignore[arg-type]


@pytest.fixture
def healthy(machine: Machine) -> Machine:
    """Adopted, and found healthy a day later."""
    machine.adopt()
    machine.log(0.9, START + HOUR)
    assert "healthy" in machine.run(START + 24 * HOUR)
    return machine


@pytest.mark.parametrize(
    ("wrong", "code"),
    [(YEAR, 3), (MONTH, 3), (-MONTH, 0), (-YEAR, 0), (HOUR, 0), (-HOUR, 0)],
    ids=["a year ahead", "a month ahead", "a month back", "a year back", "an hour ahead", "an hour back"],
)
def test_a_breach_after_a_wrong_clock_is_acted_on(healthy: Machine, wrong: timedelta, code: int) -> None:
    before = healthy.project.history()
    said = healthy.run(START + 25 * HOUR + wrong, code=code)
    if abs(wrong) > 24 * HOUR:
        assert ("Nothing was recorded" if code else "Nothing is recorded until 2024-02-29 07:00Z") in said
        assert f"the clock says {START + 25 * HOUR + wrong:%Y-%m-%d %H:%MZ}" in said
        assert healthy.project.history() == before
    healthy.log(0.7, START + 26 * HOUR)
    assert "sealed" in healthy.run(START + 48 * HOUR)
    assert healthy.project.trainings() == 1
    healthy.log(0.7, START + 50 * HOUR)
    assert "cooldown until 2024-03-04 06:00Z" in healthy.run(START + 51 * HOUR)
    healthy.log(0.7, START + 70 * HOUR)
    healthy.run(START + 73 * HOUR)
    assert healthy.project.trainings() == 2


def test_a_leap_second_is_a_time(healthy: Machine) -> None:
    healthy.log(0.7, "2024-03-02T23:59:60Z")
    done = healthy.project.retrain_check("run", "--now", "2024-03-03T23:59:60Z")
    assert "sealed" in done.stdout
    assert healthy.project.trainings() == 1


def test_a_machine_that_was_off_for_a_month_goes_on_with_the_first_record(healthy: Machine) -> None:
    back = START + 40 * 24 * HOUR
    assert "nothing was logged for longer than trigger.max_age" in healthy.run(back, code=3)
    healthy.log(0.7, back)
    assert "sealed" in healthy.run(back + HOUR)


def test_a_forced_training_is_a_persons_word(healthy: Machine) -> None:
    assert "sealed" in healthy.run(START + MONTH, "--force", "it was off")


def test_a_promotion_in_the_future_is_named_and_mended(machine: Machine) -> None:
    machine.adopt(START + YEAR)
    machine.log(0.9, START)
    for said in (machine.run(START + HOUR, code=3), machine.status(START + HOUR)):
        assert "was promoted in the future" in said
        assert "run --mend-clock" in said
    before = machine.project.history()
    assert "counts from now, 2024-03-01 08:00Z" in machine.run(START + 2 * HOUR, "--mend-clock")
    after = machine.project.history()
    assert after[: len(before)] == before, "nothing is rewritten"
    assert after[len(before)]["kind"] == "clock mended"
    machine.project.retrain_check("history", "--verify")
    machine.log(0.7, START + 3 * HOUR)
    assert "sealed" in machine.run(START + 4 * HOUR)
    assert "nothing was stamped later than now" in machine.run(START + 5 * HOUR, "--mend-clock")
    then = machine.project.retrain_check("history", "--at", (START + 5 * HOUR).isoformat()).stdout
    assert machine.project.pointer["version"] in then


def test_a_cooldown_in_the_future_is_named_and_mended(healthy: Machine) -> None:
    healthy.run(START + YEAR, "--force", "under a wrong clock")
    healthy.log(0.7, START + 26 * HOUR)
    said = healthy.run(START + 27 * HOUR)
    assert "cooldown until 2025-03-02" in said
    assert "run --mend-clock" in said
    assert "run --mend-clock" in healthy.status(START + 27 * HOUR)
    assert "cooldown until 2024-03-03 10:00Z" in healthy.run(START + 28 * HOUR, "--mend-clock")
    healthy.log(0.7, START + 51 * HOUR)
    assert "sealed" in healthy.run(START + 53 * HOUR)


def test_a_pointer_of_the_future_without_its_ledger_is_mended(machine: Machine) -> None:
    machine.adopt(START + YEAR)
    shutil.rmtree(machine.project.folder / ".retrain-check")
    machine.log(0.9, START)
    assert "run --mend-clock" in machine.run(START + HOUR, code=3)
    machine.run(START + 2 * HOUR, "--mend-clock")
    machine.log(0.7, START + 3 * HOUR)
    assert "sealed" in machine.run(START + 4 * HOUR)


def test_the_next_promotion_mends_the_clock(healthy: Machine) -> None:
    healthy.run(START + YEAR, "--force", "under a wrong clock")
    version = next(entry["version"] for entry in reversed(healthy.project.history()) if entry["kind"] == "sealed")
    now = (START + 27 * HOUR).isoformat()
    healthy.project.retrain_check("promote", version, "--reason", "it is better", "--now", now)
    assert healthy.project.pointer["promoted_at"] == "2024-03-02T09:00:00Z"
    healthy.log(0.7, START + 28 * HOUR)
    assert "sealed" in healthy.run(START + 52 * HOUR)
    assert [entry["at"] for entry in healthy.project.history()][-1] == (START + 52 * HOUR).isoformat()
