"""Power losses: recorded changes are replayed up to each point, and what was not synced is lost, torn, or zeros.

The model is stricter than any file system: the data of a file is safe when the file was synced after it, a name when
its folder was synced after it, and of all that is not safe any part may be there: of a file's writes the first ones,
the last of them torn; of a folder's changes of names any in their order; each file and folder for itself.
"""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import invariants
import lab
from faults import Action, Change, Fault, Op
from faults import changes as read_changes
from kills import Striker, Tally
from scenes import Scene

SECTOR = 512
RECOVERIES = 3
"""How many recoveries of each scene are recorded, too."""


@dataclass
class File:
    """What is safe, and what was written since."""

    safe: bytes = b""
    writes: list[tuple[Op, int, bytes]] = field(default_factory=list)

    def live(self) -> bytes:
        """Return what a reader sees now."""
        return _written(self.safe, self.writes)

    def sync(self) -> None:
        """Make all that was written safe."""
        self.safe, self.writes = self.live(), []


@dataclass
class Folder:
    """The names that are safe, and each change of names since, as {name: node or None}."""

    safe: dict[str, "File | Folder"] = field(default_factory=dict)
    changes: list[dict[str, "File | Folder | None"]] = field(default_factory=list)

    def live(self) -> dict[str, "File | Folder"]:
        """Return the names that a reader sees now."""
        return _named(self.safe, self.changes)

    def sync(self) -> None:
        """Make all names safe."""
        self.safe, self.changes = self.live(), []


class Disk:
    """A project on a disk whose cache is lost with the power."""

    def __init__(self, files: invariants.Tree) -> None:
        self.root = Folder()
        for path, data in files.items():
            *folders, name = path.split("/")
            folder = self.root
            for each in folders:
                folder = folder.safe.setdefault(each, Folder())  # type: ignore[assignment]
            folder.safe[name] = File(data)

    def apply(self, change: Change) -> None:
        """Do one recorded change; what concerns a file that has no name any more changes nothing that could be found."""
        parent, name = self._parent(change.path)
        if parent is None:
            return
        node = parent.live().get(name) if name else parent
        match change.op:
            case Op.CREATE:
                parent.changes.append({name: File()})
            case Op.MKDIR:
                parent.changes.append({name: Folder()})
            case Op.UNLINK | Op.RMDIR:
                parent.changes.append({name: None})
            case Op.RENAME:
                self._rename(parent, name, change.other)
            case Op.WRITE | Op.TRUNCATE if isinstance(node, File):
                node.writes.append((change.op, change.offset, change.data))
            case Op.SYNC if node is not None:
                node.sync()

    def _rename(self, parent: Folder, name: str, other: str) -> None:
        target, new = self._parent(other)
        moved = parent.live().get(name)
        if target is parent:
            parent.changes.append({name: None, new: moved})
        elif target is not None:
            parent.changes.append({name: None})
            target.changes.append({new: moved})

    def _parent(self, path: str) -> tuple[Folder | None, str]:
        *folders, name = path.split("/")
        node: File | Folder | None = self.root
        for each in folders:
            node = node.live().get(each) if isinstance(node, Folder) else None
        return (node if isinstance(node, Folder) else None), name

    def lost(self, names: Callable[[int], list[int]], data: Callable[[File], bytes]) -> dict[str, bytes]:
        """Return the files that are found after a power loss; folders are {path/: b""}.

        `names` chooses which of so many unsafe changes of names are there, `data` what is in a file.
        """
        found: dict[str, bytes] = {}

        def walk(folder: Folder, prefix: str) -> None:
            kept = [folder.changes[index] for index in names(len(folder.changes))]
            for name, node in _named(folder.safe, kept).items():
                if isinstance(node, Folder):
                    found[f"{prefix}{name}/"] = b""
                    walk(node, f"{prefix}{name}/")
                else:
                    found[f"{prefix}{name}"] = data(node)

        walk(self.root, "")
        return found


@dataclass(frozen=True, slots=True)
class Tape:
    """What a scene changes. Of the changes the first `before` were made by a run that was killed then, power on."""

    scene: Scene
    start: dict[str, bytes]
    changes: list[Change]
    before: int = 0


def lose_power(
    striker: Striker, chosen: list[Scene], *, share: int, shares: int, states: int, every: int, deadline: float
) -> Tally:
    """Replay each scene, and the recovery of each from several kills; the shares divide the tapes among them.

    `states` states are looked at, and from one in `every` of them an ordinary run recovers.
    """
    tally, chance = Tally(), random.Random(1000)  # the same kills in every share
    tapes = list(_tapes(striker, chosen, chance, share, shares))
    chance.seed(share)
    moments = sum(len(tape.changes) - tape.before + 1 for tape in tapes)
    each = max(len(DISKS) + 1, -(-states // (moments * shares)))
    seen: set[int] = set()
    for tape in tapes:
        disk = Disk(tape.start)
        for done in range(len(tape.changes) + 1):
            if done:
                disk.apply(tape.changes[done - 1])
            if done < tape.before:
                continue
            for how, files in _states(disk, chance, each):
                if time.monotonic() > deadline:
                    return tally
                killed = f", killed after change {tape.before}" if tape.before else ""
                where = f"{tape.scene.name}{killed}, power lost after change {done} of {len(tape.changes)} ({how})"
                found = invariants.broken(files)
                if done == len(tape.changes):
                    found += _forgotten(files, disk)
                tally.add("power-loss states", where, found)
                seen.add(hash(frozenset(files.items())))
                if chance.randrange(every) == 0:
                    tally.add("recovered after power loss", where, _recovered(striker, tape.scene, files))
    tally.counts["different power-loss states"] = len(seen)
    return tally


def _tapes(striker: Striker, chosen: list[Scene], chance: random.Random, share: int, shares: int) -> Iterator[Tape]:
    """Yield what each scene changes, and what the run changes that follows when the scene was killed somewhere.

    What a killed run had not synced is still unsynced then: the next one sees it, and must not rely on it.
    """
    number = 0
    for scene in chosen:
        source = striker.masters / scene.name
        start = invariants.tree(source)
        _, changes = lab.recorded(striker.lab, scene.command, source, striker.place, striker.page)
        named = [count for count, change in enumerate(changes, 1) if change.op in {Op.RENAME, Op.MKDIR, Op.UNLINK}]
        for at in (0, *named, *(chance.randrange(1, len(changes) + 1) for _ in range(RECOVERIES))):
            number += 1
            if number % shares == share:
                tape = _recovery(striker, scene, start, at) if at else Tape(scene, start, changes)
                if tape is not None:
                    yield tape


def _recovery(striker: Striker, scene: Scene, start: dict[str, bytes], at: int) -> Tape | None:
    """Kill a scene after a call, run the ordinary run that follows, and return what both change; None where none ends."""
    log = striker.place.with_name("killed.changes")
    log.unlink(missing_ok=True)
    striker.struck(scene, Fault(at=at, action=Action.KILL_AFTER), log=log)
    before = read_changes(log, striker.place)
    lab.copy(striker.place, striker.saved)
    for _ in range(200):
        done, after = lab.recorded(striker.lab, scene.after, striker.saved, striker.place, striker.page)
        if done.code != 75:
            return Tape(scene, start, [*before, *after], len(before))
        time.sleep(0.02)
    return None


def _states(disk: Disk, chance: random.Random, count: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    def none(_: int) -> list[int]:
        return []

    def every(number: int) -> list[int]:
        return list(range(number))

    def some(number: int) -> list[int]:
        if chance.random() < 0.5:
            return list(range(chance.randrange(number + 1)))
        return [index for index in range(number) if chance.random() < 0.5]

    def torn(file: File) -> bytes:
        return _torn(file, chance)

    for names, data in DISKS:
        kept, content = {"no": none, "all": every}[names], DATA[data]
        yield f"{names} unsynced names, {data}", disk.lost(kept, content)
    for _ in range(count - len(DISKS)):
        yield "some unsynced names, torn data", disk.lost(some, torn)


def _torn(file: File, chance: random.Random) -> bytes:
    if not file.writes:
        return file.safe
    kept = file.writes[: chance.randrange(len(file.writes) + 1)]
    if kept and chance.random() < 0.7:
        op, offset, data = kept[-1]
        cut = chance.randrange(len(data) + 1)
        if len(data) > SECTOR and chance.random() < 0.7:
            cut -= cut % SECTOR
        if op is Op.WRITE and chance.random() < 0.3:
            data, cut = data[:cut] + bytes(len(data) - cut), len(data)
        kept = [*kept[:-1], (op, offset, data[:cut])]
    return _written(file.safe, kept)


def _zeros(file: File) -> bytes:
    return _written(file.safe, [(op, offset, bytes(len(data))) for op, offset, data in file.writes])


def _written(safe: bytes, writes: list[tuple[Op, int, bytes]]) -> bytes:
    if not writes:
        return safe
    found = bytearray(safe)
    for op, offset, data in writes:
        found.extend(bytes(max(0, offset - len(found))))
        if op is Op.TRUNCATE:
            del found[offset:]
        else:
            found[offset : offset + len(data)] = data
    return bytes(found)


def _named(
    safe: dict[str, "File | Folder"], changes: list[dict[str, "File | Folder | None"]]
) -> dict[str, "File | Folder"]:
    if not changes:
        return safe
    found: dict[str, File | Folder | None] = dict(safe)
    for change in changes:
        found.update(change)
    return {name: node for name, node in found.items() if node is not None}


def _forgotten(files: invariants.Tree, disk: Disk) -> list[str]:
    """When a run has ended, nothing that its ledger said may be lost any more."""
    live = disk.lost(lambda number: list(range(number)), File.live)
    before, after = (
        invariants.told_by(each.get(invariants.LEDGER), each.get(invariants.JOURNAL, b"")).entries
        for each in (live, files)
    )
    return [] if before == after else [f"of {len(before)} entries {len(after)} are left after the run has ended"]


def _recovered(striker: Striker, scene: Scene, files: invariants.Tree) -> list[str]:
    lab.remove(striker.place)
    striker.place.mkdir()
    for path, data in files.items():
        target = striker.place / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    logs = striker.masters / scene.name / "logs"
    if logs.exists():
        shutil.copytree(logs, striker.place / "logs", dirs_exist_ok=True)
    return [f"recovered: {each}" for each in striker.recovered(scene)]


DATA: dict[str, Callable[[File], bytes]] = {
    "no unsynced data": lambda file: file.safe,
    "all data": File.live,
    "zeros": _zeros,
}
DISKS = (
    ("no", "no unsynced data"),
    ("all", "no unsynced data"),
    ("no", "all data"),
    ("all", "zeros"),
    ("all", "all data"),
)
"""What is looked at after every single change; the others are drawn."""
