"""The one way the pointer moves: an intent in the ledger, the flip, and the outcome in the ledger."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC
from typing import Any

from retrain_trigger import guard
from retrain_trigger.config import Config
from retrain_trigger.entries import Entry, Kind
from retrain_trigger.errors import CannotJudgeError, ConflictError, LiveModelError, PromotionError, UsageError
from retrain_trigger.judge import clock, lineage, memory
from retrain_trigger.measurements import Mark
from retrain_trigger.records import encoded
from retrain_trigger.tick import Tick, nearby
from retrain_trigger.world import files, metrics_log, rollback_record
from retrain_trigger.world.registry import Pointer, Registry

_BY_A_PERSON = frozenset({"adopt", "hand", "rollback"})
BACK = frozenset({"rollback", "probation"})
"""Promotions of a version that was champion before."""


def champion(tick: Tick) -> Pointer | None:
    """Return the pointer, None where there is no champion yet.

    Raises ConflictError where the pointer is not what the ledger says, LiveModelError where it cannot be read.
    """
    past, pointer = tick.past, nearby(tick.registry.pointer)
    expected = past.champion.pointer if past.champion and past.champion.pointer else None
    try:
        found = tick.registry.champion()
    except PromotionError as error:
        live = f" of {expected['version']}" if expected else ""
        raise LiveModelError(f"{error}{live}. {guard.remedy(tick, expected)}") from error
    # A promotion that was cut off just after the flip: the next run records it.
    intended = [entry.body["pointer"] for entry in past.unfinished if entry.kind is Kind.PROMOTING]
    if expected is None or (found is not None and asdict(found) in [expected, *intended]):
        return found
    seen = "is gone" if found is None else f"names {found.version} (generation {found.generation})"
    file = nearby(tick.registry.model(expected["version"]))
    wrong = guard.fault(tick.registry, Pointer(**expected))
    raise ConflictError(
        f"the pointer {pointer} {seen}, but the ledger last promoted {expected['version']} (generation "
        f"{expected['generation']}): somebody moved it by hand. Nothing was touched"
        f"{f'; {file} {wrong}' if wrong else ''}. {guard.remedy(tick, expected)}{_or_keep(tick, found)}"
    )


def promote(
    tick: Tick,
    version: str,
    *,
    by: str,
    because: str,
    previous: str | None = None,
    quarantined: Mapping[str, str] | None = None,
    told: Mapping[str, Any] | None = None,
) -> Pointer:
    """Make a sealed version the champion; `by` says how it came to this: gate, shadow, bootstrap, adopt, hand, or one of BACK.

    A later rollback goes to the champion that is replaced; after a rollback, to `previous`, the one before it, so
    that rolling back twice never returns to what was rolled back from. `quarantined` is the version and sha256 that
    no comparison may promote again. `told` is what an adoption knows: `since` when it is live, and what it is `known_as`.
    Raises PromotionError where the sealed model is not what was sealed, ConflictError
    where the pointer was moved and no person promotes.
    """
    if by not in _BY_A_PERSON:
        champion(tick)  # a training may have moved the pointer
    replaced = current(tick.registry)
    known = tick.past.champion.pointer if tick.past.champion else None
    if replaced is not None and replaced.version == version and asdict(replaced) == known:
        raise UsageError(f"{version} is the champion already")
    if clock.ahead(tick.now, tick.past.last_seen) is not None:
        tick = tick.mended()  # else the new champion would answer for nothing until that time has come
    last = tick.past.champion.pointer["generation"] if tick.past.champion and tick.past.champion.pointer else 0
    pointer = Pointer(
        generation=max(last, replaced.generation if replaced else 0) + 1,
        version=version,
        path=tick.registry.relative_path(version),
        sha256=tick.registry.verified(version),
        previous=previous if by in BACK else _replaced(replaced, version),
        promoted_at=tick.past.clock(tick.now).astimezone(UTC).isoformat().replace("+00:00", "Z"),
        run=tick.run,
    )
    origin = asdict(replaced) if replaced else None
    body = {"by": by, "because": because, **({"quarantined": dict(quarantined)} if quarantined else {}), **(told or {})}
    tick.record(Kind.PROMOTING, origin=origin, pointer=asdict(pointer), **body)
    tick.registry.point_at(pointer)
    _record(tick, pointer, **body)
    return pointer


def complete(tick: Tick, intent: Entry) -> Pointer:
    """Finish a promotion that was cut off: the pointer says how far it had come. Raises ConflictError."""
    target = Pointer(**intent.body["pointer"])
    found = current(tick.registry)
    if found != target:
        if (asdict(found) if found else None) != intent.body["origin"]:
            raise ConflictError(
                f"the pointer {tick.registry.pointer} is neither what the interrupted promotion of {target.version} "
                f"started from nor what it was going to write: somebody moved it by hand. Nothing was touched; say "
                f"which version should be live with `retrain-check promote VERSION --reason ...`"
            )
        tick.registry.verified(target.version)
    if tick.asks:
        return target
    tick.registry.point_at(target)  # also where it is there already: the killed run may not have synced it
    _record(tick, target, **{name: value for name, value in intent.body.items() if name not in {"origin", "pointer"}})
    return target


def current(registry: Registry) -> Pointer | None:
    """Return the pointer as it is, whoever moved it, None where it is torn: a promotion by hand settles both."""
    try:
        return registry.champion()
    except PromotionError:
        return None


def keep_ready(tick: Tick) -> None:
    """Keep the record of rollbacks without the ledger ready: the champions there were, and room on the disk.

    Where that cannot be done now, the next promotion tries again: this one is done.
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


def _record(tick: Tick, pointer: Pointer, **body: Any) -> None:
    tick.record(Kind.PROMOTED, pointer=asdict(pointer), mark=encoded(log_mark(tick.config, tick)), **body)
    keep_ready(tick)
