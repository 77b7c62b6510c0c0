"""The metrics that counts give: as functions of counts, with what each is like."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from retrain_trigger.counts.confusion import Confusion, Number, OneVsRest

Cells = tuple[float, float, float, float]

OfClasses = Callable[[Mapping[str, OneVsRest], str], Number]
"""A metric of the counts of each class against the rest, and of the positive class."""


class Ratio(NamedTuple):
    """A metric as sum(part * counts) / sum(whole * counts) over the cells tp, fp, fn, tn.

    The metric looks at the rows whose `whole` is not 0. `sign` is 1 if higher is better and -1 if lower is.
    """

    part: Cells
    whole: Cells
    sign: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric: `of` gives it from the counts of each class against the rest, plain numbers or arrays.

    `ratio` is there where it is a ratio of the counts of one class; `undefined` says why rows can have no value of it.
    `of_one_class`: it looks at the positive class alone; `lower_is_better`: it gets worse as it rises, and is then not
    bounded by 1.
    """

    of: OfClasses
    ratio: Ratio | None = None
    undefined: str = "no row has a label"
    of_one_class: bool = False
    lower_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric as it is asked for.

    `positive` is the class that a metric of one class looks at, `cost` what a false positive and a false negative of it
    cost. `lower_is_better` says so of a metric that METRICS does not know.
    """

    metric: str
    positive: str = "1"
    cost: tuple[float, float] = (1.0, 1.0)
    lower_is_better: bool = False

    @property
    def sign(self) -> int:
        """Return 1 if higher is better, -1 if lower is."""
        known = METRICS.get(self.metric)
        return -1 if (known.lower_is_better if known else self.lower_is_better) else 1

    @property
    def of_classes(self) -> OfClasses:
        """Return the metric as a function of the counts of each class against the rest, plain numbers or arrays."""
        return of_classes(self.metric, cost=self.cost)

    def score(self, confusion: Confusion) -> float:
        """Return the metric of a confusion table; NaN if its denominator is 0."""
        return score(confusion, self.metric, self.positive, cost=self.cost)


def score(confusion: Confusion, metric: str, positive: str, *, cost: tuple[float, float] = (1.0, 1.0)) -> float:
    """Return a metric of METRICS; NaN if its denominator is 0.

    `f1`, `precision`, `recall` and `cost` are those of the class `positive`; the others look at all classes. All but
    `cost` are from 0 to 1; `cost` weighs a false positive and a false negative.

    >>> confusion = Confusion({("1", "1"): 8, ("0", "1"): 2, ("1", "0"): 1, ("0", "0"): 9})
    >>> {metric: round(score(confusion, metric, "1"), 3) for metric in ("f1", "precision", "recall", "accuracy")}
    {'f1': 0.842, 'precision': 0.8, 'recall': 0.889, 'accuracy': 0.85}
    >>> score(Confusion({("0", "0"): 20}), "f1", "1")
    nan
    """
    by_class = {name: confusion.one_vs_rest(name) for name in sorted({*confusion.labels, positive})}
    return float(of_classes(metric, cost=cost)(by_class, positive))


def of_classes(metric: str, *, cost: tuple[float, float] = (1.0, 1.0)) -> OfClasses:
    """Return a metric as a function of the counts of each class against the rest, plain numbers or arrays."""
    return partial(mean_cost, weights=cost) if metric == "cost" else METRICS[metric].of


def positive_label(labels: Mapping[str, int], configured: str | None) -> str:
    """Choose the positive label: the configured one, else 1, else true, else the rarer (the larger text on a tie).

    `labels` has the rows of each label. Raises ValueError if nothing is configured and there is no label.

    >>> positive_label({"0": 5, "1": 900}, None), positive_label({"stay": 900, "churn": 5}, None)
    ('1', 'churn')
    """
    if configured is not None:
        return configured
    if not labels:
        raise ValueError("no label to choose the positive one from")
    for wanted in ("1", "true"):
        found = [label for label in sorted(labels) if label.lower() == wanted]
        if found:
            return found[0]
    rarest = min(labels.values())
    return max(label for label, rows in labels.items() if rows == rarest)


def f1(by_class: Mapping[str, OneVsRest], positive: str) -> Number:
    """Return F1 = 2 TP / (2 TP + FP + FN) of the positive class (van Rijsbergen, Information Retrieval, 1979).

    >>> round(f1({"1": OneVsRest(tp=8, fp=2, fn=1, tn=9)}, "1"), 3)
    0.842
    """
    cells = by_class[positive]
    return _ratio(2 * cells.tp, 2 * cells.tp + cells.fp + cells.fn)


def f1_macro(by_class: Mapping[str, OneVsRest], _positive: str) -> Number:
    """Return the unweighted mean of F1 over the classes that occur, as label or as prediction.

    >>> round(f1_macro({"1": OneVsRest(8, 2, 1, 9), "0": OneVsRest(9, 1, 2, 8), "2": OneVsRest(0, 0, 0, 20)}, "1"), 3)
    0.85
    """
    return _mean_ratio([(2 * cells.tp, 2 * cells.tp + cells.fp + cells.fn) for cells in by_class.values()])


def accuracy(by_class: Mapping[str, OneVsRest], positive: str) -> Number:
    """Return the share of right predictions: the sum of TP over all classes / rows.

    >>> accuracy({"1": OneVsRest(8, 2, 1, 9), "0": OneVsRest(9, 1, 2, 8)}, "1")
    0.85
    """
    return _ratio(sum(cells.tp for cells in by_class.values()), sum(by_class[positive]))


def balanced_accuracy(by_class: Mapping[str, OneVsRest], _positive: str) -> Number:
    """Return the unweighted mean of recall over the classes that occur as label (Brodersen et al., 2010).

    >>> round(balanced_accuracy({"1": OneVsRest(8, 2, 1, 9), "0": OneVsRest(9, 1, 2, 8)}, "1"), 3)
    0.854
    """
    return _mean_ratio([(cells.tp, cells.tp + cells.fn) for cells in by_class.values()])


def precision(by_class: Mapping[str, OneVsRest], positive: str) -> Number:
    """Return TP / (TP + FP) of the positive class.

    >>> precision({"1": OneVsRest(tp=8, fp=2, fn=1, tn=9)}, "1")
    0.8
    """
    cells = by_class[positive]
    return _ratio(cells.tp, cells.tp + cells.fp)


def recall(by_class: Mapping[str, OneVsRest], positive: str) -> Number:
    """Return TP / (TP + FN) of the positive class.

    >>> recall({"1": OneVsRest(tp=8, fp=2, fn=2, tn=8)}, "1")
    0.8
    """
    cells = by_class[positive]
    return _ratio(cells.tp, cells.tp + cells.fn)


def mean_cost(by_class: Mapping[str, OneVsRest], positive: str, *, weights: tuple[float, float] = (1.0, 1.0)) -> Number:
    """Return the cost per row, (w FP + v FN) / rows, for the weights w and v of the positive class's mistakes.

    >>> mean_cost({"1": OneVsRest(tp=8, fp=2, fn=2, tn=8)}, "1", weights=(1, 5))
    0.6
    """
    cells = by_class[positive]
    return _ratio(weights[0] * cells.fp + weights[1] * cells.fn, sum(cells))


def _ratio(part: Number, whole: Number) -> Number:
    """Divide counts; 0/0 is NaN, as it is in arrays (whose caller silences NumPy's warning)."""
    if isinstance(whole, int) and whole == 0:
        return math.nan
    return part / whole


def _mean_ratio(pairs: Sequence[tuple[Number, Number]]) -> Number:
    """Average part / whole over the pairs whose whole is not 0."""
    # The added (whole == 0) makes 0/1 of 0/0, in whole numbers and in arrays alike: it then adds nothing to the sum.
    shares = sum(part / (whole + (whole == 0)) for part, whole in pairs)
    return _ratio(shares, sum(whole > 0 for _, whole in pairs))


METRICS: dict[str, Metric] = {
    "f1": Metric(
        of=f1,
        ratio=Ratio(part=(2, 0, 0, 0), whole=(2, 1, 1, 0)),
        undefined="no row is positive by its label or by its prediction",
        of_one_class=True,
    ),
    "f1_macro": Metric(of=f1_macro),
    "accuracy": Metric(of=accuracy, ratio=Ratio(part=(1, 0, 0, 1), whole=(1, 1, 1, 1))),
    "balanced_accuracy": Metric(of=balanced_accuracy),
    "precision": Metric(
        of=precision,
        ratio=Ratio(part=(1, 0, 0, 0), whole=(1, 1, 0, 0)),
        undefined="no row is positive by its prediction",
        of_one_class=True,
    ),
    "recall": Metric(
        of=recall,
        ratio=Ratio(part=(1, 0, 0, 0), whole=(1, 0, 1, 0)),
        undefined="no row is positive by its label",
        of_one_class=True,
    ),
    "cost": Metric(
        of=mean_cost,
        ratio=Ratio(part=(0, 1, 1, 0), whole=(1, 1, 1, 1), sign=-1),
        of_one_class=True,
        lower_is_better=True,
    ),
}
"""All metrics that counts give; any other name is looked up in the metrics log."""

RATIOS: dict[str, Ratio] = {name: metric.ratio for name, metric in METRICS.items() if metric.ratio}
