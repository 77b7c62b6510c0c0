"""Performance where labels have not come yet: what calibrated scores let one expect. It warns and never retrains."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from retrain_trigger.core.findings import Finding, at_least, at_most, figures, noted, unknown
from retrain_trigger.core.records import Json
from retrain_trigger.counts.confusion import OneVsRest
from retrain_trigger.counts.scores import EDGES, SCORE_BINS, ScoreCounts
from retrain_trigger.judge.metrics import METRICS, Measure

ENDS = (0.0, *EDGES, 1.0)
"""Ends of the score bins: bin b lies between ENDS[b] and ENDS[b + 1]."""

LARGEST_MISFIT = 0.05
"""How far the estimate may be from the truth on the rows it was learned from, where it should be nearly exact.

A score of the predicted class instead of the positive one (0.97 for a sure no) misses by far more.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The probability of the positive label by score, learned from labelled rows.

    `probabilities` never falls; entry 2 b is for rows of score bin b that were not predicted positive, 2 b + 1 for
    those that were. `realised` counts the rows it was learned from, `fitted` is what it expects of them, and `classes`
    are those that occurred.
    """

    probabilities: tuple[float, ...]
    realised: OneVsRest
    fitted: OneVsRest
    classes: frozenset[str]

    @property
    def rows(self) -> int:
        """Number of labelled rows it was learned from."""
        return int(sum(self.realised))

    @property
    def positives(self) -> int:
        """Number of those that are positive."""
        return int(self.realised.tp + self.realised.fn)


def calibration(reference: ScoreCounts, positive: str) -> Calibration | None:
    """Learn what a score is worth from labelled rows; None if no row has a label.

    The probabilities p_1 <= p_2 <= ... minimise sum of n_i (h_i / n_i - p_i)^2 over the cells i, h_i positives among
    n_i labelled rows, by pooling adjacent violators. Cells are the score bins, each cut in two by what was predicted:
    the decision threshold lies inside a bin, and rows over it are likelier positive than those under it. Cells without
    labelled rows lie on the line between their neighbours by score, beyond the outermost as those. The probabilities
    of all rows it learned from add up to the number of positives among them.

    Sources: Ayer, Brunk, Ewing, Reid, Silverman, An empirical distribution function for sampling with incomplete
    information, 1955; for scores, Zadrozny and Elkan, Transforming classifier scores into accurate multiclass
    probability estimates, 2002.

    >>> from retrain_trigger.counts.scores import bin_of
    >>> rows = {(bin_of(0.2), "0", "0"): 9, (bin_of(0.2), "0", "1"): 1, (bin_of(0.8), "1", "1"): 10}
    >>> found = calibration(ScoreCounts(rows), "1")
    >>> [found.probabilities[2 * bin_of(score) + said] for score, said in ((0.1, 0), (0.2, 0), (0.8, 1))]
    [0.1, 0.1, 1.0]
    >>> round(found.probabilities[2 * bin_of(0.5)], 2)
    0.55
    """
    labelled = {key: count for key, count in reference.cells.items() if count and key[2] is not None}
    if not labelled:
        return None
    hits, rows = [0] * (2 * SCORE_BINS), [0] * (2 * SCORE_BINS)
    for (place, said, label), count in labelled.items():
        rows[_cell(place, said, positive)] += count
        hits[_cell(place, said, positive)] += count * (label == positive)
    seen = [cell for cell, count in enumerate(rows) if count]
    known = _increasing((hits[cell], rows[cell]) for cell in seen)
    tp, fn = sum(hits[1::2]), sum(hits[::2])
    probabilities = _between([_middle(cell) for cell in seen], known)
    return Calibration(
        probabilities=probabilities,
        realised=OneVsRest(tp, sum(rows[1::2]) - tp, fn, sum(rows[::2]) - fn),
        fitted=_expected(labelled, probabilities, positive),
        classes=reference.classes,
    )


def expected(scores: ScoreCounts, calibration: Calibration, positive: str) -> OneVsRest:
    """Return the expected confusion counts of the positive class.

    With p the calibrated probability of a row: tp = sum p and fp = sum (1 - p) over rows predicted positive,
    fn = sum p and tn = sum (1 - p) over the others. Labels that have come are not looked at: those that come first
    are no fair sample of their window.

    >>> from retrain_trigger.counts.scores import bin_of
    >>> learned = calibration(ScoreCounts({(bin_of(0.7), "1", "1"): 3, (bin_of(0.7), "1", "0"): 1}), "1")
    >>> expected(ScoreCounts({(bin_of(0.7), "1", None): 100}), learned, "1")
    OneVsRest(tp=75.0, fp=25.0, fn=0.0, tn=0.0)
    """
    return _expected(scores.cells, calibration.probabilities, positive)


def estimated(
    scores: ScoreCounts,
    calibration: Calibration,
    measure: Measure,
) -> float:
    """Return a metric of METRICS of the expected counts, all other classes as one; NaN if it is 0/0.

    It holds while a score is worth what it was: it sees that other rows come (hard ones, more positives), never that
    the same rows have other labels now.

    Source: confidence-based performance estimation (CBPE), NannyML's documentation, "How it works"; Bialek et al.,
    Estimating model performance under covariate shift without labels, 2024.

    >>> from retrain_trigger.counts.scores import bin_of
    >>> rows = {(bin_of(0.9), "1", "1"): 9, (bin_of(0.9), "1", "0"): 1, (bin_of(0.2), "0", "0"): 8}
    >>> learned = calibration(ScoreCounts(rows), "1")
    >>> scores = ScoreCounts({(bin_of(0.9), "1", None): 50, (bin_of(0.2), "0", None): 50})
    >>> estimated(scores, learned, Measure("precision", "1"))
    0.9
    """
    return _metric(expected(scores, calibration, measure.positive), measure)


def check(
    scores: ScoreCounts | None,
    calibration: Calibration | None,
    measure: Measure,
    *,
    threshold: float,
    min_rows: int,
    note: str = "",
) -> Finding:
    """Judge the estimated metric of one window's scores; it only warns.

    Unknown if fewer than `min_rows` rows have a score or were learned from, where those were all of one class or
    are not explained by their scores (LARGEST_MISFIT), or where the metric looks at more than two classes.
    """
    name = f"estimated_{measure.metric}"
    evidence: dict[str, Json] = {}
    if scores is None or calibration is None:
        missing = "row with a score" if scores is None else "labelled row with a score to learn from"
        return unknown(name, noted(f"there is no {missing}", note), limit=threshold, warns=True, evidence=evidence)
    evidence |= {"rows": scores.rows, "learned_from": calibration.rows}
    obstacle = _obstacle(scores, calibration, measure, min_rows=min_rows)
    if obstacle:
        return unknown(name, noted(obstacle, note), limit=threshold, warns=True, evidence=evidence)
    judge = at_least if measure.sign > 0 else at_most
    found = judge(
        name,
        estimated(scores, calibration, measure),
        threshold,
        limit_name="performance_threshold",
        note="; ".join(part for part in (f"expected of the scores of {scores.rows:,} rows", note) if part),
        evidence=evidence | {"expected": expected(scores, calibration, measure.positive)._asdict()},
    )
    return replace(found, warns=True)


def _obstacle(scores: ScoreCounts, calibration: Calibration, measure: Measure, *, min_rows: int) -> str | None:
    """Say why nothing can be estimated, None if it can."""
    if scores.rows < min_rows:
        return f"{scores.rows:,} rows with a score are fewer than trigger.min_rows {min_rows:,}"
    learned = f"{calibration.rows:,} labelled rows with a score to learn from"
    if calibration.rows < min_rows:
        return f"{learned} are fewer than trigger.min_rows {min_rows:,}"
    if calibration.positives in {0, calibration.rows}:
        return f"{learned} are of one class"
    classes = len(scores.classes | calibration.classes | {measure.positive})
    metric = measure.metric
    if not METRICS[metric].of_one_class and classes > len(("positive", "rest")):
        return f"the score of one class does not tell {metric} of {classes} classes"
    realised, fitted = (_metric(cells, measure) for cells in (calibration.realised, calibration.fitted))
    if abs(fitted - realised) > LARGEST_MISFIT * (max(measure.cost) if metric == "cost" else 1):
        seen = " by the scores, ".join(figures(fitted, realised))
        return (
            f"the scores do not explain the labels they were learned from ({metric} {seen} in truth): "
            f"is the score the probability of {measure.positive!r}?"
        )
    return None


def _metric(cells: OneVsRest, measure: Measure) -> float:
    by_class = {"positive": cells, "rest": OneVsRest(cells.tn, cells.fn, cells.fp, cells.tp)}
    try:
        return float(measure.of_classes(by_class, "positive"))
    except ZeroDivisionError:  # expected counts are fractions, and Python's 0.0 / 0.0 is not NaN
        return math.nan


def _expected(
    cells: Mapping[tuple[int, str, str | None], int], probabilities: Sequence[float], positive: str
) -> OneVsRest:
    tp = fp = fn = tn = 0.0
    for (place, said, _), count in cells.items():
        likely = count * probabilities[_cell(place, said, positive)]
        if said == positive:
            tp, fp = tp + likely, fp + count - likely
        else:
            fn, tn = fn + likely, tn + count - likely
    return OneVsRest(tp, fp, fn, tn)


def _increasing(cells: Iterable[tuple[int, int]]) -> list[float]:
    """Pool adjacent violators of (positives, rows).

    >>> _increasing([(0, 10), (3, 10), (1, 10), (9, 10)])
    [0.0, 0.2, 0.2, 0.9]
    """
    blocks: list[tuple[int, int, int]] = []
    for hits, rows in cells:
        block = (hits, rows, 1)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1], before[2] + block[2])
        blocks.append(block)
    return [hits / rows for hits, rows, cells_pooled in blocks for _ in range(cells_pooled)]


def _between(places: Sequence[float], known: Sequence[float]) -> tuple[float, ...]:
    """Return the value at the middle of every cell: known, on the line between two known ones, or the outermost."""
    found = []
    for cell in range(2 * SCORE_BINS):
        at = _middle(cell)
        after = bisect_left(places, at)
        if after == len(places) or after == 0 or places[after] == at:
            found.append(known[min(after, len(places) - 1)])
            continue
        way = (at - places[after - 1]) / (places[after] - places[after - 1])
        found.append(min(known[after], known[after - 1] + way * (known[after] - known[after - 1])))
    return tuple(found)


def _middle(cell: int) -> float:
    """Return the score in the middle of a cell: its bin's lower half holds what was not predicted positive."""
    place, half = divmod(cell, 2)
    return ENDS[place] + (0.25 + 0.5 * half) * (ENDS[place + 1] - ENDS[place])


def _cell(place: int, said: str, positive: str) -> int:
    return 2 * place + (said == positive)
