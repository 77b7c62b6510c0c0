"""What drift is measured from: the bins of each watched column, and how many rows of a reference fell into each."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from retrain_trigger import engines
from retrain_trigger.counts.histograms import Bins, Histogram

if TYPE_CHECKING:
    from retrain_trigger.engines.labelled import LabelledRows

Reference = Mapping[str, tuple[Bins, Histogram]]
SCORE_STEPS = tuple(step / 20 for step in range(1, 20))
"""Scores lie between 0 and 1; twenty equal steps, for where no reference says how they are spread."""


def of_training(rows: "LabelledRows", where: str) -> dict[str, Any]:
    """Return the profile of a training split: features and label; predictions and scores have bins, and no rows yet."""
    spread = rows.spread(where)
    watched = _counted({name: _bins(cut) for name, cut in spread.items()}, rows, where)
    labels = Bins.from_json(watched["label"]["bins"]) if "label" in watched else Bins.categorical({})
    later = {"prediction": labels, "score": Bins.numeric(SCORE_STEPS, (), low=0.0, high=1.0)}
    return {**watched, **{name: _entry(bins, [0] * bins.size) for name, bins in later.items()}}


def of_log(rows: "LabelledRows", where: str) -> dict[str, Any]:
    """Return the profile of rows that a model has answered: features, predictions and scores; labels are still to come."""
    cuts = {name: _bins(cut) for name, cut in rows.spread(where).items() if name != "label"}
    return _counted(cuts, rows, where)


def of_source(source: str, *, columns: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """Return the profile of a reference of the user's own: every column that it has. Raises DataError."""
    with engines.labelled.opened(source, columns=columns, now=now, key="logs.reference", labelled=False) as rows:
        spread = rows.spread("true")
        return _counted({name: _bins(cut) for name, cut in spread.items()}, rows, "true")


def reference(watched: Mapping[str, Any]) -> Reference:
    """Read a profile back."""
    return {
        name: (Bins.from_json(entry["bins"]), Histogram.from_json(entry["counts"])) for name, entry in watched.items()
    }


def _counted(bins: Mapping[str, Bins], rows: "LabelledRows", where: str) -> dict[str, Any]:
    counts = rows.histograms(where, bins)
    return {name: _entry(cut, counts[name].to_json()) for name, cut in bins.items()}


def _entry(bins: Bins, counts: list[int]) -> dict[str, Any]:
    return {"bins": bins.to_json(), "counts": counts}


def _bins(cut: Mapping[str, Any]) -> Bins:
    if "counts" in cut:
        return Bins.categorical(cut["counts"])
    return Bins.numeric(cut["quantiles"], cut["atoms"], low=cut["low"], high=cut["high"])
