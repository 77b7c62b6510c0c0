"""From what was read to what is done about it: wait, roll back, end a shadow, or begin an attempt."""

from dataclasses import dataclass, replace
from datetime import datetime

from retrain_trigger.config.load import Config
from retrain_trigger.core.errors import CannotJudgeError, RetrainCheckError
from retrain_trigger.core.events import Decided, Reason, Refused
from retrain_trigger.core.findings import Verdict, unknown
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.core.redaction import redacted
from retrain_trigger.judge.memory import Memory
from retrain_trigger.judge.policy import Action, Decision
from retrain_trigger.pipeline import (
    attempt,
    evaluate,
    never,
    prepare,
    probation,
    shadow,
    threshold,
    upgraded,
)
from retrain_trigger.pipeline.check import Judgement, champion_measurements, judged, served
from retrain_trigger.pipeline.evaluate import Reading
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.process import training

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


@dataclass(frozen=True, slots=True)
class Case:
    """What a tick has before it: what was read, how it was judged, and what a person wishes."""

    tick: Tick
    reading: Reading
    judgement: Judgement
    wish: Wish


def evaluated(tick: Tick, wish: Wish) -> Case:
    """Read the logs and judge them; a forced run goes on without a readable log."""
    try:
        reading = evaluate.read(tick)
    except CannotJudgeError as error:
        reading = Reading.nothing(str(error))
        if not wish.forced:
            judgement = Judgement((unknown(tick.config.metric, str(error)),), Decision(Action.UNKNOWN, str(error)))
            _record(Case(tick, reading, judgement, wish), Action.UNKNOWN, str(error))
            raise
    if tick.config.performance_threshold is None:
        tick = threshold.recorded(tick, champion_measurements(tick.config, reading.observed, tick.past))
    judgement = _judged(tick.config, reading, tick.past, now=tick.now)
    if not wish.forced:
        never.check_judging(tick.config, judgement.findings, reading.observed, tick.past, now=tick.now)
    changed = upgraded.notes(tick.config, judgement.findings, tick.past, labelled=reading.observed.labelled)
    return Case(tick, replace(reading, notes=(*reading.notes, *changed)), judgement, wish)


def decided(case: Case) -> Outcome:
    """Do what the judgement, and the wish, lead to."""
    if (ended := _probation_ended(case)) is not None:
        return ended
    tick, wish = case.tick, case.wish
    seen = shadow.progress(tick.config, tick.past, now=tick.now)
    if seen is not None:
        case = replace(case, judgement=shadow.meanwhile(case.judgement, seen))
        if seen.due and wish.promotes:
            return _shadow_ended(case, seen)
    decision = case.judgement.decision
    if decision.action is not Action.RETRAIN and not wish.forced:
        _record(case, decision.action, decision.because)
        return _outcome(case)
    return _attempted(case, f"forced: {wish.force}" if wish.forced else decision.because)


def _judged(config: Config, reading: Reading, past: Memory, *, now: datetime) -> Judgement:
    """Judge the champion, and its probation, which can only roll it back."""
    judgement = judged(config, reading.observed, past, now=now)
    found = probation.judged(config, reading.observed, past, now=now)
    return judgement if found is None else replace(judgement, findings=(*judgement.findings, found))


def _probation_ended(case: Case) -> Outcome | None:
    """Roll back a champion that failed its probation; None if none did, or it cannot be rolled back, which is said."""
    worse = probation.failed(case.judgement)
    if worse is None:
        return None
    tick, findings = case.tick, case.judgement.findings
    obstacle = probation.obstacle(tick.registry, tick.past, worse) if case.wish.promotes else "--no-promote"
    if obstacle is not None:
        tick.say(f"{worse.because}; it is not rolled back: {obstacle}")
        return None
    _record(case, Action.ROLL_BACK, worse.because)
    if tick.asks:
        because = f"{worse.because}; it would be rolled back"
        return Outcome(word=Word.WOULD_ROLL_BACK, code=ExitCode.WOULD_ACT, because=because, findings=findings)
    return replace(probation.rolled_back(tick, worse), findings=findings)


def _shadow_ended(case: Case, seen: shadow.Progress) -> Outcome:
    """End a shadow with its verdict."""
    tick, observed, decision = case.tick, case.reading.observed, case.judgement.decision
    _record(case, decision.action, decision.because)
    standing = probation.standing(tick.config, observed, tick.past)
    outcome = shadow.concluded(tick, seen, positive=observed.positive, standing=standing)
    return replace(outcome, findings=case.judgement.findings, notes=case.reading.notes)


def _attempted(case: Case, because: str) -> Outcome:
    """Validate and split the data, then train; what stands in the way is recorded with the decision."""
    tick, reading, judgement, wish = case.tick, case.reading, case.judgement, case.wish
    try:
        prepared = prepare.prepare(
            tick, tick.past.champion, breach=judgement.breach(), forced=wish.forced, because=because
        )
    except RetrainCheckError as error:
        _record(case, Action.RETRAIN, because)
        tick.record(Refused(because=str(error)))
        raise
    if isinstance(prepared, Outcome):
        return _not_trained(case, prepared)
    _record(case, Action.RETRAIN, because)
    if tick.asks:
        return _planned(case, because, prepared)
    tick.say(f"{because}; retraining starts: {attempt.plan(tick, prepared)}")
    occasion = attempt.Occasion(
        reason=Reason(because=because, forced=wish.forced, findings=(*judgement.findings, *prepared.findings)),
        mark=reading.mark,
        served=served(reading.observed, tick.past),
        standing=probation.standing(tick.config, reading.observed, tick.past),
        promotes=wish.promotes,
    )
    outcome = attempt.start(tick, prepared, occasion)
    return replace(outcome, because=f"{because}; {outcome.because}", findings=judgement.findings, notes=reading.notes)


def _planned(case: Case, because: str, prepared: prepare.Prepared) -> Outcome:
    """Say that a training would start now, what decides still, and what it could not end in."""
    tick = case.tick
    training.check_ended(tick.training_lock)
    told = f"{because}; a retraining would start: {attempt.plan(tick, prepared)}"
    if tick.config.data.command is not None:
        told += f"; then data.command `{redacted(tick.config.data.command)}` decides whether the data is fit"
    if prepared.uncompared:
        told += f"; its model would be sealed, not promoted: {prepared.uncompared}"
    return Outcome(
        word=Word.WOULD_RETRAIN,
        code=ExitCode.WOULD_ACT,
        because=told,
        findings=case.judgement.findings,
        notes=case.reading.notes,
    )


def _not_trained(case: Case, prepared: Outcome) -> Outcome:
    tick, judgement = case.tick, case.judgement
    because = f"{judgement.decision.because}; {prepared.because}"
    _record(case, _ACTIONS[prepared.word], because)
    if prepared.word is Word.DATA_REFUSED:
        tick.record(Refused(because=prepared.because, findings=prepared.findings))
    tick.discard_files()
    refused = tuple(finding for finding in prepared.findings if finding.verdict is not Verdict.PASS)
    return replace(
        prepared, because=because, findings=(*judgement.findings, *refused), notes=case.reading.notes, run=tick.run
    )


def _outcome(case: Case) -> Outcome:
    judgement = case.judgement
    action = judgement.decision.action
    return Outcome(
        word=_WORDS[action],
        code=ExitCode.CANNOT_JUDGE if action is Action.UNKNOWN else ExitCode.OK,
        because=judgement.decision.because,
        findings=judgement.findings,
        notes=case.reading.notes,
        run=case.tick.run,
    )


def _record(case: Case, action: Action, because: str) -> None:
    on_drift = case.tick.config.trigger.on_drift.value
    decided = Decided(
        action=action.value,
        because=because,
        findings=case.judgement.findings,
        on_drift=on_drift,
        defaults=upgraded.DEFAULTS,
    )
    case.tick.record(decided)
