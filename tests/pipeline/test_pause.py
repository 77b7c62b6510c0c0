import json
import re
from datetime import timedelta
from io import BytesIO
from itertools import pairwise
from random import Random

import pytest
from projects import BREAK, Project

from retrain_trigger.config.load import defaults
from retrain_trigger.judge.policy import Action
from retrain_trigger.questions.simulate import Replay, simulate

LEVELS = {"healthy": 0.9, "bad": 0.8, "worse": 0.65}


def replay(levels: str, *, counts: bool, seed: int, rows: int = 500) -> Replay:
    """Replay days, each with the letter of its level: values, or the counts of so many rows."""
    random, lines = Random(seed), []
    names = {name[0]: level for name, level in LEVELS.items()}
    for day, letter in enumerate(levels):
        right = sum(random.random() < names[letter] for _ in range(rows))
        line = {"timestamp": (BREAK + timedelta(days=day)).isoformat(), "accuracy": right / rows, "n": rows}
        if counts:
            tp = right // 2
            line |= {"tp": tp, "tn": right - tp, "fp": (rows - right) // 2, "fn": rows - right - (rows - right) // 2}
        lines.append(json.dumps(line) + "\n")
    config = defaults(("metric=accuracy", "performance_threshold=0.85"))
    return simulate(config, [BytesIO("".join(lines).encode())])


def triggered(found: Replay) -> list[int]:
    return [day for day, step in enumerate(found.steps) if step.decision.action is Action.RETRAIN]


@pytest.mark.parametrize("of", ["counts", "values"])
@pytest.mark.parametrize("seed", range(4))
def test_a_metric_that_falls_further_ends_the_pause(of: str, seed: int) -> None:
    counts = of == "counts"
    standing = "h" * 10 + "b" * 40
    steady = triggered(replay(standing, counts=counts, seed=seed))
    longest, end = max((later - day, later) for day, later in pairwise(steady))
    assert longest > 7, "the pause has been doubled"
    falls = end - longest + 2
    found = replay(standing[:falls] + "w" * (50 - falls), counts=counts, seed=seed)
    early = [day for day in triggered(found) if falls <= day < end]
    assert early
    assert early[0] <= falls + 2
    because = found.steps[early[0]].decision.because
    assert re.search(r"accuracy got still worse, from 0\.(79|8|81) before the last training to 0\.(6|7)", because)
    waits = found.steps[falls - 1].decision.because
    assert "unless the metric gets still worse (tried " in waits


def test_a_standing_breach_seldom_gets_worse_by_chance() -> None:
    early = 0
    for seed in range(12):
        found = replay("h" * 10 + "b" * 40, counts=True, seed=seed)
        early += sum("got still worse" in step.decision.because for step in found.steps)
    assert early <= 1


def test_a_run_trains_again_if_its_champion_falls_further(champion: Project) -> None:
    champion.trains("worse")
    champion.run(day=3)
    champion.log(0.7, 0.71, since=BREAK + timedelta(days=3))
    champion.run(day=5.1)
    assert champion.trainings() == 3, "the first champion, and two refused challengers"
    waits = champion.run(day=5.2).stdout
    assert "unless the metric gets still worse (tried 2 times" in waits
    champion.log(0.4, since=BREAK + timedelta(days=5))
    done = champion.run(day=6.2)
    assert champion.trainings() == 4, done.stdout
    assert "f1 got still worse, from 0.7 before the last training to 0.4 since then, beyond chance" in done.stdout


@pytest.mark.parametrize("of", ["counts", "values"])
def test_one_fall_ends_one_pause_and_the_level_after_it_none(of: str) -> None:
    told = 0
    for seed in range(6):
        found = replay("h" * 10 + "b" * 9 + "w" * 31, counts=of == "counts", seed=seed)
        told += sum("got still worse" in step.decision.because for step in found.steps)
    assert told <= 7
