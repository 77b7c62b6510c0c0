from collections.abc import Mapping
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates import gates
from retrain_trigger.judge.gates.bootstrap import compare
from retrain_trigger.judge.gates.proof import SPOILED, failures, itself, spoiled
from retrain_trigger.judge.metrics import METRICS, Measure

CLASSES = st.sampled_from(["0", "1", "2"])
TABLES = st.dictionaries(st.tuples(CLASSES, CLASSES, CLASSES), st.integers(0, 300), max_size=12).map(JointCounts)
BETTER = JointCounts({("1", "0", "1"): 60, ("1", "1", "0"): 10, ("1", "1", "1"): 400, ("0", "0", "0"): 530})


def court(joint: JointCounts, metric: str = "f1", *, margin: float = 0.02) -> tuple[Finding, ...]:
    measure = partial(compare, measure=Measure(metric), certainty=0.95, challengers=1, seed=1, resamples=300)
    return gates.judge(gates.Case(comparison=measure(joint), asked=gates.Terms(margin=margin, min_rows=1)))


def passes(name: str) -> Finding:
    return Finding(name=name, verdict=Verdict.PASS, value=1, limit=1, because="sabotaged")


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=20, deadline=None)
@given(joint=TABLES, margin=st.sampled_from([0.0, 0.02]))
def test_the_gate_proves_itself_on_any_table(metric: str, joint: JointCounts, margin: float) -> None:
    assert failures(joint, partial(court, metric=metric, margin=margin), margin=margin) == ()


def test_a_clear_improvement_is_accepted_and_its_exchange_refused() -> None:
    asked: list[Mapping[tuple[str, str, str], int]] = []

    def noted(joint: JointCounts) -> tuple[Finding, ...]:
        asked.append(joint.cells)
        return court(joint)

    assert gates.promotes(court(BETTER))
    assert failures(BETTER, noted, margin=0.02) == ()
    assert BETTER.exchanged().cells in asked


@pytest.mark.parametrize("sabotaged", sorted(gates.IMPROVEMENT))
def test_one_gate_that_always_passes_is_found(monkeypatch: pytest.MonkeyPatch, sabotaged: str) -> None:
    monkeypatch.setitem(gates.GATES, sabotaged, lambda _: passes(sabotaged))
    found = failures(BETTER, court, margin=0.02)
    assert found == (
        "the champion against itself",
        "a copy of the champion with 10% of its right answers made wrong",
        "champion and challenger exchanged",
    )


def test_a_gate_that_is_gone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "GATES", {name: gate for name, gate in gates.GATES.items() if name != "certainty"})
    assert failures(BETTER, court, margin=0.02)


@given(joint=TABLES)
def test_a_spoiled_champion_has_the_same_rows_and_a_share_of_the_right_answers_less(joint: JointCounts) -> None:
    same, worse = itself(joint), spoiled(joint)
    assert same.champion.rows == worse.rows == joint.rows
    assert {k: n for k, n in worse.champion.cells.items() if n} == {k: n for k, n in same.champion.cells.items() if n}
    assert same.disagreements == 0
    right = sum(count for (label, said), count in joint.champion.cells.items() if label == said)
    assert worse.right_alone[1] == 0
    assert right * SPOILED - 2 <= worse.right_alone[0] <= right * SPOILED + 3
    assert bool(worse.right_alone[0]) == bool(right)
