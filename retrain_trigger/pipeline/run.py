"""One tick, in the order in which it happens: this page is the table of contents.

begun      the lock, the ledger, what is remembered          tick
doubted    may anything be recorded at this time?            champion
recovered  finish or give up what a killed run left          recover
watched    the pointer, and the model that it names          champion, guard
settled    what became of a challenger in shadow             shadow
evaluated  read the logs, judge the champion                 evaluate, check, decide
decided    roll back, end a shadow, wait, or                 decide, probation, shadow
attempted  validate, train, compare, promote                 prepare, reaches, attempt, train, compare, act
collected  remove old versions                               collect
"""

from dataclasses import replace
from datetime import datetime, timedelta

from retrain_trigger.config.load import Config
from retrain_trigger.core.outcomes import Outcome, Word
from retrain_trigger.judge import clock, memory
from retrain_trigger.pipeline import (
    approval,
    champion,
    collect,
    decide,
    recover,
    shadow,
)
from retrain_trigger.pipeline.decide import NO_WISH, Wish
from retrain_trigger.pipeline.tick import Say, Tick, asked, begun


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
        tick = champion.mended(opened) if mend_clock else opened
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


def _ticked(opened: Tick, wish: Wish) -> Outcome:
    """Go through the steps; the first that brings the tick to its end has its outcome."""
    if not wish.forced and (doubted := champion.doubted(opened)) is not None:
        return doubted
    recovered, finished = recover.recovered(opened)
    if finished is not None:
        return finished
    tick = shadow.settled(champion.watched(recovered), forced=wish.forced)
    return decide.decided(decide.evaluated(tick, wish))


def _with_pending(tick: Tick, outcome: Outcome) -> Outcome:
    """Add to an outcome that an earlier challenger waits for approval still."""
    if tick.past.asked is None or outcome.word in {Word.ASKED, Word.PROMOTED}:
        return outcome
    return replace(outcome, notes=(*outcome.notes, approval.pending(tick.past.asked)))
