"""What a person does to the pointer: make a first champion, promote a version, roll back."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from retrain_trigger import approval, attempt, collection, guard, preparation, promotion, recovery, without_ledger
from retrain_trigger.config import Config
from retrain_trigger.entries import Kind
from retrain_trigger.errors import BusyError, LedgerError, PromotionError, UsageError, refused
from retrain_trigger.judge import lineage
from retrain_trigger.measurements import Mark
from retrain_trigger.outcomes import ExitCode, Outcome, Word
from retrain_trigger.tick import Say, Tick, begun
from retrain_trigger.world import files, models
from retrain_trigger.world.registry import Pointer


def bootstrap(
    config: Config, *, now: datetime, say: Say, adopt: Path | None = None, wait: timedelta = timedelta(0)
) -> Outcome:
    """Make the first champion: train one, or adopt the model at a path. Raises UsageError where there is one."""
    with begun(config, now=now, say=say, wait=wait) as opened:
        tick, finished = recovery.recovered(opened)
        if finished is not None:
            return finished
        current = promotion.champion(tick)
        if current is not None:
            raise UsageError(f"{current.version} is the champion already; --bootstrap is for the first one")
        if adopt is not None:
            return _adopted(tick, adopt)
        prepared = preparation.prepare(tick, None, breached=(), forced=True, because="first champion")
        if isinstance(prepared, Outcome):
            tick.record(Kind.REFUSED, because=prepared.because, findings=[f.to_json() for f in prepared.findings])
            return prepared
        return attempt.start(tick, prepared, reason={"because": "first champion"}, mark=Mark(), bootstrap=True)


def promote(
    config: Config, version: str, *, reason: str, now: datetime, say: Say, even_if_worse: bool = False
) -> Outcome:
    """Make a sealed version the champion by hand; this also settles a pointer that was moved by hand.

    Raises PromotionError where something speaks against it (`approval.objection`), unless `even_if_worse`.
    """
    with begun(config, now=now, say=say) as opened:
        tick = recovery.given_up(opened, "a person promotes by hand")
        _check_sealed(tick, version)
        against = approval.objection(tick, version)
        if against is not None and not even_if_worse:
            raise PromotionError(f"{against}. Nothing was changed; --even-if-worse promotes it all the same")
        by = "approval" if against is None and approval.grants(tick, version) else "hand"
        told = reason if against is None else f"{reason} (--even-if-worse: {against})"
        pointer = promotion.promote(tick, version, by=by, because=told)
        because = f"{pointer.version} is the champion now: {told}"
        return Outcome(word=Word.PROMOTED, code=ExitCode.OK, because=because, run=tick.run)


def rollback(config: Config, version: str | None, *, reason: str, now: datetime, say: Say) -> Outcome:
    """Go back to the nearest champion before this one that is whole, or to a version that was champion once.

    Where the ledger cannot be used, a small file beside it takes its place.
    """
    try:
        return _rolled_back(config, version, reason=reason, now=now, say=say)
    except (LedgerError, BusyError, OSError) as error:
        why = refused(error) if isinstance(error, OSError) else str(error)
        return without_ledger.rollback(config, version, reason=reason, now=now, say=say, why=why)


def _rolled_back(config: Config, version: str | None, *, reason: str, now: datetime, say: Say) -> Outcome:
    with begun(config, now=now, say=say) as opened:
        tick = recovery.given_up(opened, "a person rolls back")
        served, quarantined = lineage.served(tick.ledger.effects()), tick.past.quarantined
        current = _live(tick)
        target = version or guard.predecessor(tick.registry, served, current, quarantined=quarantined)
        if target is None:
            raise UsageError("there is no earlier champion to go back to; see `retrain-check history`")
        if target not in served and served:
            raise UsageError(f"{target} was never champion; `retrain-check promote {target} --reason ...` makes it one")
        if served.get(target, {}).get("sha256") in quarantined:
            raise UsageError(f"{target} is quarantined: it did worse than its predecessor; see `retrain-check history`")
        before = lineage.earlier(served, served.get(target, {}).get("previous"), quarantined=quarantined)
        _check_sealed(tick, target)
        pointer = promotion.promote(tick, target, by="rollback", because=reason, previous=before)
        because = f"from {current.version if current else 'what was live'} to {pointer.version}: {reason}"
        return Outcome(word=Word.ROLLED_BACK, code=ExitCode.OK, because=because, run=tick.run)


def _live(tick: Tick) -> Pointer | None:
    """Return what to go back from: the pointer, or what the ledger promoted last where the pointer leads to nothing.

    Raises ConflictError where somebody moved the pointer to another whole version.
    """
    found, known = promotion.current(tick.registry), tick.past.champion
    if found is not None and (known is None or guard.fault(tick.registry, found) is None):
        return promotion.champion(tick)
    return Pointer(**known.pointer) if known is not None and known.pointer else found


def _check_sealed(tick: Tick, version: str) -> None:
    """Raise PromotionError where a version was removed, or model and card are not what the ledger recorded."""
    entries = tick.ledger.effects()
    collection.check_there(tick.registry, entries, version)
    sealed = [e.body["sha256"] for e in entries if e.kind is Kind.SEALED and e.body["version"] == version]
    if sealed and tick.registry.verified(version) != sealed[-1]:
        raise PromotionError(
            f"the model of {version} is not the file that was sealed: the ledger has sha256 {sealed[-1][:12]} for it. "
            f"The champion is untouched"
        )


def _adopted(tick: Tick, path: Path) -> Outcome:
    """Seal a copy of the model that is in production and point at it.

    A file that cannot be loaded here is adopted all the same: without a hold-out nobody has to load it.
    """
    files.make_folder(tick.scratch, mode=0o700)
    facts: dict[str, Any] = {}
    notes = []
    try:
        found = models.inspect(path, folder=tick.config.folder, scratch=tick.scratch)
        facts = {"features": found.features, "classes": found.classes}
    except PromotionError as error:
        notes.append(f"{error}; until it can be, no challenger is compared with it")
    card = {"run": tick.run, "adopted_from": str(path), "trained_at": None, "config": tick.config.digest, **facts}
    try:
        digest = tick.registry.seal(tick.run, model=path, card=card, profile=None, log=None)
    except OSError as error:
        raise UsageError(f"--adopt: {path} cannot be copied: {error}") from error
    tick.record(Kind.SEALED, version=tick.run, sha256=digest, reach="adopted")
    promotion.promote(tick, tick.run, by="adopt", because=f"adopted from {path} (--bootstrap --adopt)")
    files.remove_folder(tick.scratch)
    because = f"{tick.run}, adopted from {path}, is the first champion"
    return Outcome(word=Word.PROMOTED, code=ExitCode.OK, because=because, notes=tuple(notes), run=tick.run)
