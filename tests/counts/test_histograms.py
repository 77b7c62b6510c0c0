import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.counts.histograms import MOST_CATEGORIES, SINGLE, Bins, Histogram, Watched
from retrain_trigger.judge.checks.pooling import EXPECTED_ROWS, expected_scale, pooled

NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-5, 5) | st.none()
FINITE = st.floats(-100, 100) | st.integers(-5, 5).map(float)
NUMERIC = st.builds(
    lambda quantiles, atoms: Bins.numeric(quantiles, atoms, low=-100.0, high=100.0),
    st.lists(FINITE, max_size=9),
    st.lists(FINITE, max_size=4),
)
COUNTS = st.integers(0, 60)


@given(bins=NUMERIC, value=NUMBERS)
def test_a_number_falls_into_the_first_bin_that_takes_it(bins: Bins, value: float | None) -> None:
    place = bins.index(value)
    if value is None or not math.isfinite(value):
        assert place == bins.size - 1
        return
    taken = [value <= cut if takes else value < cut for cut, takes in bins.cuts]
    assert place == (taken.index(True) if any(taken) else len(taken))
    assert place < bins.size - 1


@given(bins=NUMERIC)
def test_an_atom_is_alone_in_its_bin(bins: Bins) -> None:
    for atom in bins.atoms:
        place = bins.index(atom)
        step = 2 * SINGLE * abs(atom) or 1e-300
        assert bins.index(atom - step) < place < bins.index(atom + step)
        assert bins.index(float(np.float32(atom))) == place or abs(atom) < np.finfo(np.float32).tiny
        assert bins.labels[place] == f"exactly {atom:.6g}"


def test_an_edge_belongs_to_the_bin_below() -> None:
    bins = Bins.numeric([1.0, 2.0, 2.0, 3.0], [], low=0.0, high=4.0)
    assert bins.edges == (1.0, 2.0, 3.0)
    assert [bins.index(value) for value in (1, 1.5, 2, 2.5, 3, 3.1)] == [0, 1, 1, 2, 2, 3]
    assert bins.labels == ("up to 1", "over 1 up to 2", "over 2 up to 3", "over 3", "missing")


def test_infinite_values_are_missing_and_make_no_edges() -> None:
    bins = Bins.numeric([-math.inf, 1.0, math.nan], [math.inf], low=0.0, high=4.0)
    assert bins.edges == (1.0,)
    assert bins.count([-math.inf, math.inf, math.nan, None]) == Histogram((0, 0, 4))


def test_a_column_without_a_value_has_one_bin_for_what_may_come() -> None:
    bins = Bins.numeric([], [], low=None, high=None)
    assert bins.labels == ("any number", "missing")
    assert bins.count([None, math.nan, 3.0]) == Histogram((1, 2))


@given(bins=NUMERIC, values=st.lists(NUMBERS))
def test_labels_counts_and_size_agree(bins: Bins, values: list[float | None]) -> None:
    counted = bins.count(values)
    assert len(bins.labels) == bins.size == len(counted.counts)
    assert counted.rows == len(values)
    assert counted.missing == sum(value is None or not math.isfinite(value) for value in values)


def test_categories_never_seen_are_other_values() -> None:
    bins = Bins.categorical({"b": 2, "a": 2, "c": 900, "gone": 0})
    assert bins.values == ("c", "a", "b")
    assert bins.count(["c", "gone", "new", None, "b", "C"]) == Histogram((1, 0, 1, 3, 1))


def test_a_category_called_missing_is_not_missing() -> None:
    bins = Bins.categorical({"missing": 50, "other values": 40})
    assert [bins.index(value) for value in ("missing", "other values", "nan", None)] == [0, 1, 2, 3]


def test_only_the_most_frequent_categories_have_bins_of_their_own() -> None:
    bins = Bins.categorical({f"v{number}": 20 + number for number in range(MOST_CATEGORIES + 50)})
    assert len(bins.values) == MOST_CATEGORIES
    assert bins.values[0] == f"v{MOST_CATEGORIES + 49}"
    assert "v49" not in bins.values


@given(bins=NUMERIC, first=st.lists(NUMBERS), second=st.lists(NUMBERS))
def test_counting_in_parts_and_adding_is_counting_together(
    bins: Bins, first: list[float | None], second: list[float | None]
) -> None:
    assert bins.count(first) + bins.count(second) == bins.count(first + second) == bins.count(second + first)


@given(bins=NUMERIC)
def test_numeric_bins_survive_json(bins: Bins) -> None:
    assert decoded(Bins, json.loads(json.dumps(encoded(bins)))) == bins


def test_categories_and_counts_survive_json() -> None:
    bins = Bins.categorical({"ä": 50, "": 40})
    watched = Watched(bins, bins.count(["", None, "x"]))
    assert decoded(Watched, json.loads(json.dumps(encoded(watched)))) == watched


@pytest.mark.parametrize("count", [1.5, True, "3", None])
def test_what_is_no_number_of_rows_is_refused(count: object) -> None:
    with pytest.raises(TypeError, match="is not a whole number"):
        decoded(Histogram, {"counts": [1, count]})


def test_histograms_of_other_bins_neither_add_up_nor_pool() -> None:
    with pytest.raises(ValueError, match=r"longer|shorter"):
        Histogram((1, 2)) + Histogram((1, 2, 3))
    with pytest.raises(ValueError, match="counted by other bins"):
        pooled(Histogram((1, 2)), Histogram((1, 2)), Bins.categorical({"a": 90}))


@given(pairs=st.lists(st.tuples(COUNTS, COUNTS), min_size=3, max_size=12), numeric=st.booleans())
def test_pooling_loses_no_row_and_leaves_at_most_missing_and_one_bin_in_each_run_rare(
    pairs: list[tuple[int, int]], *, numeric: bool
) -> None:
    reference, window = (Histogram(tuple(counts)) for counts in zip(*pairs, strict=True))
    bins = (
        Bins.numeric(range(len(pairs) - 2), [], low=0, high=99)
        if numeric
        else Bins.categorical({f"v{number}": 99 for number in range(len(pairs) - 2)})
    )
    pools = pooled(reference, window, bins)
    assert tuple(map(sum, zip(*pools, strict=True))) in {(reference.rows, window.rows), ()}
    scale = expected_scale(reference.rows, window.rows)
    rare = [sum(pair) * scale < EXPECTED_ROWS for pair in pools]
    assert not any(sum(pair) == 0 for pair in pools)
    if sum(pairs[-1]):
        assert pools[-1] == pairs[-1]
        rare.pop()
    if not numeric:
        assert sum(rare) <= 1
    assert not any(one and two for one, two in pairwise(rare))


def test_rare_neighbours_are_pooled_until_enough_is_expected() -> None:
    bins = Bins.numeric([1, 2, 3, 4, 5], [], low=0, high=9)
    pools = pooled(Histogram((3, 3, 3, 90, 2, 2, 0)), Histogram((3, 3, 3, 90, 2, 2, 0)), bins)
    assert pools == [(9, 9), (90, 90), (4, 4)]


def test_one_rare_category_that_takes_over_is_not_lost_among_two_hundred() -> None:
    bins = Bins.categorical({f"v{number}": 50 for number in range(200)})
    pools = pooled(Histogram((50,) * 200 + (0, 0)), Histogram((200,) + (0,) * 201), bins)
    was, now = pools[-1]
    assert now == 200
    assert was <= 250
