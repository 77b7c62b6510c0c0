"""A rollback where the ledger cannot be used, and how the ledger hears of it afterwards."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from retrain_trigger.config.load import Config
from retrain_trigger.core.entries import only
from retrain_trigger.core.errors import UsageError
from retrain_trigger.core.events import Abandoned, Promoted
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.judge import memory
from retrain_trigger.pipeline import guard, promote
from retrain_trigger.pipeline.tick import Say, Tick, registry
from retrain_trigger.process import training
from retrain_trigger.store import lock
from retrain_trigger.store.registry import Registry
from retrain_trigger.store.rollback_record import Done, Intent, Known, Step, places


def rollback(config: Config, version: str | None, *, reason: str, now: datetime, say: Say, why: str) -> Outcome:
    """Go back by the record beside the ledger; `why` is what is wrong with the ledger. The next run enters it.

    Raises UsageError if there is nothing whole to go back to, BusyError while another run is active.
    """
    versions = registry(config)
    with _held(config, say):
        steps = [step for record in places(config.state, versions) for step in record.steps()]
        live, served, quarantined = promote.current(versions), *_known(steps)
        current = live or next(reversed(served.values()), None)
        left = _unfinished(steps)
        if left is not None and live == left.pointer:
            _write(config, versions, Done())
            return _outcome(left, why=why)
        target = version or guard.predecessor(versions, served, current, quarantined=quarantined)
        if target is None or (current is not None and target == current.version):
            raise UsageError(f"there is no earlier champion on disk that is whole. {why}")
        digest = versions.verified(target)
        if digest in quarantined:
            raise UsageError(f"{target} is quarantined: it did worse than its predecessor. {why}")
        before = served[target].previous if target in served else None
        intent = Intent(
            pointer=_next(versions, target, digest, current, previous=before, now=now),
            origin=live,
            because=reason,
            gone=current.version if current else "what was live",
            at=now.astimezone(UTC),
        )
        _write(config, versions, intent)
        versions.point_at(intent.pointer)
        with suppress(OSError):  # the pointer says it
            _write(config, versions, Done())
        return _outcome(intent, why=why)


def entered(tick: Tick) -> Tick:
    """Enter in the ledger what was rolled back without it, before anything compares pointer and ledger.

    An intent that the pointer has not followed is left out. The record is kept ready for the next time.
    """
    records = places(tick.config.state, tick.registry)
    steps = [step for record in records for step in record.steps()]
    missing = _missing(tick, steps)
    if missing and tick.past.unfinished:
        _end_unfinished(tick)
    for intent in missing:
        told = f"{intent.because} (without the ledger, which could not be used)"
        mark = promote.log_mark(tick.config, tick)
        then = replace(tick, now=intent.at)
        then.record(Promoted(pointer=intent.pointer, mark=mark, by="rollback", because=told))
    if missing:
        last = missing[-1]
        was = "would be entered" if tick.asks else "is entered"
        tick.say(f"the rollback to {last.pointer.version} at {last.at.isoformat()} {was} in the ledger")
        tick = tick.remembering(memory.fold(tick.ledger.effects()))
    if tick.asks or tick.past.champion is None:
        return tick
    if missing or any(isinstance(step, Intent) for step in steps) or not records[0].path.exists():
        promote.keep_ready(tick)
    return tick


def _missing(tick: Tick, steps: list[Step]) -> list[Intent]:
    """Return the intents that the pointer followed and the ledger has not heard of, oldest first."""
    intents = [step for step in steps if isinstance(step, Intent)]
    if not intents:
        return []
    live = promote.current(tick.registry)
    heard = {entry.event.pointer for entry in only(tick.ledger.effects(), Promoted)}
    followed = sorted(_followed(intents, live), key=lambda intent: intent.pointer.generation)
    return [intent for intent in followed if intent.pointer not in heard]


def _followed(intents: list[Intent], live: Pointer | None) -> Iterator[Intent]:
    """Yield the intents whose pointer is there, or was there when the next began."""
    shown = {live, *(intent.origin for intent in intents)}
    yield from (intent for intent in intents if intent.pointer in shown)


def _end_unfinished(tick: Tick) -> None:
    earlier = tick.resuming(tick.past.unfinished[-1].run)
    if not tick.asks:
        training.end_tree(earlier.run, earlier.training_lock)
    earlier.record(Abandoned(because="the champion was rolled back"))


def _unfinished(steps: list[Step]) -> Intent | None:
    last = next((step for step in reversed(steps) if not isinstance(step, Known)), None)
    return last if isinstance(last, Intent) else None


def _known(steps: list[Step]) -> tuple[dict[str, Pointer], frozenset[str]]:
    """Return the champions there were, by version, oldest first, and what is quarantined."""
    served: dict[str, Pointer] = {}
    quarantined: set[str] = set()
    for step in steps:
        quarantined |= set(step.quarantined if isinstance(step, Known) else ())
        for pointer in _named(step):
            served.pop(pointer.version, None)
            served[pointer.version] = pointer
    return served, frozenset(quarantined)


def _named(step: Step) -> tuple[Pointer, ...]:
    match step:
        case Known(pointers=pointers):
            return pointers
        case Intent(pointer=pointer):
            return (pointer,)
        case _:
            return ()


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


def _write(config: Config, versions: Registry, step: Step) -> None:
    """Write a step where the state folder takes it, else beside the pointer. Raises OSError if neither does."""
    first, second = places(config.state, versions)
    try:
        first.append(step)
    except OSError:
        second.append(step)


@contextmanager
def _held(config: Config, say: Say) -> Iterator[None]:
    """Hold the lock of runs, if there can be one: in a folder that nobody can write to, no run writes either."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(lock.hold(config.state / "lock", say=say))
        yield


def _outcome(intent: Intent, *, why: str) -> Outcome:
    note = f"{why.rstrip('.')}. This rollback is recorded beside the ledger; the next run that can write it enters it"
    because = f"from {intent.gone} to {intent.pointer.version}: {intent.because}"
    return Outcome(word=Word.ROLLED_BACK, code=ExitCode.OK, because=because, notes=(note,), run=intent.pointer.run)
