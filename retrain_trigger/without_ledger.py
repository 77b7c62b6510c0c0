"""A rollback where the ledger cannot be used, and how the ledger hears of it afterwards."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from retrain_trigger import guard, promotion
from retrain_trigger.config import Config
from retrain_trigger.entries import Kind
from retrain_trigger.errors import UsageError
from retrain_trigger.judge import memory
from retrain_trigger.outcomes import ExitCode, Outcome, Word
from retrain_trigger.records import encoded
from retrain_trigger.tick import Say, Tick, registry
from retrain_trigger.world import lock, training
from retrain_trigger.world.registry import Pointer, Registry
from retrain_trigger.world.rollback_record import Step, places


def rollback(config: Config, version: str | None, *, reason: str, now: datetime, say: Say, why: str) -> Outcome:
    """Go back by the record beside the ledger; `why` is what is wrong with the ledger. The next run enters it.

    Raises UsageError where there is nothing whole to go back to, BusyError while another run is active.
    """
    versions = registry(config)
    with _held(config, say):
        steps = [step for record in places(config.state, versions) for step in record.steps()]
        live, served, quarantined = promotion.current(versions), *_known(steps)
        current = live or _last(served)
        left = _unfinished(steps)
        if left is not None and live == Pointer(**left.body["pointer"]):
            _write(config, versions, "done", {})
            return _outcome(left.body["from"], live.version, left.body["because"], run=live.run, why=why)
        target = version or guard.predecessor(versions, served, current, quarantined=quarantined)
        if target is None or (current is not None and target == current.version):
            raise UsageError(f"there is no earlier champion on disk that is whole. {why}")
        digest = versions.verified(target)
        if digest in quarantined:
            raise UsageError(f"{target} is quarantined: it did worse than its predecessor. {why}")
        before = served.get(target, {}).get("previous")
        pointer = _next(versions, target, digest, current, previous=before, now=now)
        origin = asdict(live) if live else None
        gone = current.version if current else "what was live"
        body = {"origin": origin, "pointer": asdict(pointer), "because": reason, "from": gone}
        _write(config, versions, "intent", {**body, "at": now.astimezone(UTC).isoformat()})
        versions.point_at(pointer)
        with suppress(OSError):  # the pointer says it
            _write(config, versions, "done", {})
        return _outcome(gone, target, reason, run=pointer.run, why=why)


def entered(tick: Tick) -> Tick:
    """Enter in the ledger what was rolled back without it, before anything compares pointer and ledger.

    An intent that the pointer has not followed is left out. The record is kept ready for the next time.
    """
    records = places(tick.config.state, tick.registry)
    steps = [step for record in records for step in record.steps()]
    missing = _missing(tick, steps)
    if missing and tick.past.unfinished:
        _end_unfinished(tick)
    for body in missing:
        told = f"{body['because']} (without the ledger, which could not be used)"
        mark = encoded(promotion.log_mark(tick.config, tick))
        then = replace(tick, now=datetime.fromisoformat(body["at"]))
        then.record(Kind.PROMOTED, pointer=body["pointer"], mark=mark, by="rollback", because=told)
    if missing:
        last = missing[-1]
        was = "would be entered" if tick.asks else "is entered"
        tick.say(f"the rollback to {last['pointer']['version']} at {last['at']} {was} in the ledger")
        tick = tick.remembering(memory.fold(tick.ledger.effects()))
    if tick.asks or tick.past.champion is None:
        return tick
    if missing or any(step.kind == "intent" for step in steps) or not records[0].path.exists():
        promotion.keep_ready(tick)
    return tick


def _missing(tick: Tick, steps: list[Step]) -> list[Mapping[str, Any]]:
    """Return the intents that the pointer followed and the ledger has not heard of, oldest first."""
    intents = [step.body for step in steps if step.kind == "intent"]
    if not intents:
        return []
    live = promotion.current(tick.registry)
    heard = [entry.body["pointer"] for entry in tick.ledger.effects() if entry.kind is Kind.PROMOTED]
    followed = sorted(_followed(intents, live), key=lambda body: body["pointer"]["generation"])
    return [body for body in followed if body["pointer"] not in heard]


def _followed(intents: list[Mapping[str, Any]], live: Pointer | None) -> Iterator[Mapping[str, Any]]:
    """Yield the intents whose pointer is there, or was there when the next began."""
    shown = [asdict(live) if live else None, *(body["origin"] for body in intents)]
    yield from (body for body in intents if body["pointer"] in shown)


def _end_unfinished(tick: Tick) -> None:
    earlier = tick.resuming(tick.past.unfinished[-1].run)
    if not tick.asks:
        training.end_tree(earlier.run, earlier.training_lock)
    earlier.record(Kind.ABANDONED, because="the champion was rolled back")


def _unfinished(steps: list[Step]) -> Step | None:
    last = next((step for step in reversed(steps) if step.kind != "known"), None)
    return last if last is not None and last.kind == "intent" else None


def _known(steps: list[Step]) -> tuple[dict[str, Mapping[str, Any]], frozenset[str]]:
    """Return the champions there were, by version, oldest first, and what is quarantined."""
    served: dict[str, Mapping[str, Any]] = {}
    quarantined: set[str] = set()
    for step in steps:
        found = step.body.get("pointers", []) if step.kind == "known" else []
        quarantined |= set(step.body.get("quarantined", ()))
        for pointer in [*found, *([step.body["pointer"]] if step.kind == "intent" else [])]:
            served.pop(pointer["version"], None)
            served[pointer["version"]] = pointer
    return served, frozenset(quarantined)


def _last(served: Mapping[str, Mapping[str, Any]]) -> Pointer | None:
    return Pointer(**list(served.values())[-1]) if served else None


def _next(
    versions: Registry, target: str, digest: str, current: Pointer | None, *, previous: str | None, now: datetime
) -> Pointer:
    return Pointer(
        generation=(current.generation if current else 0) + 1,
        version=target,
        path=versions.relative_path(target),
        sha256=digest,
        previous=previous,
        promoted_at=now.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        run=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
    )


def _write(config: Config, versions: Registry, kind: str, body: Mapping[str, Any]) -> None:
    """Write a step where the state folder takes it, else beside the pointer. Raises OSError where neither does."""
    first, second = places(config.state, versions)
    try:
        first.append(kind, body)
    except OSError:
        second.append(kind, body)


@contextmanager
def _held(config: Config, say: Say) -> Iterator[None]:
    """Hold the lock of runs, where there can be one: in a folder that nobody can write to, no run writes either."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(lock.hold(config.state / "lock", say=say))
        yield


def _outcome(gone: str, target: str, reason: str, *, run: str, why: str) -> Outcome:
    note = f"{why.rstrip('.')}. This rollback is recorded beside the ledger; the next run that can write it enters it"
    because = f"from {gone} to {target}: {reason}"
    return Outcome(word=Word.ROLLED_BACK, code=ExitCode.OK, because=because, notes=(note,), run=run)
