"""The champion at the beginning of a tick: the pointer that names it, its model, and whether the clock can be trusted."""

from dataclasses import replace
from datetime import UTC, datetime

from retrain_trigger.core.errors import CannotJudgeError, PromotionError
from retrain_trigger.core.findings import unknown
from retrain_trigger.core.measurements import Mark
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.judge import clock, policy
from retrain_trigger.judge.memory import Champion, Memory
from retrain_trigger.pipeline import (
    evaluate,
    guard,
    promote,
)
from retrain_trigger.pipeline.evaluate import Reading
from retrain_trigger.pipeline.tick import Tick

HOW_TO_BEGIN = (
    "there is no champion yet (no pointer at {pointer}): `retrain-check run --bootstrap` trains a first one, "
    "`retrain-check run --bootstrap --adopt PATH` takes over the model that is in production. Nothing was trained"
)


def doubted(tick: Tick) -> Outcome | None:
    """Say why nothing may be judged or recorded at this time; None if an earlier run or a record bears it out.

    It is looked at before anything else: a promotion that is finished would be stamped with it, too.
    """
    past, max_age = tick.past, tick.config.trigger.max_age
    if past.last_seen is None or past.champion is None or clock.is_borne_out(tick.now, past.last_seen, max_age):
        return None
    try:
        reading = evaluate.read(tick)
    except CannotJudgeError as error:
        reading = Reading.nothing(str(error))
    doubt = clock.doubt(
        tick.now,
        last_seen=past.last_seen,
        newest=reading.observed.newest,
        latest=reading.observed.latest,
        max_age=max_age,
    )
    if doubt is None:
        return None
    because = "; ".join((doubt.because, *reading.notes))  # records that cannot be read tell no time either
    waits = doubt.until is not None
    word, code = (Word.WAITING, ExitCode.OK) if waits else (Word.UNKNOWN, ExitCode.CANNOT_JUDGE)
    found = unknown(tick.config.metric, because)
    return Outcome(word=word, code=code, because=because, findings=(found,))


def watched(tick: Tick) -> Tick:
    """Read the pointer. Raises PromotionError if there is no champion, or somebody moved it."""
    pointer = promote.champion(tick)
    if pointer is None:
        raise PromotionError(HOW_TO_BEGIN.format(pointer=tick.config.model.pointer))
    guard.check(tick, pointer)
    return tick.remembering(known(tick.past, pointer))


def known(past: Memory, pointer: Pointer | None) -> Memory:
    """Take the champion from the pointer where the ledger does not know one: its folder may be new."""
    if past.champion is not None or pointer is None:
        return past
    since = datetime.fromisoformat(pointer.promoted_at).astimezone(UTC)
    return replace(past, champion=Champion(pointer.version, since, Mark(), pointer))


def mended(tick: Tick) -> Tick:
    """Let what was stamped later than now count from now."""
    pointer = promote.champion(tick) if tick.past.champion is None else None
    champion = known(tick.past, pointer).champion
    latest = max(tick.past.clock(tick.now), champion.since if champion else tick.now)
    if latest == tick.now:
        tick.say("--mend-clock: nothing was stamped later than now")
        return tick
    tick.say(f"--mend-clock: what was stamped until {policy.stamp(latest)} counts from now, {policy.stamp(tick.now)}")
    return tick.mended(pointer)
