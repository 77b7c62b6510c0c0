"""Rows that are alike count for less: the design effect of rows that come in groups."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import NormalDist

from retrain_trigger.core.comparisons import Comparison, Design
from retrain_trigger.counts.confusion import Confusion, JointCounts, OneVsRest
from retrain_trigger.counts.groups import Groups
from retrain_trigger.judge.metrics import Measure

HOUR = "hour"
"""What rows are grouped by if no column says what they are of."""

LEAST_HOURS = 20
"""Hours under which rows count as independent: fewer say nothing about how alike rows of one hour are."""

_STEP = 1e-4

Cell = tuple[str, str, str]


def influences(joint: JointCounts, measure: Measure) -> dict[Cell, float]:
    """Return by how much one more row like those of a cell changes the difference of two models: its derivative.

    The difference is metric(challenger) - metric(champion), and a cell is (label, champion said, challenger said). The
    influences of all rows add up to 0, for twice the rows have the same metric. NaN where the metric has no value.

    >>> joint = JointCounts({("1", "0", "1"): 30, ("0", "0", "0"): 70})
    >>> {cell: round(change, 4) for cell, change in influences(joint, Measure("accuracy")).items()}
    {('1', '0', '1'): 0.007, ('0', '0', '0'): -0.003}
    """
    champion, challenger = (_slopes(said, measure) for said in (joint.champion, joint.challenger))
    return {
        (label, first, second): challenger(label, second) - champion(label, first)
        for label, first, second in joint.cells
    }


def of(groups: Groups, joint: JointCounts, influence: Mapping[Cell, float], *, by: str, least: int = 0) -> Design:
    """Return how alike rows of one group are: deff = SE_groups^2 / SE_rows^2, at least 1.

    SE_rows^2 is the sum over rows of I^2, SE_groups^2 that over groups of (sum of I)^2, for the influences I of the rows.
    All rows of one group alone are as good as one row. Of fewer groups than `least` nothing is told.

    Source: Kish, Survey Sampling, 1965; Liang and Zeger, Longitudinal data analysis using generalized linear models,
    1986. That equal models pass no more often than they should is shown by simulation (docs/explanation/gate.md).

    >>> joint = JointCounts({("1", "0", "1"): 30, ("1", "1", "0"): 30, ("0", "0", "0"): 40})
    >>> ten_alike = Groups(10, 6 * 10**2 * 0.01**2)
    >>> of(ten_alike, joint, influences(joint, Measure("accuracy")), by="customer_id").effect
    10.0
    """
    if groups.number < least:
        return Design(groups=groups.number)
    if groups.number == 1:
        return Design(by=by, groups=1, effect=float(joint.rows))
    rows = math.fsum(count * influence[cell] ** 2 for cell, count in joint.cells.items())
    effect = groups.squares / rows if rows > 0 else 1.0
    return Design(by=by, groups=groups.number, effect=round(max(1.0, effect), 4))


def stretched(found: Comparison, design: Design) -> Comparison:
    """Return a comparison whose interval is wider by the root of the design effect, and by what few groups leave open.

    That is the quantile of Student's t with one degree of freedom less than groups, for the normal one (Wallace's
    approximation, Bounds on normal approximations to Student's and the chi-square distributions, 1959).
    """
    by = math.sqrt(design.effect)
    if design.by:
        normal = NormalDist().inv_cdf(1 - (1 - found.certainty) / 2 / found.challengers)
        freedom = max(1, design.groups - 1)
        student = math.sqrt(freedom * math.expm1((normal * (8 * freedom + 3) / (8 * freedom + 1)) ** 2 / freedom))
        by *= student / normal
    lower, upper = (found.difference + by * (end - found.difference) for end in (found.lower, found.upper))
    return replace(found, lower=lower, upper=upper, design=design)


def told(found: Comparison) -> str:
    """Say how alike rows are, and how many independent ones they are worth."""
    design = found.design
    if not design.by and not design.groups:
        return "the rows count as independent"
    if not design.by:
        hours = f"{design.groups:,} {'hour' if design.groups == 1 else 'hours'}"
        return (
            f"the rows count as independent: they lie in {hours}, and {LEAST_HOURS} tell whether rows of one hour are alike; "
            f"name data.group if several are of one customer, say"
        )
    if design.effect <= 1:
        return f"rows of one {design.by} are not more alike than others ({design.groups:,} groups)"
    return f"rows of one {design.by} are alike ({design.groups:,} groups): {design.worth(found.rows)}"


def _slopes(said: Confusion, measure: Measure) -> Callable[[str, str], float]:
    """Return by how much one more row of a label, said to be a class, changes the metric of one model.

    Such a row is one more of tp, fp, fn or tn for each class, so the slopes of these are all that is needed.
    """
    by_class = {name: said.one_vs_rest(name) for name in sorted({*said.labels, measure.positive})}
    slopes = {name: OneVsRest(*(_slope(by_class, measure, name, place) for place in range(4))) for name in by_class}
    others = math.fsum(each.tn for each in slopes.values())

    def slope(label: str, answer: str) -> float:
        if label == answer:
            return float(others - slopes[label].tn + slopes[label].tp)
        own, other = slopes[label], slopes[answer]
        return float(others - own.tn - other.tn + own.fn + other.fp)

    return slope


def _slope(by_class: Mapping[str, OneVsRest], measure: Measure, name: str, place: int) -> float:
    counts = by_class[name]
    step: float = _STEP * max(1, counts[place])
    more, less = (
        measure.of_classes(
            {**by_class, name: OneVsRest(*(n + by if at == place else n for at, n in enumerate(counts)))},
            measure.positive,
        )
        for by in (step, -step)
    )
    return float(more - less) / (2 * step)
