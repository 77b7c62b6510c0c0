"""What becomes of the model that a comparison found better, or of none: promoted, staged, asked for, or kept out."""

from retrain_trigger.config.sections import Mode
from retrain_trigger.core.entries import only
from retrain_trigger.core.events import (
    Grounds,
    Kept,
    Training,
)
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.pipeline import approval, promote, staging
from retrain_trigger.pipeline.tick import Tick


def on_verdict(tick: Tick, version: str | None, because: str, *, by: str = "gate") -> Outcome:
    """Promote the version that a comparison found better, or stage it, or ask for it, or record that the champion is kept.

    `by` is what found it: the gate on held-out rows, or the shadow that it then ran in, which this ends.
    """
    if by == "shadow":
        staging.remove(tick)
    word, because = _weighed(tick, version, because, by=by)
    if tick.asks:
        return planned(tick, word, because, version=version)
    match word:
        case Word.KEPT:
            tick.record(Kept(because=because, versions=(version,) if version else ()))
        case Word.STAGED:
            staging.stage(tick, str(version), because)
        case Word.ASKED:
            because = approval.ask(tick, str(version), because)
        case _:
            promote.promote(tick, str(version), Grounds(by=by, because=because))
            because = f"{because}; promoted"
    tick.discard_files()
    return outcome(tick, word, because, version=version)


def planned(tick: Tick, word: Word, because: str, *, version: str | None = None) -> Outcome:
    """Return what a question says where a run would end with `word`."""
    would = _WOULD[word]
    code = ExitCode.WOULD_ACT if would in _ACTS else ExitCode.OK
    return Outcome(word=would, code=code, because=because, run=tick.run, details={"version": version})


def _weighed(tick: Tick, version: str | None, because: str, *, by: str) -> tuple[Word, str]:
    """Return what becomes of a version that a comparison found better (None: of none), and why."""
    if version is None:
        return Word.KEPT, because
    if quarantined := _quarantined(tick, version):
        return Word.KEPT, f"{because}; {quarantined}"
    if not _promotes(tick):
        told = f"it would be promoted, and is kept out by --no-promote: {approval.how_to(version)}"
        return Word.KEPT, f"{because}; {told}"
    if by == "gate" and tick.config.promotion.shadow is not None:
        return Word.STAGED, f"{because}; it runs in shadow before it may be promoted"
    return (Word.ASKED if tick.config.promotion.mode is Mode.ASK else Word.PROMOTED), because


def _promotes(tick: Tick) -> bool:
    """Say whether this attempt may move the pointer: what its run was told when it began to train."""
    return all(entry.event.promotes for entry in only(tick.ledger.entries(run=tick.run), Training))


def _quarantined(tick: Tick, version: str) -> str | None:
    """Say why a version may not be promoted whatever a comparison finds; None if it may."""
    if (digest := tick.registry.verified(version)) not in tick.past.quarantined:
        return None
    return (
        f"the champion is kept: {version} is, byte for byte (sha256 {digest[:12]}), a model that was rolled back on "
        f"probation and quarantined"
    )


def outcome(tick: Tick, word: Word, because: str, *, version: str | None) -> Outcome:
    """Return how a run ended, with the version that it is about."""
    return Outcome(word=word, code=ExitCode.OK, because=because, run=tick.run, details={"version": version})


_WOULD = {
    Word.PROMOTED: Word.WOULD_PROMOTE,
    Word.ASKED: Word.WOULD_ASK,
    Word.STAGED: Word.WOULD_STAGE,
    Word.KEPT: Word.WOULD_KEEP,
}
_ACTS = frozenset({Word.WOULD_PROMOTE, Word.WOULD_STAGE})
"""What of a plan is an act, for `--exit-code`: the pointer moves, or a service asks another model."""
