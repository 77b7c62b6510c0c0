import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.core.comparisons import Comparison
from retrain_trigger.core.findings import Finding, Verdict, unknown
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates.bootstrap import compare
from retrain_trigger.judge.gates.gates import GATES, GRAIN, Case, Facts, Golden, Terms, judge, promotes
from retrain_trigger.judge.metrics import Measure

CLASSES = st.sampled_from(["0", "1"])
TABLES = st.dictionaries(st.tuples(CLASSES, CLASSES, CLASSES), st.integers(1, 500), min_size=1).map(JointCounts)

CLEAR = Comparison(
    metric="f1",
    positive="1",
    champion=0.862,
    challenger=0.901,
    difference=0.901 - 0.862,
    lower=0.012,
    upper=0.066,
    certainty=0.95,
    challengers=1,
    rows=812,
    disagreements=90,
    champion_alone=30,
    challenger_alone=60,
    labels={"0": 500, "1": 312},
)


def scored(champion: float, challenger: float) -> Comparison:
    return replace(CLEAR, champion=champion, challenger=challenger, difference=challenger - champion)


def ruled(comparison: Comparison, margin: float = 0.0, min_rows: int = 1) -> tuple[Finding, ...]:
    return judge(Case(comparison=comparison, asked=Terms(margin=margin, min_rows=min_rows)))


def judged(comparison: Comparison, margin: float = 0.02) -> dict[str, Finding]:
    findings = ruled(comparison, margin, 500)
    assert [finding.name for finding in findings] == ["rows", "classes", "finite", "margin", "certainty"]
    return {finding.name: finding for finding in findings}


def failed(comparison: Comparison, margin: float = 0.02) -> dict[str, Verdict]:
    return {
        name: finding.verdict
        for name, finding in judged(comparison, margin).items()
        if finding.verdict is not Verdict.PASS
    }


def test_a_clearly_better_challenger_is_promoted() -> None:
    findings = ruled(CLEAR, 0.02, 500)
    assert promotes(findings)
    assert {finding.name: finding.because for finding in findings} == {
        "rows": "812 deciding rows; promotion.min_rows is 500",
        "classes": "the deciding rows have 2 classes",
        "finite": "f1 is defined for champion and challenger",
        "margin": "f1 0.901 against the champion's 0.862: +0.039 reaches promotion.margin 0.02",
        "certainty": "the 95% interval of the difference is from +0.012 to +0.066; it is above 0",
    }


def test_nothing_shown_proves_nothing() -> None:
    assert not promotes([])


def test_too_few_rows_say_how_many_more() -> None:
    few = replace(CLEAR, rows=312)
    assert failed(few) == {"rows": Verdict.BREACH}
    assert judged(few)["rows"].because == "312 deciding rows; 188 rows more needed for promotion.min_rows 500"


def test_rows_of_one_class_do_not_decide() -> None:
    single = replace(CLEAR, labels={"1": 812})
    assert failed(single) == {"classes": Verdict.BREACH}
    assert "one class only: '1'" in judged(single)["classes"].because
    assert "there is no deciding row" in judged(replace(CLEAR, labels={}))["classes"].because


def test_less_than_the_margin_is_kept_and_says_by_how_much() -> None:
    close = scored(0.862, 0.871)
    assert failed(close) == {"margin": Verdict.BREACH}
    assert judged(close)["margin"].because == (
        "f1 0.871 against the champion's 0.862: +0.009 is under promotion.margin 0.02"
    )


@pytest.mark.parametrize(("champion", "challenger"), [(0.86, 0.88), (0.7, 0.72), (0.1, 0.12)])
def test_a_difference_of_exactly_the_margin_passes(champion: float, challenger: float) -> None:
    assert failed(scored(champion, challenger)) == {}


def test_a_difference_just_under_the_margin_is_not_rounded_up_to_it() -> None:
    finding = judged(scored(0.86, 0.87996))["margin"]
    assert finding.verdict is Verdict.BREACH
    assert finding.because == "f1 0.87996 against the champion's 0.86000: +0.01996 is under promotion.margin 0.02"


@pytest.mark.parametrize("lower", [0.0, -0.01, 1e-17])
def test_the_lower_end_must_be_above_0(lower: float) -> None:
    assert failed(replace(CLEAR, lower=lower)) == {"certainty": Verdict.BREACH}


def test_an_interval_that_is_too_wide_says_how_many_rows_would_do() -> None:
    wide = replace(scored(0.86, 0.9), lower=-0.02, challengers=3)
    assert judged(wide)["certainty"].because == (
        "the 95% interval of the difference, shared among 3 challengers is from -0.020 to +0.066; "
        "its lower end must be above 0: about 1,827 deciding rows would tell such a difference, 812 are there"
    )


def test_what_is_undefined_is_unknown_and_never_promoted() -> None:
    undefined = replace(CLEAR, challenger=math.nan, difference=math.nan, lower=math.nan, upper=math.nan)
    expected = dict.fromkeys(("finite", "margin", "certainty"), Verdict.UNKNOWN)
    assert failed(undefined) == expected
    assert not promotes(ruled(undefined))
    assert judged(undefined)["finite"].because == "f1 of the challenger is undefined on these 812 rows"


def compared(joint: JointCounts) -> Comparison:
    return compare(joint, Measure("f1"), certainty=0.95, challengers=1, seed=1, resamples=500)


@settings(max_examples=50, deadline=None)
@given(joint=TABLES)
def test_never_itself_and_never_both_ways(joint: JointCounts) -> None:
    itself = JointCounts({(label, said, said): count for (label, said, _), count in joint.cells.items()})
    assert not promotes(ruled(compared(itself)))
    accepted = promotes(ruled(compared(joint)))
    turned = promotes(ruled(compared(joint.exchanged())))
    assert not (accepted and turned)


SAYS = Facts(
    features=("age", "plan"),
    width=2,
    types={"age": "number", "plan": "text"},
    classes=("0", "1"),
    seconds=0.01,
    sample=1000,
    size=1000,
)
ASKED = Terms(margin=0.02, min_rows=500)
SLICE = Finding(name="slice", verdict=Verdict.PASS, value=0.01, limit=-0.02, because="region 'north' is fine")


def by_facts(challenger: Facts, champion: Facts = SAYS, asked: Terms = ASKED, **known: Any) -> dict[str, Finding]:
    findings = judge(Case(comparison=CLEAR, asked=asked, champion=champion, challenger=challenger, **known))
    return {finding.name: finding for finding in findings}


def test_every_gate_is_there_when_everything_is_configured_and_a_good_challenger_passes_them_all() -> None:
    found = by_facts(SAYS, asked=replace(ASKED, floor=0.8, latency=3, size=10), slices=(SLICE,), golden=Golden(9, 0))
    assert list(found) == list(GATES)
    assert promotes(found.values())


def test_what_models_do_not_say_is_not_judged() -> None:
    silent = Facts(seconds=0.1, sample=1000, size=10)
    assert {"features", "answers"} & by_facts(silent).keys() == set()
    assert {"features", "answers"} & by_facts(SAYS, champion=silent).keys() == set()
    assert by_facts(Facts(width=2), champion=replace(SAYS, features=None))["features"].verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("changes", "gate", "said"),
    [
        ({"features": ("age", "plan", "city")}, "features", "needs 'city', which the champion does not"),
        ({"features": ("age",)}, "features", "does without 'plan'"),
        ({"features": ("plan", "age")}, "features", "in another order, first 'plan'"),
        ({"features": ("age", "plan", "age")}, "features", "in another order"),
        ({"types": {"age": "text"}}, "features", "was trained on text values in 'age', the champion on number"),
        ({"features": None, "width": 3}, "features", "takes 3 features, the champion 2"),
        ({"classes": ("0",)}, "answers", "can answer '0'; the champion '0', '1'"),
        ({"classes": ("1", "0")}, "answers", "can answer '1', '0'; the champion '0', '1'"),
        ({"seconds": 0.031}, "latency", "takes 31.0 µs a row and the champion 10.0 µs"),
        ({"size": 10_001}, "size", "has 0.010 MB, 10.00 times the champion's 0.001 MB; promotion.size is 10"),
    ],
)
def test_a_challenger_that_cannot_take_the_champions_place(changes: dict[str, Any], gate: str, said: str) -> None:
    found = by_facts(replace(SAYS, **changes), asked=replace(ASKED, latency=3, size=10))
    assert {name: finding.verdict for name, finding in found.items() if finding.verdict is not Verdict.PASS} == {
        gate: Verdict.BREACH
    }
    assert said in found[gate].because


def test_times_under_the_grain_are_all_the_same() -> None:
    quicker = replace(ASKED, latency=3)
    quick = replace(SAYS, seconds=GRAIN / 1000)
    assert by_facts(replace(SAYS, seconds=3 * GRAIN), champion=quick, asked=quicker)["latency"].verdict is Verdict.PASS
    slow = by_facts(replace(SAYS, seconds=3.1 * GRAIN), champion=quick, asked=quicker)["latency"]
    assert slow.verdict is Verdict.BREACH
    assert "under 2 ms for these rows nothing is compared" in slow.because
    assert by_facts(replace(SAYS, seconds=None), asked=quicker)["latency"].verdict is Verdict.UNKNOWN


def test_the_floor_is_a_ceiling_for_a_cost() -> None:
    def floor(comparison: Comparison, value: float) -> Finding:
        case = Case(comparison=comparison, asked=replace(ASKED, floor=value))
        return next(found for found in judge(case) if found.name == "floor")

    assert floor(CLEAR, 0.9).verdict is Verdict.PASS
    assert floor(CLEAR, 0.95).because == "the challenger's f1 0.9 is under promotion.floor 0.95"
    cost = replace(CLEAR, metric="cost", champion=0.5, challenger=0.4)
    assert floor(cost, 0.3).because == "the challenger's cost 0.4 is above promotion.floor 0.3"
    assert floor(cost, 0.45).verdict is Verdict.PASS


def test_a_slice_that_gets_worse_blocks_and_one_that_nobody_knows_does_not() -> None:
    worse = replace(SLICE, verdict=Verdict.BREACH, value=-0.2, because="region 'south' gets worse")
    few = unknown("slice", "region 'east': 12 rows are fewer than 200")
    assert "slices" not in by_facts(SAYS, slices=(few,))
    assert by_facts(SAYS, slices=(SLICE, few))["slices"].because == "none of 1 slice gets clearly worse"
    assert by_facts(SAYS, slices=(worse, SLICE, few))["slices"].because == "region 'south' gets worse"
    assert not promotes(by_facts(SAYS, slices=(worse, SLICE)).values())


def test_golden_rows_are_all_answered_right() -> None:
    wrong = by_facts(SAYS, golden=Golden(40, 7, ("a", "b", "c", "d", "e")))["golden"]
    assert wrong.because == "7 of 40 golden rows answered wrong: 'a', 'b', 'c', 'd', 'e', 2 more"
    assert wrong.verdict is Verdict.BREACH
    assert by_facts(SAYS, golden=Golden(0, 0))["golden"].verdict is Verdict.UNKNOWN
