"""One attempt at a better champion: train, seal, compare, promote or keep.

Each step leaves a ledger entry before its effect, so that `finish` goes on from any of them after a crash.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from retrain_trigger import promotion, staging, trial
from retrain_trigger.entries import Kind
from retrain_trigger.errors import PromotionError, TrainingError
from retrain_trigger.judge.feedback import VersionCounts
from retrain_trigger.judge.memory import mark_to_json
from retrain_trigger.measurements import Mark
from retrain_trigger.outcomes import ExitCode, Outcome, Word
from retrain_trigger.preparation import Prepared, Split
from retrain_trigger.sections import Feedback
from retrain_trigger.tick import Tick
from retrain_trigger.world import files, training

MTIME_SLACK_NS = 1_000_000_000
"""File systems round the time of a change: a model this little older than the start may be of this training."""


def start(
    tick: Tick,
    prepared: Prepared,
    *,
    reason: Mapping[str, Any],
    mark: Mark,
    bootstrap: bool,
    served: VersionCounts | None = None,
    standing: Mapping[str, Any] | None = None,
) -> Outcome:
    """Train every challenger, seal what came out, and finish. Raises TrainingError when none came out.

    `served` is what the champion has said so far; later champions are compared with it. `standing` is how it is doing:
    a challenger that takes its place is held against that while on probation.
    """
    if prepared.uncompared and not bootstrap:
        tick.say(f"the challenger will not be promoted: {prepared.uncompared}")
    champion = tick.past.champion
    begun = {
        "champion": champion.version if champion else None,
        "bootstrap": bootstrap,
        "reason": dict(reason),
        "command": tick.config.train.command,
        "deadline": time.time() + tick.config.train.timeout.total_seconds() * len(prepared.splits),
        "reserved": prepared.reserved,
        "mark": mark_to_json(mark),
        "config": tick.config.digest,
        "holdout": files.sha256(prepared.holdout) if prepared.holdout else None,
        "label": prepared.label,
        "features": list(prepared.features),
        "positive": prepared.positive,
        "uncompared": prepared.uncompared,
        "served": served.to_json() if served else None,
        "standing": dict(standing) if standing else None,
    }
    tick.record(Kind.TRAINING, **begun)
    sealed, failures = [], []
    for split in prepared.splits:
        version = tick.run if len(prepared.splits) == 1 else f"{tick.run}-{split.reach}"
        try:
            sealed.append(_trained(tick, split, version, begun))
        except TrainingError as error:
            failures.append(str(error))
            if len(prepared.splits) > 1:
                tick.say(str(error))
    if not sealed:
        tick.record(Kind.FAILED, because=failures[-1])
        raise TrainingError(f"{failures[-1]}\nThe champion is untouched.")
    return finish(tick, begun, sealed)


def finish(tick: Tick, begun: Mapping[str, Any], sealed: Sequence[str]) -> Outcome:
    """Go on from sealed challengers to the end: promoted, kept, or (no hold-out) sealed only."""
    if begun["bootstrap"]:
        because = "first champion, promoted without comparison (--bootstrap)"
        promotion.promote(tick, sealed[-1], by="bootstrap", because=because)
        files.remove_folder(tick.scratch)
        return _outcome(tick, Word.PROMOTED, f"{sealed[-1]} is the {because}", version=sealed[-1])
    if begun["uncompared"]:
        because = f"{', '.join(sealed)} sealed, not promoted: {begun['uncompared']}"
        tick.record(Kind.KEPT, because=because, versions=list(sealed))
        return _outcome(tick, Word.SEALED, because, version=sealed[-1])
    try:
        trials = trial.compared(tick, begun, sealed, holdout=tick.scratch / "holdout.parquet")
    except PromotionError as error:
        tick.record(Kind.KEPT, because=str(error), versions=list(sealed))
        raise
    return concluded(tick, begun, trials)


def concluded(tick: Tick, begun: Mapping[str, Any], trials: Sequence[trial.Trial]) -> Outcome:
    """Write the verdict of a comparison, then act on it."""
    best = max(trials, key=lambda each: (each.passed, each.comparison["difference"] or -1.0))
    because, verdict = trial.explained(best), best.version if best.passed else None
    loops = _feedback(begun) if tick.config.promotion.feedback is Feedback.BLOCK else []
    if verdict and loops:
        because = f"{because.removesuffix('; promoted')}; the champion is kept (promotion.feedback: block): {'; '.join(loops)}"
        verdict = None
    tick.record(
        Kind.COMPARED,
        verdict=verdict,
        because=because,
        champion=begun["champion"],
        holdout=begun["holdout"],
        config=tick.config.digest,
        trials=[each.to_json() for each in trials],
    )
    return act_on_verdict(tick, verdict, because)


def act_on_verdict(tick: Tick, version: str | None, because: str, *, by: str = "gate") -> Outcome:
    """Promote the version that a comparison found better, or stage it, or record that the champion is kept.

    `by` is what found it: the gate on held-out rows, or the shadow that it then ran in, which this ends.
    """
    if by == "shadow":
        staging.remove(tick)
    quarantined = _quarantined(tick, version)
    if version is None or quarantined:
        because = f"{because.removesuffix('; promoted')}; {quarantined}" if quarantined else because
        tick.record(Kind.KEPT, because=because)
        word = Word.KEPT
    elif by == "gate" and tick.config.promotion.shadow is not None:
        because = f"{because.removesuffix('; promoted')}; it runs in shadow before it may be promoted"
        staging.stage(tick, version, because)
        word = Word.STAGED
    else:
        promotion.promote(tick, version, by=by, because=because)
        word = Word.PROMOTED
    files.remove_folder(tick.scratch)
    return _outcome(tick, word, because, version=version)


def _quarantined(tick: Tick, version: str | None) -> str | None:
    """Say why a version may not be promoted whatever a comparison finds; None where it may."""
    if version is None or (digest := tick.registry.verified(version)) not in tick.past.quarantined:
        return None
    return (
        f"the champion is kept: {version} is, byte for byte (sha256 {digest[:12]}), a model that was rolled back on "
        f"probation and quarantined"
    )


def _feedback(begun: Mapping[str, Any]) -> list[str]:
    """Return the signs of a feedback loop that were there when the training began."""
    findings = begun["reason"].get("findings", ())
    return [f["because"] for f in findings if f["name"].startswith("feedback_") and f["verdict"] == "BREACH"]


def _trained(tick: Tick, split: Split, version: str, begun: Mapping[str, Any]) -> str:
    """Train one challenger and seal it; return its version."""
    folder = tick.scratch / f"train-{split.reach}"
    files.make_folder(folder, mode=0o700)
    output, log = folder / "model.joblib", folder / "train.log"
    before = _identity(tick.config.train.output)
    started = time.time_ns()
    tick.say(f"training {version}: {tick.config.train.command}")
    training.train(
        tick.config.train.command,
        folder=tick.config.folder,
        environment=_environment(tick, split, output, begun),
        timeout=tick.config.train.timeout.total_seconds(),
        log=log,
        training_lock=tick.training_lock,
    )
    model = _artefact(tick, output, before, started, log)
    card = {
        "run": tick.run,
        "trained_at": tick.now.isoformat(),
        "reason": begun["reason"],
        "command": begun["command"],
        "seconds": round((time.time_ns() - started) / 1e9, 3),
        "reach": split.reach,
        "train_data": files.sha256(split.rows) if split.rows else None,
        "positive": begun["positive"] or None,
        "config": begun["config"],
    }
    try:
        digest = tick.registry.seal(version, model=model, card=card, profile=split.profile, log=log)
    except OSError as error:
        raise TrainingError(f"the model at {model} cannot be sealed: {error}") from error
    tick.record(Kind.SEALED, version=version, sha256=digest, reach=split.reach)
    return version


def _environment(tick: Tick, split: Split, output: Path, begun: Mapping[str, Any]) -> dict[str, str]:
    environment = {
        "RETRAIN_RUN_ID": tick.run,
        "RETRAIN_REASON": json.dumps(begun["reason"]),
        "RETRAIN_OUTPUT": str(output),
    }
    if split.rows is not None:
        environment["RETRAIN_TRAIN_DATA"] = str(split.rows)
    if tick.config.file is not None:
        environment["RETRAIN_CONFIG"] = str(tick.config.file)
    return environment


def _artefact(tick: Tick, output: Path, before: tuple[int, ...] | None, started: int, log: Path) -> Path:
    """Return the model that the training left. Exit 0 proves nothing: raises TrainingError where there is none."""
    named = tick.config.train.output
    model = output
    if not output.exists() and named is not None:
        after = _identity(named)
        if after is not None and after != before and after[-1] >= started - MTIME_SLACK_NS:
            model = named
    try:
        with files.open_regular(model) as file:
            if file.read(1):
                return model
        seen = f"an empty file at {model}"
    except OSError:
        seen = "no model at RETRAIN_OUTPUT" + (f", and {named} is not newer than its start" if named else "")
    raise TrainingError(
        f"`{tick.config.train.command}` exited with 0 but left {seen}; it must write the model to the path in "
        f"RETRAIN_OUTPUT, or train.output must name where it does ({log})"
    )


def _identity(path: Path | None) -> tuple[int, ...] | None:
    if path is None:
        return None
    with suppress(OSError):
        found = path.stat()
        return (found.st_ino, found.st_size, found.st_mtime_ns)
    return None


def _outcome(tick: Tick, word: Word, because: str, *, version: str | None) -> Outcome:
    return Outcome(word=word, code=ExitCode.OK, because=because, run=tick.run, details={"version": version})
