"""What `simulate` costs: processor time for logs of many lines, in shapes that a replay might be slow for.

python benchmarks/replay.py [--lines 100000] prints CPU seconds and MB of memory, a row per shape of log, and one for many
settings that `backtest --log` tries on a log of a year.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

START = datetime(2020, 1, 1, tzinfo=UTC)
TURN = 200
"""Lines after which a breach that comes and goes does so."""

YEAR = 365
ALARMS = (100, 300, 1000, 3000, 10000)
"""Days of the log on which settings are tried, and values of trigger.false_alarm_every that each cooldown is tried with."""

Line = Callable[[np.random.Generator, int, int], dict[str, object]]
"""What a line states besides its time, by its number and the number of lines."""


def f1(chance: np.random.Generator, *, bad: bool) -> dict[str, object]:
    """Return a line with F1 alone."""
    return {"f1": round(chance.normal(0.80 if bad else 0.90, 0.01), 4)}


def counts(chance: np.random.Generator, *, bad: bool) -> dict[str, object]:
    """Return a line with the rows that F1 comes from."""
    wrong = round(200 * (1 / chance.normal(0.80 if bad else 0.90, 0.01) - 1))
    return {"tp": 200, "fp": wrong, "fn": wrong, "tn": 300}


def drift(chance: np.random.Generator, *, bad: bool) -> dict[str, object]:
    """Return a line with F1, which is good, and drift."""
    return f1(chance, bad=False) | {"drift": round(chance.normal(0.25 if bad else 0.10, 0.02), 4)}


SHAPES: dict[str, Line] = {
    "F1": lambda chance, _number, _lines: f1(chance, bad=False),
    "F1, a breach without end": lambda chance, number, lines: f1(chance, bad=number > lines // 10),
    "drift, a breach without end": lambda chance, number, lines: drift(chance, bad=number > lines // 10),
    "tp fp fn tn": lambda chance, _number, _lines: counts(chance, bad=False),
    "tp fp fn tn, breaches that come and go": lambda chance, number, _lines: counts(
        chance, bad=number // TURN % 2 == 1
    ),
}
"""Hourly lines; the same F1 without times, as bare numbers, is measured as well."""


def measured(text: str, *arguments: str) -> tuple[float, float]:
    """Replay a log in a process of its own; return its CPU seconds and the MB that it took at most."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "log").write_text(text)
        command = [sys.executable, "-m", "retrain_trigger", *arguments]
        child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{arguments[0]} ended with {child.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Print a table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--lines", type=int, default=100_000)
    asked.add_argument("--settings", type=int, default=50)
    given = asked.parse_args()
    lines = given.lines
    for name, line in SHAPES.items():
        show(name, written(line, lines, timedelta(hours=1)), "simulate", "log")
    chance = np.random.default_rng(1)
    show("bare numbers", "".join(f"{chance.normal(0.9, 0.01):.4f}\n" for _ in range(lines)), "simulate", "log")
    cooldowns = range(1, 1 + given.settings // len(ALARMS))
    tried = ("trigger.false_alarm_every", ALARMS), ("trigger.cooldown", [f"{days}d" for days in cooldowns])
    trying = [f"--try={key}={','.join(map(str, values))}" for key, values in tried]
    shape = "tp fp fn tn, breaches that come and go"
    year = written(SHAPES[shape], YEAR, timedelta(days=1))
    show(f"{len(ALARMS) * len(cooldowns)} settings, {YEAR} days of {shape}", year, "backtest", "--log", "log", *trying)


def written(line: Line, lines: int, apart: timedelta) -> str:
    """Return a log of so many lines, so far apart."""
    chance = np.random.default_rng(1)
    stated = (line(chance, number, lines) for number in range(lines))
    times = ({"timestamp": (START + number * apart).isoformat()} for number in range(lines))
    return "".join(json.dumps(at | each) + "\n" for at, each in zip(times, stated, strict=True))


def show(name: str, text: str, *arguments: str) -> None:
    """Measure a command on a log, and print its row."""
    seconds, size = measured(text, *arguments)
    print(f"| {name} | {seconds:.1f} | {size:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
