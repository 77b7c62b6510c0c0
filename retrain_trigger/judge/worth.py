"""Was it worth it? What was live against what else might have been, over the same windows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrain_trigger.counts.cells import summed
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.judge.metrics import Measure

RESAMPLES = 2000
CERTAINTY = 0.95


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much one life of a model is better than another, in units of the metric, with the bounds of its interval.

    All three are NaN if the metric is undefined.
    """

    difference: float
    lower: float
    upper: float


def pooled(windows: Sequence[Confusion], measure: Measure) -> float:
    """Return the metric over the rows of all windows; NaN if it is undefined."""
    return measure.score(Confusion(summed(cell for window in windows for cell in window.cells.items())))


def gain(live: Sequence[Confusion], other: Sequence[Confusion], measure: Measure, *, seed: int = 0) -> Gain:
    """Return by how much `live` is better than `other`, by a paired block bootstrap over windows.

    Neighbouring windows are alike, so whole blocks of about the square root of their number are drawn, around the end
    back to the beginning, and the same for both. Source: Politis and Romano, A circular block-resampling procedure for
    stationary data, 1992.

    >>> good, bad = Confusion({("1", "1"): 9, ("0", "1"): 1}), Confusion({("1", "1"): 6, ("0", "1"): 4})
    >>> gain([good] * 9, [bad] * 9, Measure("accuracy"))
    Gain(difference=0.3, lower=0.3, upper=0.3)
    >>> gain([good] * 9, [good] * 9, Measure("accuracy"))
    Gain(difference=0.0, lower=0.0, upper=0.0)
    """
    number = len(live)
    if not number:
        return Gain(math.nan, math.nan, math.nan)
    length = max(1, round(math.sqrt(number)))
    generator = np.random.default_rng(seed)
    first = generator.integers(number, size=(RESAMPLES, -(-number // length), 1))
    drawn = ((first + np.arange(length)) % number).reshape(RESAMPLES, -1)[:, :number]
    weights = np.apply_along_axis(np.bincount, 1, drawn, minlength=number)
    found = measure.sign * (_scores(live, weights, measure) - _scores(other, weights, measure))
    all_rows = np.ones((1, number), dtype=int)
    difference = measure.sign * (_scores(live, all_rows, measure) - _scores(other, all_rows, measure))[0]
    known = found[~np.isnan(found)]
    if not known.size:
        return Gain(float(difference), math.nan, math.nan)
    tail = (1 - CERTAINTY) / 2
    return Gain(*(round(float(each), 6) for each in (difference, *np.quantile(known, [tail, 1 - tail]))))


def worst(live: Sequence[Confusion], measure: Measure, length: int) -> tuple[int, float]:
    """Return where the worst stretch of so many windows begins, and its metric; NaN if it has no value anywhere.

    >>> good, bad = Confusion({("1", "1"): 9, ("0", "1"): 1}), Confusion({("1", "1"): 6, ("0", "1"): 4})
    >>> worst([good, good, bad, bad, good], Measure("accuracy"), 2)
    (2, 0.6)
    """
    stretches = range(max(1, len(live) - length + 1))
    scores = [(place, pooled(live[place : place + length], measure)) for place in stretches]
    known = [(place, score) for place, score in scores if not math.isnan(score)]
    return min(known, key=lambda each: measure.sign * each[1], default=(0, math.nan))


def _scores(windows: Sequence[Confusion], weights: np.ndarray, measure: Measure) -> np.ndarray:
    """Return the metric of each resample: a row of `weights` says how often each window is in it."""
    cells = sorted({cell for window in windows for cell in window.cells})
    table = np.array([[window.cells.get(cell, 0) for cell in cells] for window in windows]).reshape(len(windows), -1)
    sums = weights @ table
    counts = Confusion({cell: sums[:, place] for place, cell in enumerate(cells)})
    names = sorted({name for cell in cells for name in cell} | {measure.positive})
    with np.errstate(invalid="ignore", divide="ignore"):
        by_class = {name: counts.one_vs_rest(name) for name in names}
        return np.asarray(measure.of_classes(by_class, measure.positive), dtype=float) * np.ones(len(weights))
