"""One part of the torture, in a process of its own that runs under the shim; prints its tally as JSON."""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import kills
import overlaps
import power
import scenes
from kills import Striker, Tally
from lab import Lab
from scenes import Scene

CHANGING = (
    *("bootstrap", "breach", "failing", "compared", "by hand", "rollback", "healthy"),
    *("pruned", "asked", "staged", "withdrawn", "concluded", "judged", "probation"),
)
"""The scenes, without those that differ only in how long a training takes or in a model that was spoiled."""

REAL = ("gate", "refit")


def main() -> None:
    """Do one share of one part."""
    options = argparse.ArgumentParser()
    options.add_argument("part", choices=PARTS)
    options.add_argument("--masters", type=Path, required=True)
    options.add_argument("--shim", type=Path, required=True)
    options.add_argument("--package", type=Path, required=True)
    options.add_argument("--share", type=int, default=0)
    options.add_argument("--shares", type=int, default=1)
    options.add_argument("--amount", type=float, default=1.0)
    options.add_argument("--seconds", type=float, default=600.0)
    options.add_argument("--scenes")
    options.add_argument("--every", type=int, default=60, help="of how many power-loss states one is recovered from")
    options.add_argument("--until", type=int, default=1 << 40, help="stop at so many violations")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-", dir=kills.workplace(), ignore_cleanup_errors=True) as folder:
        scratch, deadline = Path(folder), time.monotonic() + given.seconds
        found = scenes.built(given.masters)
        names = given.scenes.split(",") if given.scenes else PARTS[given.part][1]
        chosen = [found[name] for name in names if name in found]
        if PARTS[given.part][0] is _real:
            tally = _real(chosen, given, scratch, deadline)
        else:
            lab = Lab(given.shim, scratch)
            assert lab.package == given.package, f"{lab.package} is loaded, not {given.package}"
            striker = Striker(lab, given.masters, scratch)
            kills.Tally.most = given.until
            try:
                tally = PARTS[given.part][0](striker, chosen, given, deadline)
            except kills.EnoughError as enough:
                tally = enough.tally
        json.dump(asdict(tally), sys.stdout)


def _real(chosen: list[Scene], given: argparse.Namespace, scratch: Path, deadline: float) -> Tally:
    return kills.strike_really(
        given.masters,
        given.shim,
        scratch,
        chosen=chosen,
        errors=kills.ERRORS if given.part == "real_errors" else (),
        share=given.share,
        shares=given.shares,
        most=int(given.amount),
        deadline=deadline,
    )


def _kills(striker: Striker, chosen: list[Scene], given: argparse.Namespace, deadline: float) -> Tally:
    return kills.kill_everywhere(
        striker, chosen, share=given.share, shares=given.shares, again=int(given.amount), deadline=deadline
    )


def _errors(striker: Striker, chosen: list[Scene], given: argparse.Namespace, deadline: float) -> Tally:
    return kills.fail_everywhere(striker, chosen, share=given.share, shares=given.shares, deadline=deadline)


def _power(striker: Striker, chosen: list[Scene], given: argparse.Namespace, deadline: float) -> Tally:
    states = int(given.amount)
    return power.lose_power(
        striker, chosen, share=given.share, shares=given.shares, states=states, every=given.every, deadline=deadline
    )


def _pairs(striker: Striker, chosen: list[Scene], given: argparse.Namespace, deadline: float) -> Tally:
    return overlaps.overlap(striker, chosen, pairs=int(given.amount), deadline=deadline, seed=given.share)


def _clocks(striker: Striker, chosen: list[Scene], given: argparse.Namespace, deadline: float) -> Tally:
    return overlaps.jump(striker, chosen, schedules=int(given.amount), deadline=deadline, seed=given.share)


PARTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "kills": (_kills, (*CHANGING, "slow", "spoiled")),
    "errors": (_errors, CHANGING),
    "power": (_power, CHANGING),
    "pairs": (_pairs, ("breach",)),
    "clocks": (_clocks, ("breach",)),
    "real": (_real, REAL),
    "real_errors": (_real, REAL),
}
"""What a part does, and to which scenes."""


if __name__ == "__main__":
    main()
