"""One attempt at a better champion: train, seal, (select, refit,) compare, promote or keep.

Each step leaves a ledger entry before its effect, so that `finish` goes on from any of them after a crash.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from retrain_trigger.config.sections import Feedback, Mode
from retrain_trigger.core.comparisons import Trial
from retrain_trigger.core.entries import only
from retrain_trigger.core.errors import PromotionError, TrainingError, refused
from retrain_trigger.core.events import (
    Compared,
    Failed,
    Grounds,
    Kept,
    Reason,
    Refitting,
    Said,
    Sealed,
    Selected,
    Selecting,
    Standing,
    Training,
)
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.measurements import Mark
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.core.records import encoded
from retrain_trigger.core.redaction import redacted
from retrain_trigger.judge.gates import noninferiority, wear
from retrain_trigger.pipeline import approval, audition, compare, promote, staging
from retrain_trigger.pipeline.prepare import Prepared, Selection, Split, refit
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.process import artefact, training
from retrain_trigger.store import files

HOLDOUT, SELECTION = "holdout.parquet", "selection.parquet"
"""Files of the rows that decide, and of those that select out of time."""

CANDIDATE = "-candidate"
"""Ends the version of a model that was trained without the newest windows: it shows what a recipe is worth."""


def start(
    tick: Tick,
    prepared: Prepared,
    *,
    reason: Reason,
    mark: Mark,
    bootstrap: bool,
    served: Said | None = None,
    standing: Standing | None = None,
    promotes: bool = True,
) -> Outcome:
    """Train every challenger, seal what came out, and finish. Raises TrainingError when none came out, BusyError.

    `served` is what the champion has said so far; later champions are compared with it. `standing` is how it is doing:
    a challenger that takes its place is held against that while on probation. `promotes=False` stops short of the
    pointer, also where a later tick finishes the attempt.
    """
    training.check_ended(tick.training_lock)
    if prepared.uncompared and not bootstrap:
        tick.say(f"the challenger will not be promoted: {prepared.uncompared}")
    worn = _worn(tick, prepared)
    if worn and worn.verdict is Verdict.BREACH:
        tick.say(worn.because)
    champion = tick.past.champion
    trainings = len(prepared.splits) + (1 if prepared.selection else 0)
    deadline, since_boot = training.deadlines(tick.config.train.timeout * trainings)
    begun = Training(
        champion=champion.version if champion else None,
        bootstrap=bootstrap,
        reason=reason,
        command=tick.config.train.command,
        deadline=deadline,
        deadline_since_boot=since_boot,
        reaches=tuple(split.reach for split in prepared.splits),
        reserved=prepared.reserved,
        mark=mark,
        config=tick.config.digest,
        holdout=files.sha256(prepared.holdout) if prepared.holdout else None,
        deciding=prepared.deciding,
        selection=_selecting(prepared.selection) if prepared.selection else None,
        worn=(worn,) if worn else (),
        label=prepared.label,
        features=prepared.features,
        positive=prepared.positive,
        uncompared=prepared.uncompared,
        served=served,
        standing=standing,
        promotes=promotes,
    )
    tick.record(begun)
    sealed, failures = _all_trained(tick, prepared, begun)
    if not sealed:
        tick.record(Failed(because=failures[-1]))
        raise TrainingError(f"{failures[-1]}\nThe champion is untouched.")
    return finish(tick, begun, sealed)


def finish(tick: Tick, begun: Training, sealed: Sequence[str]) -> Outcome:
    """Go on from sealed challengers to the end: promoted, kept, or (no hold-out) sealed only."""
    if begun.bootstrap:
        because = "first champion, promoted without comparison (--bootstrap)"
        promote.promote(tick, sealed[-1], Grounds(by="bootstrap", because=because))
        tick.discard_files()
        return _outcome(tick, Word.PROMOTED, f"{sealed[-1]} is the {because}", version=sealed[-1])
    if begun.uncompared:
        because = f"{', '.join(sealed)} sealed, not promoted: {begun.uncompared}"
        tick.record(Kept(because=because, versions=tuple(sealed)))
        return _outcome(tick, Word.SEALED, because, version=sealed[-1])
    if begun.selection:
        return selected(
            tick, begun, begun.selection, _compared(tick, begun, sealed, SELECTION, begun.selection.holdout)
        )
    return concluded(tick, begun, _compared(tick, begun, sealed, HOLDOUT, begun.holdout))


def selected(tick: Tick, begun: Training, by: Selecting, trials: Sequence[Trial]) -> Outcome:
    """Write which candidate is better than the champion out of time, then refit its recipe; without one, keep."""
    best = _best(trials)
    because = f"out of time, {_told(tick, begun, trials)}" + ("; its recipe is refitted" if best.passed else "")
    verdict = best.version if best.passed else None
    tick.record(
        Selected(
            verdict=verdict,
            because=because,
            champion=begun.champion,
            holdout=by.holdout,
            deciding=by.deciding,
            config=tick.config.digest,
            findings=begun.worn,
            trials=tuple(trials),
        )
    )
    return refitted(tick, begun, verdict, because)


def refitted(tick: Tick, begun: Training, candidate: str | None, because: str) -> Outcome:
    """Train the recipe of the selected candidate again, on everything but the reserved rows, and check what came out.

    Raises TrainingError where no model came out.
    """
    if candidate is None:
        return act_on_verdict(tick, None, because)
    reach = tick.registry.card(candidate)["reach"]
    version = _version(tick, begun, reach)
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
        _trained(tick, split, version, begun, refit_of=candidate)
    except TrainingError as error:
        tick.record(Failed(because=str(error)))
        raise TrainingError(f"the refit of {candidate} failed: {error}\nThe champion is untouched.") from error
    return checked(tick, begun, version)


def checked(tick: Tick, begun: Training, version: str) -> Outcome:
    """Check a sealed refit on the hold-out: it need not be better again, and must not be clearly worse."""
    (found,) = _compared(tick, begun, [version], HOLDOUT, begun.holdout)
    gates = noninferiority.judge(found.gates, found.comparison, margin=tick.config.promotion.margin)
    return concluded(tick, begun, [replace(found, gates=gates)])


def concluded(tick: Tick, begun: Training, trials: Sequence[Trial]) -> Outcome:
    """Write the verdict of a comparison, then act on it."""
    best = _best(trials)
    because, verdict = _told(tick, begun, trials), best.version if best.passed else None
    loops = _feedback(begun) if tick.config.promotion.feedback is Feedback.BLOCK else []
    if verdict and loops:
        because = f"{because}; the champion is kept (promotion.feedback: block): {'; '.join(loops)}"
        verdict = None
    tick.record(
        Compared(
            verdict=verdict,
            because=because,
            champion=begun.champion,
            holdout=begun.holdout,
            deciding=begun.deciding,
            config=tick.config.digest,
            findings=begun.worn,
            trials=tuple(trials),
        )
    )
    return act_on_verdict(tick, verdict, because)


def act_on_verdict(tick: Tick, version: str | None, because: str, *, by: str = "gate") -> Outcome:
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
    return _outcome(tick, word, because, version=version)


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


def _all_trained(tick: Tick, prepared: Prepared, begun: Training) -> tuple[list[str], list[str]]:
    """Train and seal a challenger for each split; return the versions, and what was said of those that failed."""
    candidate, more = "", {}
    if prepared.selection:
        windows, after = tick.config.promotion.out_of_time, prepared.selection.left_out_after
        candidate, more = CANDIDATE, {"left_out": {"windows": windows, "after": after.isoformat()}}
    sealed, failures = [], []
    for split in prepared.splits:
        try:
            sealed.append(_trained(tick, split, _version(tick, begun, split.reach) + candidate, begun, **more))
        except TrainingError as error:
            artefact.discard(_output(tick, split))
            failures.append(str(error))
            if len(prepared.splits) > 1:
                tick.say(str(error))
    return sealed, failures


def _compared(tick: Tick, begun: Training, sealed: Sequence[str], holdout: str, sha256: str | None) -> list[Trial]:
    """Compare sealed challengers with the champion; all that the attempt trains share the interval."""
    assert begun.champion is not None
    try:
        held = compare.HeldOut(
            champion=begun.champion,
            rows=_unchanged(tick.scratch / holdout, sha256),
            label=begun.label,
            features=begun.features,
            positive=begun.positive,
        )
        return compare.compared(tick, held, sealed, shared_among=len(begun.reaches))
    except PromotionError as error:
        tick.record(Kept(because=str(error), versions=tuple(sealed)))
        raise


def _unchanged(path: Path, sha256: str | None) -> Path:
    """Return the rows that decide, as they were before the training. Raises PromotionError where they have changed."""
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
    judged = {tick.registry.card(each.version)["reach"] for each in trials}
    lost = [reach for reach in begun.reaches if reach not in judged]
    refit = any("refit_of" in tick.registry.card(each.version) for each in trials)
    return told if refit or not lost else f"{told}; not judged, because it failed: the challenger of {', '.join(lost)}"


def _selecting(selection: Selection) -> Selecting:
    """Return what the ledger keeps of a selection: when it is finished after a crash, its files must be these."""
    return Selecting(
        holdout=files.sha256(selection.holdout),
        deciding=selection.deciding,
        left_out_after=selection.left_out_after,
        refits={split.reach: files.sha256(split.rows) for split in selection.refits if split.rows},
    )


def _worn(tick: Tick, prepared: Prepared) -> Finding | None:
    """Say how often the oldest of the deciding rows have decided before; None where nothing will be compared."""
    oldest = prepared.deciding.oldest
    return wear.judge(tick.past.uses, oldest=oldest) if oldest else None


def _version(tick: Tick, begun: Training, reach: str) -> str:
    return tick.run if len(begun.reaches) == 1 else f"{tick.run}-{reach}"


def _promotes(tick: Tick) -> bool:
    """Say whether this attempt may move the pointer: what its run was told when it began to train."""
    return all(entry.event.promotes for entry in only(tick.ledger.entries(run=tick.run), Training))


def _quarantined(tick: Tick, version: str) -> str | None:
    """Say why a version may not be promoted whatever a comparison finds; None where it may."""
    if (digest := tick.registry.verified(version)) not in tick.past.quarantined:
        return None
    return (
        f"the champion is kept: {version} is, byte for byte (sha256 {digest[:12]}), a model that was rolled back on "
        f"probation and quarantined"
    )


def _feedback(begun: Training) -> list[str]:
    """Return the signs of a feedback loop that were there when the training began."""
    found = (finding for finding in begun.reason.findings if finding.name.startswith("feedback_"))
    return [finding.because for finding in found if finding.verdict is Verdict.BREACH]


def _trained(tick: Tick, split: Split, version: str, begun: Training, **more: Any) -> str:
    """Train one challenger and seal it; return its version. `more` is written on its card."""
    output = _output(tick, split)
    files.make_folder(output.parent, mode=0o700)
    log = output.with_name("train.log")
    named, started = tick.config.train.output, time.time_ns()
    expected = artefact.Expected(output, named, artefact.identity(named), started)
    data = files.sha256(split.rows) if split.rows else None
    tick.say(f"training {version}: {tick.config.train.command}")
    training.train(
        tick.config.train.command,
        folder=tick.config.folder,
        environment=_environment(tick, split, output, begun),
        timeout=tick.config.train.timeout.total_seconds(),
        log=log,
        training_lock=tick.training_lock,
    )
    model = artefact.found(expected, command=tick.config.train.command, log=log)
    if begun.bootstrap:
        more = {**more, **_heard(tick, model, log)}
    card = {
        "run": tick.run,
        "trained_at": tick.now.isoformat(),
        "reason": encoded(begun.reason),
        "command": redacted(begun.command),
        "seconds": round((time.time_ns() - started) / 1e9, 3),
        "reach": split.reach,
        "train_data": data,
        "positive": begun.positive or None,
        "config": begun.config,
        **more,
    }
    try:
        digest = tick.registry.seal(version, model=model, card=card, profile=split.profile, log=log)
    except OSError as error:
        raise TrainingError(f"the model at {model} cannot be sealed: {refused(error)}") from error
    tick.record(Sealed(version=version, sha256=digest, reach=split.reach))
    return version


def _heard(tick: Tick, model: Path, log: Path) -> dict[str, Any]:
    """Return what a first model says of itself, which no comparison will ask. Raises TrainingError where it is none."""
    try:
        heard = audition.hear(tick.config, model, scratch=tick.scratch, now=tick.now)
    except PromotionError as error:
        raise TrainingError(
            f"`{redacted(tick.config.train.command)}` left what is no usable model: {error} ({log})"
        ) from error
    if heard.foreign:
        tick.say(heard.foreign)
    return {"foreign": heard.foreign}


def _output(tick: Tick, split: Split) -> Path:
    return tick.scratch / split.name / "model.joblib"


def _environment(tick: Tick, split: Split, output: Path, begun: Training) -> dict[str, str]:
    environment = {
        "RETRAIN_RUN_ID": tick.run,
        "RETRAIN_REASON": json.dumps(encoded(begun.reason)),
        "RETRAIN_OUTPUT": str(output),
    }
    if split.rows is not None:
        environment["RETRAIN_TRAIN_DATA"] = str(split.rows)
    if tick.config.file is not None:
        environment["RETRAIN_CONFIG"] = str(tick.config.file)
    return environment


def _outcome(tick: Tick, word: Word, because: str, *, version: str | None) -> Outcome:
    return Outcome(word=word, code=ExitCode.OK, because=because, run=tick.run, details={"version": version})


_WOULD = {
    Word.PROMOTED: Word.WOULD_PROMOTE,
    Word.ASKED: Word.WOULD_ASK,
    Word.STAGED: Word.WOULD_STAGE,
    Word.KEPT: Word.WOULD_KEEP,
}
_ACTS = frozenset({Word.WOULD_PROMOTE, Word.WOULD_STAGE})
"""What of a plan is an act, for `--exit-code`: the pointer moves, or a service asks another model."""
