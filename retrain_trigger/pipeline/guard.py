"""The live model, looked at by every tick: the file that the pointer names is there, whole, and readable."""

import json
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from retrain_trigger.config.load import DEFAULT_CONFIG, Config
from retrain_trigger.core.errors import LiveModelError
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.core.records import Json
from retrain_trigger.judge import lineage
from retrain_trigger.pipeline import approval
from retrain_trigger.pipeline.tick import Tick, nearby
from retrain_trigger.store import files
from retrain_trigger.store.registry import Registry

LOOKED = "live.json"
"""The file in the state folder that remembers the last look at the live model."""


def check(tick: Tick, pointer: Pointer) -> None:
    """Raise LiveModelError if the live model is not the file that was promoted, saying how to mend it.

    Its bytes are read again only where device, inode, size or a time of change differ from the last look.
    """
    wrong = fault(tick.registry, pointer, looked=_Looked(tick))
    if wrong is not None:
        file = nearby(tick.registry.model(pointer.version))
        raise LiveModelError(f"the live model {pointer.version} is broken: {file} {wrong}. {remedy(tick, pointer)}")


def fault(registry: Registry, pointer: Pointer, *, looked: "_Looked | None" = None) -> str | None:
    """Say what is wrong with the model that a pointer names, None if it is whole."""
    path = registry.model(pointer.version)
    try:
        seen = path.lstat()
        if not stat.S_ISREG(seen.st_mode):
            return _no_file(path, seen.st_mode)
        with files.open_regular(path):
            identity = [seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, pointer.sha256]
        if looked is not None and looked.last() == identity:
            return None
        found = files.sha256(path)
    except FileNotFoundError:
        return f"is missing{_with_folder(registry, path)}"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if found != pointer.sha256:
        changed = f"has changed: its sha256 is {found[:12]}, and {pointer.sha256[:12]} was promoted"
        return "is empty" if seen.st_size == 0 else changed
    if looked is not None:
        looked.keep(identity)
    return None


def remedy(tick: Tick, live: Pointer | None) -> str:
    """Say which command mends what is live: the way back where a whole predecessor is on disk, else another whole version."""
    served = lineage.served(tick.ledger.effects())
    if live is not None and fault(tick.registry, live) is None and tick.registry.is_whole(live.version):
        return f"`{command(tick.config, 'promote', live.version, '--reason', 'the pointer was damaged')}` mends it"
    if live is not None:
        target = predecessor(tick.registry, served, live, quarantined=tick.past.quarantined)
        if target is not None:
            return f"`{command(tick.config, 'rollback')}` goes back to {target}, which is whole"
    for version in reversed(tick.registry.versions()):
        if _may_take_over(tick, version, live):
            return f"`{command(tick.config, 'promote', version, '--reason', 'the live model is broken')}` makes it live"
    adopt = f"`{command(tick.config, 'adopt', 'PATH', '--reason', 'TEXT')}` makes another model live"
    if live is None:
        return f"No whole version is in {nearby(tick.registry.folder)}: restore that folder from a backup, or {adopt}"
    file = nearby(tick.registry.model(live.version))
    what = file if tick.registry.model(live.version).parent.is_dir() else f"the folder {file.parent}"
    return f"No other whole version is on disk: restore {what} from a backup ({file.name} has sha256 {live.sha256}), or {adopt}"


def predecessor(
    registry: Registry, served: Mapping[str, Pointer], current: Pointer | None, *, quarantined: frozenset[str]
) -> str | None:
    """Return the nearest earlier champion whose model is whole on disk and not quarantined.

    `served` are the pointers that are known, by version. Where none is, the cards tell which versions are older.
    """
    for version in _backwards(registry, served, current):
        digest = registry.card_digest(version)
        if digest is None or digest in quarantined:
            continue
        promoted = served[version].sha256 if version in served else digest
        if promoted == digest and registry.is_whole(version):
            return version
    return None


def command(config: Config, *words: str) -> str:
    """Return the command line that a person types, with the config file if that is not the default one."""
    file = config.file
    named = [] if file is None or file == DEFAULT_CONFIG.absolute() else ["-c", str(nearby(file))]
    return shlex.join(["retrain-check", words[0], *named, *words[1:]])


def _no_file(path: Path, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "is a link, not the file that was sealed" if path.exists() else "is a link that leads nowhere"
    return "is a folder, not a file" if stat.S_ISDIR(mode) else "is not a regular file"


def _backwards(registry: Registry, served: Mapping[str, Pointer], current: Pointer | None) -> Iterator[str]:
    passed: set[str] = {current.version} if current is not None else set()
    version = current.previous if current is not None else None
    while version is not None and version not in passed:
        yield version
        passed.add(version)
        version = served[version].previous if version in served else None
    if not served:
        there = registry.versions()
        older = there[:-1] if current is None else [each for each in there if each < current.version]
        yield from (each for each in reversed(older) if each not in passed)


def _may_take_over(tick: Tick, version: str, live: Pointer | None) -> bool:
    """Say whether `promote` would make a version live as it is asked."""
    digest = tick.registry.card_digest(version)
    if live is not None and (version == live.version or digest == live.sha256):
        return False
    return tick.registry.is_whole(version) and approval.objection(tick, version) is None


def _with_folder(registry: Registry, path: Path) -> str:
    gone = next((folder for folder in (registry.folder, path.parent) if not folder.exists()), None)
    return f", and so is its folder {nearby(gone)}" if gone is not None else ""


class _Looked:
    """The last look at the live model at which it was whole; a question only reads it."""

    __slots__ = ("_path", "_writes")

    def __init__(self, tick: Tick) -> None:
        self._path, self._writes = tick.config.state / LOOKED, not tick.asks

    def last(self) -> Json:
        with suppress(OSError, ValueError):
            return json.loads(self._path.read_text())
        return None

    def keep(self, identity: list[Json]) -> None:
        if self._writes:
            with suppress(OSError):  # the next tick reads the model once more
                files.write(self._path, json.dumps(identity).encode(), mode=0o600)
