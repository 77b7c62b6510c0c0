"""One tick: lock, recover, evaluate, check, decide, and where needed validate, train, compare, promote."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from retrain_trigger.config.load import Config
from retrain_trigger.core.errors import CannotJudgeError, PromotionError, RetrainCheckError
from retrain_trigger.core.events import Decided, Reason, Refused
from retrain_trigger.core.findings import Finding, Verdict, unknown
from retrain_trigger.core.measurements import Mark
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.core.redaction import redacted
from retrain_trigger.judge import clock, memory, policy
from retrain_trigger.judge.memory import Champion, Memory
from retrain_trigger.judge.policy import Action, Decision
from retrain_trigger.pipeline import (
    approval,
    attempt,
    collect,
    drifting,
    evaluate,
    guard,
    prepare,
    probation,
    promote,
    recover,
    shadow,
)
from retrain_trigger.pipeline.check import Judgement, Observed, judged, served
from retrain_trigger.pipeline.evaluate import Reading
from retrain_trigger.pipeline.tick import Say, Tick, asked, begun
from retrain_trigger.process import training

HOW_TO_BEGIN = (
    "there is no champion yet (no pointer at {pointer}): `retrain-check run --bootstrap` trains a first one, "
    "`retrain-check run --bootstrap --adopt PATH` takes over the model that is in production. Nothing was trained"
)
_WORDS = {
    Action.HEALTHY: Word.HEALTHY,
    Action.WARN: Word.WARNED,
    Action.WATCH: Word.WATCHING,
    Action.WAIT: Word.WAITING,
    Action.UNKNOWN: Word.UNKNOWN,
}
_ACTIONS = {Word.WAITING: Action.WAIT, Word.DATA_REFUSED: Action.RETRAIN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asks of a run: to train whatever the checks say, for a reason, or to stop short of the pointer."""

    force: str | None = None
    promotes: bool = True

    @property
    def forced(self) -> bool:
        """Whether it trains whatever the checks say."""
        return self.force is not None


NO_WISH = Wish()


def run(
    config: Config,
    *,
    now: datetime,
    say: Say,
    wish: Wish = NO_WISH,
    wait: timedelta = timedelta(0),
    mend_clock: bool = False,
) -> Outcome:
    """Do one tick. Raises RetrainCheckError for what breaks; the champion is then untouched.

    `wait` is how long another run is waited for. `mend_clock` first lets what was stamped later than now count from now.
    """
    with begun(config, now=now, say=say, wait=wait) as opened:
        tick = _mended(opened) if mend_clock else opened
        outcome = _ticked(tick, wish)
        if clock.ahead(now, tick.past.last_seen) is not None:  # a promotion has mended it
            tick = tick.remembering(memory.fold(tick.ledger.effects()))
        kept = collect.collected(tick)
        return _with_pending(tick, replace(outcome, notes=(*outcome.notes, kept)) if kept else outcome)


def dry_run(config: Config, *, now: datetime, wish: Wish = NO_WISH) -> Outcome:
    """Say what `run` would come to, changing nothing: the same tick, up to the first thing it would start or write."""
    said: list[str] = []
    with asked(config, now=now, say=said.append) as tick:
        return planned_by(tick, said, wish)


def planned_by(tick: Tick, said: list[str], wish: Wish = NO_WISH) -> Outcome:
    """Go through a tick that asks; `said` fills with what it says on the way."""
    recover.check_idle(tick)
    outcome = _with_pending(tick, _ticked(tick, wish))
    return replace(outcome, notes=(*said, *outcome.notes), run=None)


def _mended(tick: Tick) -> Tick:
    """Let what was stamped later than now count from now."""
    pointer = promote.champion(tick) if tick.past.champion is None else None
    known = known_champion(tick.past, pointer).champion
    latest = max(tick.past.clock(tick.now), known.since if known else tick.now)
    if latest == tick.now:
        tick.say("--mend-clock: nothing was stamped later than now")
        return tick
    tick.say(f"--mend-clock: what was stamped until {policy.stamp(latest)} counts from now, {policy.stamp(tick.now)}")
    return tick.mended(pointer)


def _ticked(opened: Tick, wish: Wish) -> Outcome:
    if not wish.forced and (doubt := _doubt(opened)) is not None:
        found = unknown(opened.config.metric, doubt.because)
        waits = doubt.until is not None
        word, code = (Word.WAITING, ExitCode.OK) if waits else (Word.UNKNOWN, ExitCode.CANNOT_JUDGE)
        return Outcome(word=word, code=code, because=doubt.because, findings=(found,))
    recovered, finished = recover.recovered(opened)
    if finished is not None:
        return finished
    tick = shadow.settled(_with_champion(recovered), forced=wish.forced)
    reading, judgement = _evaluated(tick, forced=wish.forced)
    if (worse := probation.failed(judgement)) is not None:
        obstacle = probation.obstacle(tick.registry, tick.past, worse) if wish.promotes else "--no-promote"
        if obstacle is None:
            return _rolled_back(tick, judgement, worse)
        tick.say(f"{worse.because}; it is not rolled back: {obstacle}")
    seen = shadow.progress(tick.config, tick.past, now=tick.now)
    if seen is not None:
        judgement = shadow.meanwhile(judgement, seen)
        if seen.due and wish.promotes:
            return _concluded(tick, judgement, reading, seen)
    if judgement.decision.action is not Action.RETRAIN and not wish.forced:
        _record_decision(tick, judgement, judgement.decision.action, judgement.decision.because)
        return _outcome(judgement, reading, run=tick.run)
    because = f"forced: {wish.force}" if wish.forced else judgement.decision.because
    return _attempted(tick, judgement, reading, because, wish)


def _doubt(tick: Tick) -> clock.Doubt | None:
    """Say why nothing may be judged or recorded at this time; None where an earlier run or a record bears it out.

    It is looked at before anything else: a promotion that is finished would be stamped with it, too.
    """
    past, max_age = tick.past, tick.config.trigger.max_age
    if past.last_seen is None or past.champion is None or clock.is_borne_out(tick.now, past.last_seen, max_age):
        return None
    try:
        reading = evaluate.read(
            tick.config, tick.registry, past, tick.ledger, now=tick.now, scratch=tick.scratch.parent
        )
    except CannotJudgeError as error:
        reading = Reading(Observed(), Mark(), (str(error),))
    doubt = clock.doubt(
        tick.now,
        last_seen=past.last_seen,
        newest=reading.observed.newest,
        latest=reading.observed.latest,
        max_age=max_age,
    )
    # Records that cannot be read tell no time either.
    return doubt and replace(doubt, because="; ".join((doubt.because, *reading.notes)))


def _with_pending(tick: Tick, outcome: Outcome) -> Outcome:
    """Add to an outcome that an earlier challenger waits for approval still."""
    if tick.past.asked is None or outcome.word in {Word.ASKED, Word.PROMOTED}:
        return outcome
    return replace(outcome, notes=(*outcome.notes, approval.pending(tick.past.asked)))


def _with_champion(tick: Tick) -> Tick:
    """Read the pointer. Raises PromotionError where there is no champion, or somebody moved it."""
    pointer = promote.champion(tick)
    if pointer is None:
        raise PromotionError(HOW_TO_BEGIN.format(pointer=tick.config.model.pointer))
    guard.check(tick, pointer)
    return tick.remembering(known_champion(tick.past, pointer))


def known_champion(past: Memory, pointer: Pointer | None) -> Memory:
    """Take the champion from the pointer where the ledger does not know one: its folder may be new."""
    if past.champion is not None or pointer is None:
        return past
    since = datetime.fromisoformat(pointer.promoted_at).astimezone(UTC)
    return replace(past, champion=Champion(pointer.version, since, Mark(), pointer))


def _evaluated(tick: Tick, *, forced: bool) -> tuple[Reading, Judgement]:
    """Read the logs and judge them; a forced run goes on without a readable log."""
    try:
        reading = evaluate.read(
            tick.config, tick.registry, tick.past, tick.ledger, now=tick.now, scratch=tick.scratch.parent
        )
    except CannotJudgeError as error:
        if not forced:
            judgement = Judgement((unknown(tick.config.metric, str(error)),), Decision(Action.UNKNOWN, str(error)))
            _record_decision(tick, judgement, Action.UNKNOWN, str(error))
            raise
        reading = Reading(Observed(), Mark(), (str(error),))
    judgement = _judged(tick.config, reading, tick.past, now=tick.now)
    changed = drifting.changed(tick.config, judgement.findings, tick.past, labelled=reading.observed.labelled)
    return replace(reading, notes=(*reading.notes, *changed)), judgement


def _judged(config: Config, reading: Reading, past: Memory, *, now: datetime) -> Judgement:
    """Judge the champion, and its probation, which can only roll it back."""
    judgement = judged(config, reading.observed, past, now=now)
    found = probation.judged(config, reading.observed, past, now=now)
    return judgement if found is None else replace(judgement, findings=(*judgement.findings, found))


def _rolled_back(tick: Tick, judgement: Judgement, worse: Finding) -> Outcome:
    _record_decision(tick, judgement, Action.ROLL_BACK, worse.because)
    if tick.asks:
        because = f"{worse.because}; it would be rolled back"
        return Outcome(word=Word.WOULD_ROLL_BACK, code=ExitCode.WOULD_ACT, because=because, findings=judgement.findings)
    return replace(probation.rolled_back(tick, worse), findings=judgement.findings)


def _concluded(tick: Tick, judgement: Judgement, reading: Reading, seen: shadow.Progress) -> Outcome:
    """End a shadow with its verdict."""
    _record_decision(tick, judgement, judgement.decision.action, judgement.decision.because)
    standing = probation.standing(tick.config, reading.observed, tick.past)
    outcome = shadow.concluded(tick, seen, positive=reading.observed.positive, standing=standing)
    return replace(outcome, findings=judgement.findings, notes=reading.notes)


def _attempted(tick: Tick, judgement: Judgement, reading: Reading, because: str, wish: Wish) -> Outcome:
    """Validate and split the data, then train; what stands in the way is recorded with the decision."""
    try:
        prepared = prepare.prepare(
            tick, tick.past.champion, breached=judgement.breached(), forced=wish.forced, because=because
        )
    except RetrainCheckError as error:
        _record_decision(tick, judgement, Action.RETRAIN, because)
        tick.record(Refused(because=str(error)))
        raise
    if isinstance(prepared, Outcome):
        return _not_trained(tick, judgement, reading, prepared)
    _record_decision(tick, judgement, Action.RETRAIN, because)
    if tick.asks:
        return _planned(tick, judgement, reading, because, prepared)
    tick.say(f"{because}; retraining starts")
    occasion = attempt.Occasion(
        reason=Reason(because=because, forced=wish.forced, findings=(*judgement.findings, *prepared.findings)),
        mark=reading.mark,
        served=served(reading.observed, tick.past),
        standing=probation.standing(tick.config, reading.observed, tick.past),
        promotes=wish.promotes,
    )
    outcome = attempt.start(tick, prepared, occasion)
    return replace(outcome, because=f"{because}; {outcome.because}", findings=judgement.findings, notes=reading.notes)


def _planned(tick: Tick, judgement: Judgement, reading: Reading, because: str, prepared: prepare.Prepared) -> Outcome:
    """Say that a training would start now, what decides still, and what it could not end in."""
    training.check_ended(tick.training_lock)
    told = f"{because}; a retraining would start"
    if tick.config.data.command is not None:
        told += f"; then data.command `{redacted(tick.config.data.command)}` decides whether the data is fit"
    if prepared.uncompared:
        told += f"; its model would be sealed, not promoted: {prepared.uncompared}"
    return Outcome(
        word=Word.WOULD_RETRAIN,
        code=ExitCode.WOULD_ACT,
        because=told,
        findings=judgement.findings,
        notes=reading.notes,
    )


def _not_trained(tick: Tick, judgement: Judgement, reading: Reading, prepared: Outcome) -> Outcome:
    because = f"{judgement.decision.because}; {prepared.because}"
    _record_decision(tick, judgement, _ACTIONS[prepared.word], because)
    if prepared.word is Word.DATA_REFUSED:
        tick.record(Refused(because=prepared.because, findings=prepared.findings))
    tick.discard_files()
    refused = tuple(finding for finding in prepared.findings if finding.verdict is not Verdict.PASS)
    return replace(
        prepared, because=because, findings=(*judgement.findings, *refused), notes=reading.notes, run=tick.run
    )


def _outcome(judgement: Judgement, reading: Reading, *, run: str | None) -> Outcome:
    action = judgement.decision.action
    return Outcome(
        word=_WORDS[action],
        code=ExitCode.CANNOT_JUDGE if action is Action.UNKNOWN else ExitCode.OK,
        because=judgement.decision.because,
        findings=judgement.findings,
        notes=reading.notes,
        run=run,
    )


def _record_decision(tick: Tick, judgement: Judgement, action: Action, because: str) -> None:
    on_drift = tick.config.trigger.on_drift.value
    tick.record(Decided(action=action.value, because=because, findings=judgement.findings, on_drift=on_drift))
