"""One attempt at a better champion: train, seal, (select, refit,) compare, promote or keep.

Each step leaves a ledger entry before its effect, so that `finish` goes on from any of them after a crash.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from retrain_trigger.config.sections import Feedback
from retrain_trigger.core.card import Card
from retrain_trigger.core.comparisons import Trial
from retrain_trigger.core.errors import PromotionError, TrainingError
from retrain_trigger.core.events import (
    Compared,
    Failed,
    Grounds,
    Kept,
    Reason,
    Refitting,
    Said,
    Score,
    Selected,
    Selecting,
    Standing,
    Training,
)
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.measurements import Mark
from retrain_trigger.core.outcomes import Outcome, Word
from retrain_trigger.judge.checks.lateness import in_words
from retrain_trigger.judge.gates import veto, wear
from retrain_trigger.pipeline import act, compare, promote, train
from retrain_trigger.pipeline.prepare import Prepared, Selection, Split, refit
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.process import training
from retrain_trigger.store import files

Decision = TypeVar("Decision", Selected, Compared)

HOLDOUT, SELECTION, OLDER = "holdout.parquet", "selection.parquet", "older.parquet"
"""Files of the rows that were held out, of those of the newest windows, and of older ones that were held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """Why an attempt is made, and what was known when it began.

    `mark` is how far the logs were read. `served` is what the champion has said so far; later champions are compared
    with it. `standing` is how it is doing: a challenger that takes its place is held against that while on probation.
    `promotes=False` stops short of the pointer, also where a later tick finishes the attempt.
    """

    reason: Reason
    mark: Mark = field(default_factory=Mark)
    bootstrap: bool = False
    served: Said | None = None
    standing: Standing | None = None
    promotes: bool = True


def start(tick: Tick, prepared: Prepared, occasion: Occasion) -> Outcome:
    """Train every challenger, seal what came out, and finish. Raises TrainingError when none came out, BusyError."""
    training.check_ended(tick.training_lock)
    if prepared.uncompared and not occasion.bootstrap:
        tick.say(f"the challenger will not be promoted: {prepared.uncompared}")
    worn = _worn(tick, prepared)
    if worn and worn.verdict is Verdict.BREACH:
        tick.say(worn.because)
    begun = _begun(tick, prepared, occasion, worn)
    tick.record(begun)
    sealed, failures = train.all_trained(tick, prepared, begun)
    if not sealed:
        tick.record(Failed(because=failures[-1]))
        raise TrainingError(f"{failures[-1]}\nThe champion is untouched.")
    return finish(tick, begun, sealed)


def plan(tick: Tick, prepared: Prepared) -> str:
    """Say what an attempt trains, and how long the champion's training took, where that is known."""
    rows = [_rows_of(split) for split in prepared.splits]
    told = (
        f"{len(rows)} challengers, on {', '.join(rows[:-1])} and {rows[-1]}"
        if rows[1:]
        else f"1 challenger, on {rows[0]}"
    )
    if prepared.selection:
        told += ", then the recipe of a better one again"
    champion = tick.past.champion
    seconds = tick.registry.card(champion.version).seconds if champion else None
    return told if seconds is None else f"{told}; the champion's training took {in_words(timedelta(seconds=seconds))}"


def _rows_of(split: Split) -> str:
    if split.rows is None:
        return "the data that the training command finds"
    return "all rows" if split.reach == "all" else f"the last {split.reach}"


def finish(tick: Tick, begun: Training, sealed: Sequence[str]) -> Outcome:
    """Go on from sealed challengers to the end: promoted, kept, or (no hold-out) sealed only."""
    if begun.bootstrap:
        because = "first champion, promoted without comparison (--bootstrap)"
        grounds = Grounds(by="bootstrap", because=because, score=_scored(tick, begun, sealed[-1]))
        promote.promote(tick, sealed[-1], grounds)
        tick.discard_files()
        return act.outcome(tick, Word.PROMOTED, f"{sealed[-1]} is the {because}", version=sealed[-1])
    if begun.uncompared:
        because = f"{', '.join(sealed)} sealed, not promoted: {begun.uncompared}"
        tick.record(Kept(because=because, versions=tuple(sealed)))
        return act.outcome(tick, Word.SEALED, because, version=sealed[-1])
    if begun.selection:
        return selected(
            tick, begun, begun.selection, _compared(tick, begun, sealed, SELECTION, begun.selection.holdout)
        )
    return concluded(tick, begun, _compared(tick, begun, sealed, HOLDOUT, begun.holdout))


def selected(tick: Tick, begun: Training, by: Selecting, trials: Sequence[Trial]) -> Outcome:
    """Write which candidate is better than the champion on the newest windows, then refit its recipe; without one, keep."""
    best = _best(trials)
    because = f"on the newest windows, {_told(tick, begun, trials)}" + (
        "; its recipe is refitted" if best.passed else ""
    )
    verdict = best.version if best.passed else None
    tick.record(_bound(tick, Selected, begun, trials, on=by)(verdict=verdict, because=because))
    return refitted(tick, begun, verdict, because)


def refitted(tick: Tick, begun: Training, candidate: str | None, because: str) -> Outcome:
    """Train the recipe of the selected candidate again, on everything but the reserved rows, and check what came out.

    Raises TrainingError if no model came out.
    """
    if candidate is None:
        return act.on_verdict(tick, None, because)
    reach = str(tick.registry.card(candidate).reach)
    version = train.version(tick, begun, reach)
    deadline, since_boot = training.deadlines(tick.config.train.timeout)
    tick.record(
        Refitting(
            version=version,
            candidate=candidate,
            because=f"{candidate} again as {version}, on everything but the reserved rows",
            deadline=deadline,
            deadline_since_boot=since_boot,
        )
    )
    try:
        split = refit(tick, reach)
        train.trained(tick, split, begun, Card(version=version, refit_of=candidate))
    except TrainingError as error:
        tick.record(Failed(because=str(error)))
        raise TrainingError(f"the refit of {candidate} failed: {error}\nThe champion is untouched.") from error
    return checked(tick, begun, version, because)


def checked(tick: Tick, begun: Training, version: str, proved: str) -> Outcome:
    """Check a sealed refit on the rows held out of these windows: it need not be better again, and must not be clearly worse."""
    (found,) = _compared(tick, begun, [version], HOLDOUT, begun.holdout)
    gates = veto.judge(found.gates, found.comparison, margin=tick.config.promotion.margin)
    objections = [finding.because for finding in gates if finding.verdict is not Verdict.PASS]
    told = f"the champion is kept: {'; '.join(objections)}" if objections else gates[-1].because
    return concluded(tick, begun, [replace(found, gates=gates)], f"{proved} as {version}; {told}")


def concluded(tick: Tick, begun: Training, trials: Sequence[Trial], told: str = "") -> Outcome:
    """Write the verdict of a comparison, then act on it; `told` explains it, if it is not the best trial alone."""
    best = _best(trials)
    because, verdict = told or _told(tick, begun, trials), best.version if best.passed else None
    loops = _feedback(begun) if tick.config.promotion.feedback is Feedback.BLOCK else []
    if verdict and loops:
        because = f"{because}; the champion is kept (promotion.feedback: block): {'; '.join(loops)}"
        verdict = None
    tick.record(_bound(tick, Compared, begun, trials, on=begun)(verdict=verdict, because=because))
    return act.on_verdict(tick, verdict, because)


def _bound(
    tick: Tick, kind: Callable[..., Decision], begun: Training, trials: Sequence[Trial], *, on: Training | Selecting
) -> Callable[..., Decision]:
    """Bind a verdict to what it was reached on: a later tick acts on it only if nothing of that has changed."""
    return partial(
        kind,
        champion=begun.champion,
        holdout=on.holdout,
        deciding=on.deciding,
        config=tick.config.digest,
        findings=begun.worn,
        trials=tuple(trials),
    )


def _begun(tick: Tick, prepared: Prepared, occasion: Occasion, worn: Finding | None) -> Training:
    """Return what is recorded before the training begins: all that a later tick needs to go on with it."""
    champion = tick.past.champion
    trainings = len(prepared.splits) + (1 if prepared.selection else 0)
    deadline, since_boot = training.deadlines(tick.config.train.timeout * trainings)
    return Training(
        champion=champion.version if champion else None,
        attempt=tick.past.refusals + 1,
        bootstrap=occasion.bootstrap,
        reason=occasion.reason,
        command=tick.config.train.command,
        deadline=deadline,
        deadline_since_boot=since_boot,
        reaches=tuple(split.reach for split in prepared.splits),
        reserved=prepared.reserved,
        group=tick.config.data.group or "",
        mark=occasion.mark,
        breached=prepared.breached,
        config=tick.config.digest,
        holdout=files.sha256(prepared.holdout) if prepared.holdout else None,
        deciding=prepared.deciding,
        selection=_selecting(prepared.selection) if prepared.selection else None,
        worn=(worn,) if worn else (),
        label=prepared.label,
        features=prepared.features,
        positive=prepared.positive,
        uncompared=prepared.uncompared,
        served=occasion.served,
        standing=occasion.standing,
        promotes=occasion.promotes,
    )


def _compared(tick: Tick, begun: Training, sealed: Sequence[str], holdout: str, sha256: str | None) -> list[Trial]:
    """Compare sealed challengers with the champion; all that the attempt trains share the interval."""
    assert begun.champion is not None
    try:
        held = _held(tick, begun, begun.champion, holdout, sha256)
        return compare.compared(tick, held, sealed, shared_among=len(begun.reaches))
    except PromotionError as error:
        tick.record(Kept(because=str(error), versions=tuple(sealed)))
        raise


def _held(tick: Tick, begun: Training, champion: str, holdout: str, sha256: str | None) -> compare.HeldOut:
    """Return the rows of a hold-out that a champion answers. Raises PromotionError if they have changed."""
    older = tick.scratch / OLDER
    return compare.HeldOut(
        champion=champion,
        rows=_unchanged(tick.scratch / holdout, sha256),
        label=begun.label,
        features=begun.features,
        positive=begun.positive,
        breached=begun.breached,
        older=older if holdout == SELECTION and older.exists() else None,
        attempt=begun.attempt if holdout == SELECTION or begun.selection is None else 0,
    )


def _scored(tick: Tick, begun: Training, version: str) -> Score | None:
    """Score a first champion on the rows that were held out; None if that is not asked for, or they are too few."""
    if begun.holdout is None or begun.deciding.rows < tick.config.deciding_rows:
        return None
    try:
        return compare.scored(tick, _held(tick, begun, version, HOLDOUT, begun.holdout), version)
    except PromotionError as error:
        tick.say(str(error))
        return None


def _unchanged(path: Path, sha256: str | None) -> Path:
    """Return the rows that decide, as they were before the training. Raises PromotionError if they have changed."""
    try:
        same = files.sha256(path) == sha256
    except OSError as error:
        raise PromotionError(f"the hold-out {path} cannot be read ({error.strerror}); the champion is kept") from error
    if not same:
        raise PromotionError(f"the hold-out {path} has changed since the training began; the champion is kept")
    return path


def _best(trials: Sequence[Trial]) -> Trial:
    return max(trials, key=_rank)


def _rank(each: Trial) -> tuple[bool, bool, float]:
    """Put what passed first, then what was scored: a difference of cost may be anything, so no number stands for none."""
    difference = each.comparison.difference
    return (each.passed, False, 0.0) if math.isnan(difference) else (each.passed, True, difference)


def _told(tick: Tick, begun: Training, trials: Sequence[Trial]) -> str:
    """Explain the best trial, and name the challengers that could not be judged at all."""
    told = compare.explained(_best(trials))
    judged = {tick.registry.card(each.version).reach for each in trials}
    lost = [reach for reach in begun.reaches if reach not in judged]
    return told if not lost else f"{told}; not judged, because it failed: the challenger of {', '.join(lost)}"


def _selecting(selection: Selection) -> Selecting:
    """Return what the ledger keeps of a selection: when it is finished after a crash, its files must be these."""
    return Selecting(
        holdout=files.sha256(selection.holdout),
        deciding=selection.deciding,
        left_out_after=selection.left_out.after,
        refits={split.reach: files.sha256(split.rows) for split in selection.refits if split.rows},
    )


def _worn(tick: Tick, prepared: Prepared) -> Finding | None:
    """Say how often the oldest of the deciding rows have decided before; None if nothing will be compared."""
    oldest = (prepared.selection or prepared).deciding.oldest
    return wear.judge(tick.past.uses, oldest=oldest) if oldest else None


def _feedback(begun: Training) -> list[str]:
    """Return the signs of a feedback loop that were there when the training began."""
    found = (finding for finding in begun.reason.findings if finding.name.startswith("feedback_"))
    return [finding.because for finding in found if finding.verdict is Verdict.BREACH]
