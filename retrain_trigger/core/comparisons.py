"""How a challenger did against the champion on the same rows: the scores with their bounds, the counts, the gates."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.records import SPARSE

_NEGLIGIBLE = 1e-18  # of a sum of terms that fall, the largest of which is 1


TOLERANCE = 1e-9
"""Scores closer than this are equal: 0.88 is 0.02 above 0.86, whatever binary fractions make of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How rows came: `groups` of rows of one `by` (a column, or hour), so alike that `effect` rows are worth one.

    Rows count as independent if `by` is empty.
    """

    by: str = ""
    groups: int = 0
    effect: float = 1.0

    def worth(self, rows: int) -> str:
        """Say how many independent rows so many are worth."""
        return f"{rows:,} rows count as {max(1, round(rows / self.effect)):,}"


INDEPENDENT = Design()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a challenger did against the champion, and between what bounds the difference lies.

    `champion`, `challenger` are scores and `difference` by how much the second is better; `lower` and `upper` bound it
    at `certainty`, shared among `challengers`, wider if rows are alike (`design`). All five are NaN if undefined. `labels` has the rows of each class.
    `champion_alone` and `challenger_alone` count the rows that only that one answered right.
    """

    also_written: ClassVar = ("rows_needed", "mcnemar")

    metric: str
    positive: str
    champion: float
    challenger: float
    difference: float
    lower: float
    upper: float
    certainty: float
    challengers: int
    rows: int
    disagreements: int
    labels: Mapping[str, int]
    champion_alone: int = 0
    challenger_alone: int = 0
    design: Design = field(default=INDEPENDENT, metadata=SPARSE)

    @property
    def mcnemar(self) -> float:
        """Return the two-sided p-value of McNemar's exact test, that both answer equally many rows right.

        Of the n rows that one alone answered right, k are those of the model with fewer; were both equally often
        right, each such row would be a fair coin: p = min(1, 2 P(Binomial(n, 1/2) <= k)). It knows right and wrong
        only, not the metric: information, not a gate.

        Source: McNemar, Note on the sampling error of the difference between correlated proportions, 1947.

        >>> from retrain_trigger.counts.confusion import JointCounts
        >>> from retrain_trigger.judge.gates.bootstrap import compare
        >>> from retrain_trigger.judge.metrics import Measure
        >>> joint = JointCounts({("1", "0", "1"): 9, ("0", "1", "0"): 1, ("0", "0", "0"): 90})
        >>> found = compare(joint, Measure("accuracy"), certainty=0.95, challengers=1, seed=1)
        >>> found.champion_alone, found.challenger_alone, round(found.mcnemar, 4)
        (0, 10, 0.002)
        """
        return _fair_coins(min(self.champion_alone, self.challenger_alone), self.champion_alone + self.challenger_alone)

    @property
    def rows_needed(self) -> int | None:
        """Estimate how many rows would put the lower bound at 0, were the difference to stay as it is.

        rows * ((difference - lower) / difference)^2, as the interval shrinks with the root of the rows. None if
        the challenger is not better or a bound is unknown.

        >>> from retrain_trigger.counts.confusion import JointCounts
        >>> from retrain_trigger.judge.gates.bootstrap import compare
        >>> from retrain_trigger.judge.metrics import Measure
        >>> joint = JointCounts({("1", "0", "1"): 6, ("1", "1", "0"): 3, ("1", "1", "1"): 40, ("0", "0", "0"): 51})
        >>> found = compare(joint, Measure("accuracy"), certainty=0.95, challengers=1, seed=1)
        >>> round(found.difference, 4), round(found.lower, 4), found.rows, found.rows_needed
        (0.03, -0.03, 100, 400)
        """
        if not self.difference > 0 or math.isnan(self.lower):
            return None
        return max(1, math.ceil(self.rows * ((self.difference - self.lower) / self.difference) ** 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What champion and challenger scored on some rows that neither was trained on; NaN where the metric has no value."""

    on: str
    rows: int
    champion: float
    challenger: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A challenger's comparison with the champion: scores and bounds, the counts of what both said, and the gates.

    `joint` counts (label, champion said, challenger said). For information are `slices`, a finding for each slice,
    `parts`, the scores on rows of the breach and on older ones, and `notes`, sentences.
    """

    version: str
    comparison: Comparison
    joint: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    gates: tuple[Finding, ...]
    slices: tuple[Finding, ...] = ()
    parts: tuple[Part, ...] = field(default=(), metadata=SPARSE)
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate passed; an unknown does not, and no gate at all proves nothing."""
        return {finding.verdict for finding in self.gates} == {Verdict.PASS}


def _fair_coins(fewer: int, tosses: int) -> float:
    """Return min(1, 2 P(Binomial(tosses, 1/2) <= fewer)): its largest term first, then down while terms matter."""
    log_term = math.lgamma(tosses + 1) - math.lgamma(fewer + 1) - math.lgamma(tosses - fewer + 1) - tosses * math.log(2)
    relative, total, k = 1.0, 0.0, fewer
    while k >= 0 and relative > _NEGLIGIBLE:
        total += relative
        relative *= k / (tosses - k + 1)
        k -= 1
    return min(1.0, 2 * math.exp(log_term) * total)


def closest(trials: Iterable[Trial]) -> Trial | None:
    """Return the trial of the challenger with the largest difference; None if none was scored."""
    scored = (trial for trial in trials if not math.isnan(trial.comparison.difference))
    return max(scored, key=lambda trial: trial.comparison.difference, default=None)
