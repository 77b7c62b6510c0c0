import json
import math
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.counts.confusion import OneVsRest
from retrain_trigger.judge.checks.detector import MOST_EVIDENCE, Detector
from retrain_trigger.judge.checks.evidence import alert, begin, check
from retrain_trigger.judge.checks.ratios import STAKES, Counts
from retrain_trigger.judge.metrics import METRICS, RATIOS

CELLS = st.one_of(st.integers(0, 50), st.integers(0, 10**12))
WINDOWS = st.tuples(CELLS, CELLS, CELLS, CELLS)
THRESHOLDS = st.one_of(st.sampled_from([0.0, 0.5, 0.85, 1.0]), st.floats(0, 1))
RIGHT = {"f1": [0], "accuracy": [0, 3], "precision": [0], "recall": [0], "cost": [0, 3]}
MISTAKES = {"f1": [1, 2], "accuracy": [1, 2], "precision": [1], "recall": [2], "cost": [1, 2]}


def begun(
    metric: str = "f1", threshold: float = 0.85, alarm: float = 1000, fp: float = 1, fn: float = 5
) -> Detector[Counts]:
    return begin(metric, threshold=threshold, false_alarm_every=alarm, cost=(fp, fn))


def after(detector: Detector[Counts], windows: Iterable[Counts]) -> Detector[Counts]:
    return reduce(Detector.after, windows, detector)


def changed(counts: Counts, *, take: int, put: int, rows: int) -> Counts:
    cells = list(counts)
    cells[take] -= rows
    cells[put] += rows
    return (cells[0], cells[1], cells[2], cells[3])


def drawn(f1: float, *, rows: int, streams: int, windows: int, seed: int) -> list[list[Counts]]:
    """Counts of streams whose precision and recall are both `f1`, with 30 % positives."""
    wrong = 0.3 * (1 - f1)
    shares = [0.3 * f1, wrong, wrong, 1 - 0.3 * f1 - 2 * wrong]
    table = np.random.default_rng(seed).multinomial(rows, shares, size=(streams, windows))
    return [[(int(a), int(b), int(c), int(d)) for a, b, c, d in stream] for stream in table]


@pytest.mark.parametrize("metric", RATIOS)
@settings(max_examples=40, deadline=None)
@given(threshold=THRESHOLDS, windows=st.lists(WINDOWS, max_size=12))
def test_any_rows_are_valid_and_every_number_is_finite(metric: str, threshold: float, windows: list[Counts]) -> None:
    detector = after(begun(metric, threshold), windows)
    assert 0 <= detector.evidence <= MOST_EVIDENCE
    assert 1 <= detector.overdispersion < math.inf
    json.dumps(encoded(check(detector)), allow_nan=False)


@pytest.mark.parametrize("metric", sorted(RATIOS.keys() & METRICS.keys()))
@given(counts=st.tuples(*[st.integers(0, 500)] * 4), threshold=THRESHOLDS)
def test_a_ratio_is_the_metric_of_the_same_name(metric: str, counts: Counts, threshold: float) -> None:
    tp, fp, fn, tn = counts
    classes = {"1": OneVsRest(tp, fp, fn, tn), "0": OneVsRest(tn, fn, fp, tp)}
    value = METRICS[metric].of(classes, "1")
    detector = begun(metric, threshold, fn=1).after(counts)
    assert detector.latest_value == pytest.approx(value, nan_ok=True)
    assert (detector.windows == 0) == math.isnan(value)
    assert (detector.stretch_windows == 1) == ((value - threshold) * RATIOS[metric].sign < 0)


def test_cost_weighs_the_mistakes_and_is_better_when_lower() -> None:
    dear, cheap = (begun("cost", 0.5, fp=1, fn=5).after((60, 10, fn, 0)) for fn in (30, 2))
    assert (dear.latest_value, dear.stretch_windows) == (1.6, 1)
    assert (cheap.latest_value, cheap.stretch_windows) == (20 / 72, 0)
    assert dear.evidence > 1 > cheap.evidence


@pytest.mark.parametrize("metric", RATIOS)
@settings(max_examples=30, deadline=None)
@given(
    threshold=st.floats(0.05, 1),
    past=st.lists(WINDOWS, max_size=5),
    counts=WINDOWS,
    data=st.data(),
)
def test_more_mistakes_are_more_evidence(
    metric: str, threshold: float, past: list[Counts], counts: Counts, data: st.DataObject
) -> None:
    take, put = data.draw(st.sampled_from(RIGHT[metric])), data.draw(st.sampled_from(MISTAKES[metric]))
    assume(counts[take])
    rows = data.draw(st.integers(1, counts[take]))
    detector = after(begun(metric, threshold), past)
    worse = detector.after(changed(counts, take=take, put=put, rows=rows))
    assert worse.evidence >= detector.after(counts).evidence * (1 - 1e-12)


@pytest.mark.parametrize("metric", RATIOS)
@settings(max_examples=40, deadline=None)
@given(
    threshold=THRESHOLDS,
    alarm=st.floats(1, 1e6),
    windows=st.lists(st.tuples(CELLS, CELLS), max_size=30),
)
def test_a_model_without_a_mistake_never_alarms(
    metric: str, threshold: float, alarm: float, windows: list[tuple[int, int]]
) -> None:
    detector = begun(metric, threshold, alarm)
    for tp, tn in windows:
        detector = detector.after((tp, 0, 0, tn))
        assert not detector.alarms
        assert check(detector).verdict is not Verdict.BREACH


def test_a_small_threshold_for_alarms_does_not_alarm_on_right_rows_alone() -> None:
    detector = after(begun(alarm=2), [(1, 0, 0, 9)] * 20)
    assert detector.evidence > 2
    assert not detector.alarms


@given(before=st.lists(WINDOWS, max_size=6), rest=st.lists(WINDOWS, max_size=6))
def test_what_is_known_after_some_windows_is_all_that_later_ones_need(before: list[Counts], rest: list[Counts]) -> None:
    kept = after(begun(), before)
    copy = replace(kept)
    assert after(kept, rest) == after(begun(), before + rest)
    assert kept == copy


@given(past=st.lists(WINDOWS, max_size=5), tn=CELLS)
def test_a_window_that_the_metric_does_not_look_at_is_skipped(past: list[Counts], tn: int) -> None:
    detector = after(begun(), past)
    assert detector.after((0, 0, 0, tn)) is detector


def test_windows_without_spread_say_nothing_about_overdispersion() -> None:
    right, wrong = (50, 0, 0, 50), (0, 25, 25, 50)
    assert after(begun(), [right, right, right]).swings == after(begun(), [wrong, wrong]).swings == ()
    # What differs is not alike: all right before all wrong is the largest swing that so many rows can have.
    assert after(begun(), [right, wrong]).swings == pytest.approx((100,))
    assert len(after(begun(), [right, (49, 1, 0, 50)]).swings) == 1


def test_true_negatives_are_no_rows_that_f1_looks_at() -> None:
    few, many = (after(begun(), [(80, 10, 10, tn), (70, 20, 10, tn)]).swings for tn in (0, 10**6))
    assert few == many == pytest.approx((8 / 3,))


def test_the_formulas_by_hand() -> None:
    # One row of each kind: g is 0.3, -0.85, -0.85.
    once = begun().after((1, 1, 1, 5))
    bets = [bet / 0.3 for bet in STAKES]
    assert (STAKES[0], STAKES[-1]) == pytest.approx((0.001, 0.9))
    cap = math.sqrt(12 * 1000)
    first = [min((1 - 0.3 * bet) * (1 + 0.85 * bet) ** 2, cap) for bet in bets]
    assert once.evidence == pytest.approx(sum(first) / 12)
    twice = once.after((3, 0, 1, 5))
    second = [(1 - 0.3 * bet) ** 3 * (1 + 0.85 * bet) * (1 + won) for bet, won in zip(bets, first, strict=True)]
    assert twice.evidence == pytest.approx(sum(second) / 12)
    # Of the seven rows that F1 looks at, four are true positives: the variance of g is 4/7 3/7 (0.3 + 0.85)^2.
    variance = 4 / 7 * 3 / 7 * 1.15**2
    ratio = (0.05 / 4 + 1.4 / 3) ** 2 / (variance * (1 / 3 + 1 / 4))
    assert twice.swings == pytest.approx((ratio,))
    assert twice.overdispersion == pytest.approx(max(1, (5 + ratio) / 6))
    # D is that of earlier windows: the third, however odd, is tempered by what was known before it.
    third = twice.after((0, 300, 0, 0))
    wild = replace(twice, swings=(20.0,) * 5).after((81, 40, 40, 0))
    tempered = [(81 * math.log(1 - 0.3 * bet) + 80 * math.log(1 + 0.85 * bet)) / 10.5 for bet in bets]
    assert replace(twice, swings=(20.0,) * 5).overdispersion == 10.5
    grown = [min(won, math.log(cap)) + math.log1p(math.exp(log)) for won, log in zip(tempered, twice.logs, strict=True)]
    assert wild.logs == pytest.approx(grown)
    assert wild.alone == pytest.approx(math.log(sum(map(math.exp, tempered)) / 12))
    assert third.overdispersion > 1


@pytest.mark.parametrize("alarm", [3, 20, 108, 1000, 10**9])
def test_one_window_alone_never_alarms_and_two_do(alarm: float) -> None:
    once = begun(alarm=alarm).after((0, 10**6, 10**6, 0))
    assert once.evidence == pytest.approx(min(math.sqrt(12 * alarm), alarm / 3))
    assert not once.alarms
    assert once.after((0, 10**6, 10**6, 0)).alarms == (alarm > 3)


@pytest.mark.parametrize("alarm", [1, 2])
def test_the_smallest_number_of_windows_can_still_alarm(alarm: float) -> None:
    assert after(begun(alarm=alarm), [(0, 10, 10, 0)] * 2).alarms


def test_an_outage_day_is_an_alert_once_and_hardly_delays_what_follows() -> None:
    healthy, outage, fallen = (1320, 180, 180, 3320), (600, 900, 900, 2600), (1200, 300, 300, 3200)
    before = after(begun(), [healthy] * 60)
    assert not before.alerts
    told = before.after(outage)
    assert (told.alerts, told.alarms) == (True, False)
    assert not told.after(outage).alerts
    assert not told.after(healthy).alerts
    assert told.after(healthy).after(outage).alerts
    recovered = after(told, [healthy] * 7)
    assert not recovered.alarms
    assert after(recovered, [fallen] * 3).alarms


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


def test_the_evidence_of_a_window_expects_no_more_than_one_and_of_many_no_more_than_their_number() -> None:
    streams = drawn(0.85, rows=60, streams=2000, windows=8, seed=11)
    for windows in (1, 8):
        found = np.array([after(begun(), stream[:windows]).evidence for stream in streams])
        assert found.mean() <= windows + 3 * found.std() / math.sqrt(len(found))
        # The bound is no empty one: most of it is used at the threshold, and a worse model goes far beyond it.
        assert found.mean() >= 0.6 * windows
    worse = [after(begun(), stream).evidence for stream in drawn(0.7, rows=60, streams=200, windows=8, seed=12)]
    assert np.mean(worse) > 20


def test_a_false_alarm_comes_at_most_every_so_many_windows() -> None:
    alarms = windows = 0
    for stream in drawn(0.85, rows=60, streams=150, windows=100, seed=13):
        detector = begun(alarm=20)
        for counts in stream:
            detector = detector.after(counts)
            windows += 1
            if detector.alarms:
                alarms, detector = alarms + 1, begun(alarm=20)
    assert 0 < alarms <= windows / 20


def test_a_fall_is_seen_and_a_swing_that_is_no_fall_is_not() -> None:
    healthy, fallen = (120, 16, 16, 348), (110, 28, 28, 334)
    detector = after(begun(), [healthy] * 300)
    assert not detector.alarms
    assert after(detector, [fallen] * 6).alarms
    # The F1 of 100,000 rows a day, 0.02 up and down around t+0.03: each low day alone is overwhelming.
    high, low = (27_000, 3_000, 3_000, 67_000), (25_000, 4_600, 4_600, 65_800)
    swinging = begun()
    for number in range(300):
        swinging = swinging.after(low if number % 3 == 1 else high)
        assert not swinging.alarms
    assert swinging.overdispersion > 100


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


def test_a_breach_that_stands_for_years_stays_finite() -> None:
    detector = begun()
    for _ in range(400):
        detector = detector.after((0, 500, 500, 0))
        assert detector.evidence <= MOST_EVIDENCE
    assert detector.evidence == MOST_EVIDENCE
    assert "evidence 1e+300 reaches" in check(detector).because


@pytest.mark.parametrize(("threshold", "alarm"), [(math.nan, 1000), (math.inf, 1000), (0.85, 0.5), (0.85, math.nan)])
def test_what_cannot_be_judged_is_refused_at_once(threshold: float, alarm: float) -> None:
    with pytest.raises(ValueError, match="false_alarm_every"):
        begun("f1", threshold, alarm)


def test_a_metric_that_no_counts_give_is_refused_at_once() -> None:
    with pytest.raises(KeyError):
        begun("roc_auc")
    with pytest.raises(ValueError, match="says nothing about any row"):
        begun("cost", 0.0, fp=0, fn=0)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="not numbers of rows"):
        begun().after((5, -1, 0, 3))


def test_the_healthy_path_does_not_load_numpy() -> None:
    code = "import sys, retrain_trigger.judge.checks.evidence; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("counts", [(120, 25, 28, 327), (100, 30, 30, 340), (12, 3, 3, 32), (1200, 240, 240, 3320)])
def test_so_many_more_windows_like_the_latest_alarm_and_one_fewer_do_not(counts: Counts) -> None:
    detector = after(begun(), [(130, 20, 20, 330)] * 5 + [counts])
    assert check(detector).evidence["watching"]
    needs = check(detector).evidence["needs"]
    found = next(n for n in range(1, 1001) if after(detector, [counts] * n).alarms)
    assert needs == found or abs(needs - found) <= 1 < detector.overdispersion, "D falls as windows are alike"


def test_a_window_on_the_right_side_is_not_watched_whatever_the_evidence() -> None:
    found = check(after(begun(), [(100, 30, 30, 340)] * 2 + [(140, 5, 5, 350)]))
    assert not found.evidence["watching"]
    assert "is at or above performance_threshold 0.85" in found.because or found.verdict is Verdict.BREACH


@given(st.tuples(*[st.integers(0, 300)] * 4), st.sampled_from([20, 1000, 10**5]))
def test_it_takes_exactly_so_many_more_such_windows_as_it_says(latest: Counts, alarm: int) -> None:
    detector = begun(alarm=alarm).after(latest)
    needs = detector.repeats_to_alarm()
    assert (needs == 0) == detector.alarms
    for more in range(1, 1 + (40 if needs is None else min(needs, 40))):
        detector = detector.after(latest)  # neighbours that are alike leave D at 1
        assert detector.alarms == (more == needs)
