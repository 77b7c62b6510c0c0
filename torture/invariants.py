"""What must hold after any fault, looked at without the product's own code: files as bytes, the ledger by SQLite."""

import hashlib
import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

STATE = ".retrain-check"
LEDGER = f"{STATE}/ledger.sqlite"
JOURNAL = f"{LEDGER}-journal"
POINTER = "models/champion.json"
CHALLENGER = "models/challenger.json"
ENDS = {"training failed", "abandoned", "kept", "promoted", "in shadow", "waits for approval"}
ASIDE = {"decided", "data refused", "removing", "removed"}
RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
ROLLBACKS = (f"{STATE}/rollback.jsonl", "models/.champion.json.rollback")
"""Where a rollback that went without the ledger is written; the next run enters it."""
SPOILED = b"other bytes"
"""What a scene puts in the place of a sealed model: a version may then be broken, and the pointer must not name it."""
SKIPPED = {"__pycache__", "logs"}

Tree = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Told:
    """What a ledger says: its entries, oldest first, and what is wrong with it."""

    entries: tuple[Mapping[str, Any], ...] = ()
    faults: tuple[str, ...] = ()

    def unfinished(self) -> list[Mapping[str, Any]]:
        """Return the entries of a run that has not come to an end."""
        found: list[Mapping[str, Any]] = []
        for entry in self.entries:
            if entry["kind"] in ENDS:
                found = []
            elif entry["kind"] not in ASIDE:
                found.append(entry)
        return found

    def promoted(self) -> Mapping[str, Any] | None:
        """Return the last pointer that was promoted."""
        found = [entry["body"]["pointer"] for entry in self.entries if entry["kind"] == "promoted"]
        return found[-1] if found else None

    def staged(self) -> Mapping[str, Any] | None:
        """Return the pointer of the challenger that runs in shadow."""
        found = None
        for entry in self.entries:
            if entry["kind"] in ENDS:
                found = entry["body"]["pointer"] if entry["kind"] == "in shadow" else None
        return found

    def half_removed(self) -> set[str]:
        """Return the versions whose removal was begun and is not recorded as done."""
        found: set[str] = set()
        for entry in self.entries:
            if entry["kind"] == "removing":
                found |= set(entry["body"]["versions"])
            elif entry["kind"] == "removed":
                found -= set(entry["body"]["versions"])
        return found


def tree(project: Path) -> dict[str, bytes]:
    """Read a project's files, by their path relative to it."""
    found = {}
    for folder, folders, names in os.walk(project):
        folders[:] = [name for name in folders if name not in SKIPPED]
        for name in names:
            path = Path(folder, name)
            found[str(path.relative_to(project))] = path.read_bytes()
    return found


def broken(files: Tree) -> list[str]:
    """Say what is wrong with a project at any moment, killed or not: the pointer, the ledger, and sealed versions."""
    told = told_by(files.get(LEDGER), files.get(JOURNAL, b""))
    if told.faults:
        return list(told.faults)
    return [
        *_pointer(files, told),
        *_challenger(files, told),
        *_versions(files, told),
        *_promotions(told),
        *_trainings(files, told),
    ]


def left_over(files: Tree, folders: list[str]) -> list[str]:
    """Say what is still there after an ordinary run that nothing disturbed."""
    told = told_by(files.get(LEDGER), files.get(JOURNAL, b""))
    found = [f"left: {name}" for name in files if name.endswith((".tmp", "-journal")) or "/.staging-" in f"/{name}"]
    found += [f"left: {name}" for name in folders if ".staging-" in name or "/.removed-" in name]
    found += [f"half removed: {version}" for version in sorted(told.half_removed())]
    if (CHALLENGER in files) != (told.staged() is not None):
        found.append(f"{CHALLENGER} is {'there' if CHALLENGER in files else 'gone'}, against what the ledger says")
    last = {entry["run"]: entry["kind"] for entry in told.entries}
    for name in folders:
        if (
            name.startswith(f"{STATE}/runs/")
            and name.count("/") == 2
            and last.get(name[20:]) not in {"training failed", "kept"}
        ):
            found.append(f"left: {name} ({last.get(name[20:])})")
    found += [f"unfinished: {entry['kind']}" for entry in told.unfinished()]
    return found


@lru_cache(maxsize=20_000)
def told_by(ledger: bytes | None, journal: bytes) -> Told:
    """Open a copy of a ledger with its journal, as SQLite would after the fault, and read it."""
    if ledger is None:
        return Told()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        path = Path(folder, "ledger.sqlite")
        path.write_bytes(ledger)
        if journal:
            path.with_name("ledger.sqlite-journal").write_bytes(journal)
        try:
            with sqlite3.connect(path) as connection:
                (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
                rows = connection.execute("SELECT seq, at, run, kind, body, hash FROM entry ORDER BY seq").fetchall()
            connection.close()
        except sqlite3.Error as error:
            return Told(faults=(f"the ledger cannot be read: {error}",))
    faults = [] if sound == "ok" else [f"the ledger is not sound: {sound}"]
    previous = ""
    for number, (*fields, found) in enumerate(rows, 1):
        previous = hashlib.sha256(json.dumps([previous, *fields]).encode()).hexdigest()
        if found != previous or fields[0] != number:
            faults.append(f"the ledger's chain breaks at entry {fields[0]}")
            break
    entries = [{"at": at, "run": run, "kind": kind, "body": json.loads(body)} for _, at, run, kind, body, _ in rows]
    return Told(tuple(entries), tuple(faults))


def _pointer(files: Tree, told: Told) -> list[str]:
    last, pending = told.promoted(), [e["body"] for e in told.unfinished() if e["kind"] == "promoting"]
    allowed = [pending[-1]["origin"], pending[-1]["pointer"]] if pending else [last]
    for body in _rolled_back(files):
        allowed += [body["origin"], body["pointer"]] if body["origin"] in allowed else []
    if POINTER not in files:
        return [] if None in allowed else ["the pointer is gone"]
    found = _named(files, POINTER, allowed)
    previous = (last or {}).get("previous")
    if previous is not None and f"models/{previous}/model.joblib" not in files:
        found.append(f"{previous}, which a rollback goes to, is gone")
    return found


def _rolled_back(files: Tree) -> list[Mapping[str, Any]]:
    """Return what rollbacks without the ledger meant to do, oldest first; a torn last line counts as not written."""
    found = []
    for line in b"\n".join(files.get(name, b"") for name in ROLLBACKS).split(b"\n"):
        try:
            step = json.loads(line) if line.strip() else {}
        except ValueError:
            continue
        if step.get("kind") == "intent":
            found.append(step["body"])
    return found


def _challenger(files: Tree, told: Told) -> list[str]:
    """Say what is wrong with the file that names a challenger: it may be gone only where its shadow is being ended."""
    begun = {entry["kind"]: entry["body"] for entry in told.unfinished()}
    allowed = [told.staged(), begun["staging"]["pointer"] if "staging" in begun else None]
    ending = "ending shadow" in begun or begun.get("compared", {}).get("shadow", False)
    if CHALLENGER not in files:
        return [] if told.staged() is None or ending else [f"{CHALLENGER} is gone"]
    return _named(files, CHALLENGER, allowed)


def _named(files: Tree, name: str, allowed: list[Mapping[str, Any] | None]) -> list[str]:
    """Say what is wrong with a file of the pointer's form, which must be one of those allowed and name a whole model."""
    try:
        pointer = json.loads(files[name])
    except ValueError:
        return [f"{name} is torn: {files[name][:40]!r}"]
    if pointer not in allowed:
        return [f"{name} names {pointer['version']}, which the ledger does not say"]
    model = files.get(os.path.normpath(f"models/{pointer['path']}"))
    if model is None:
        return [f"{name} names {pointer['version']}, whose model is gone"]
    if hashlib.sha256(model).hexdigest() != pointer["sha256"]:
        return [f"{name} names {pointer['version']}, whose model is not whole"]
    return []


def _versions(files: Tree, told: Told) -> list[str]:
    """Say which versions are not whole; one whose run goes on later must be there, too."""
    found = []
    there = {name.split("/")[1] for name in files if name.startswith("models/") and name.count("/") == 2}
    for version in sorted(there):
        if version.startswith("."):
            continue
        model, card = (files.get(f"models/{version}/{name}") for name in ("model.joblib", "card.json"))
        try:
            said = json.loads(card or b"")
            whole = model is not None and said["sha256"] == hashlib.sha256(model).hexdigest()
            whole = whole and ("adopted_from" in said or f"models/{version}/train.log" in files)
        except ValueError:
            whole = False
        if not whole and model != SPOILED:
            found.append(f"version {version} is not whole")
    hidden = {name.split("/")[1].removeprefix(".removed-") for name in files if name.startswith("models/.removed-")}
    found += [
        f"{version} is half removed, and the ledger knows of no removal" for version in hidden - told.half_removed()
    ]
    unfinished = [e["body"]["version"] for e in told.unfinished() if e["kind"] == "sealed"]
    return found + [f"version {version} was sealed and is gone" for version in unfinished if version not in there]


def _promotions(told: Told) -> list[str]:
    """Say which promotions were not meant before they were done, or are not of what was sealed and found better."""
    found, meant, better, sealed = [], [], set(), {}
    for entry in told.entries:
        body = entry["body"]
        match entry["kind"]:
            case "sealed":
                sealed[body["version"]] = body["sha256"]
            case "compared":
                better.add(body["verdict"])
            case "promoting":
                meant.append(body["pointer"])
                version = body["pointer"]["version"]
                if body["by"] in {"gate", "shadow", "approval"} and version not in better:
                    found.append(f"{version} was promoted without a verdict")
                if sealed.get(version) != body["pointer"]["sha256"]:
                    found.append(f"{version} was promoted, and is not what was sealed")
            case "promoted" if "without the ledger" not in body["because"]:
                if body["pointer"] not in meant:
                    found.append(f"{body['pointer']['version']} was promoted without an intent")
    return found


def _trainings(files: Tree, told: Told) -> list[str]:
    """Say which trainings have begun without an entry, and whether there were ever two at a time."""
    found = ["two trainings at a time"] if "two-trainings" in files else []
    begun = {entry["run"] for entry in told.entries if entry["kind"] == "training"}
    ran = files.get("trained", b"").decode(errors="replace").split("\n")
    whole = [run for run in ran if RUN.fullmatch(run)]  # the script's own lines are not synced, and may be torn
    return found + [f"{run} was trained without an entry" for run in whole if run not in begun]
