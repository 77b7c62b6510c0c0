"""The one way the pointer moves: an intent in the ledger, the flip, and the outcome in the ledger."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC
from typing import Any

from retrain_trigger.config import Config
from retrain_trigger.entries import Entry, Kind
from retrain_trigger.errors import CannotJudgeError, ConflictError, PromotionError, UsageError
from retrain_trigger.judge import clock
from retrain_trigger.judge.memory import Memory, mark_to_json
from retrain_trigger.measurements import Mark
from retrain_trigger.tick import Tick, nearby
from retrain_trigger.world import metrics_log
from retrain_trigger.world.registry import Pointer, Registry

_BY_A_PERSON = frozenset({"adopt", "hand", "rollback"})
BACK = frozenset({"rollback", "probation"})
"""Promotions of a version that was champion before."""


def champion(registry: Registry, past: Memory) -> Pointer | None:
    """Return the pointer, None where there is no champion yet.

    Raises ConflictError where the pointer is not what the ledger says, PromotionError where it cannot be read.
    """
    found = registry.champion()
    expected = past.champion.pointer if past.champion else None
    # A promotion that was cut off just after the flip: the next run records it.
    intended = [entry.body["pointer"] for entry in past.unfinished if entry.kind is Kind.PROMOTING]
    if expected is None or (found is not None and asdict(found) in [expected, *intended]):
        return found
    seen = "is gone" if found is None else f"names {found.version} (generation {found.generation})"
    raise ConflictError(
        f"the pointer {registry.pointer} {seen}, but the ledger last promoted {expected['version']} (generation "
        f"{expected['generation']}): somebody moved it by hand. Nothing was touched; say which version should be live "
        f"with `retrain-check promote VERSION --reason ...`"
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
        champion(tick.registry, tick.past)  # a training may have moved the pointer
    current = _current(tick)
    known = tick.past.champion.pointer if tick.past.champion else None
    if current is not None and current.version == version and asdict(current) == known:
        raise UsageError(f"{version} is the champion already")
    if clock.ahead(tick.now, tick.past.last_seen) is not None:
        tick = tick.mended()  # else the new champion would answer for nothing until that time has come
    last = tick.past.champion.pointer["generation"] if tick.past.champion and tick.past.champion.pointer else 0
    pointer = Pointer(
        generation=max(last, current.generation if current else 0) + 1,
        version=version,
        path=tick.registry.relative_path(version),
        sha256=tick.registry.verified(version),
        previous=previous if by in BACK else _replaced(current, version),
        promoted_at=tick.past.clock(tick.now).astimezone(UTC).isoformat().replace("+00:00", "Z"),
        run=tick.run,
    )
    origin = asdict(current) if current else None
    body = {"by": by, "because": because, **({"quarantined": dict(quarantined)} if quarantined else {}), **(told or {})}
    tick.record(Kind.PROMOTING, origin=origin, pointer=asdict(pointer), **body)
    tick.registry.point_at(pointer)
    _record(tick, pointer, **body)
    return pointer


def complete(tick: Tick, intent: Entry) -> Pointer:
    """Finish a promotion that was cut off: the pointer says how far it had come. Raises ConflictError."""
    target = Pointer(**intent.body["pointer"])
    found = tick.registry.champion()
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


def _current(tick: Tick) -> Pointer | None:
    """Return the pointer as it is, whoever moved it, None where it is torn: a promotion by hand settles both."""
    try:
        return tick.registry.champion()
    except PromotionError:
        return None


def _record(tick: Tick, pointer: Pointer, **body: Any) -> None:
    tick.record(Kind.PROMOTED, pointer=asdict(pointer), mark=mark_to_json(log_mark(tick.config, tick)), **body)
