"""What the last run left unfinished: gone on with, given up, or waited for."""

from time import time

from retrain_trigger import attempt, promotion
from retrain_trigger.entries import Entry, Kind
from retrain_trigger.errors import BusyError, ConflictError, PromotionError
from retrain_trigger.judge import memory
from retrain_trigger.outcomes import ExitCode, Outcome, Word
from retrain_trigger.tick import Tick
from retrain_trigger.world import files, training

TRIES = 3
"""How often a later run goes on with one that was cut off after a model was sealed."""


def recovered(tick: Tick) -> tuple[Tick, Outcome | None]:
    """Finish or give up what a killed run left; an outcome where this tick was spent on finishing it.

    Raises BusyError while its training is still running and has time left, ConflictError where somebody moved the
    pointer meanwhile.
    """
    tick.registry.clear_staging()
    if not tick.past.unfinished:
        return tick, None
    left = {entry.kind: entry for entry in tick.past.unfinished}
    earlier = tick.resuming(tick.past.unfinished[-1].run)
    tick.say(f"run {earlier.run} was cut off; finishing it first")
    try:
        outcome = _resumed(earlier, left)
    except (BusyError, ConflictError):
        raise
    except Exception as error:
        if memory.fold(tick.ledger.effects()).unfinished:  # else each run from now on would break at the same place
            earlier.record(Kind.ABANDONED, because=str(error))
        raise
    return tick.remembering(memory.fold(tick.ledger.effects())), outcome


def _resumed(tick: Tick, left: dict[Kind, Entry]) -> Outcome | None:
    """Finish a run, unless that has been tried too often: something in it may end each run that touches it."""
    if Kind.SEALED not in left or Kind.PROMOTING in left:
        return _finished(tick, left)
    tries = sum(entry.kind is Kind.RESUMED for entry in tick.past.unfinished)
    if tries >= TRIES:
        training.end_tree(tick.run, tick.training_lock)
        files.remove_folder(tick.scratch)
        tick.record(
            Kind.ABANDONED, because=f"it was cut off again each of the {tries} times that a run went on with it"
        )
        return None
    tick.record(Kind.RESUMED, because="a later run goes on with it")
    return _finished(tick, left)


def given_up(tick: Tick, because: str) -> Tick:
    """Close an unfinished run without going on with it; a training of it that is still running is ended.

    A promotion that had begun is completed where the pointer lets it be.
    """
    if not tick.past.unfinished:
        return tick
    earlier = tick.resuming(tick.past.unfinished[-1].run)
    training.end_tree(earlier.run, earlier.training_lock)
    intents = [entry for entry in tick.past.unfinished if entry.kind is Kind.PROMOTING]
    try:
        if intents:
            promotion.complete(earlier, intents[-1])
    except PromotionError:
        intents = []
    if not intents:
        earlier.record(Kind.ABANDONED, because=because)
    return tick.remembering(memory.fold(tick.ledger.effects()))


def _finished(tick: Tick, left: dict[Kind, Entry]) -> Outcome | None:
    if Kind.PROMOTING in left:
        pointer = promotion.complete(tick, left[Kind.PROMOTING])
        files.remove_folder(tick.scratch)
        because = f"finished the interrupted promotion of {pointer.version}"
        return Outcome(word=Word.PROMOTED, code=ExitCode.OK, because=because, run=tick.run)
    if Kind.COMPARED in left:
        return _acted(tick, left[Kind.COMPARED])
    if Kind.TRAINING not in left:
        tick.record(Kind.ABANDONED, because="it was cut off before its model was in use")
        return None
    _wait_for_training(tick, left[Kind.TRAINING])
    return _compared(tick, left[Kind.TRAINING])


def _wait_for_training(tick: Tick, begun: Entry) -> None:
    if not training.is_alive(tick.run, tick.training_lock):
        return
    remaining = begun.body["deadline"] - time()
    if remaining > 0:
        raise BusyError(f"the training of run {tick.run} is still running, {remaining:.0f} s before its deadline")
    training.end_tree(tick.run, tick.training_lock)


def _compared(tick: Tick, begun: Entry) -> Outcome | None:
    """Go on at the comparison with what was sealed; give up where nothing was, or the champion has changed."""
    recorded = [e.body["version"] for e in tick.past.unfinished if e.kind is Kind.SEALED]
    for version in tick.registry.versions():
        if version not in recorded and tick.registry.card(version).get("run") == tick.run:
            digest = tick.registry.verified(version)
            tick.record(Kind.SEALED, version=version, sha256=digest, reach=tick.registry.card(version).get("reach"))
            recorded.append(version)
    champion = tick.past.champion.version if tick.past.champion else None
    holdout = tick.scratch / "holdout.parquet"
    whole = begun.body["holdout"] is None or (holdout.exists() and files.sha256(holdout) == begun.body["holdout"])
    if not recorded or champion != begun.body["champion"] or not whole:
        because = "it was cut off before a model was sealed" if not recorded else "champion or hold-out has changed"
        files.remove_folder(tick.scratch)  # first: it may be what has filled the disk
        tick.record(Kind.ABANDONED, because=because)
        return None
    return attempt.finish(tick, begun.body, recorded)


def _acted(tick: Tick, compared: Entry) -> Outcome | None:
    """Act on a verdict that is bound to what it was reached on; give up where any of that has changed."""
    champion = tick.past.champion.version if tick.past.champion else None
    body = compared.body
    try:
        sealed = {e.body["version"]: e.body["sha256"] for e in tick.past.unfinished if e.kind is Kind.SEALED}
        same = all(tick.registry.verified(version) == sealed[version] for version in (body["verdict"],) if version)
    except PromotionError:
        same = False
    if same and champion == body["champion"] and tick.config.digest == body["config"]:
        return attempt.act_on_verdict(tick, body["verdict"], body["because"])
    tick.record(Kind.ABANDONED, because="champion, challenger or config.yaml changed since the comparison")
    return None
