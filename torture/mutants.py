"""Deliberate omissions: the write order with one step left out. Each must be found, or the torture proves nothing."""

import shutil
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "retrain_trigger"


@dataclass(frozen=True, slots=True)
class Mutant:
    """Replacements of text in files of the package, and the parts that should see what is missing: (part, scenes)."""

    name: str
    patches: tuple[tuple[str, str, str], ...]
    seen_by: tuple[tuple[str, str], ...]


def planted(mutant: Mutant, folder: Path) -> Path:
    """Make a copy of the package with the mutation in it; raises LookupError where a text is not there exactly once."""
    package = folder / PACKAGE.name
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in mutant.patches:
        path = package / name
        text = path.read_text()
        if text.count(old) != 1:
            raise LookupError(f"{mutant.name}: {old!r} is {text.count(old)} times in {name}, not once")
        path.write_text(text.replace(old, new))
    return package


_INTENT = "    tick.record(grounds.leading_to(Promoting, pointer=pointer, origin=replaced))\n"
_FLIP = "    tick.registry.point_at(pointer)\n"
_OUTCOME = "    _record(tick, pointer, grounds)\n"
_BEGUN = "    tick.record(begun)\n"
_SEALED = "    tick.record(Sealed(version=card.version, sha256=digest, reach=split.reach))\n"
_STAGING = "    tick.record(intent)\n"
_NAMED = "    _write(tick, intent)\n"
_POWER_LOSS = (("power", "bootstrap,compared"),)
_KILL = (("kills", "bootstrap,compared"),)

MUTANTS = (
    Mutant(
        "a promotion does not look at the bytes of the model",
        (
            ("store/registry.py", "if found != self.card(version).sha256:", "if False:"),
            ("pipeline/by_hand.py", "if sealed and tick.registry.verified(version) != sealed[-1]:", "if False:"),
        ),
        (("kills", "spoiled"),),
    ),
    Mutant(
        "a file is not synced",
        (("store/files.py", "        os.fsync(file.fileno())\n", ""),),
        _POWER_LOSS,
    ),
    Mutant(
        "the pointer's folder is not synced",
        (
            (
                "store/files.py",
                "            beside.unlink(missing_ok=True)\n        raise\n    sync_folder(path.parent)\n",
                "            beside.unlink(missing_ok=True)\n        raise\n",
            ),
        ),
        _POWER_LOSS,
    ),
    Mutant(
        "the pointer is written in place",
        (
            (
                "store/registry.py",
                "files.write(self.pointer, pointer.encoded())",
                "self.pointer.write_bytes(pointer.encoded())",
            ),
        ),
        _KILL,
    ),
    Mutant(
        "the intent to promote comes after the flip",
        (("pipeline/promote.py", _INTENT + _FLIP, _FLIP + _INTENT),),
        _KILL,
    ),
    Mutant(
        "the outcome comes before the flip",
        (("pipeline/promote.py", _FLIP + _OUTCOME, _OUTCOME + _FLIP),),
        _KILL,
    ),
    Mutant(
        "the intent to train comes after the training",
        (
            ("pipeline/attempt.py", _BEGUN, ""),
            ("pipeline/attempt.py", "    if not sealed:\n", f"{_BEGUN}    if not sealed:\n"),
        ),
        (("kills", "breach"),),
    ),
    Mutant(
        "a version is built in its place, without a rename",
        (
            ("store/registry.py", 'self.folder / f"{_STAGING}{card.version}"', "self.folder / card.version"),
            ("store/files.py", "    staged.rename(target)\n", ""),
        ),
        _KILL,
    ),
    Mutant(
        "a sealed version's own folder is not synced",
        (("store/files.py", "    sync_folder(staged)\n", ""),),
        _POWER_LOSS,
    ),
    Mutant(
        "the folder of the versions is not synced",
        (
            (
                "store/files.py",
                "    staged.rename(target)\n    sync_folder(target.parent)\n",
                "    staged.rename(target)\n",
            ),
        ),
        _POWER_LOSS,
    ),
    Mutant(
        "SEALED is recorded before the version is there",
        (
            ("pipeline/train.py", _SEALED, ""),
            (
                "pipeline/train.py",
                "    try:\n        digest = tick.registry.seal(",
                f"    digest = files.sha256(model)\n{_SEALED}    try:\n        digest = tick.registry.seal(",
            ),
        ),
        _KILL,
    ),
    Mutant(
        "the ledger has no journal",
        (("store/ledger.py", "journal_mode=DELETE", "journal_mode=OFF"),),
        _KILL,
    ),
    Mutant(
        "the ledger's journal is removed without its folder being synced",
        (("store/ledger.py", "synchronous=EXTRA", "synchronous=FULL"),),
        _POWER_LOSS,
    ),
    Mutant(
        "the ledger is not synced at all",
        (("store/ledger.py", "synchronous=EXTRA", "synchronous=OFF"),),
        _POWER_LOSS,
    ),
    Mutant(
        "a run relies on what a killed one had not made durable",
        (("store/ledger.py", "            files.sync_folder(path.parent)\n", ""),),
        (("power", "by hand"),),
    ),
    Mutant(
        "a new ledger is made in its place",
        (("store/ledger.py", 'beside = path.with_name(f".{path.name}.tmp")', "beside = path"),),
        (("kills", "bootstrap"),),
    ),
    Mutant(
        "an interrupted promotion is given up without looking at the pointer",
        (
            (
                "pipeline/recover.py",
                "        return _promoted(tick, promoting.event)\n",
                '        return "it was cut off"\n',
            ),
        ),
        _KILL,
    ),
    Mutant(
        "a training that outlived its run is not seen",
        (
            (
                "pipeline/recover.py",
                "    if begun is None or not training.is_alive(tick.run, tick.training_lock):\n        return\n",
                "    return\n",
            ),
            ("process/training.py", "lock.taken(descriptor, path)", "True"),
        ),
        (("kills", "slow"),),
    ),
    Mutant(
        "a flip that a killed run had made is relied on, and not synced",
        (
            (
                "pipeline/promote.py",
                "    tick.registry.point_at(target)  # also",
                "    if found != target:\n        tick.registry.point_at(target)  # also",
            ),
        ),
        (("power", "compared"),),
    ),
    Mutant(
        "a version that a killed run had sealed is relied on, and not synced",
        (("pipeline/recover.py", "tick.registry.sync()  # a version", "pass  # a version"),),
        (("power", "bootstrap"),),
    ),
    Mutant(
        "a folder that a killed run had made is relied on, and not synced",
        (
            (
                "store/files.py",
                "            sync_folder(path.parent)\n        return\n",
                "            pass\n        return\n",
            ),
        ),
        (("power", "bootstrap"),),
    ),
    Mutant(
        "a promotion that a failing disk cut off is abandoned",
        (
            (
                "judge/abandonment.py",
                "return bool(unfinished) and (refused or not shown)",
                "return bool(unfinished)",
            ),
        ),
        (("errors", "compared"),),
    ),
    Mutant(
        "a shadow that a failing disk cut off is abandoned",
        (
            (
                "judge/abandonment.py",
                "SHOWN = frozenset({Kind.PROMOTING, Kind.STAGING,",
                "SHOWN = frozenset({Kind.PROMOTING,",
            ),
        ),
        (("errors", "staged"),),
    ),
    Mutant(
        "the end of a shadow that a failing disk cut off is abandoned",
        (
            (
                "judge/abandonment.py",
                "entry.kind in SHOWN or (says(entry, Compared) and entry.event.shadow)",
                "entry.kind in SHOWN",
            ),
        ),
        (("errors", "judged"),),
    ),
    Mutant(
        "a challenger is named before the ledger means it",
        (("pipeline/staging.py", _STAGING + _NAMED, _NAMED + _STAGING),),
        (("kills", "staged"),),
    ),
    Mutant(
        "the end of a shadow is not synced",
        (("pipeline/staging.py", "    files.sync_folder(path(tick.registry).parent)\n", ""),),
        (("power", "withdrawn,judged"),),
    ),
    Mutant(
        "what was half-written of a challenger's name stays",
        (("pipeline/recover.py", "    files.clear_beside(staging.path(tick.registry))\n", ""),),
        (("kills", "staged"),),
    ),
    Mutant(
        "an old version is removed in its place",
        (
            (
                "store/registry.py",
                "            files.rename_folder(self.folder / version, hidden)\n",
                "            files.remove_folder(self.folder / version)\n",
            ),
        ),
        (("kills", "pruned"),),
    ),
    Mutant(
        "an old version is removed without a word",
        (
            (
                "pipeline/collect.py",
                "            tick.record(Removing(versions=tuple(free), keep=keep))\n",
                "            pass\n",
            ),
        ),
        (("kills", "pruned"),),
    ),
    Mutant(
        "a removal that a killed run had begun is relied on, and not synced",
        (("store/registry.py", "            self.sync()  # the run", "            pass  # the run"),),
        (("power", "pruned"),),
    ),
    Mutant(
        "a removal is recorded before it is safe",
        (
            (
                "store/registry.py",
                'raise OSError(f"{hidden} is still there")\n        self.sync()\n',
                'raise OSError(f"{hidden} is still there")\n',
            ),
        ),
        (("power", "pruned"),),
    ),
    Mutant(
        "what was half-copied stays",
        (
            (
                "store/registry.py",
                '        for staged in self.folder.glob(f"{_STAGING}*"):\n            files.remove_folder(staged)\n',
                "",
            ),
        ),
        (("kills", "breach"),),
    ),
    Mutant(
        "the lock is shared",
        (("store/lock.py", "how: int = fcntl.LOCK_EX", "how: int = fcntl.LOCK_SH"),),
        (("pairs", "breach"),),
    ),
    Mutant(
        "a cooldown follows the clock alone",
        (("pipeline/tick.py", "at=self.past.clock(self.now)", "at=self.now"),),
        (("clocks", "breach"),),
    ),
)
