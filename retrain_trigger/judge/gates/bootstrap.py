"""Champion and challenger on the same rows, from the counts of who said what."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from retrain_trigger.core.comparisons import Comparison
from retrain_trigger.counts.confusion import JointCounts, OneVsRest
from retrain_trigger.judge.metrics import Measure

RESAMPLES = 10_000
"""Bootstrap resamples: the ends of a 95 % interval are then known to about 1 % of its width."""

BATCH = 2_000_000
"""Counts that are drawn at a time, so that memory stays bounded however many classes there are."""

SMOOTHING = 2.0
"""Rows added to the disagreements on each label, one for either side.

Then 5 of 5 rows are no certainty of 95 %, and 6 of 6 are, as in McNemar's exact test."""

Numbers = npt.NDArray[np.float64]


def compare(
    joint: JointCounts,
    measure: Measure,
    *,
    certainty: float,
    challengers: int,
    seed: int,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two models by the paired percentile bootstrap, drawn from their table of counts.

    Rows drawn with replacement from n rows have a table of counts that is multinomial(n, cells / n): each resample
    is drawn as such a table, gives d = metric(challenger) - metric(champion), and the bounds are the quantiles of d
    at (1 - certainty) / 2 / challengers from either end (Bonferroni: the best of k had k chances). A resample in which
    the metric is 0/0 is worse than any at the lower end and better than any at the upper one.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; `_smoothed` has the added rows.

    >>> joint = JointCounts({("1", "0", "1"): 60, ("1", "1", "0"): 30, ("1", "1", "1"): 400, ("0", "0", "0"): 510})
    >>> found = compare(joint, Measure("f1", "1"), certainty=0.95, challengers=1, seed=1)
    >>> round(found.champion, 3), round(found.challenger, 3), found.disagreements
    (0.935, 0.968, 90)
    >>> 0.01 < found.lower < found.difference < found.upper < 0.06
    True
    """
    champion, challenger = (measure.score(said) for said in (joint.champion, joint.challenger))
    tail = (1 - certainty) / 2 / challengers
    differences = measure.sign * _resampled_differences(joint, measure, seed=seed, resamples=resamples)
    lower, upper = _bounds(differences, tail)
    return Comparison(
        metric=measure.metric,
        positive=measure.positive,
        champion=champion,
        challenger=challenger,
        difference=measure.sign * (challenger - champion),
        lower=lower,
        upper=upper,
        certainty=certainty,
        challengers=challengers,
        rows=joint.rows,
        disagreements=joint.disagreements,
        champion_alone=joint.right_alone[0],
        challenger_alone=joint.right_alone[1],
        labels=joint.labels,
    )


def _resampled_differences(joint: JointCounts, measure: Measure, *, seed: int, resamples: int) -> Numbers:
    cells = sorted(_smoothed(joint).items())
    if not cells:
        return np.full(resamples, np.nan)
    keys = np.array([key for key, _ in cells])
    counts = np.array([count for _, count in cells])
    shares = counts / counts.sum()
    names = sorted({*keys.ravel().tolist(), measure.positive})
    masks = [_masks(keys[:, 0], keys[:, said], names) for said in (1, 2)]
    generator = np.random.default_rng(seed)
    batch = max(1, BATCH // len(cells))
    parts = []
    for start in range(0, resamples, batch):
        drawn = generator.multinomial(joint.rows, shares, size=min(batch, resamples - start)).astype(np.float64)
        champion, challenger = (_scores(drawn, mask, names, measure) for mask in masks)
        parts.append(challenger - champion)
    return np.concatenate(parts)


def _smoothed(joint: JointCounts) -> dict[tuple[str, str, str], float]:
    """Spread SMOOTHING rows over each label's disagreements and those with champion and challenger exchanged.

    Where the models disagree on a handful of rows, all to one side, no resample shows the other side, and the interval
    is too narrow. So the shares that are drawn from have these rows more; scores and difference are of the counts as
    they are.

    Source: Agresti and Coull, Approximate is better than exact, 1998, and Agresti and Min, Simple improved confidence
    intervals for comparing matched proportions, 2005.

    >>> _smoothed(JointCounts({("1", "0", "1"): 5, ("1", "1", "1"): 7, ("0", "0", "0"): 9}))
    {('1', '0', '1'): 6.0, ('1', '1', '1'): 7.0, ('0', '0', '0'): 9.0, ('1', '1', '0'): 1.0}
    """
    cells = {key: float(count) for key, count in joint.cells.items() if count}
    for label in joint.labels:
        disputed = [key for key in cells if key[0] == label and key[1] != key[2]]
        both = dict.fromkeys([*disputed, *((label, second, first) for _, first, second in disputed)])
        for key in both:
            cells[key] = cells.get(key, 0.0) + SMOOTHING / len(both)
    return cells


def _masks(labels: npt.NDArray[np.str_], said: npt.NDArray[np.str_], names: list[str]) -> Numbers:
    """Return 0 and 1, a row for each cell: which cells make up the tp, fp and fn of each class, class after class."""
    right = labels == said
    columns = [((said == name) & right, (said == name) & ~right, (labels == name) & ~right) for name in names]
    return np.column_stack([mask for chosen in columns for mask in chosen]).astype(np.float64)


def _scores(drawn: Numbers, mask: Numbers, names: list[str], measure: Measure) -> Numbers:
    rows = drawn.sum(axis=1)
    counts = np.ascontiguousarray((drawn @ mask).T)
    by_class = {}
    for place, name in enumerate(names):
        tp, fp, fn = counts[3 * place : 3 * place + 3]
        by_class[name] = OneVsRest(tp, fp, fn, rows - tp - fp - fn)
    with np.errstate(invalid="ignore"):  # 0/0 is NaN: that is how an undefined score is told apart
        return np.asarray(measure.of_classes(by_class, measure.positive), dtype=np.float64)


def _bounds(differences: Numbers, tail: float) -> tuple[float, float]:
    undefined = np.isnan(differences)
    # The nearest order statistic outwards: never narrower than asked, and no arithmetic between infinities.
    lower = np.quantile(np.where(undefined, -np.inf, differences), tail, method="lower")
    upper = np.quantile(np.where(undefined, np.inf, differences), 1 - tail, method="higher")
    return _finite_or_nan(lower), _finite_or_nan(upper)


def _finite_or_nan(bound: np.floating[Any]) -> float:
    return float(bound) if np.isfinite(bound) else math.nan
