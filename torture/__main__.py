"""Torture: kill, starve and cut off retrain-check at each of its steps, and look whether anything was ever lost.

    python torture [--scale 1] [--minutes 45]

Prints one line for each part: how many points were reached, and how many of them violated what must hold. Exits with 1
where there is a violation, where a deliberate omission was not found, or where a part reached nothing.
"""

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faults
import kills
import mutants
import scenes

HERE = Path(__file__).parent
SHOWN = 10
AGAIN = 7
"""Points at which a recovery is killed, for each point at which the run was."""
SIMPLE = {scene.name for scene in scenes.SIMPLE}
SMALL = 0.1
"""A scale under which each part has one scene."""
PAIRS, SCHEDULES, STATES, REAL, FAILED, KILLED = 500, 200, 100_000, 1_000, 60, 20_000
GOALS = {
    "power-loss states": STATES,
    "overlapping pairs": PAIRS,
    "clock schedules": SCHEDULES,
    "pointer reads": 1_000_000,
    "fuzzed lines": 10_000_000,
    "lines without end": 22,
    "bad trainers": 30,
    "bad models": 40,
    "planted secrets": 20,
    "cut-off runs": 200,
    "real injected errors": FAILED,
    "real kill points, all": REAL,
    "all kill points": KILLED,
}
"""How many points of each kind the whole of it is to reach."""


@dataclass
class Bench:
    """Where everything lies, how much is wanted, and until when."""

    folder: Path
    scale: float
    deadline: float
    lanes: int
    counts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    @property
    def masters(self) -> Path:
        """Return the folder of the scenes."""
        return self.folder / "scenes"

    @property
    def shim(self) -> Path:
        """Return the shim, as `faults.build` made it."""
        return self.folder / "shim.so"

    def left(self, share: float = 1.0) -> float:
        """Return the seconds that a part may take, a share of what is left."""
        return max(5.0, (self.deadline - time.monotonic()) * share)

    def part(
        self, name: str, *, amount: float, seconds: float, package: Path = mutants.PACKAGE, **more: Any
    ) -> dict[str, Any]:
        """Do one share of one part in a process of its own; return its tally."""
        preload = {} if name.startswith("real") else {"LD_PRELOAD": str(self.shim)}  # there each run is told for itself
        options = {"share": 0, "shares": 1, "amount": amount, "seconds": seconds, "package": package, **more}
        words = [f"--{key}={value}" for key, value in options.items()]
        done = subprocess.run(
            [sys.executable, str(HERE / "part.py"), name, f"--masters={self.masters}", f"--shim={self.shim}", *words],
            env={**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1", **preload},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return {"counts": {}, "violations": [f"{name} broke: {done.stderr.strip()[-600:]}"]}
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def shared(
        self, name: str, *, amount: float, seconds: float, split: bool = False, thinned: int = 1, **more: Any
    ) -> None:
        """Do one part in as many processes as there are lanes.

        `split`: `amount` is for all of them together. `thinned`: only one point in so many is taken.
        """
        each = math.ceil(amount / self.lanes) if split else amount
        with ThreadPoolExecutor(self.lanes) as pool:
            jobs = [
                pool.submit(
                    self.part, name, amount=each, seconds=seconds, share=share, shares=self.lanes * thinned, **more
                )
                for share in range(self.lanes)
            ]
        for job in jobs:
            self.take(job.result())

    def take(self, tally: dict[str, Any]) -> None:
        """Add what a part has found."""
        for kind, count in tally["counts"].items():
            self.counts[kind] = self.counts.get(kind, 0) + count
        self.violations += tally["violations"]


def main() -> int:
    """Do all parts within the time, and print the table."""
    options = argparse.ArgumentParser(description="Kill, starve and cut off retrain-check at each of its steps.")
    options.add_argument("--scale", type=float, default=1.0, help="how much of everything; 1 is all of it")
    options.add_argument("--minutes", type=float, default=45.0, help="after this, what is left is left out, and said")
    options.add_argument("--lanes", type=int, default=(os.cpu_count() or 1) + 1, help="processes at a time: some wait")
    options.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    given = options.parse_args()
    started = time.monotonic()
    wrong = False
    with tempfile.TemporaryDirectory(prefix="torture-", dir=kills.workplace(), ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), given.scale, started + 60 * given.minutes, given.lanes)
        faults.build(bench.folder)
        only = given.only.split(",")
        scored = "mutants" in only and any(
            set(of.split(",")) - SIMPLE for each in _chosen(bench) for _, of in each.seen_by
        )
        scenes.build(bench.masters, real=scored or {"real", "real_errors"} & set(only) or given.scale >= 1)
        print("| what | number | of | violations | seconds |\n|---|---|---|---|---|")
        for name in only:
            for line, bad in _printed(bench, PARTS[name]):
                print(line, flush=True)
                wrong = wrong or bad
        for violation in bench.violations[:SHOWN]:
            print(f"violation: {violation}")
        for line in _missed(bench, only):
            print(line)
    print(f"{len(bench.violations)} violations in {(time.monotonic() - started) / 60:.1f} minutes")
    return int(wrong or bool(bench.violations))


def _printed(bench: Bench, part: Callable[[Bench], None]) -> Iterator[tuple[str, bool]]:
    """Do a part; yield its lines of the table, each with whether it is bad."""
    began, before, bad = time.monotonic(), dict(bench.counts), len(bench.violations)
    part(bench)
    new = {kind: count for kind, count in bench.counts.items() if count != before.get(kind)}
    wrong, seconds = len(bench.violations) - bad, time.monotonic() - began
    for kind, count in new.items():
        goal = f"{GOALS[kind]:,}" if kind in GOALS and bench.scale >= 1 else ""
        yield f"| {kind} | {count:,} | {goal} | {wrong} | {seconds:.0f} |", wrong > 0
    if not new:
        yield f"| {part.__name__.strip('_')} | 0 | | {wrong} | {seconds:.0f} |", True


def _missed(bench: Bench, only: Sequence[str]) -> Iterator[str]:
    """Say which goals were not reached, where all of it was asked for."""
    if bench.scale < 1 or set(only) != set(PARTS):
        return
    for kind, goal in GOALS.items():
        if bench.counts.get(kind, 0) < goal:
            yield f"not reached: {bench.counts.get(kind, 0):,} of {goal:,} {kind}"


def _kills(bench: Bench) -> None:
    again = round(AGAIN * bench.scale)
    few: dict[str, Any] = {"scenes": "bootstrap"} if bench.scale < SMALL else {}
    bench.shared("kills", amount=again, seconds=bench.left(0.6), thinned=max(1, round(0.25 / bench.scale)), **few)


def _real(bench: Bench) -> None:
    bench.shared("real", amount=REAL * bench.scale, seconds=bench.left(), split=True)
    real = sum(count for kind, count in bench.counts.items() if kind.startswith("real kill points"))
    forked = sum(count for kind, count in bench.counts.items() if kind in {"kill points", "kill points in recovery"})
    bench.counts |= {"real kill points, all": real, "all kill points": real + forked}


def _real_errors(bench: Bench) -> None:
    bench.shared("real_errors", amount=FAILED * bench.scale, seconds=bench.left(0.5), split=True)


def _errors(bench: Bench) -> None:
    few: dict[str, Any] = {"scenes": "bootstrap"} if bench.scale < SMALL else {}
    bench.shared("errors", amount=1, seconds=bench.left(0.3), thinned=max(1, round(1 / bench.scale)), **few)


def _power(bench: Bench) -> None:
    few: dict[str, Any] = {"scenes": "rollback", "every": 60} if bench.scale < SMALL else {}
    bench.shared("power", amount=STATES * bench.scale, seconds=bench.left(0.5), **few)


def _pairs(bench: Bench) -> None:
    bench.shared("pairs", amount=PAIRS * bench.scale, seconds=bench.left(0.3), split=True)


def _clocks(bench: Bench) -> None:
    bench.shared("clocks", amount=SCHEDULES * bench.scale, seconds=bench.left(0.3), split=True)


def _mutants(bench: Bench) -> None:
    """Plant each omission, and look for it with the parts that should see it."""
    chosen = _chosen(bench)
    with ThreadPoolExecutor(bench.lanes) as pool:
        for mutant, found in zip(chosen, pool.map(lambda each: _found(bench, each), chosen), strict=True):
            bench.counts["omissions found"] = bench.counts.get("omissions found", 0) + bool(found)
            if not found:
                bench.violations.append(f"not found: {mutant.name}")
            elif os.environ.get("TORTURE_VERBOSE"):
                print(f"# {mutant.name}: {found[:200]}")


def _chosen(bench: Bench) -> tuple[mutants.Mutant, ...]:
    return mutants.MUTANTS[:: max(1, round(0.1 / bench.scale))]


def _found(bench: Bench, mutant: mutants.Mutant) -> str | None:
    """Return the first violation that betrays a mutant."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        try:
            package = mutants.planted(mutant, Path(folder))
        except LookupError as error:
            bench.violations.append(f"not planted: {error}")
            return None
        for name, of in mutant.seen_by:
            amount = {"power": 4000, "kills": 0, "pairs": 40, "clocks": 40, "errors": 1}[name]
            tally = bench.part(
                name, amount=amount, seconds=bench.left(0.5), package=package, scenes=of, until=1, every=1 << 40
            )
            if tally["violations"]:
                return str(tally["violations"][0])
    return None


def _other(name: str) -> Callable[[Bench], None]:
    """Return a part that stands in a module of its own: its `run` returns a count and the violations."""

    def part(bench: Bench) -> None:
        label, amounts = OTHERS[name]
        count, violations = importlib.import_module(name).run(**amounts(bench.scale))
        bench.take({"counts": {label: count}, "violations": violations})

    part.__name__ = name
    return part


def _some(number: int, scale: float) -> int | None:
    """Return how many of so many are taken, None for all."""
    return None if scale >= 1 else max(1, round(number * scale))


OTHERS: dict[str, tuple[str, Callable[[float], dict[str, Any]]]] = {
    "pointer": (
        "pointer reads",
        lambda scale: {"reads": max(1000, round(1_000_000 * scale)), "flips": max(10, round(10_000 * scale))},
    ),
    "fuzz": ("fuzzed lines", lambda scale: {"number": max(1000, round(10_000_000 * scale))}),
    "long_line": ("lines without end", lambda scale: {"megabytes": max(50, round(1024 * min(1, scale)))}),
    "trainers": ("bad trainers", lambda scale: {"number": _some(30, scale)}),
    "models": ("bad models", lambda scale: {"number": _some(40, scale)}),
    "planted": ("planted secrets", lambda _: {}),
    "cut_off": ("cut-off runs", lambda scale: {"number": max(1, round(100 * min(1, scale)))}),
}
"""What a part is called in the table, and how much of it a scale asks for."""

PARTS: dict[str, Callable[[Bench], None]] = {
    "mutants": _mutants,
    "power": _power,
    "pairs": _pairs,
    "clocks": _clocks,
    "errors": _errors,
    "kills": _kills,
    **{name: _other(name) for name in OTHERS if importlib.util.find_spec(name)},
    "real_errors": _real_errors,
    "real": _real,
}
"""In the order in which they are done; the last gets what time is left."""


if __name__ == "__main__":
    raise SystemExit(main())
