"""What status, history and explain answer: what is remembered, and what a tick would find now. Nothing is written."""

from dataclasses import replace
from datetime import datetime

from retrain_trigger.config.load import Config
from retrain_trigger.core.entries import Entry, Kind
from retrain_trigger.core.errors import LiveModelError, RetrainCheckError, UsageError
from retrain_trigger.core.events import Event
from retrain_trigger.core.findings import Verdict
from retrain_trigger.core.outcomes import Outcome, Word
from retrain_trigger.judge.memory import Memory
from retrain_trigger.judge.reigns import Reign, reign_at
from retrain_trigger.pipeline import adopted, champion, guard, holdout, promote, without_ledger
from retrain_trigger.pipeline.run import planned_by
from retrain_trigger.pipeline.tick import asked
from retrain_trigger.store.ledger import Ledger

_NO_ATTEMPT = frozenset({Kind.DECIDED, Kind.REMOVING, Kind.REMOVED, Kind.MENDED, Kind.LIMITED})


def standing(config: Config, *, now: datetime) -> tuple[Memory, Outcome]:
    """Return what is remembered and what a tick would find now, whatever that is: what breaks is part of the answer.

    Raises PromotionError for a damaged ledger.
    """
    said: list[str] = []
    with asked(config, now=now, say=said.append) as opened:
        tick = without_ledger.entered(opened)
        past = tick.past
        try:
            pointer = promote.champion(tick)
            past = champion.known(past, pointer)
            if pointer is not None:
                guard.check(tick, pointer)  # also while another run is active
            outcome = planned_by(tick, said)
            worn = holdout.worn(tick.registry, past)
        except LiveModelError as error:
            details = {"live_model": "broken"}
            return past, Outcome(word=Word.UNKNOWN, code=error.code, because=str(error), details=details)
        except RetrainCheckError as error:
            return past, Outcome(word=Word.UNKNOWN, code=error.code, because=str(error))
    warned = (worn,) if worn.verdict is Verdict.BREACH else ()
    notes = adopted.told(config, tick.registry, past.champion) if past.champion else ()
    return past, replace(outcome, findings=(*outcome.findings, *warned), notes=(*outcome.notes, *notes))


def history(config: Config) -> list[Entry[Event]]:
    """Return the ledger's entries, oldest first."""
    with Ledger.reading(config.state / "ledger.sqlite") as ledger:
        return ledger.entries()


def verified(config: Config) -> tuple[int, str]:
    """Hold the whole ledger against its hashes; return the number of entries and the newest hash.

    Raises PromotionError if it was changed.
    """
    with Ledger.reading(config.state / "ledger.sqlite") as ledger:
        return ledger.verified()


def reign(config: Config, *, at: datetime) -> Reign | None:
    """Return what was live at a moment, and by what; None before the first champion."""
    with Ledger.reading(config.state / "ledger.sqlite") as ledger:
        return reign_at(ledger.effects(), at)


def explained(config: Config, run: str | None) -> list[Entry[Event]]:
    """Return the entries of a run; by default of the last that did more than decide. Raises UsageError."""
    with Ledger.reading(config.state / "ledger.sqlite") as ledger:
        if run is None:
            effects = ledger.effects()
            acted = [entry for entry in effects if entry.kind not in _NO_ATTEMPT] or effects
            if not acted:
                raise UsageError("nothing has happened yet: there is no run to explain")
            run = acted[-1].run
        found = ledger.entries(run=run)
    if not found:
        raise UsageError(f"there is no run {run!r}; `retrain-check history --format json` lists them")
    return found
