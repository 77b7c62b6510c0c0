import json
import math
import random
import subprocess
import sys
from dataclasses import replace

import pytest
from detectors import after, begun

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.judge.checks.detector import MOST_EVIDENCE
from retrain_trigger.judge.checks.evidence import REMEMBERED, Memo, alert, begin, check, folded
from retrain_trigger.judge.checks.ratios import STAKES


def test_an_alert_needs_the_square_of_what_an_alarm_needs_and_of_a_thousand_at_least() -> None:
    for alarm, limit in ((10, 10**6), (1000, 10**6), (10**4, 10**8)):
        for wrong in range(1, 60):
            one = begun(alarm=alarm).after((0, wrong, 0, 0))
            assert one.alerts == (one.alone >= math.log(limit))
            if one.alerts:
                finding = alert(one)
                assert finding is not None
                assert finding.limit == limit
                assert finding.value == pytest.approx(math.exp(one.alone))


def test_an_alert_is_told_of_later_windows_too_and_is_finite_on_any_number_of_rows() -> None:
    detector = after(begun(), [(0, 10**12, 10**12, 0), (10**6, 0, 0, 10**6), (10**6, 1, 0, 10**6)])
    finding = alert(detector, note="2026-01-05")
    assert finding is not None
    assert (finding.name, finding.verdict, finding.value) == ("alert", Verdict.BREACH, MOST_EVIDENCE)
    assert finding.warns
    assert finding.because == (
        "f1 0 is under performance_threshold 0.85 beyond chance: evidence 1e+300 from this window alone, alerts begin "
        "at 1,000,000 (2026-01-05)"
    )
    assert not detector.alerts
    assert alert(begun().after((90, 10, 10, 90))) is None
    json.dumps(encoded(finding), allow_nan=False)


def test_a_breach_says_over_which_windows_and_a_pass_how_far_it_is() -> None:
    detector = after(begun(), [(130, 20, 20, 330)] * 30)
    healthy = check(detector, note="logs/metrics.jsonl:30")
    assert healthy.because == (
        "f1 0.87 is at or above performance_threshold 0.85: evidence 5 of 1,000 that it is under it "
        "(logs/metrics.jsonl:30)"
    )
    assert healthy.evidence["stretch"] is None
    detector = after(detector, [(120, 25, 28, 327)] * 11)
    finding = check(detector, note="since 2026-01-05")
    assert (finding.name, finding.verdict, finding.limit) == ("f1", Verdict.BREACH, 1000)
    assert finding.because == (
        "f1 0.82 over the last 11 windows is under performance_threshold 0.85: evidence 3,260 reaches "
        "trigger.false_alarm_every 1,000 (5,500 labelled rows; since 2026-01-05)"
    )
    assert finding.value == detector.evidence
    assert finding.evidence["rule"] == "sequential"
    assert (finding.evidence["stretch_windows"], finding.evidence["judged_windows"]) == (11, 41)
    assert finding.evidence["stretch"] == finding.evidence["latest"] == pytest.approx(0.819, abs=0.001)
    assert decoded(Finding, json.loads(json.dumps(encoded(finding)))) == finding


def test_a_cost_is_above_its_threshold() -> None:
    finding = check(after(begun("cost", 0.2), [(80, 10, 10, 0)] * 9))
    assert finding.verdict is Verdict.BREACH
    assert finding.because.startswith("cost 0.6 over the last 9 windows is above performance_threshold 0.2: evidence ")


def test_evidence_just_under_the_limit_is_not_rounded_up_to_it() -> None:
    detector = replace(after(begun(), [(120, 25, 28, 327)] * 2), logs=(math.log(999.9),) * len(STAKES))
    assert "evidence 999 of 1,000" in check(detector).because


def test_nothing_to_look_at_is_unknown() -> None:
    finding = check(begun().after((0, 0, 0, 900)), note="1 window")
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.because == "no window has a row that f1 looks at (1 window)"


@pytest.mark.parametrize(("threshold", "alarm"), [(math.nan, 1000), (math.inf, 1000), (0.85, 0.5), (0.85, math.nan)])
def test_what_cannot_be_judged_is_refused_at_once(threshold: float, alarm: float) -> None:
    with pytest.raises(ValueError, match="false_alarm_every"):
        begun("f1", threshold, alarm)


def test_a_metric_that_no_counts_give_is_refused_at_once() -> None:
    with pytest.raises(KeyError):
        begun("roc_auc")
    with pytest.raises(ValueError, match="says nothing about any row"):
        begun("cost", 0.0, fp=0, fn=0)


def test_the_healthy_path_does_not_load_numpy() -> None:
    code = "import sys, retrain_trigger.judge.checks.evidence; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_window_on_the_right_side_is_not_watched_whatever_the_evidence() -> None:
    found = check(after(begun(), [(100, 30, 30, 340)] * 2 + [(140, 5, 5, 350)]))
    assert not found.evidence["watching"]
    assert "is at or above performance_threshold 0.85" in found.because or found.verdict is Verdict.BREACH


def test_evidence_with_a_memo_is_that_from_scratch_whichever_window_a_label_came_late_to() -> None:
    chance = random.Random(5)
    memo: Memo = {}
    measurements: list[Measurement] = []
    for window in range(300):
        measurements.append(counted(window, wrong=chance.randrange(60)))
        if window % 3 == 0:
            back = chance.choice([0, 1, 5, REMEMBERED - 1, REMEMBERED, REMEMBERED + 1, 250])
            place = max(0, window - back)
            measurements[place] = counted(place, wrong=chance.randrange(60))
        known = measurements[: -(window % 2) or None]
        first = begin("f1", threshold=0.85 if window < 200 else 0.8, false_alarm_every=1000)
        assert folded(first, list(known), memo) == folded(first, list(known), {})


def counted(window: int, *, wrong: int) -> Measurement:
    return Measurement(value=None, where=f"log:{window}", file="log", end=window, counts=(200, wrong, wrong, 300))
