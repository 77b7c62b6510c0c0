"""Ticks that overlap, and clocks that jump."""

import json
import random
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import invariants
import lab
from kills import Striker, Tally
from lab import Done
from scenes import Scene

COOLDOWN = timedelta(days=1)
_STEPS = (timedelta(hours=-30), timedelta(days=-400), timedelta(0), timedelta(minutes=1), timedelta(hours=5))
_STEPS_ON = (timedelta(hours=13), timedelta(days=2), timedelta(days=40))
_FAR = timedelta(days=200)
"""How far ahead the clock of one run of each schedule is."""
_RIGHT = datetime(2026, 1, 24, 12, tzinfo=UTC)
"""When the clock is right again."""
_OVER = timedelta(days=31)
"""When the longest cooldown is over, and the budget free again."""


def overlap(striker: Striker, chosen: list[Scene], *, pairs: int, deadline: float, seed: int = 1) -> Tally:
    """Start two runs at once on a breach: one trains; the other says that it is busy, or comes after it and waits."""
    tally, chance = Tally(), random.Random(seed)
    (scene,) = chosen
    for number in range(pairs):
        if time.monotonic() > deadline:
            break
        place = lab.copy(striker.masters / scene.name, striker.place)
        first = striker.lab.start(place, scene.command)
        time.sleep(chance.choice((0.0, 0.0, 0.01, 0.03, 0.1)) * chance.random())
        second = striker.lab.start(place, scene.command)
        ended = [striker.lab.wait(first), striker.lab.wait(second)]
        tally.add("overlapping pairs", f"pair {number}", _one_worked(striker, ended))
    return tally


def _one_worked(striker: Striker, ended: list[Done]) -> list[str]:
    codes = sorted(done.code for done in ended)
    files = invariants.tree(striker.place)
    found = invariants.broken(files) + invariants.left_over(files, lab.folders(striker.place))
    trained = files.get("trained", b"").count(b"\n")
    if codes not in ([0, 0], [0, 75]):
        found.append(f"they exited with {codes}: {[done.said[-200:] for done in ended]}")
    return found + ([f"{trained} trainings"] if trained != 1 else [])


def jump(striker: Striker, chosen: list[Scene], *, schedules: int, deadline: float, seed: int = 1) -> Tally:
    """Run again and again while the clock jumps to and fro: the ledger's time never goes back, no cooldown ends early.

    Then the clock is right again, and a breach that is logged must be trained for as soon as the cooldown is over.
    """
    tally, chance = Tally(), random.Random(seed)
    (scene,) = chosen
    for number in range(schedules):
        if time.monotonic() > deadline:
            break
        place = lab.copy(striker.masters / scene.name, striker.place)
        now, found = datetime(2026, 1, 23, 12, tzinfo=UTC), []
        far = chance.randrange(8)
        for step in range(8):
            at = min(now + (_FAR if step == far else timedelta(0)), datetime.now(UTC))  # later ones are refused
            done = striker.lab.run(place, ("run", "--now", at.isoformat()))
            if done.code not in {0, 3} or "Traceback" in done.said:
                found.append(f"at {at} exit {done.code}: {done.said[-300:]}")
            now += chance.choice((*_STEPS, *_STEPS_ON))
        files = invariants.tree(place)
        found += [*invariants.broken(files), *_in_time(_told(files)), *_hears(striker, place)]
        tally.add("clock schedules", f"schedule {number}", found)
    return tally


def _hears(striker: Striker, place: Path) -> list[str]:
    """Mend the clock, log a breach, and say so where no training follows once the cooldown is over."""
    before = _trained(place)
    striker.lab.run(place, ("run", "--mend-clock", "--now", _RIGHT.isoformat()))
    over = _RIGHT + _OVER
    with (place / "logs/metrics.jsonl").open("a") as log:
        log.write(json.dumps({"timestamp": (over - timedelta(hours=1)).isoformat(), "f1": 0.7, "n": 500}) + "\n")
    done = striker.lab.run(place, ("run", "--now", over.isoformat()))
    return [] if _trained(place) > before else [f"a breach after it is not acted on: {done.code}: {done.said[-300:]}"]


def _trained(place: Path) -> int:
    return invariants.tree(place).get("trained", b"").count(b"\n")


def _told(files: invariants.Tree) -> invariants.Told:
    return invariants.told_by(files[invariants.LEDGER], files.get(invariants.JOURNAL, b""))


def _in_time(told: invariants.Told) -> list[str]:
    times = [entry["at"] for entry in told.entries]
    found = [] if times == sorted(times) else ["the ledger's time goes back"]
    trained = [datetime.fromisoformat(entry["at"]) for entry in told.entries if entry["kind"] == "training"]
    found += [f"trained again after {b - a}" for a, b in pairwise(trained) if b - a < COOLDOWN]
    return found
