"""A model is heard before it is taken on: loaded in the limited child, and asked for some rows if there are any."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from retrain_trigger import engines
from retrain_trigger.config.load import Config
from retrain_trigger.core.errors import CannotJudgeError, DataError, PromotionError
from retrain_trigger.judge.metrics import METRICS
from retrain_trigger.pipeline import compare
from retrain_trigger.process.scoring import models
from retrain_trigger.process.scoring.models import ModelFacts
from retrain_trigger.store import files, lock

if TYPE_CHECKING:
    from retrain_trigger.engines.labelled import LabelledRows

HEARINGS = "hearings"
"""The folder in the state folder for what is heard before a run has begun."""

_LOCK = "lock"

SAMPLE = 1000
"""Rows that a model is asked for: enough to see whether it answers at all."""

LEAST_LABELS = 2
"""Labels that must be known before answers that are none of them are wrong: of one class alone, others are to come."""

SHOWN = 3
"""Answers and labels that a message names."""


@contextmanager
def folder(config: Config) -> Iterator[Path]:
    """Make a folder for what a hearing before a run needs, and remove it; what was not there before is not there after.

    It lies in the state folder: where this process is killed, `clear` removes it, and ends what the model has started.
    """
    above = config.state / HEARINGS
    made = [each for each in (above, config.state) if not each.exists()]
    own = above / secrets.token_hex(4)
    files.make_folder(config.state, mode=0o700)
    files.make_folder(own, mode=0o700)
    try:
        with lock.hold(own / _LOCK):
            yield own
    finally:
        files.remove_folder(own)
        for each in made:
            files.remove_empty(each)


def clear(config: Config) -> None:
    """Take away what hearings left that were killed, and nothing of one that goes on."""
    for own in (config.state / HEARINGS).glob("*"):
        if lock.holder(own / _LOCK) is None:
            models.end_leftover(own)
            files.remove_folder(own)


def hear(config: Config, model: Path, *, scratch: Path, now: datetime) -> ModelFacts:
    """Load a model and ask it for rows of the labelled data, else of the prediction log; return what it says of itself.

    Raises PromotionError if it cannot be loaded, has no predict, does not answer each row with one value, or answers
    with no classes where the metric counts right answers.
    """
    patience = min(models.PATIENCE, config.train.timeout.total_seconds())
    inspect = partial(models.ask, model, models.Request(), folder=config.folder, scratch=scratch, patience=patience)
    found = None
    for source, complete in _sources(config):
        with _opened(config, source, now=now) as rows:
            if rows is None or not rows.count("true"):
                continue
            if not complete:
                found = found or inspect()
                if not _has_all(rows, found):
                    continue
            return _asked(config, model, rows, scratch=scratch)
    return found or inspect()


def _sources(config: Config) -> Iterator[tuple[str, bool]]:
    """Yield where rows are, and whether they hold all that a model needs: a prediction log may leave out its inputs."""
    data = config.data
    for source, complete in ((data.labelled, True), (data.holdout_file, True), (config.logs.predictions, False)):
        if source is not None:
            yield source, complete


@contextmanager
def _opened(config: Config, source: str, *, now: datetime) -> "Iterator[LabelledRows | None]":
    """Open rows; None if there are none yet, or none that can be read: that is not the model's fault."""
    with ExitStack() as stack:
        rows = None
        with suppress(DataError, CannotJudgeError):
            rows = stack.enter_context(
                engines.labelled.opened(
                    source, columns=config.logs.names, now=now, need=engines.labelled.Need(label=False)
                )
            )
        yield rows


def _has_all(rows: "LabelledRows", found: ModelFacts) -> bool:
    if found.features is not None:
        return set(found.features) <= set(rows.types)
    return bool(rows.features) and found.width in {None, len(rows.features)}


def _asked(config: Config, model: Path, rows: "LabelledRows", *, scratch: Path) -> ModelFacts:
    sample, predictions = scratch / "heard.parquet", scratch / "heard.predictions.parquet"
    rows.write("true", sample, at_most=SAMPLE)
    request = models.Request(tables={sample: predictions}, features=rows.features)
    found = compare.asked(config, model, request, scratch=scratch)
    if config.metric in METRICS:
        _check_classes(config, model, found, predictions, [label for label in rows.labels() if label is not None])
    return found


def _check_classes(config: Config, model: Path, found: ModelFacts, predictions: Path, labels: Sequence[str]) -> None:
    """Raise PromotionError if a model answers with numbers, as a regressor does, or with other words than the labels.

    Then no answer is ever right, and any challenger better than it.
    """
    answers = engines.tallies.answers(predictions)
    classes = found.classes or ()
    fractions = [answer for answer in answers if answer not in {*labels, *classes} and _is_fraction(answer)]
    numbers = sum(answers[answer] for answer in fractions) * 2 > sum(answers.values())
    if not numbers and (len(labels) < LEAST_LABELS or not {*answers, *classes}.isdisjoint(labels)):
        return
    shown = ", ".join(list(fractions or answers)[:SHOWN])
    of = f"the labels are {', '.join(labels[:SHOWN])}" if labels else "those are no classes"
    raise PromotionError(
        f"the model {model} answers {shown}, and {of}: metric {config.metric} counts right answers, so `predict` must "
        f"give labels, as that of a classifier does"
    )


def _is_fraction(answer: str) -> bool:
    try:
        return not float(answer).is_integer()
    except (ValueError, OverflowError):
        return False
