"""One attempt at a better champion: train, seal, compare, promote or keep.

Each step leaves a ledger entry before its effect, so that `finish` goes on from any of them after a crash.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retrain_trigger import artefact, promotion, trial
from retrain_trigger.entries import Kind
from retrain_trigger.errors import PromotionError, TrainingError
from retrain_trigger.judge.feedback import VersionCounts
from retrain_trigger.judge.memory import mark_to_json
from retrain_trigger.measurements import Mark
from retrain_trigger.outcomes import ExitCode, Outcome, Word
from retrain_trigger.preparation import Prepared, Split
from retrain_trigger.redaction import redacted
from retrain_trigger.sections import Feedback
from retrain_trigger.tick import Tick
from retrain_trigger.world import files, training


def start(
    tick: Tick,
    prepared: Prepared,
    *,
    reason: Mapping[str, Any],
    mark: Mark,
    bootstrap: bool,
    served: VersionCounts | None = None,
) -> Outcome:
    """Train every challenger, seal what came out, and finish. Raises TrainingError when none came out.

    `served` is what the champion has said so far; later champions are compared with it.
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
    }
    tick.record(Kind.TRAINING, **begun)
    sealed, failures = [], []
    for split in prepared.splits:
        version = tick.run if len(prepared.splits) == 1 else f"{tick.run}-{split.reach}"
        try:
            sealed.append(_trained(tick, split, version, begun))
        except TrainingError as error:
            artefact.discard(_output(tick, split))
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
        trials = trial.compared(tick, begun, sealed, holdout=_holdout(tick, begun))
    except PromotionError as error:
        tick.record(Kind.KEPT, because=str(error), versions=list(sealed))
        raise
    return concluded(tick, begun, trials)


def _holdout(tick: Tick, begun: Mapping[str, Any]) -> Path:
    """Return the rows that decide, as they were before the training. Raises PromotionError where they have changed."""
    path = tick.scratch / "holdout.parquet"
    try:
        same = files.sha256(path) == begun["holdout"]
    except OSError as error:
        raise PromotionError(f"the hold-out {path} cannot be read ({error.strerror}); the champion is kept") from error
    if not same:
        raise PromotionError(f"the hold-out {path} has changed since the training began; the champion is kept")
    return path


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


def act_on_verdict(tick: Tick, version: str | None, because: str) -> Outcome:
    """Promote the version that a comparison found better, or record that the champion is kept."""
    if version is None:
        tick.record(Kind.KEPT, because=because)
        word = Word.KEPT
    else:
        promotion.promote(tick, version, by="gate", because=because)
        word = Word.PROMOTED
    files.remove_folder(tick.scratch)
    return _outcome(tick, word, because, version=version)


def _feedback(begun: Mapping[str, Any]) -> list[str]:
    """Return the signs of a feedback loop that were there when the training began."""
    findings = begun["reason"].get("findings", ())
    return [f["because"] for f in findings if f["name"].startswith("feedback_") and f["verdict"] == "BREACH"]


def _trained(tick: Tick, split: Split, version: str, begun: Mapping[str, Any]) -> str:
    """Train one challenger and seal it; return its version."""
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
    card = {
        "run": tick.run,
        "trained_at": tick.now.isoformat(),
        "reason": begun["reason"],
        "command": redacted(begun["command"]),
        "seconds": round((time.time_ns() - started) / 1e9, 3),
        "reach": split.reach,
        "train_data": data,
        "positive": begun["positive"] or None,
        "config": begun["config"],
    }
    try:
        digest = tick.registry.seal(version, model=model, card=card, profile=split.profile, log=log)
    except OSError as error:
        raise TrainingError(f"the model at {model} cannot be sealed: {error}") from error
    tick.record(Kind.SEALED, version=version, sha256=digest, reach=split.reach)
    return version


def _output(tick: Tick, split: Split) -> Path:
    return tick.scratch / f"train-{split.reach}" / "model.joblib"


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


def _outcome(tick: Tick, word: Word, because: str, *, version: str | None) -> Outcome:
    return Outcome(word=word, code=ExitCode.OK, because=because, run=tick.run, details={"version": version})
