"""Old versions, removed: the newest are kept, and so is what is live, may be again, or is in use."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import islice

from retrain_trigger.core.entries import Entry, last, only, says
from retrain_trigger.core.errors import PromotionError, refused
from retrain_trigger.core.events import Event, Promoted, Removed, Removing, Sealed
from retrain_trigger.judge import memory, policy
from retrain_trigger.pipeline import staging
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.store import lock
from retrain_trigger.store.registry import Registry

PORTION = 32
"""Versions that are removed together: each is claimed, which takes one of the files that a process may have open."""


def collect(tick: Tick) -> None:
    """Remove the versions that `model.keep` lets go, and finish a removal that was cut off.

    Only what the ledger knows as sealed is ever removed. What cannot be removed now, a later tick tries again.
    """
    entries, keep = tick.ledger.effects(), tick.config.model.keep
    begun = _begun(entries)
    if not begun and len(tick.registry.versions()) <= keep:
        return
    free = iter(_let_go(tick, entries, begun))
    while portion := list(islice(free, PORTION)):
        _collect(tick, portion, begun)


def collected(tick: Tick) -> str | None:
    """Collect after a tick's own work; say what broke, None if nothing did: what was done before is done."""
    try:
        collect(tick)
    except (OSError, sqlite3.Error, PromotionError) as error:
        told = refused(error) if isinstance(error, OSError) else str(error)
        return f"old versions could not be removed now: {told.rstrip('.')}. The next run tries again"
    return None


def check_there(registry: Registry, entries: Iterable[Entry[Event]], version: str) -> None:
    """Raise PromotionError if a version was removed, saying when, and what there is."""
    there = registry.versions()
    removed = last((entry for entry in only(entries, Removed) if version in entry.event.versions), Removed)
    if removed and version not in there:
        raise PromotionError(
            f"{version} was removed at {policy.stamp(removed.at)} (model.keep was {removed.event.keep}); "
            f"{registry.folder} has {', '.join(there) or 'no version'}"
        )


def _collect(tick: Tick, versions: Sequence[str], begun: set[str]) -> None:
    """Remove those of some versions that nobody uses."""
    keep = tick.config.model.keep
    with ExitStack() as claims:
        free = [v for v in versions if claims.enter_context(lock.claimed(tick.registry.model(v)))]
        if not begun >= set(free):
            tick.record(Removing(versions=tuple(free), keep=keep))
        removed = [version for version in free if _removed(tick, version)]
        if removed:
            because = f"{', '.join(removed)} (model.keep is {keep})"
            tick.record(Removed(versions=tuple(removed), keep=keep, because=because))
            tick.say(f"removed {because}")


def _begun(entries: Iterable[Entry[Event]]) -> set[str]:
    """Return the versions whose removal was begun and not finished."""
    begun: set[str] = set()
    for entry in entries:
        if says(entry, Removing):
            begun |= set(entry.event.versions)
        elif says(entry, Removed):
            begun -= set(entry.event.versions)
    return begun


def _let_go(tick: Tick, entries: Sequence[Entry[Event]], begun: set[str]) -> list[str]:
    """Return the versions that nothing protects, oldest first; none if the pointer is gone or cannot be read."""
    there = {*tick.registry.versions(), *begun}
    sealed = _in_order(entry.event.version for entry in only(entries, Sealed))
    served = _in_order(entry.event.pointer.version for entry in only(entries, Promoted))
    newest = {v for order in (sealed, served) for v in [v for v in order if v in there][-tick.config.model.keep :]}
    protected = _protected(tick, memory.fold(entries))
    if protected is None:
        return []
    return [version for version in sealed if version in there - newest - protected]


def _protected(tick: Tick, past: memory.Memory) -> set[str] | None:
    """Return what is live, previous, staged, waiting for approval, or of an unfinished run; None if unknown."""
    try:
        live = tick.registry.champion()
        staged = staging.named(tick.registry)
    except PromotionError:
        return None
    if live is None:
        return None
    names = {live.version, live.previous, staged.version if staged else None}
    if past.champion is not None:
        names |= {past.champion.version, past.champion.pointer.previous if past.champion.pointer else None}
    if past.asked is not None:
        names.add(past.asked.event.version)
    names |= {entry.event.version for entry in only(past.unfinished, Sealed)}
    return {name for name in names if name is not None}


def _removed(tick: Tick, version: str) -> bool:
    try:
        tick.registry.remove(version)
    except OSError as error:
        tick.say(f"the old version {version} cannot be removed: {error}; the next run tries again")
        return False
    return True


def _in_order(versions: Iterable[str]) -> list[str]:
    """Return each version once, where it stands last."""
    return list(dict.fromkeys(reversed(list(versions))))[::-1]
