import math
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.core.comparisons import Design
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.counts.groups import Groups
from retrain_trigger.judge.gates import design
from retrain_trigger.judge.gates.bootstrap import compare
from retrain_trigger.judge.metrics import METRICS, Measure

CELLS = st.dictionaries(st.tuples(*[st.sampled_from("012")] * 3), st.integers(1, 200), min_size=2, max_size=20).map(
    JointCounts
)


def grouped(rows: dict[int, list[tuple[str, str, str]]], influence: dict[tuple[str, str, str], float]) -> Groups:
    return Groups(len(rows), math.fsum(math.fsum(influence[cell] for cell in each) ** 2 for each in rows.values()))


@settings(max_examples=60, deadline=None)
@given(CELLS, st.sampled_from(sorted(METRICS)))
def test_influences_add_up_to_nothing_and_tell_what_one_row_more_changes(joint: JointCounts, metric: str) -> None:
    measure = Measure(metric, "1")
    found = design.influences(joint, measure)
    if any(math.isnan(each) for each in found.values()):
        return
    assert math.fsum(count * found[cell] for cell, count in joint.cells.items()) == pytest.approx(0, abs=1e-5)

    def difference(table: JointCounts) -> float:
        return measure.score(table.challenger) - measure.score(table.champion)

    many = JointCounts({cell: 1000 * count for cell, count in joint.cells.items()})
    cell = min(many.cells)
    change = difference(many + JointCounts({cell: 1})) - difference(many)
    assert change * 1000 == pytest.approx(found[cell], rel=0.01, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.sampled_from(["f1", "f1_macro", "accuracy"]))
def test_rows_that_are_all_alike_in_a_group_count_as_one(seed: int, size: int, metric: str) -> None:
    random = Random(seed)
    groups = {name: [(random.choice("01"), random.choice("01"), random.choice("01"))] * size for name in range(60)}
    joint = JointCounts(Counter(cell for each in groups.values() for cell in each))
    influence = design.influences(joint, Measure(metric, "1"))
    found = design.of(grouped(groups, influence), joint, influence, by="customer_id")
    assert found.effect == pytest.approx(size, rel=1e-3) or (found.effect == 1.0 and not joint.disagreements)


def test_rows_of_one_group_alone_are_one_row_and_few_hours_say_nothing() -> None:
    joint = JointCounts({("1", "0", "1"): 30, ("0", "0", "0"): 70})
    influence = design.influences(joint, Measure("accuracy"))
    assert design.of(Groups(1, 0.0), joint, influence, by="customer_id") == Design(
        by="customer_id", groups=1, effect=100.0
    )
    few = design.of(Groups(19, 1.0), joint, influence, by=design.HOUR, least=20)
    assert few == Design(groups=19)
    assert design.of(Groups(20, 1.0), joint, influence, by=design.HOUR, least=20).effect > 1
    assert design.of(Groups(19, 1.0), joint, influence, by="customer_id").effect > 1


def test_an_interval_is_as_wide_as_that_of_so_many_fewer_rows() -> None:
    measure = Measure("accuracy")
    cells = {("1", "0", "1"): 90, ("1", "1", "0"): 60, ("0", "0", "0"): 850}

    def found(times: int) -> tuple[float, float]:
        joint = JointCounts({cell: times * count for cell, count in cells.items()})
        comparison = compare(joint, measure, certainty=0.95, challengers=1, seed=1)
        stretched = design.stretched(comparison, Design(by="customer_id", groups=100, effect=float(times)))
        assert stretched.difference == comparison.difference
        return stretched.lower, stretched.upper

    assert found(10) == pytest.approx(found(1), abs=0.003)


def test_what_is_told_of_rows_that_are_alike() -> None:
    joint = JointCounts({("1", "0", "1"): 500, ("0", "0", "0"): 500})
    found = compare(joint, Measure("accuracy"), certainty=0.95, challengers=1, seed=1)
    told = {
        Design(
            by="customer_id", groups=212, effect=4.0
        ): "rows of one customer_id are alike (212 groups): 1,000 rows count as 250",
        Design(by="hour", groups=48): "rows of one hour are not more alike than others (48 groups)",
        Design(
            groups=2
        ): "the rows count as independent: they lie in 2 hours, and 20 tell whether rows of one hour are alike; "
        "name data.group if several are of one customer, say",
        Design(): "the rows count as independent",
    }
    assert {each: design.told(replace(found, design=each)) for each in told} == told
