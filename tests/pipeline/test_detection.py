"""A window that is beyond chance by itself is told of once, and retrains nothing."""

import json
from datetime import timedelta
from typing import Any

from projects import BREAK, Project, day

from retrain_trigger.config import load as settings
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.judge.memory import Memory
from retrain_trigger.pipeline import detection

HEALTHY = {"tp": 132, "fp": 18, "fn": 18, "tn": 332}
OUTAGE = {"tp": 60, "fp": 90, "fn": 90, "tn": 260}


def logged(project: Project, days: list[dict[str, int]], *, since: float = 1) -> None:
    lines = [
        json.dumps({"timestamp": (BREAK + timedelta(days=since + number)).isoformat(), **counts})
        for number, counts in enumerate(days)
    ]
    with (project.folder / "logs/metrics.jsonl").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def alerts(project: Project, *, on: float) -> list[dict[str, Any]]:
    outcome = json.loads(project.run("--format", "json", day=on).stdout)
    found = [finding for finding in outcome["findings"] if finding["name"] == "alert"]
    assert not found or outcome["outcome"] in {"watching", "healthy, warned"}  # an alert neither acts nor waits
    return found


def test_an_outage_day_is_told_once_and_retrains_nothing(champion: Project) -> None:
    (champion.folder / "logs/metrics.jsonl").unlink()
    trainings = champion.trainings()
    logged(champion, [*[HEALTHY] * 10, OUTAGE])
    (first,) = alerts(champion, on=12)
    assert first["because"].startswith("f1 0.4 is under performance_threshold 0.85 beyond chance: evidence ")
    assert (first["evidence"]["at"], first["evidence"]["told"]) == (day(11).isoformat(), False)
    (again,) = alerts(champion, on=12.1)
    assert again["evidence"]["told"]
    logged(champion, [HEALTHY], since=12)
    assert alerts(champion, on=13) == []
    assert champion.trainings() == trainings


def test_an_outage_day_between_two_runs_is_told_of_by_the_later_one(champion: Project) -> None:
    (champion.folder / "logs/metrics.jsonl").unlink()
    logged(champion, [HEALTHY] * 10)
    assert alerts(champion, on=11) == []
    logged(champion, [OUTAGE, HEALTHY, HEALTHY], since=11)
    (found,) = alerts(champion, on=14)
    assert (found["evidence"]["at"], found["evidence"]["told"]) == (day(11).isoformat(), False)
    assert alerts(champion, on=14.1) == []


def test_the_first_run_of_all_does_not_dig_up_old_outages(champion: Project) -> None:
    (champion.folder / "logs/metrics.jsonl").unlink()
    logged(champion, [*[HEALTHY] * 5, OUTAGE, *[HEALTHY] * 5])
    assert alerts(champion, on=12) == []


def test_windows_that_are_pooled_are_told_of_as_one_when_the_last_of_them_has_come() -> None:
    good = Confusion({("a", "a"): 60, ("b", "b"): 50, ("a", "b"): 4})
    bad = Confusion({("a", "a"): 20, ("b", "b"): 4, ("a", "b"): 40, ("b", "a"): 2})
    measurements = [
        Measurement(value=None, where=f"log:{number}", file="log", end=number, confusion=each)
        for number, each in enumerate([good, good, bad, bad])
    ]
    config = settings.defaults(["metric=f1_macro"])
    assert detection.is_sequential(config, measurements[-1])
    assert detection.alert(config, measurements[:3], Memory(), {}) is None
    found = detection.alert(config, measurements, Memory(), {})
    assert found is not None
    assert found.because.endswith(" from these 2 windows alone, alerts begin at 1,000,000 (132 labelled rows, log:3)")
    assert (found.evidence["where"], found.evidence["told"]) == ("log:3", False)
    assert detection.alert(config, [*measurements, measurements[0]], Memory(), {}) is None
