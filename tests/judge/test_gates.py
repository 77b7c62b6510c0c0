import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.findings import Finding, Verdict
from retrain_trigger.judge.comparison import Comparison, compare
from retrain_trigger.judge.counts import JointCounts
from retrain_trigger.judge.gates import judge, promotes

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


def judged(comparison: Comparison, margin: float = 0.02) -> dict[str, Finding]:
    findings = judge(comparison, margin=margin, min_rows=500)
    assert [finding.name for finding in findings] == ["rows", "classes", "finite", "margin", "certainty"]
    return {finding.name: finding for finding in findings}


def failed(comparison: Comparison, margin: float = 0.02) -> dict[str, Verdict]:
    return {
        name: finding.verdict
        for name, finding in judged(comparison, margin).items()
        if finding.verdict is not Verdict.PASS
    }


def test_a_clearly_better_challenger_is_promoted() -> None:
    findings = judge(CLEAR, margin=0.02, min_rows=500)
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
    assert not promotes(judge(undefined, margin=0.0, min_rows=1))
    assert judged(undefined)["finite"].because == "f1 of the challenger is undefined on these 812 rows"


def compared(joint: JointCounts) -> Comparison:
    return compare(joint, metric="f1", positive="1", certainty=0.95, challengers=1, seed=1, resamples=500)


@settings(max_examples=50, deadline=None)
@given(joint=TABLES)
def test_never_itself_and_never_both_ways(joint: JointCounts) -> None:
    itself = JointCounts({(label, said, said): count for (label, said, _), count in joint.cells.items()})
    assert not promotes(judge(compared(itself), margin=0.0, min_rows=1))
    accepted = promotes(judge(compared(joint), margin=0.0, min_rows=1))
    turned = promotes(judge(compared(joint.exchanged()), margin=0.0, min_rows=1))
    assert not (accepted and turned)
