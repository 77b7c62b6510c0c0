"""What the last run left unfinished: gone on with, given up, or waited for."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time

from retrain_trigger import attempt, audition, data_check, guard, promotion, staging, without_ledger
from retrain_trigger.entries import Entry, Kind
from retrain_trigger.errors import BusyError, ConflictError, PromotionError
from retrain_trigger.events import Training
from retrain_trigger.judge import memory, policy
from retrain_trigger.outcomes import ExitCode, Outcome, Word
from retrain_trigger.records import decoded
from retrain_trigger.tick import SPILL, Tick, nearby
from retrain_trigger.world import descendants, files, lock, models, rollback_record, training

Left = Mapping[Kind, Entry]
_SHOWN = frozenset({Kind.PROMOTING, Kind.STAGING, Kind.UNSTAGING})
"""Intents whose effect a service sees: a run that has begun one is finished, however often that is tried."""
TRIES = 3
"""How often a later run goes on with one that was cut off after a model was sealed."""


def check_idle(tick: Tick) -> None:
    """Raise BusyError, for a question, while another run is active: a run would end with that, too."""
    process = lock.holder(tick.config.state / "lock")
    if process is None:
        return
    begun = [entry for entry in tick.past.unfinished if entry.kind in {Kind.TRAINING, Kind.REFITTING}]
    earlier = tick.resuming(begun[-1].run) if begun else tick
    trains = begun and training.is_alive(earlier.run, tick.training_lock)
    what = f": {_still_running(earlier, begun[-1])}" if trains else ""
    raise BusyError(f"another run is active (process {process}){what}; nothing was done")


def recovered(tick: Tick) -> tuple[Tick, Outcome | None]:
    """Finish or give up what a killed run left; an outcome where this tick was spent on finishing it.

    A question finds out which of both it would be. Raises BusyError while its training is still running and has time left, TrainingError where it cannot be ended,
    ConflictError where somebody moved the pointer meanwhile.
    """
    _end_scoring(tick)
    tick = without_ledger.entered(tick)
    if not tick.past.unfinished:
        _tidy(tick)
        return tick, None
    left = {entry.kind: entry for entry in tick.past.unfinished}
    earlier = tick.resuming(tick.past.unfinished[-1].run)
    tick.say(f"run {earlier.run} was cut off; {'a run would finish it' if tick.asks else 'finishing it'} first")
    if Kind.PROMOTING not in left:
        _wait_for_training(earlier, left)  # what cannot be ended is not given up either
    try:
        outcome = _resumed(earlier, left)
    except ConflictError:
        raise
    except Exception as error:
        if _may_be_abandoned(tick, error):  # else each run from now on would break at the same place
            earlier.record(Kind.ABANDONED, because=str(error))
        raise
    _tidy(tick)
    return tick.remembering(memory.fold(tick.ledger.effects())), outcome


def _may_be_abandoned(tick: Tick, error: Exception) -> bool:
    """Say whether an unfinished run can be closed after an error.

    Not where a service may have seen what it had begun, and anything but a refusal broke it: the next run sees how far
    it came.
    """
    unfinished = memory.fold(tick.ledger.effects()).unfinished
    shown = any(entry.kind in _SHOWN or _ends_shadow(entry) for entry in unfinished)
    return bool(unfinished) and (isinstance(error, PromotionError) or not shown)


def _ends_shadow(entry: Entry) -> bool:
    """Say whether an entry is the verdict on a shadow: its file is removed before anything else is done."""
    return entry.kind is Kind.COMPARED and entry.body.get("shadow", False)


def _resumed(tick: Tick, left: Left) -> Outcome | None:
    """Finish a run, unless that has been tried too often: something in it may end each run that touches it."""
    if Kind.SEALED not in left or _SHOWN & set(left):
        return _finished(tick, left)
    tries = sum(entry.kind is Kind.RESUMED for entry in tick.past.unfinished)
    if tries >= TRIES:
        _abandoned(tick, f"it was cut off again each of the {tries} times that a run went on with it")
        return None
    tick.record(Kind.RESUMED, because="a later run goes on with it")
    return _finished(tick, left)


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
    intents = [entry for entry in tick.past.unfinished if entry.kind is Kind.PROMOTING]
    try:
        if intents:
            promotion.complete(earlier, intents[-1])
    except PromotionError:
        intents = []
    if not intents:
        earlier.record(Kind.ABANDONED, because=because)
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


def _finished(tick: Tick, left: Left) -> Outcome | None:
    """Go on from the latest step that the run left."""
    return next((go_on for kind, go_on in _STEPS.items() if kind in left), _unused)(tick, left)


def _promoted(tick: Tick, left: Left) -> Outcome:
    pointer = promotion.complete(tick, left[Kind.PROMOTING])
    if tick.asks:
        because = f"the interrupted promotion of {pointer.version} would be finished"
        return attempt.planned(tick, Word.PROMOTED, because, version=pointer.version)
    tick.discard_files()
    because = f"finished the interrupted promotion of {pointer.version}"
    return Outcome(word=Word.PROMOTED, code=ExitCode.OK, because=because, run=tick.run)


def _unstaged(tick: Tick, left: Left) -> None:
    staging.remove(tick)
    _abandoned(tick, left[Kind.UNSTAGING].body["because"])


def _unused(tick: Tick, _left: Left) -> None:
    _abandoned(tick, "it was cut off before its model was in use")


def _wait_for_training(tick: Tick, left: Left) -> None:
    """End what is left of a training whose time is over. Raises BusyError while it has time."""
    begun = left.get(Kind.REFITTING, left.get(Kind.TRAINING))
    if begun is None or not training.is_alive(tick.run, tick.training_lock):
        return
    if _remaining(begun) > 0:
        raise BusyError(f"{_still_running(tick, begun)}; nothing was done. The first run after that ends it")
    if not tick.asks:
        training.end_tree(tick.run, tick.training_lock)


def _remaining(begun: Entry) -> float:
    """Return the seconds that a training has left, by the clock that nobody sets; older entries have only the other one."""
    if begun.body.get("deadline_since_boot") is not None:
        return float(begun.body["deadline_since_boot"] - monotonic())
    return float(begun.body["deadline"] - time())


def _still_running(tick: Tick, begun: Entry) -> str:
    """Say since when a training is running, as what process, until when it may, and where its output is."""
    seen = ", ".join(f"process {pid}" for pid in sorted(descendants.holders(tick.training_lock)))
    deadline, log = begun.body["deadline"], next(tick.scratch.glob("*/train.log"), None)
    return (
        f"the training of run {tick.run} is still running since {policy.stamp(begun.at)} "
        f"({seen or 'as a user whose processes cannot be seen'}{f', output in {nearby(log)}' if log else ''}), "
        f"{_remaining(begun):.0f} s before its deadline ({policy.stamp(datetime.fromtimestamp(deadline, UTC))})"
    )


def _compared(tick: Tick, left: Left) -> Outcome | None:
    """Go on at the comparison with what was sealed; give up where nothing was, or the champion has changed."""
    begun = decoded(Training, left[Kind.TRAINING].body)
    sealed = _sealed(tick)
    if not sealed:
        _abandoned(tick, "it was cut off before a model was sealed")
        return None
    if not _is_whole(tick, begun):
        _abandoned(tick, "champion or hold-out has changed")
        return None
    if tick.asks:
        return _would_resume(tick, f"{', '.join(sealed)} would be compared with the champion", begun)
    return attempt.finish(tick, begun, sealed)


def _refitted(tick: Tick, left: Left) -> Outcome | None:
    """Go on after a selection: at the refit where that has not begun, at its check where it is sealed; else give up."""
    begun = decoded(Training, left[Kind.TRAINING].body)
    body, refitting = left[Kind.SELECTED].body, left.get(Kind.REFITTING)
    if body["verdict"] is None:
        return attempt.refitted(tick, begun, None, body["because"])
    version = refitting.body["version"] if refitting else None
    if version is not None and version not in _sealed(tick):
        _abandoned(tick, f"it was cut off before the refit of {body['verdict']} was sealed")
        return None
    if not _is_whole(tick, begun) or tick.config.digest != body["config"]:
        _abandoned(tick, "champion, hold-out, training data or config.yaml changed since the selection")
        return None
    if tick.asks:
        return _would_resume(tick, f"the recipe of {body['verdict']} would be refitted", begun)
    if version is not None:
        return attempt.checked(tick, begun, version)
    return attempt.refitted(tick, begun, body["verdict"], body["because"])


def _sealed(tick: Tick) -> list[str]:
    """Return the versions that a run has sealed, oldest first; those that the ledger had no time to record are now."""
    recorded = [entry.body["version"] for entry in tick.past.unfinished if entry.kind is Kind.SEALED]
    if not tick.asks:
        tick.registry.sync()  # a version that is there may not be safe yet: the killed run came to its rename, no further
    for version in tick.registry.versions():
        if version not in recorded and tick.registry.card(version).get("run") == tick.run:
            digest = tick.registry.verified(version)
            tick.record(Kind.SEALED, version=version, sha256=digest, reach=tick.registry.card(version).get("reach"))
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
    tick.record(Kind.ABANDONED, because=because)
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


def _staged(tick: Tick, left: Left) -> Outcome | None:
    """Let the challenger run in shadow after all; give up where the champion has changed."""
    intent = left[Kind.STAGING]
    champion = tick.past.champion.version if tick.past.champion else None
    version = intent.body["pointer"]["version"]
    if champion != intent.body["champion"] or tick.config.promotion.shadow is None:
        staging.remove(tick)
        _abandoned(tick, "champion or config.yaml changed before the shadow began")
        return None
    if tick.asks:
        return attempt.planned(tick, Word.STAGED, f"the interrupted staging of {version} would be finished")
    staging.complete(tick, intent)
    tick.discard_files()
    because = f"finished the interrupted staging of {version}: it runs in shadow"
    return Outcome(word=Word.STAGED, code=ExitCode.OK, because=because, run=tick.run)


def _acted(tick: Tick, left: Left) -> Outcome | None:
    """Act on a verdict that is bound to what it was reached on; give up where any of that has changed."""
    champion = tick.past.champion.version if tick.past.champion else None
    body = left[Kind.COMPARED].body
    shadow = _ends_shadow(left[Kind.COMPARED])
    try:
        sealed = (
            {body["verdict"]: body["sha256"]}
            if shadow
            else {e.body["version"]: e.body["sha256"] for e in tick.past.unfinished if e.kind is Kind.SEALED}
        )
        same = all(tick.registry.verified(version) == sealed[version] for version in (body["verdict"],) if version)
    except PromotionError:
        same = False
    if same and champion == body["champion"] and tick.config.digest == body["config"]:
        return attempt.act_on_verdict(tick, body["verdict"], body["because"], by="shadow" if shadow else "gate")
    if shadow:
        staging.remove(tick)
    _abandoned(tick, "champion, challenger or config.yaml changed since the comparison")
    return None


_STEPS: Mapping[Kind, Callable[[Tick, Left], Outcome | None]] = {
    Kind.PROMOTING: _promoted,
    Kind.UNSTAGING: _unstaged,
    Kind.STAGING: _staged,
    Kind.COMPARED: _acted,
    Kind.SELECTED: _refitted,
    Kind.TRAINING: _compared,
}
"""How a run is resumed, by the last step that it recorded; the last step comes first."""
