"""What a person does to the pointer: make a first champion, adopt one, promote a version, roll back."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from retrain_trigger import engines
from retrain_trigger.config.load import Config
from retrain_trigger.core.card import Card
from retrain_trigger.core.entries import only
from retrain_trigger.core.errors import BusyError, DataError, LedgerError, PromotionError, UsageError, refused
from retrain_trigger.core.events import Grounds, Reason, Refused, Sealed
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.counts.table import Profile
from retrain_trigger.judge import lineage, policy
from retrain_trigger.judge.gates.deciding import Breach
from retrain_trigger.judge.memory import Memory
from retrain_trigger.pipeline import (
    approval,
    attempt,
    audition,
    collect,
    guard,
    prepare,
    profile,
    recover,
    without_ledger,
)
from retrain_trigger.pipeline import promote as promotion
from retrain_trigger.pipeline.tick import Say, Tick, asked, begun
from retrain_trigger.process.scoring.models import ModelFacts
from retrain_trigger.store import files


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A model in production that is taken over, and what is known of it.

    `known_as` is its name in the logs, `since` when it went live, `trained_on` a file of the rows it was trained on.
    """

    path: Path
    known_as: str | None = None
    since: datetime | None = None
    trained_on: Path | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was seen of a model before it was adopted: the hash of its file, what it says, and what it was trained on."""

    sha256: str
    facts: ModelFacts
    profile: Profile | None


def bootstrap(
    config: Config, *, now: datetime, say: Say, adopt: Adoption | None = None, wait: timedelta = timedelta(0)
) -> Outcome:
    """Make the first champion: train one, or adopt one. Raises UsageError if there is one, or what is adopted is none."""
    heard = _heard(config, adopt, now=now) if adopt else None
    with begun(config, now=now, say=say, wait=wait) as opened:
        tick, finished = recover.recovered(opened)
        if finished is not None:
            return finished
        current = promotion.champion(tick)
        if current is not None:
            instead = "; `retrain-check adopt PATH --reason ...` puts another in its place" if adopt else ""
            raise UsageError(f"{current.version} is the champion already; --bootstrap is for the first one{instead}")
        if adopt is not None and heard is not None:
            return _sealed_and_pointed_at(tick, adopt, heard, adopt.reason or f"adopted from {adopt.path}")
        prepared = prepare.prepare(tick, None, breach=Breach(), forced=True, because="first champion")
        if isinstance(prepared, Outcome):
            tick.record(Refused(because=prepared.because, findings=prepared.findings))
            return prepared
        return attempt.start(tick, prepared, attempt.Occasion(reason=Reason(because="first champion"), bootstrap=True))


def adopt(config: Config, adoption: Adoption, *, now: datetime, say: Say) -> Outcome:
    """Make a model in production the champion: the first one, or, for a reason, in place of another.

    Raises UsageError if it is no usable model, or a reason is missing; then nothing was written.
    """
    if adoption.reason is None and _has_champion(config):
        raise UsageError("there is a champion already: --reason says why this model takes its place; history keeps it")
    heard = _heard(config, adoption, now=now)
    with begun(config, now=now, say=say) as opened:
        tick = recover.given_up(opened, "a person adopts a model")
        if adoption.reason is None and tick.past.champion is not None:
            raise UsageError(f"{tick.past.champion.version} is the champion already: --reason says why it is replaced")
        if heard.sha256 in tick.past.quarantined:
            raise UsageError(
                f"{adoption.path} is, byte for byte, a model that did worse than its predecessor and was quarantined: "
                f"`retrain-check history` names it, and `retrain-check promote VERSION --even-if-worse --reason TEXT` "
                f"takes it all the same. Nothing was adopted"
            )
        return _sealed_and_pointed_at(tick, adoption, heard, adoption.reason or f"adopted from {adoption.path}")


def _has_champion(config: Config) -> bool:
    with asked(config, now=datetime.now(UTC), say=lambda _: None) as tick:
        return tick.past.champion is not None or tick.registry.pointer.exists()


def promote(
    config: Config, version: str, *, reason: str, now: datetime, say: Say, even_if_worse: bool = False
) -> Outcome:
    """Make a sealed version the champion by hand; this also settles a pointer that was moved by hand.

    Raises PromotionError if something speaks against it (`approval.objection`), unless `even_if_worse`.
    """
    with begun(config, now=now, say=say) as opened:
        tick = recover.given_up(opened, "a person promotes by hand")
        _check_sealed(tick, version)
        against = approval.objection(tick, version)
        if against is not None and not even_if_worse:
            raise PromotionError(f"{against}. Nothing was changed; --even-if-worse promotes it all the same")
        by = "approval" if against is None and approval.grants(tick, version) else "hand"
        told = reason if against is None else f"{reason} (--even-if-worse: {against})"
        pointer = promotion.promote(tick, version, Grounds(by=by, because=told))
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
        tick = recover.given_up(opened, "a person rolls back")
        served, quarantined = lineage.served(tick.ledger.effects()), tick.past.quarantined
        current = _live(tick)
        target = version or guard.predecessor(tick.registry, served, current, quarantined=quarantined)
        if target is None:
            raise UsageError("there is no earlier champion to go back to; see `retrain-check history`")
        if target not in served and served:
            raise UsageError(f"{target} was never champion; `retrain-check promote {target} --reason ...` makes it one")
        back = served.get(target)
        if back is not None and back.sha256 in quarantined:
            raise UsageError(f"{target} is quarantined: it did worse than its predecessor; see `retrain-check history`")
        before = lineage.earlier(served, back.previous if back else None, quarantined=quarantined)
        _check_sealed(tick, target)
        pointer = promotion.promote(tick, target, Grounds(by="rollback", because=reason), previous=before)
        because = f"from {current.version if current else 'what was live'} to {pointer.version}: {reason}"
        return Outcome(word=Word.ROLLED_BACK, code=ExitCode.OK, because=because, run=tick.run)


def _live(tick: Tick) -> Pointer | None:
    """Return what to go back from: the pointer, or what the ledger promoted last where the pointer leads to nothing.

    Raises ConflictError if somebody moved the pointer to another whole version.
    """
    found, known = promotion.current(tick.registry), tick.past.champion
    if found is not None and (known is None or guard.fault(tick.registry, found) is None):
        return promotion.champion(tick)
    return known.pointer if known is not None and known.pointer else found


def _check_sealed(tick: Tick, version: str) -> None:
    """Raise PromotionError if a version was removed, or model and card are not what the ledger recorded."""
    entries = tick.ledger.effects()
    collect.check_there(tick.registry, entries, version)
    sealed = [entry.event.sha256 for entry in only(entries, Sealed) if entry.event.version == version]
    if sealed and tick.registry.verified(version) != sealed[-1]:
        raise PromotionError(
            f"the model of {version} is not the file that was sealed: the ledger has sha256 {sealed[-1][:12]} for it. "
            f"The champion is untouched"
        )


def _sealed_and_pointed_at(tick: Tick, adoption: Adoption, heard: _Heard, because: str) -> Outcome:
    """Seal a copy of the model that was heard and point at it."""
    version, path = tick.run, adoption.path
    card = Card(
        run=tick.run,
        version=version,
        adopted_from=str(path),
        adopted_at=tick.past.clock(tick.now),
        known_as=adoption.known_as,
        config=tick.config.digest,
        features=heard.facts.features,
        classes=heard.facts.classes,
        foreign=heard.facts.foreign,
    )
    try:
        digest = tick.registry.seal(card, model=path, profile=heard.profile, log=None)
    except OSError as error:
        raise UsageError(f"{path} cannot be copied: {error}") from error
    if digest != heard.sha256:
        tick.registry.remove(version)
        raise UsageError(f"{path} has changed while it was being adopted; nothing was adopted")
    tick.record(Sealed(version=version, sha256=digest, reach="adopted"))
    grounds = Grounds(by="adopt", because=because, since=adoption.since, known_as=adoption.known_as)
    promotion.promote(tick, version, grounds)
    what = "is the champion now" if tick.past.champion else "is the first champion"
    notes = (*_ended(tick.past), *([f"{version} {heard.facts.foreign}"] if heard.facts.foreign else []))
    said = f"{version}, adopted from {path}, {what}"
    return Outcome(word=Word.PROMOTED, code=ExitCode.OK, because=said, notes=notes, run=tick.run)


def _ended(past: Memory) -> Iterator[str]:
    """Say what of the champion before ends where another model is adopted."""
    if past.champion is not None and past.probation is not None:
        yield f"the probation of {past.champion.version} is ended"
    if past.asked is not None:
        yield f"{past.asked.event.version} no longer waits for approval"


def _heard(config: Config, adoption: Adoption, *, now: datetime) -> _Heard:
    """Look at a model before anything is written. Raises UsageError if it is none, or what it was told is wrong."""
    path = adoption.path
    if adoption.since is not None and adoption.since > now:
        raise UsageError(f"--since is {policy.stamp(adoption.since)}, later than now ({policy.stamp(now)})")
    if adoption.known_as is not None and not adoption.known_as.strip():
        raise UsageError("--known-as needs the name that the model has in the logs")
    if (seen := _no_file(path)) is not None:
        raise UsageError(f"{path} {seen}; nothing was adopted. PATH is the file of a model that joblib can load")
    try:
        with audition.folder(config) as scratch:
            digest = files.sha256(path)
            facts = audition.hear(config, path, scratch=scratch, now=now)
    except OSError as error:
        raise UsageError(f"{refused(error)}; nothing was adopted") from error
    except (DataError, PromotionError) as error:
        raise UsageError(f"{str(error).rstrip('.')}. Nothing was adopted") from error
    profile = _profiled(config, adoption.trained_on, now=now) if adoption.trained_on else None
    return _Heard(digest, facts, profile)


def _no_file(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if stat.S_ISREG(mode):
        return None
    return "is a folder" if stat.S_ISDIR(mode) else "is no regular file"


def _profiled(config: Config, trained_on: Path, *, now: datetime) -> Profile:
    """Describe what the model was trained on, as far as the person has it. Raises UsageError."""
    try:
        columns = config.logs.names
        with engines.labelled.opened(
            str(trained_on), columns=columns, now=now, key="--trained-on", need=engines.labelled.Need(dated=False)
        ) as rows:
            table = rows.describe("true", engines.description.NOTHING_KNOWN)
            if columns["timestamp"] not in rows.types:
                table = replace(table, oldest=None, newest=None)
            return profile.of(table, watched=profile.of_training(rows, "true"))
    except DataError as error:
        raise UsageError(f"--trained-on: {error}; nothing was adopted") from error
