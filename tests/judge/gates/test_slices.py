import pytest

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates.slices import MIN_POSITIVES, MIN_ROWS, Slice, judge
from retrain_trigger.judge.metrics import Measure

SAME = JointCounts({("1", "1", "1"): 120, ("1", "0", "0"): 30, ("0", "0", "0"): 320, ("0", "1", "1"): 30})
WORSE = JointCounts({("1", "1", "1"): 80, ("1", "1", "0"): 40, ("1", "0", "0"): 30, ("0", "0", "0"): 350})


def judged(*slices: Slice, metric: str = "f1", margin: float = 0.02) -> tuple[Finding, ...]:
    return judge(slices, Measure(metric, "1", (1, 5)), margin=margin, seed=1, resamples=2000)


@pytest.mark.parametrize("metric", ["f1", "f1_macro", "accuracy", "recall", "cost"])
def test_the_slice_that_falls_is_found_among_others_and_comes_first(metric: str) -> None:
    slices = [Slice("region", name, SAME) for name in "abc"]
    first, *others = judged(*slices, Slice("region", "north", WORSE), metric=metric)
    assert first.verdict is Verdict.BREACH
    assert first.because.startswith(f"region 'north' gets worse: {metric} 0.") or metric == "cost"
    assert first.evidence["value"] == "north"
    assert first.evidence["upper"] < 0
    assert {each.verdict for each in others} == {Verdict.PASS}


def test_a_better_slice_and_one_within_the_margin_pass() -> None:
    assert judged(Slice("region", "a", WORSE.exchanged()))[0].verdict is Verdict.PASS
    assert judged(Slice("region", "a", WORSE), margin=0.5)[0].verdict is Verdict.PASS


def test_the_more_slices_the_more_it_takes() -> None:
    slight = JointCounts({("1", "1", "1"): 110, ("1", "1", "0"): 9, ("1", "0", "1"): 1, ("0", "0", "0"): 380})
    assert judged(Slice("region", "a", slight))[0].verdict is Verdict.BREACH
    among = judged(Slice("region", "a", slight), *(Slice("region", str(n), SAME) for n in range(30)))
    assert {each.verdict for each in among} == {Verdict.PASS}


def test_too_few_rows_are_unknown_and_take_no_share_of_the_certainty() -> None:
    few_rows = JointCounts({("1", "1", "0"): MIN_ROWS - 1})
    few_positives = JointCounts({("1", "1", "0"): MIN_POSITIVES - 1, ("0", "0", "0"): 5000})
    found = judged(Slice("plan", None, few_rows), Slice("plan", "x", few_positives), Slice("plan", "y", WORSE))
    assert [each.verdict for each in found] == [Verdict.BREACH, Verdict.UNKNOWN, Verdict.UNKNOWN]
    assert found[1].because == "plan without a value: 199 rows are fewer than 200; it is not judged and does not block"
    assert found[2].because == "plan 'x': 19 rows of '1' are fewer than 20; it is not judged and does not block"
    assert judged(Slice("plan", "x", few_positives), metric="accuracy")[0].verdict is Verdict.PASS
    assert found[0] == judged(Slice("plan", "y", WORSE))[0]


def test_a_slice_whose_metric_is_undefined_is_unknown() -> None:
    silent = JointCounts({("0", "0", "0"): 500, ("1", "0", "0"): 30})
    assert judged(Slice("plan", "x", silent), metric="precision")[0].verdict is Verdict.UNKNOWN
