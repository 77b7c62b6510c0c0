import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.judge.checks.overdispersion import (
    FARTHEST,
    LATEST_PAIRS,
    MEDIAN,
    PRIOR_PAIRS,
    overdispersion,
    swing,
)

SWINGS = st.lists(st.floats(0, 1e15), max_size=130)
WINDOWS = st.tuples(st.integers(0, 10**12), st.integers(0, 10**12))


@given(SWINGS)
def test_it_is_the_winsorised_mean_of_the_latest_pairs(swings: list[float]) -> None:
    latest = swings[-100:]
    q = max(1, statistics.median([*latest, *[0.455] * 5]) / 0.455)
    expected = max(1, (5 + sum(min(each, 9 * q) for each in latest)) / (5 + len(latest)))
    assert overdispersion(swings) == pytest.approx(expected)
    assert (PRIOR_PAIRS, LATEST_PAIRS, MEDIAN, FARTHEST) == (5, 100, 0.455, 9)


@given(SWINGS, st.integers(0, 129), st.floats(1, 1e3))
def test_a_larger_swing_never_makes_it_smaller(swings: list[float], place: int, times: float) -> None:
    larger = [each * times if number == place else each for number, each in enumerate(swings)]
    assert overdispersion(larger) >= overdispersion(swings) * (1 - 1e-12)


@given(st.lists(st.floats(0, 5), min_size=20, max_size=100))
def test_one_outage_day_however_bad_is_worth_a_few_usual_pairs(swings: list[float]) -> None:
    bad, worse = (overdispersion([*swings, far, far]) for far in (1e6, 1e15))
    assert bad == worse


def test_windows_that_all_swing_are_counted_in_full() -> None:
    assert overdispersion([50.0] * 100) == pytest.approx(5005 / 105)


@given(WINDOWS, WINDOWS)
def test_a_swing_has_no_direction_and_is_never_more_than_the_rows(one: tuple[int, int], other: tuple[int, int]) -> None:
    there, back = swing((0.3, -0.85), one, other), swing((0.3, -0.85), other, one)
    assert (there is None) == (back is None)
    if there is not None and back is not None:
        assert there == pytest.approx(back)
        assert 0 <= there <= (sum(one) + sum(other)) * (1 + 1e-9)
        assert math.isfinite(there)


def test_a_swing_of_independent_rows_is_chi_square_with_one_degree_of_freedom() -> None:
    generator = np.random.default_rng(1)
    pairs = generator.binomial(1000, 0.8, size=(4000, 2))
    found = [swing((0.3, -0.85), (a, 1000 - a), (b, 1000 - b)) for a, b in pairs.tolist()]
    known = [each for each in found if each is not None]
    assert np.mean(known) == pytest.approx(1, abs=0.07)
    assert np.median(known) == pytest.approx(0.455, abs=0.04)


def test_a_swing_does_not_depend_on_the_units_of_the_gains() -> None:
    one, other = (90, 10, 3), (70, 20, 20)
    found = swing((0.3, -0.85, 0.0), one, other)
    assert swing((30, -85, 0), one, other) == pytest.approx(found)
    assert swing((-0.3, 0.85, 0.0), one, other) == pytest.approx(found)


def test_windows_whose_rows_are_all_alike_or_missing_say_nothing() -> None:
    for one, other in [((5, 0), (9, 0)), ((0, 0), (5, 5)), ((5, 5), (0, 0))]:
        assert swing((0.3, -0.85), one, other) is None


def test_only_the_latest_pairs_count() -> None:
    calm = [2.0] * LATEST_PAIRS
    assert overdispersion([50.0] * LATEST_PAIRS + calm) == overdispersion(calm)
    assert overdispersion([50.0, *calm[1:]]) > overdispersion(calm)
