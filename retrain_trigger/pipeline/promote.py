"""The one way the pointer moves: an intent in the ledger, the flip, and the outcome in the ledger."""

from contextlib import suppress
from datetime import UTC

from retrain_trigger.config.load import Config
from retrain_trigger.core.entries import only
from retrain_trigger.core.errors import CannotJudgeError, ConflictError, LiveModelError, PromotionError, UsageError
from retrain_trigger.core.events import Grounds, Promoted, Promoting
from retrain_trigger.core.measurements import Mark
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.judge import clock, lineage, memory
from retrain_trigger.logs import metrics_log
from retrain_trigger.pipeline import guard
from retrain_trigger.pipeline.tick import Tick, nearby
from retrain_trigger.store import files, rollback_record
from retrain_trigger.store.registry import Registry

_BY_A_PERSON = frozenset({"adopt", "hand", "rollback"})
BACK = frozenset({"rollback", "probation"})
"""Promotions of a version that was champion before."""


def champion(tick: Tick) -> Pointer | None:
    """Return the pointer, None if there is no champion yet.

    Raises ConflictError if the pointer is not what the ledger says, LiveModelError if it cannot be read.
    """
    past, pointer = tick.past, nearby(tick.registry.pointer)
    expected = past.champion.pointer if past.champion else None
    try:
        found = tick.registry.champion()
    except PromotionError as error:
        live = f" of {expected.version}" if expected else ""
        raise LiveModelError(f"{error}{live}. {guard.remedy(tick, expected)}") from error
    # A promotion that was cut off just after the flip: the next run records it.
    intended = [entry.event.pointer for entry in only(past.unfinished, Promoting)]
    if expected is None or (found is not None and found in [expected, *intended]):
        return found
    seen = "is gone" if found is None else f"names {found.version} (generation {found.generation})"
    file = nearby(tick.registry.model(expected.version))
    wrong = guard.fault(tick.registry, expected)
    raise ConflictError(
        f"the pointer {pointer} {seen}, but the ledger last promoted {expected.version} (generation "
        f"{expected.generation}): somebody moved it by hand. Nothing was touched"
        f"{f'; {file} {wrong}' if wrong else ''}. {guard.remedy(tick, expected)}{_or_keep(tick, found)}"
    )


def promote(tick: Tick, version: str, grounds: Grounds, *, previous: str | None = None) -> Pointer:
    """Make a sealed version the champion.

    A later rollback goes to the champion that is replaced; after a rollback, to `previous`, the one before it, so
    that rolling back twice never returns to what was rolled back from. Raises PromotionError if the sealed model is
    not what was sealed, ConflictError if the pointer was moved and no person promotes.
    """
    if grounds.by not in _BY_A_PERSON:
        champion(tick)  # a training may have moved the pointer
    replaced = current(tick.registry)
    known = tick.past.champion.pointer if tick.past.champion else None
    if replaced is not None and replaced.version == version and replaced == known:
        raise UsageError(f"{version} is the champion already")
    if clock.ahead(tick.now, tick.past.last_seen) is not None:
        tick = tick.mended()  # else the new champion would answer for nothing until that time has come
    pointer = Pointer(
        generation=max(known.generation if known else 0, replaced.generation if replaced else 0) + 1,
        version=version,
        path=tick.registry.relative_path(version),
        sha256=tick.registry.verified(version),
        previous=previous if grounds.by in BACK else _replaced(replaced, version),
        promoted_at=tick.past.clock(tick.now).astimezone(UTC).isoformat().replace("+00:00", "Z"),
        run=tick.run,
    )
    tick.record(grounds.leading_to(Promoting, pointer=pointer, origin=replaced))
    tick.registry.point_at(pointer)
    _record(tick, pointer, grounds)
    return pointer


def complete(tick: Tick, intent: Promoting) -> Pointer:
    """Finish a promotion that was cut off: the pointer says how far it had come. Raises ConflictError."""
    target, found = intent.pointer, current(tick.registry)
    if found != target:
        if found != intent.origin:
            raise ConflictError(
                f"the pointer {tick.registry.pointer} is neither what the interrupted promotion of {target.version} "
                f"started from nor what it was going to write: somebody moved it by hand. Nothing was touched; say "
                f"which version should be live with `retrain-check promote VERSION --reason ...`"
            )
        tick.registry.verified(target.version)
    if tick.asks:
        return target
    tick.registry.point_at(target)  # also if it is there already: the killed run may not have synced it
    _record(tick, target, intent)
    return target


def current(registry: Registry) -> Pointer | None:
    """Return the pointer as it is, whoever moved it, None if it is torn: a promotion by hand settles both."""
    try:
        return registry.champion()
    except PromotionError:
        return None


def keep_ready(tick: Tick) -> None:
    """Keep the record of rollbacks without the ledger ready: the champions there were, and room on the disk.

    If that cannot be done now, the next promotion tries again: this one is done.
    """
    entries = tick.ledger.effects()
    first, second = rollback_record.places(tick.config.state, tick.registry)
    with suppress(OSError):
        first.begin_anew(lineage.served(entries).values(), memory.fold(entries).quarantined)
        files.remove(second.path)
    tick.registry.reserve()


def log_mark(config: Config, tick: Tick) -> Mark:
    """Return how far the metrics log reaches now; lines before that say nothing of the next champion."""
    try:
        return metrics_log.read([nearby(config.logs.metrics)], wanted=config.wanted, now=tick.now).mark
    except CannotJudgeError:
        return Mark()


def _replaced(current: Pointer | None, version: str) -> str | None:
    if current is None or current.version == version:
        return current.previous if current else None
    return current.version


def _or_keep(tick: Tick, found: Pointer | None) -> str:
    """Say how to keep what the pointer names now, where that is a whole version."""
    if found is None or not tick.registry.is_whole(found.version):
        return ""
    return f"; `{guard.command(tick.config, 'promote', found.version, '--reason', 'it is live')}` keeps {found.version}"


def _record(tick: Tick, pointer: Pointer, grounds: Grounds) -> None:
    tick.record(grounds.leading_to(Promoted, pointer=pointer, mark=log_mark(tick.config, tick)))
    keep_ready(tick)
