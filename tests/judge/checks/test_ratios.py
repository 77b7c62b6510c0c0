import json
import math
from dataclasses import replace

import numpy as np
import pytest
from detectors import after, begun
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from retrain_trigger.core.findings import Verdict
from retrain_trigger.core.records import encoded
from retrain_trigger.counts.confusion import OneVsRest
from retrain_trigger.judge.checks.detector import MOST_EVIDENCE
from retrain_trigger.judge.checks.evidence import check
from retrain_trigger.judge.checks.ratios import STAKES, Counts
from retrain_trigger.judge.metrics import METRICS, RATIOS

CELLS = st.one_of(st.integers(0, 50), st.integers(0, 10**12))
WINDOWS = st.tuples(CELLS, CELLS, CELLS, CELLS)
THRESHOLDS = st.one_of(st.sampled_from([0.0, 0.5, 0.85, 1.0]), st.floats(0, 1))
RIGHT = {"f1": [0], "accuracy": [0, 3], "precision": [0], "recall": [0], "cost": [0, 3]}
MISTAKES = {"f1": [1, 2], "accuracy": [1, 2], "precision": [1], "recall": [2], "cost": [1, 2]}


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


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="not numbers of rows"):
        begun().after((5, -1, 0, 3))
