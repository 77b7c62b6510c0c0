import math
from dataclasses import replace

import pytest
from detectors import after, begun
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.judge.checks.detector import MOST_EVIDENCE
from retrain_trigger.judge.checks.evidence import check
from retrain_trigger.judge.checks.ratios import Counts

CELLS = st.one_of(st.integers(0, 50), st.integers(0, 10**12))
WINDOWS = st.tuples(CELLS, CELLS, CELLS, CELLS)


@given(before=st.lists(WINDOWS, max_size=6), rest=st.lists(WINDOWS, max_size=6))
def test_what_is_known_after_some_windows_is_all_that_later_ones_need(before: list[Counts], rest: list[Counts]) -> None:
    kept = after(begun(), before)
    copy = replace(kept)
    assert after(kept, rest) == after(begun(), before + rest)
    assert kept == copy


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


def test_a_breach_that_stands_for_years_stays_finite() -> None:
    detector = begun()
    for _ in range(400):
        detector = detector.after((0, 500, 500, 0))
        assert detector.evidence <= MOST_EVIDENCE
    assert detector.evidence == MOST_EVIDENCE
    assert "evidence 1e+300 reaches" in check(detector).because


@pytest.mark.parametrize("counts", [(120, 25, 28, 327), (100, 30, 30, 340), (12, 3, 3, 32), (1200, 240, 240, 3320)])
def test_so_many_more_windows_like_the_latest_alarm_and_one_fewer_do_not(counts: Counts) -> None:
    detector = after(begun(), [(130, 20, 20, 330)] * 5 + [counts])
    assert check(detector).evidence["watching"]
    needs = check(detector).evidence["needs"]
    found = next(n for n in range(1, 1001) if after(detector, [counts] * n).alarms)
    assert needs == found or abs(needs - found) <= 1 < detector.overdispersion, "D falls as windows are alike"


@given(st.tuples(*[st.integers(0, 300)] * 4), st.sampled_from([20, 1000, 10**5]))
def test_it_takes_exactly_so_many_more_such_windows_as_it_says(latest: Counts, alarm: int) -> None:
    detector = begun(alarm=alarm).after(latest)
    needs = detector.repeats_to_alarm()
    assert (needs == 0) == detector.alarms
    for more in range(1, 1 + (40 if needs is None else min(needs, 40))):
        detector = detector.after(latest)  # neighbours that are alike leave D at 1
        assert detector.alarms == (more == needs)
