"""A model is heard before it is taken on: loaded in the limited child, and asked for some rows where there are any."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from retrain_trigger import trial
from retrain_trigger.config import Config
from retrain_trigger.errors import CannotJudgeError, DataError
from retrain_trigger.world import models
from retrain_trigger.world.models import ModelFacts

if TYPE_CHECKING:
    from retrain_trigger.world.labelled import LabelledRows

SAMPLE = 1000
"""Rows that a model is asked for: enough to see whether it answers at all."""


def hear(config: Config, model: Path, *, scratch: Path, now: datetime) -> ModelFacts:
    """Load a model and ask it for rows of the labelled data, else of the prediction log; return what it says of itself.

    Raises PromotionError where it cannot be loaded, has no predict, or does not answer each row with one value.
    """
    patience = min(models.PATIENCE, config.train.timeout.total_seconds())
    found = models.inspect(model, folder=config.folder, scratch=scratch, patience=patience)
    for source, complete in _sources(config):
        with _opened(config, source, now=now) as rows:
            if rows is None or not rows.count("true") or not (complete or _has_all(rows, found)):
                continue
            sample = scratch / "heard.parquet"
            rows.write("true", sample, at_most=SAMPLE)
            return trial.predict(
                config,
                model,
                scratch=scratch,
                rows=sample,
                features=rows.features,
                predictions=scratch / "heard.predictions.parquet",
            )
    return found


def _sources(config: Config) -> Iterator[tuple[str, bool]]:
    """Yield where rows are, and whether they hold all that a model needs: a prediction log may leave out its inputs."""
    data = config.data
    for source, complete in ((data.labelled, True), (data.holdout_file, True), (config.logs.predictions, False)):
        if source is not None:
            yield source, complete


@contextmanager
def _opened(config: Config, source: str, *, now: datetime) -> "Iterator[LabelledRows | None]":
    """Open rows; None where there are none yet, or none that can be read: that is not the model's fault."""
    from retrain_trigger.world import labelled  # noqa: PLC0415  (DuckDB: only where rows are configured)

    with ExitStack() as stack:
        rows = None
        with suppress(DataError, CannotJudgeError):
            rows = stack.enter_context(labelled.opened(source, columns=config.logs.names, now=now, labelled=False))
        yield rows


def _has_all(rows: "LabelledRows", found: ModelFacts) -> bool:
    if found.features is not None:
        return set(found.features) <= set(rows.types)
    return bool(rows.features) and found.width in {None, len(rows.features)}
