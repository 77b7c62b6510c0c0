"""Kills and failing calls: each scene is struck at each call that changes something, then one ordinary run follows."""

import errno
import math
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import invariants
import lab
from faults import Action, Fault, Page
from lab import Done, Lab
from scenes import Scene

KILLS = (Action.KILL_BEFORE, Action.KILL_HALF, Action.KILL_AFTER)
ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS)
CONTRACT = frozenset({0, 2, 3, 4, 5, 6, 75})
"""Exit codes that a run may end with when a call fails; 1 would be a bug."""
LINKS = 4
"""How many runs are killed one after the other before one is let through."""


class EnoughError(Exception):
    """As many violations as were asked for have been found."""

    def __init__(self, tally: "Tally") -> None:
        super().__init__()
        self.tally = tally


@dataclass
class Tally:
    """Points that were reached, by kind, and what was violated, in words."""

    counts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    most: ClassVar[int] = 1 << 40

    def add(self, kind: str, where: str, found: list[str]) -> None:
        """Count one point, and keep what it violated."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.violations += [f"{where}: {each}" for each in found]
        if len(self.violations) >= self.most:
            raise EnoughError(self)

    def leave_out(self, kind: str, number: int) -> None:
        """Say how many points the time was too short for."""
        self.counts[f"{kind} left out"] = self.counts.get(f"{kind} left out", 0) + number


class Striker:
    """Strikes scenes in one lab, in a place of its own."""

    def __init__(self, lab: Lab, masters: Path, scratch: Path) -> None:
        self.lab, self.masters = lab, masters
        self.place, self.saved = scratch / "project", scratch / "killed"
        self.page = Page(scratch / "page")

    def calls(self, scene: Scene, tally: Tally) -> int:
        """Return how many calls a scene makes undisturbed; what is violated even then is told."""
        source = self.masters / scene.name
        done, found = lab.recorded(self.lab, scene.command, source, self.place, self.page)
        wrong = self._looked_at(done, frozenset({scene.undisturbed}))
        if wrong:
            tally.add("undisturbed", f"{scene.name}, undisturbed", wrong)
        return max(self.page.count, len(found))

    def struck(
        self,
        scene: Scene,
        fault: Fault,
        source: Path | None = None,
        *,
        recovering: bool = False,
        log: Path | None = None,
    ) -> Done:
        """Put the project there and strike it; with a log, what it changes until then is written down."""
        project = lab.copy(source or self.masters / scene.name, self.place)
        self.page.set(project, fault, log=log)
        return self.lab.run(project, scene.after if recovering else scene.command, self.page)

    def killed(self, scene: Scene, fault: Fault, *, source: Path | None = None) -> list[str] | None:
        """Kill a run, or with a source the run that recovers it, at one point; None where the run has no such point."""
        done = self.struck(scene, fault, source, recovering=source is not None)
        if self.page.hit is None or (fault.action is Action.KILL_HALF and not self.page.hit_write):
            return None
        wrong = [] if done.code == -9 else [f"it was to be killed, and ended with {done.code}: {done.said}"]
        return [f"{self.page.hit}: {each}" for each in (*wrong, *invariants.broken(invariants.tree(self.place)))]

    def recovered(self, scene: Scene, *, counting: bool = False, codes: frozenset[int] | None = None) -> list[str]:
        """Run one ordinary run after a fault (waiting while a training that outlived its run is there), and look."""
        for _ in range(400):
            if counting:
                self.page.set(self.place, Fault())
            done = self.lab.run(self.place, scene.after, self.page if counting else None)
            if done.code != 75:
                break
            time.sleep(0.02)
        return self._looked_at(done, codes or scene.codes)

    def _looked_at(self, done: Done, codes: frozenset[int]) -> list[str]:
        found = [] if done.code in codes else [f"exit {done.code}: {done.said.strip()[:300]}"]
        if "Traceback" in done.said:
            found.append(f"a traceback: {done.said[-300:]}")
        files = invariants.tree(self.place)
        return found + invariants.broken(files) + invariants.left_over(files, lab.folders(self.place))


def kill_everywhere(
    striker: Striker, chosen: list[Scene], *, share: int, shares: int, again: int, deadline: float, seed: int = 1
) -> Tally:
    """Kill each scene at each point, and the run that recovers it at `again` points of its own, or the scene's part of it.

    Only every `shares`-th point is taken, so that several processes divide the work.
    """
    tally, chance = Tally(), random.Random(seed + share)
    points = list(_points(striker, chosen, tally))[share::shares]
    chance.shuffle(points)  # when the time is too short, what is left out is spread over all scenes
    for number, (scene, fault) in enumerate(points):
        if time.monotonic() > deadline:
            tally.leave_out("kill points", len(points) - number)
            break
        found = striker.killed(scene, fault)
        if found is None:
            continue
        where = f"{scene.name}, {_told(fault)}"
        if again:
            lab.copy(striker.place, striker.saved)
        found += [f"recovered: {each}" for each in striker.recovered(scene, counting=True)]
        tally.add("kill points", where, found)
        count = striker.page.count
        for at in chance.sample(range(1, count + 1), min(math.ceil(again * scene.again), count)):
            second = Fault(at=at, action=chance.choice(KILLS))
            lost = striker.killed(scene, second, source=striker.saved)
            if lost is not None:
                lost += [f"recovered: {each}" for each in striker.recovered(scene)]
                tally.add("kill points in recovery", f"{where}, then {_told(second)}", lost)
    return tally


def fail_everywhere(
    striker: Striker, chosen: list[Scene], *, share: int, shares: int, deadline: float, errors: tuple[int, ...] = ERRORS
) -> Tally:
    """Let each call of each scene fail with each error, and with one of them from then on; then an ordinary run follows."""
    tally = Tally()
    points = [
        (scene, Fault(at=at, action=action, error=error))
        for scene in chosen
        for at in range(1, striker.calls(scene, tally) + 1)
        for action, kinds in ((Action.FAIL_ONCE, errors), (Action.FAIL_FROM, (errors[at % len(errors)],)))
        for error in kinds
    ][share::shares]
    random.Random(share).shuffle(points)
    points.sort(key=lambda point: point[1].action)  # each call alone before any with all that follow
    for number, (scene, fault) in enumerate(points):
        if time.monotonic() > deadline:
            tally.leave_out("injected errors", len(points) - number)
            break
        _fail(striker, scene, fault, tally)
    return tally


def _fail(striker: Striker, scene: Scene, fault: Fault, tally: Tally) -> None:
    done = striker.struck(scene, fault)
    if striker.page.hit is None:
        return
    found = [*_complained(done), *invariants.broken(invariants.tree(striker.place))]
    found += [f"recovered: {each}" for each in striker.recovered(scene, codes=scene.codes | {0})]
    tally.add("injected errors", f"{scene.name}, {_told(fault)} {striker.page.hit}", found)


def _complained(done: Done) -> list[str]:
    """Say what is wrong with how a run took a failing call."""
    found = [] if done.code in CONTRACT else [f"exit {done.code}: {done.said.strip()[:400]}"]
    if "Traceback" in done.said:
        found.append(f"a traceback: {done.said[-300:]}")
    if "restore it from a backup" in done.said:
        found.append(f"a sound ledger is called damaged: {done.said[-300:]}")
    return found


def _told(fault: Fault) -> str:
    error = f" {errno.errorcode[fault.error]}" if fault.error else ""
    return f"{fault.action.name.lower()}{error} at call {fault.at}"


def _points(striker: Striker, chosen: list[Scene], tally: Tally) -> Iterator[tuple[Scene, Fault]]:
    for scene in chosen:
        for at in range(1, striker.calls(scene, tally) + 1):
            for action in KILLS:
                yield scene, Fault(at=at, action=action)


def strike_really(
    masters: Path,
    shim: Path,
    scratch: Path,
    *,
    chosen: list[Scene],
    errors: Sequence[int] = (),
    share: int,
    shares: int,
    most: int,
    deadline: float,
) -> Tally:
    """Strike the real command, with real `make`, training and scoring, at points in an order of chance.

    It is killed, or with `errors` its calls fail. The points are divided among the shares, and `most` are taken.
    """
    tally, chance = Tally(), random.Random(100)
    struck = _Struck(masters, shim, scratch, random.Random(share), tally)
    kinds = [(Action.FAIL_ONCE, error) for error in errors] or [(action, 0) for action in KILLS]
    points = [
        (scene, Fault(at=at, action=action, error=error))
        for scene in chosen
        for at in range(1, struck.calls(scene) + 1)
        for action, error in kinds
    ]
    chance.shuffle(points)  # the same order in every share
    for scene, fault in points[share::shares]:
        if time.monotonic() > deadline or sum(tally.counts.values()) >= most:
            break
        (struck.fail if errors else struck.chain)(scene, fault)
    return tally


class _Struck:
    """A project in which one real run after the other is struck."""

    def __init__(self, masters: Path, shim: Path, scratch: Path, chance: random.Random, tally: Tally) -> None:
        self.masters, self.shim, self.scratch, self.chance, self.tally = masters, shim, scratch, chance, tally
        self.place, self.lengths, self.runs = scratch / "project", dict[str, int](), 0

    def calls(self, scene: Scene) -> int:
        """Return how many calls a scene makes undisturbed."""
        lab.copy(self.masters / scene.name, self.place)
        done, page = self._run(scene.command, Fault())
        assert done.code == scene.undisturbed, done.said
        self.lengths[scene.name] = page.count
        return page.count

    def fail(self, scene: Scene, fault: Fault) -> None:
        """Let one call fail, of the run or of what it started, then let an ordinary run follow."""
        lab.copy(self.masters / scene.name, self.place)
        done, page = self._run(scene.command, fault)
        if page.hit is None:
            return
        found = [*_complained(done), *invariants.broken(invariants.tree(self.place))]
        done, _ = self._run(scene.after, Fault())
        self.tally.add("real injected errors", f"{scene.name}, {_told(fault)} {page.hit}", [*found, *self._left(done)])

    def chain(self, scene: Scene, fault: Fault) -> None:
        """Kill one run after the other, LINKS at most, until one comes through: that must have brought everything back."""
        lab.copy(self.masters / scene.name, self.place)
        where, found, kind = scene.name, list[str](), "real kill points"
        for link in range(LINKS + 1):
            done, page = self._run(scene.after if link else scene.command, fault if link < LINKS else Fault())
            if page.hit is None:
                break
            where += f", {_told(fault)} {page.hit}"
            found += [f"killed: {each}" for each in invariants.broken(invariants.tree(self.place))]
            if fault.action is not Action.KILL_HALF or page.hit_write:
                self.tally.add(kind, where, found)
                found, kind = [], "real kill points in recovery"
            fault = Fault(at=self._somewhere(self.lengths[scene.name]), action=self.chance.choice(KILLS))
        self.tally.violations += [f"{where}: {each}" for each in [*found, *self._left(done)]]

    def _left(self, done: Done) -> list[str]:
        """Say what is wrong after an ordinary run."""
        found = [f"recovered: exit {done.code}: {done.said.strip()[:300]}"] if done.code != 0 else []
        files = invariants.tree(self.place)
        return [*found, *invariants.broken(files), *invariants.left_over(files, lab.folders(self.place))]

    def _somewhere(self, calls: int) -> int:
        """Draw a call of a run that goes on with another: it may have as many calls as that, and mostly has fewer."""
        return self.chance.choice((self.chance.randrange(1, calls + 1), math.ceil(calls ** self.chance.random())))

    def _run(self, command: tuple[str, ...], fault: Fault) -> tuple[Done, Page]:
        """Run a command under a page of its own, again while a training that outlived its run is there."""
        for _ in range(400):
            self.runs += 1
            page = Page(self.scratch / f"page-{self.runs}")
            page.set(self.place, fault, claim=True)
            done = lab.real(self.place, command, shim=self.shim, page=page)
            if done.code != 75:
                break
            time.sleep(0.05)
        return done, page


def workplace() -> Path:
    """Return a folder in memory, where there is one: syncing to it costs nothing."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and os.access(memory, os.W_OK) else Path("/tmp")
