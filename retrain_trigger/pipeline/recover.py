"""What the last run left unfinished: gone on with, given up, or waited for."""

from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time

from retrain_trigger.core.entries import Entry, Kind, last, only
from retrain_trigger.core.errors import BusyError, ConflictError, PromotionError
from retrain_trigger.core.events import (
    Abandoned,
    Compared,
    Promoting,
    Refitting,
    Resumed,
    Sealed,
    Selected,
    Staging,
    Training,
    Unstaging,
)
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.judge import abandonment, memory, policy
from retrain_trigger.pipeline import act, attempt, audition, data_check, guard, promote, staging, without_ledger
from retrain_trigger.pipeline.tick import SPILL, Tick, nearby
from retrain_trigger.process import training
from retrain_trigger.process.scoring import models
from retrain_trigger.store import files, holders, lock, rollback_record

TRIES = 3
"""How often a later run goes on with one that was cut off after a model was sealed."""


def check_idle(tick: Tick) -> None:
    """Raise BusyError, for a question, while another run is active: a run would end with that, too."""
    process = lock.holder(tick.config.state / "lock")
    if process is None:
        return
    begun = _latest_training(tick)
    earlier = tick.resuming(begun.run) if begun else tick
    trains = begun and training.is_alive(earlier.run, tick.training_lock)
    what = f": {_still_running(earlier, begun)}" if begun and trains else ""
    raise BusyError(f"another run is active (process {process}){what}; nothing was done")


def recovered(tick: Tick) -> tuple[Tick, Outcome | None]:
    """Finish or give up what a killed run left; an outcome where this tick was spent on finishing it.

    A question finds out which of both it would be. Raises BusyError while its training is still running and has time left, TrainingError if it cannot be ended,
    ConflictError if somebody moved the pointer meanwhile.
    """
    _end_scoring(tick)
    tick = without_ledger.entered(tick)
    if not tick.past.unfinished:
        _tidy(tick)
        return tick, None
    earlier = tick.resuming(tick.past.unfinished[-1].run)
    tick.say(f"run {earlier.run} was cut off; {'a run would finish it' if tick.asks else 'finishing it'} first")
    if last(tick.past.unfinished, Promoting) is None:
        _wait_for_training(earlier)  # what cannot be ended is not given up either
    try:
        outcome = _resumed(earlier)
    except ConflictError:
        raise
    except Exception as error:
        unfinished = memory.fold(tick.ledger.effects()).unfinished
        if abandonment.may_be_abandoned(
            unfinished, refused=isinstance(error, PromotionError)
        ):  # else each run from now on would break at the same place
            earlier.record(Abandoned(because=str(error)))
        raise
    _tidy(tick)
    return tick.remembering(memory.fold(tick.ledger.effects())), outcome


def _resumed(tick: Tick) -> Outcome | None:
    """Finish a run, or give it up: then there is no outcome."""
    found = _tried_again(tick)
    if isinstance(found, str):
        _abandoned(tick, found)
        return None
    return found


def _tried_again(tick: Tick) -> Outcome | str:
    """Finish a run, unless that has been tried too often: something in it may end each run that touches it."""
    left = {entry.kind for entry in tick.past.unfinished}
    if Kind.SEALED not in left or abandonment.SHOWN & left:
        return _finished(tick)
    tries = len(only(tick.past.unfinished, Resumed))
    if tries >= TRIES:
        return f"it was cut off again each of the {tries} times that a run went on with it"
    tick.record(Resumed(because="a later run goes on with it"))
    return _finished(tick)


def given_up(tick: Tick, because: str) -> Tick:
    """Close an unfinished run without going on with it; a training of it that is still running is ended.

    A promotion that had begun is completed where the pointer lets it be.
    """
    _end_scoring(tick)
    tick = without_ledger.entered(tick)
    if not tick.past.unfinished:
        return staging.withdraw(tick, because)
    earlier = tick.resuming(tick.past.unfinished[-1].run)
    training.end_tree(earlier.run, earlier.training_lock)
    intent = last(tick.past.unfinished, Promoting)
    try:
        if intent:
            promote.complete(earlier, intent.event)
    except PromotionError:
        intent = None
    if intent is None:
        earlier.record(Abandoned(because=because))
        tick.say(f"run {earlier.run} is given up: {because}")
    _tidy(tick)
    return staging.withdraw(tick.remembering(memory.fold(tick.ledger.effects())), because)


def _end_scoring(tick: Tick) -> None:
    """End what killed runs left of the children that asked models: nobody waits for their answers any more."""
    if not tick.asks:
        for folder in tick.scratch.parent.glob("*"):
            models.end_leftover(folder)


def _tidy(tick: Tick) -> None:
    """Take away what killed runs left; the files of a failed or refused training stay, a message named them."""
    if tick.asks:
        return
    data_check.end_leftover(tick)
    audition.clear(tick.config)
    files.remove_folder(tick.config.state / SPILL)
    tick.registry.clear_staging()
    files.clear_beside(staging.path(tick.registry))
    for name in (guard.LOOKED, rollback_record.NAME):
        files.clear_beside(tick.config.state / name)
    for folder in tick.scratch.parent.glob("*"):
        entries = tick.ledger.entries(run=folder.name)
        if not entries or entries[-1].kind not in {Kind.FAILED, Kind.KEPT}:
            files.remove_folder(folder)


def _finished(tick: Tick) -> Outcome | str:
    """Resume a run after the last step that it recorded; say why where it is given up."""
    left = tick.past.unfinished
    if promoting := last(left, Promoting):
        return _promoted(tick, promoting.event)
    if unstaging := last(left, Unstaging):
        staging.remove(tick)
        return unstaging.event.because
    if intent := last(left, Staging):
        return _staged(tick, intent.event)
    if verdict := last(left, Compared):
        return _acted(tick, verdict.event)
    begun = last(left, Training)
    if begun is None:
        return "it was cut off before its model was in use"
    chosen = last(left, Selected)
    return _refitted(tick, begun.event, chosen.event) if chosen else _compared(tick, begun.event)


def _promoted(tick: Tick, intent: Promoting) -> Outcome:
    pointer = promote.complete(tick, intent)
    if tick.asks:
        because = f"the interrupted promotion of {pointer.version} would be finished"
        return act.planned(tick, Word.PROMOTED, because, version=pointer.version)
    tick.discard_files()
    because = f"finished the interrupted promotion of {pointer.version}"
    return Outcome(word=Word.PROMOTED, code=ExitCode.OK, because=because, run=tick.run)


def _latest_training(tick: Tick) -> Entry[Training] | Entry[Refitting] | None:
    """Return the latest training that an unfinished run has begun."""
    return last(tick.past.unfinished, Refitting) or last(tick.past.unfinished, Training)


def _wait_for_training(tick: Tick) -> None:
    """End what is left of a training whose time is over. Raises BusyError while it has time."""
    begun = _latest_training(tick)
    if begun is None or not training.is_alive(tick.run, tick.training_lock):
        return
    if _remaining(begun.event) > 0:
        raise BusyError(f"{_still_running(tick, begun)}; nothing was done. The first run after that ends it")
    if not tick.asks:
        training.end_tree(tick.run, tick.training_lock)


def _remaining(begun: Training | Refitting) -> float:
    """Return the seconds that a training has left, by the clock that nobody sets; older entries have only the other one."""
    if begun.deadline_since_boot is not None:
        return begun.deadline_since_boot - monotonic()
    return begun.deadline - time()


def _still_running(tick: Tick, begun: Entry[Training] | Entry[Refitting]) -> str:
    """Say since when a training is running, as what process, until when it may, and where its output is."""
    seen = ", ".join(f"process {pid}" for pid in sorted(holders.of_file(tick.training_lock)))
    log, deadline = next(tick.scratch.glob("*/train.log"), None), datetime.fromtimestamp(begun.event.deadline, UTC)
    return (
        f"the training of run {tick.run} is still running since {policy.stamp(begun.at)} "
        f"({seen or 'as a user whose processes cannot be seen'}{f', output in {nearby(log)}' if log else ''}), "
        f"{_remaining(begun.event):.0f} s before its deadline ({policy.stamp(deadline)})"
    )


def _compared(tick: Tick, begun: Training) -> Outcome | str:
    """Go on at the comparison with what was sealed; give up if nothing was, or the champion has changed."""
    sealed = _sealed(tick)
    if not sealed:
        return "it was cut off before a model was sealed"
    compares = not (begun.bootstrap or begun.uncompared)
    if not _is_whole(tick, begun) or (compares and tick.config.digest != begun.config):
        return "champion, hold-out or config.yaml changed since the training began"
    if tick.asks:
        return _would_resume(tick, f"{', '.join(sealed)} would be compared with the champion", begun)
    return attempt.finish(tick, begun, sealed)


def _refitted(tick: Tick, begun: Training, chosen: Selected) -> Outcome | str:
    """Go on after a selection: at the refit where that has not begun, at its check where it is sealed; else give up."""
    if chosen.verdict is None:
        return attempt.refitted(tick, begun, None, chosen.because)
    refitting = last(tick.past.unfinished, Refitting)
    version = refitting.event.version if refitting else None
    if version is not None and version not in _sealed(tick):
        return f"it was cut off before the refit of {chosen.verdict} was sealed"
    if not _is_whole(tick, begun) or tick.config.digest != chosen.config:
        return "champion, hold-out, training data or config.yaml changed since the selection"
    if tick.asks:
        return _would_resume(tick, f"the recipe of {chosen.verdict} would be refitted", begun)
    if version is not None:
        return attempt.checked(tick, begun, version, chosen.because)
    return attempt.refitted(tick, begun, chosen.verdict, chosen.because)


def _sealed(tick: Tick) -> list[str]:
    """Return the versions that a run has sealed, oldest first; those that the ledger had no time to record are now."""
    recorded = [entry.event.version for entry in only(tick.past.unfinished, Sealed)]
    if not tick.asks:
        tick.registry.sync()  # a version that is there may not be safe yet: the killed run came to its rename, no further
    for version in tick.registry.versions():
        if version not in recorded and tick.registry.card(version).run == tick.run:
            digest = tick.registry.verified(version)
            tick.record(Sealed(version=version, sha256=digest, reach=tick.registry.card(version).reach))
            recorded.append(version)
    return recorded


def _is_whole(tick: Tick, begun: Training) -> bool:
    """Say whether champion, hold-outs, and the rows of a refit are what they were when the training began."""
    wanted = {"holdout": begun.holdout}
    if begun.selection:
        refits = {f"refit-{reach}": digest for reach, digest in begun.selection.refits.items()}
        wanted |= {"selection": begun.selection.holdout, **refits}
    champion = tick.past.champion.version if tick.past.champion else None
    return champion == begun.champion and all(
        _is_unchanged(tick.scratch / f"{name}.parquet", digest) for name, digest in wanted.items()
    )


def _is_unchanged(path: Path, digest: str | None) -> bool:
    return digest is None or (path.exists() and files.sha256(path) == digest)


def _abandoned(tick: Tick, because: str) -> None:
    tick.discard_files()  # first: it may be what has filled the disk
    tick.record(Abandoned(because=because))
    tick.say(f"run {tick.run} {'would be' if tick.asks else 'is'} given up: {because}")


def _would_resume(tick: Tick, told: str, begun: Training) -> Outcome:
    """Say how a run that was cut off after a model was sealed would go on."""
    if begun.bootstrap:
        word, code, told = Word.WOULD_PROMOTE, ExitCode.WOULD_ACT, "its model would be the first champion"
    elif begun.uncompared:
        word, code, told = Word.WOULD_KEEP, ExitCode.OK, f"its model is not promoted: {begun.uncompared}"
    else:
        word, code = Word.WOULD_RESUME, ExitCode.WOULD_ACT
    return Outcome(word=word, code=code, because=f"run {tick.run}: {told}", run=tick.run)


def _staged(tick: Tick, intent: Staging) -> Outcome | str:
    """Let the challenger run in shadow after all; give up where the champion has changed."""
    champion, version = tick.past.champion, intent.pointer.version
    if champion is None or champion.version != intent.champion or tick.config.promotion.shadow is None:
        staging.remove(tick)
        return "champion or config.yaml changed before the shadow began"
    if tick.asks:
        return act.planned(tick, Word.STAGED, f"the interrupted staging of {version} would be finished")
    staging.complete(tick, intent)
    tick.discard_files()
    because = f"finished the interrupted staging of {version}: it runs in shadow"
    return Outcome(word=Word.STAGED, code=ExitCode.OK, because=because, run=tick.run)


def _acted(tick: Tick, verdict: Compared) -> Outcome | str:
    """Act on a verdict that is bound to what it was reached on; give up where any of that has changed."""
    champion = tick.past.champion.version if tick.past.champion else None
    same = champion == verdict.champion and tick.config.digest == verdict.config and _is_as_sealed(tick, verdict)
    if same:
        by = "shadow" if verdict.shadow else "gate"
        return act.on_verdict(tick, verdict.verdict, verdict.because, by=by)
    if verdict.shadow:
        staging.remove(tick)
    return "champion, challenger or config.yaml changed since the comparison"


def _is_as_sealed(tick: Tick, verdict: Compared) -> bool:
    """Say whether the version that was found better, where one was, is the file that the verdict is of."""
    if verdict.verdict is None:
        return True
    sealed = {entry.event.version: entry.event.sha256 for entry in only(tick.past.unfinished, Sealed)}
    try:
        digest = tick.registry.verified(verdict.verdict)
    except PromotionError:
        return False
    return digest == (verdict.sha256 if verdict.shadow else sealed.get(verdict.verdict))
