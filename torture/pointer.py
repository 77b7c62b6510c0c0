"""Readers of the pointer, while it is flipped: none may find it missing, torn, or naming bytes of another hash.

python torture/pointer.py --reads 1000000 --flips 10000
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from retrain_trigger.core.card import Card
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.store import files
from retrain_trigger.store.registry import Registry

READERS = 2
VERSIONS = 8
BATCH = 200
"""Reads after which a reader says how far it is."""
SHOWN = 20
"""Violations of one reader that are kept."""


def run(reads: int, flips: int) -> tuple[int, list[str]]:
    """Read pointer and model so often, in two processes, during so many flips; return reads and violations.

    The flips are spread over the reads. A reader is any service: it opens the pointer by its name, reads it, opens
    the model that it names and hashes it.
    """
    with _registry() as (registry, pointers):
        context = multiprocessing.get_context("spawn")
        done: list[Synchronized[int]] = [context.Value("q", 0) for _ in range(READERS)]
        found = context.Queue()
        readers = [
            context.Process(target=_read, args=(str(registry.pointer), reads // READERS, count, found), daemon=True)
            for count in done
        ]
        for reader in readers:
            reader.start()
        flipped = 0
        while flipped < flips:
            share = sum(count.value for count in done) / max(1, reads)
            if flipped <= share * flips or not any(reader.is_alive() for reader in readers):
                flipped += 1
                registry.point_at(pointers[flipped % VERSIONS])
            else:
                time.sleep(0.0002)
        violations = [violation for _ in readers for violation in found.get(timeout=600)]
        for reader in readers:
            reader.join()
        return sum(count.value for count in done), violations


@contextmanager
def _registry() -> Iterator[tuple[Registry, list[Pointer]]]:
    folder = Path(tempfile.mkdtemp(prefix="retrain-check-pointer-"))
    try:
        registry = Registry(folder / "models", folder / "models" / "champion.json")
        pointers = [_sealed(registry, number) for number in range(VERSIONS)]
        registry.point_at(pointers[0])
        yield registry, pointers
    finally:
        files.remove_folder(folder)


def _sealed(registry: Registry, number: int) -> Pointer:
    model = registry.folder.parent / "model"
    model.write_bytes(os.urandom(1000 + number))
    version = f"v{number}" * (number + 1)  # pointers of different lengths: half of one is no other
    digest = registry.seal(Card(version=version), model=model, profile=None, log=None)
    return Pointer(
        generation=number + 1,
        version=version,
        path=registry.relative_path(version),
        sha256=digest,
        previous=None,
        promoted_at="2026-01-01T00:00:00Z",
        run="torture",
    )


def _read(pointer: str, reads: int, count: "Synchronized[int]", found: "multiprocessing.Queue[list[str]]") -> None:
    violations: list[str] = []
    seen: set[str] = set()
    for number in range(1, reads + 1):
        try:
            seen.add(_once(pointer))
        except _Violation as violation:
            if len(violations) < SHOWN:
                violations.append(f"read {number}: {violation}")
        if number % BATCH == 0 or number == reads:
            count.value = number
    if reads > 100 * BATCH and len(seen) < VERSIONS:
        violations.append(f"a reader saw {len(seen)} of {VERSIONS} versions: the flips were not under its reads")
    found.put(violations)


class _Violation(Exception):  # noqa: N818  (it is what is looked for)
    pass


def _once(pointer: str) -> str:
    """Read the pointer and the model that it names; return the version."""
    try:
        with open(pointer, "rb") as file:  # noqa: PTH123  (a million times: the plain call)
            text = file.read()
    except OSError as error:
        raise _Violation(f"missing: {error}") from error
    try:
        document = json.loads(text)
        path, sha256, version = document["path"], document["sha256"], document["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise _Violation(f"torn: {text!r}") from error
    try:
        with open(os.path.join(os.path.dirname(pointer), path), "rb") as file:  # noqa: PTH118, PTH120, PTH123  (as above)
            model = file.read()
    except OSError as error:
        raise _Violation(f"it names a model that is not there: {error}") from error
    if hashlib.sha256(model).hexdigest() != sha256:
        raise _Violation(f"hash mismatch of {version}")
    return str(version)


def main() -> None:
    """Print one line: reads, flips and violations."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reads", type=int, default=1_000_000)
    parser.add_argument("--flips", type=int, default=10_000)
    chosen = parser.parse_args()
    started = time.monotonic()
    reads, violations = run(chosen.reads, chosen.flips)
    seconds = time.monotonic() - started
    print(f"{reads:,} reads during {chosen.flips:,} flips in {seconds:.0f} s: {len(violations)} violations")
    for violation in violations:
        print(f"  {violation}")
    raise SystemExit(bool(violations))


if __name__ == "__main__":
    main()
