"""One training of an attempt: run the command, find what it left, seal it."""

import time
from dataclasses import replace
from pathlib import Path

from retrain_trigger.core.card import Card
from retrain_trigger.core.errors import PromotionError, TrainingError, refused
from retrain_trigger.core.events import (
    Sealed,
    Training,
)
from retrain_trigger.core.redaction import redacted
from retrain_trigger.pipeline import audition
from retrain_trigger.pipeline.prepare import Prepared, Split
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.process import artefact, training
from retrain_trigger.store import files

CANDIDATE = "-candidate"
"""Ends the version of a model that was trained without the newest windows: it shows what a recipe is worth."""


def all_trained(tick: Tick, prepared: Prepared, begun: Training) -> tuple[list[str], list[str]]:
    """Train and seal a challenger for each split; return the versions, and what was said of those that failed."""
    candidate, left_out = "", None
    if prepared.selection:
        candidate = CANDIDATE
        left_out = prepared.selection.left_out
    sealed, failures = [], []
    for split in prepared.splits:
        try:
            sealed.append(
                trained(
                    tick, split, begun, Card(version=version(tick, begun, split.reach) + candidate, left_out=left_out)
                )
            )
        except TrainingError as error:
            artefact.discard(_output(tick, split))
            failures.append(str(error))
            if len(prepared.splits) > 1:
                tick.say(str(error))
    return sealed, failures


def trained(tick: Tick, split: Split, begun: Training, card: Card) -> str:
    """Train one challenger and seal it; return its version. `card` names it, and says what it is beside others."""
    output = _output(tick, split)
    files.make_folder(output.parent, mode=0o700)
    log = output.with_name("train.log")
    named, started = tick.config.train.output, time.time_ns()
    expected = artefact.Expected(output, named, artefact.identity(named), started)
    data = files.sha256(split.rows) if split.rows else None
    tick.say(f"training {card.version}: {tick.config.train.command}")
    training.train(
        tick.config.train.command,
        folder=tick.config.folder,
        environment=training.environment(
            tick.run, begun.reason, rows=split.rows, output=output, settings=tick.config.file
        ),
        timeout=tick.config.train.timeout.total_seconds(),
        log=log,
        training_lock=tick.training_lock,
    )
    model = artefact.found(expected, command=tick.config.train.command, log=log)
    card = replace(
        card,
        run=tick.run,
        trained_at=tick.now,
        reason=begun.reason,
        command=redacted(begun.command),
        seconds=round((time.time_ns() - started) / 1e9, 3),
        reach=split.reach,
        train_data=data,
        positive=begun.positive or None,
        config=begun.config,
        foreign=_foreign(tick, model, log) if begun.bootstrap else None,
    )
    try:
        digest = tick.registry.seal(card, model=model, profile=split.profile, log=log)
    except OSError as error:
        raise TrainingError(f"the model at {model} cannot be sealed: {refused(error)}") from error
    tick.record(Sealed(version=card.version, sha256=digest, reach=split.reach))
    return card.version


def version(tick: Tick, begun: Training, reach: str) -> str:
    """Return the version that a reach's model gets: the run, and the reach if there are several."""
    return tick.run if len(begun.reaches) == 1 else f"{tick.run}-{reach}"


def _foreign(tick: Tick, model: Path, log: Path) -> str | None:
    """Say whether another scikit-learn wrote a first model. Raises TrainingError if it is none: no comparison asks it."""
    try:
        heard = audition.hear(tick.config, model, scratch=tick.scratch, now=tick.now)
    except PromotionError as error:
        raise TrainingError(
            f"`{redacted(tick.config.train.command)}` left what is no usable model: {error} ({log})"
        ) from error
    if heard.foreign:
        tick.say(heard.foreign)
    return heard.foreign


def _output(tick: Tick, split: Split) -> Path:
    return tick.scratch / split.name / "model.joblib"
