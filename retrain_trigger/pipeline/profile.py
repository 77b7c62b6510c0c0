"""What drift is measured from: the bins of each watched column, and how many rows of a reference fell into each."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING

from retrain_trigger import engines
from retrain_trigger.counts.histograms import Bins, Histogram, Reference, Watched
from retrain_trigger.counts.table import Profile, TableCounts

if TYPE_CHECKING:
    from retrain_trigger.engines.labelled import LabelledRows

SCORE_STEPS = tuple(step / 20 for step in range(1, 20))
"""Scores lie between 0 and 1; twenty equal steps, for where no reference says how they are spread."""


def of_training(rows: "LabelledRows", where: str) -> Reference:
    """Return what a training split watches: features and label; predictions and scores have bins, and no rows yet."""
    watched = _counted(rows.cuts(where), rows, where)
    labels = watched["label"].bins if "label" in watched else Bins.categorical({})
    later = {"prediction": labels, "score": Bins.numeric(SCORE_STEPS, (), low=0.0, high=1.0)}
    return {**watched, **{name: Watched(bins, Histogram((0,) * bins.size)) for name, bins in later.items()}}


def of_log(rows: "LabelledRows", where: str) -> Reference:
    """Return what rows watch that a model has answered: features, predictions and scores; labels are still to come."""
    return _counted({name: bins for name, bins in rows.cuts(where).items() if name != "label"}, rows, where)


def of_source(source: str, *, columns: Mapping[str, str], now: datetime) -> Reference:
    """Return what a reference of the user's own watches: every column that it has. Raises DataError."""
    with engines.labelled.opened(
        source, columns=columns, now=now, key="logs.reference", need=engines.labelled.Need(label=False)
    ) as rows:
        return _counted(rows.cuts("true"), rows, "true")


def of(table: TableCounts, *, watched: Reference) -> Profile:
    """Return a table and what it watches as the profile of a version."""
    return Profile(watched=watched, **{each.name: getattr(table, each.name) for each in fields(table)})


def _counted(bins: Mapping[str, Bins], rows: "LabelledRows", where: str) -> Reference:
    counts = rows.histograms(where, bins)
    return {name: Watched(cut, counts[name]) for name, cut in bins.items()}
