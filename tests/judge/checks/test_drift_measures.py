import json
import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.counts.histograms import NUMERIC_BINS, Bins, Histogram, Watched
from retrain_trigger.judge.checks import drift

Rows = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Rows]

NORMAL = Bins.numeric(NormalDist().quantiles(NUMERIC_BINS), [], low=-4.0, high=4.0)
CATEGORIES = Bins.categorical(dict.fromkeys("abcdefgh", 100))
COUNTS = st.lists(st.integers(0, 2000), min_size=10, max_size=10).map(lambda counts: Histogram(tuple(counts)))
SAMPLES = pytest.mark.parametrize(
    "draw",
    [
        lambda generator, n: generator.normal(0, 1, n),
        lambda generator, n: generator.uniform(-3, 5, n),
        lambda generator, n: generator.poisson(4, n).astype(float),
        lambda generator, n: np.round(generator.normal(10, 4, n)),
    ],
)


def bins_of(rows: Rows) -> Bins:
    values, counts = np.unique(rows, return_counts=True)
    quantiles = np.quantile(rows, np.arange(1, NUMERIC_BINS) / NUMERIC_BINS)
    atoms = values[counts * NUMERIC_BINS >= len(rows)]
    return Bins.numeric(quantiles.tolist(), atoms.tolist(), low=float(rows.min()), high=float(rows.max()))


def expected(mean: float, rows: int, missing: int = 0) -> Histogram:
    """Count the rows that a normal with this mean puts into each bin, on average."""
    normal = NormalDist(mean)
    ends = [0.0, *(normal.cdf(edge) for edge in NORMAL.edges), 1.0]
    return Histogram((*(round(rows * (right - left)) for left, right in pairwise(ends)), missing))


@given(counts=COUNTS)
def test_a_distance_from_itself_is_zero(counts: Histogram) -> None:
    bins = Bins.numeric(range(8), [], low=-1, high=9)
    value = drift.psi(counts, counts, bins)
    assert value == pytest.approx(0, abs=1e-7) or math.isnan(value)
    assert drift.g_test(counts, counts, bins) == 1.0


@given(reference=COUNTS, window=COUNTS)
def test_a_distance_is_finite_and_not_negative_whatever_the_counts(reference: Histogram, window: Histogram) -> None:
    bins = Bins.numeric(range(8), [2.0], low=-1, high=9)
    reference, window = Histogram((*reference.counts, 0)), Histogram((*window.counts, 0))
    value = drift.psi(reference, window, bins)
    assert math.isnan(value) or 0 <= value < math.inf
    assert 0 <= drift.g_test(reference, window, bins) <= 1


def test_disjoint_samples_are_far_apart_and_finite() -> None:
    apart = drift.psi(Histogram((500,) * 5 + (0,) * 6), Histogram((0,) * 5 + (50,) * 5 + (0,)), NORMAL)
    assert 0.9 < apart < 30


def test_a_distance_grows_with_the_shift() -> None:
    before = expected(0, 10_000)
    found = [drift.psi(before, expected(shift / 4, 1_000), NORMAL) for shift in range(9)]
    assert all(one < two for one, two in pairwise(found[1:]))
    assert found[0] <= found[1]


@given(order=st.permutations(range(8)), reference=COUNTS, window=COUNTS)
def test_the_order_of_categories_does_not_matter(order: list[int], reference: Histogram, window: Histogram) -> None:
    def turned(counts: Histogram) -> Histogram:
        return Histogram((*(counts.counts[place] for place in order), *counts.counts[8:]))

    other = Bins(numeric_column=False, values=tuple(CATEGORIES.values[place] for place in order))
    for measure in (drift.psi, drift.g_test):
        before = measure(reference, window, CATEGORIES)
        assert measure(turned(reference), turned(window), other) == pytest.approx(before, nan_ok=True)


@given(first=st.lists(st.floats(-4, 4), max_size=30), second=st.lists(st.floats(-4, 4), max_size=30))
def test_windows_merged_are_judged_as_counted_together(first: list[float], second: list[float]) -> None:
    merged = NORMAL.count(first) + NORMAL.count(second)
    together = NORMAL.count(second + first)
    assert judged({"x": (NORMAL, expected(0, 1_000))}, {"x": merged}, min_rows=0) == judged(
        {"x": (NORMAL, expected(0, 1_000))}, {"x": together}, min_rows=0
    )


def test_psi_of_half_a_standard_deviation_is_what_the_manual_says() -> None:
    before = expected(0, 1_000_000)
    assert drift.psi(before, expected(0.5, 1_000_000), NORMAL) == pytest.approx(0.24, abs=0.005)
    assert drift.psi(before, expected(0.25, 1_000_000), NORMAL) == pytest.approx(0.06, abs=0.005)


@SAMPLES
def test_psi_agrees_with_the_textbook_on_the_same_bins(draw: Draw) -> None:
    before, after, bins = drawn(draw, shift=0.7)
    r, w = shares(bins, before, after)
    textbook = float(np.sum((w - r) * np.log(w / r)))
    floor = (len(r) - 1) * (1 / len(after) + 1 / len(before))
    assert drift.psi(*counted(bins, before, after), bins) == pytest.approx(textbook - floor, rel=0.01)


def test_a_normal_that_moves_up_is_as_far_as_one_that_moves_down() -> None:
    up, down = (drift.psi(expected(0, 10_000), expected(mean, 1_000), NORMAL) for mean in (0.5, -0.5))
    assert up == pytest.approx(down, rel=0.02)


@given(value=st.floats(0, 3000), degrees=st.integers(1, 250))
def test_the_chi_square_tail_agrees_with_scipy(value: float, degrees: int) -> None:
    assert drift.chi_square_tail(value, degrees) == pytest.approx(stats.chi2.sf(value, degrees), rel=1e-9, abs=1e-300)


def test_the_g_test_agrees_with_scipy_where_no_bin_is_rare() -> None:
    table = [[12_000, 9_000, 6_000, 3_000], [2_600, 2_200, 1_400, 800]]
    theirs = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    bins = Bins.numeric([1, 2], [], low=0, high=3)
    found = drift.g_test(Histogram(tuple(table[0])), Histogram(tuple(table[1])), bins)
    assert 1e-9 < theirs.pvalue < 1e-2
    assert theirs.pvalue <= found == pytest.approx(theirs.pvalue, rel=0.02)


@pytest.mark.parametrize(("reference", "window"), [(1_000, 50), (10_000, 200), (1_000, 5_000)])
@pytest.mark.parametrize(
    "parts", [[0.1] * 10, [0.3] * 3 + [0.02] * 5, [0.49, 0.5, 0.008, 0.002], [0.999, 0.001]], ids=len
)
def test_the_g_test_is_no_bolder_than_it_says(parts: list[float], reference: int, window: int) -> None:
    generator = np.random.default_rng(7)
    bins = Bins.categorical({f"v{number}": 100 for number in range(len(parts))})
    drawn = (generator.multinomial(rows, parts, size=2_000) for rows in (reference, window))
    pairs = [(Histogram((*was, 0, 0)), Histogram((*now, 0, 0))) for was, now in zip(*map(listed, drawn), strict=True)]
    found = np.array([drift.g_test(was, now, bins) for was, now in pairs])
    for level in (0.05, 0.01):
        assert np.mean(found <= level) <= level + 3 * math.sqrt(level * (1 - level) / len(found))


def test_a_single_new_value_is_no_proof() -> None:
    bins = Bins.categorical({"a": 500})
    exact = 200 / 10_200
    assert exact * 0.9 < drift.g_test(Histogram((10_000, 0, 0)), Histogram((199, 1, 0)), bins) < 2 * exact


def test_holm_rejects_as_statsmodels_does() -> None:
    p_values = {"a": 0.001, "b": 0.0124, "c": 0.0126, "d": 0.04, "e": 0.9}
    assert drift.holm(p_values, level=0.05) == {"a", "b", "c"}
    assert drift.holm(p_values, level=0.049) == {"a"}
    assert drift.holm({}, level=0.05) == set()


@given(p_values=st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1), max_size=8), level=st.floats(0.001, 0.2))
def test_holm_lies_between_bonferroni_and_no_correction(p_values: dict[str, float], level: float) -> None:
    rejected = drift.holm(p_values, level=level)
    assert {name for name, p in p_values.items() if p <= level / len(p_values)} <= rejected
    assert all(p_values[name] <= level for name in rejected)


def test_the_columns_that_moved_are_named_with_what_moved() -> None:
    finding = judged(
        {"age": (NORMAL, expected(0, 10_000)), "rooms": (NORMAL, expected(0, 9_900, missing=100)), **town()},
        {"age": expected(0.6, 1_000), "rooms": expected(0, 800, missing=200), "town": town_window(new=0)},
    )
    assert finding.verdict is Verdict.BREACH
    assert finding.evidence["breached"] == ["rooms", "age"]
    assert finding.evidence["features"].keys() == {"rooms", "age", "town"}
    assert finding.evidence["features"]["rooms"].keys() == {"psi", "p", "bin", "was", "now"}
    assert finding.value == finding.evidence["features"]["rooms"]["psi"]
    assert finding.because == (
        "drift 0.6 reaches drift_threshold 0.2 (rooms 0.6: missing from 1% to 20%; "
        "age 0.33: over 1.28155 from 10% to 24.8%; 1,001 rows, 3 columns, psi)"
    )


def test_a_new_category_is_seen_and_named() -> None:
    finding = judged(town(), {"town": town_window(new=100)})
    assert finding.verdict is Verdict.BREACH
    assert "town" in finding.because
    assert "other values from 0% to 10%" in finding.because


def test_an_atom_that_falls_from_95_to_50_percent_is_seen() -> None:
    bins = Bins.numeric([0.0, 1.0], [0.0], low=0.0, high=9.0)
    finding = judged({"spend": (bins, Histogram((0, 9_500, 250, 250, 0)))}, {"spend": Histogram((0, 100, 50, 50, 0))})
    assert finding.verdict is Verdict.BREACH
    assert "exactly 0 from 95% to 50%" in finding.because


def test_a_large_measure_that_may_be_chance_does_not_breach() -> None:
    finding = judged({"x": (NORMAL, expected(0, 10_000))}, {"x": expected(0.7, 30)}, min_rows=0)
    assert finding.verdict is Verdict.PASS
    assert finding.value is not None
    assert finding.value >= 0.2
    assert "it may be chance (x, p 0.0" in finding.because


def test_many_columns_need_more_proof_than_one() -> None:
    reference, window = (NORMAL, expected(0, 10_000)), expected(0.8, 65)
    assert judged({"x": reference}, {"x": window}, min_rows=0).verdict is Verdict.BREACH
    quiet = {f"q{number}": expected(0, 65) for number in range(500)}
    finding = judged({"x": reference, **dict.fromkeys(quiet, reference)}, {"x": window, **quiet}, min_rows=0)
    assert finding.verdict is Verdict.PASS


def test_a_significant_but_small_move_passes() -> None:
    finding = judged({"x": (NORMAL, expected(0, 100_000))}, {"x": expected(0.2, 100_000)})
    assert finding.verdict is Verdict.PASS
    assert finding.because == "drift 0.04 is under drift_threshold 0.2 (x; 100,000 rows, 1 column, psi)"


def test_too_few_rows_are_unknown() -> None:
    finding = judged({"x": (NORMAL, expected(0, 10_000))}, {"x": expected(1, 199)})
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.because.endswith("rows are fewer than trigger.min_rows 200")


def test_no_rows_are_unknown_even_where_none_are_asked_for() -> None:
    assert judged({"x": (NORMAL, expected(0, 10))}, {}, min_rows=0).verdict is Verdict.UNKNOWN
    empty = Histogram((0,) * NORMAL.size)
    assert judged({"x": (NORMAL, empty)}, {"x": expected(0, 10)}, min_rows=0).evidence["absent"] == ["x"]
    assert judged({"x": (NORMAL, expected(0, 10))}, {"x": empty}, min_rows=0).because == "no row was counted"


def test_columns_that_cannot_be_judged_are_left_out_and_named() -> None:
    reference = {"x": (NORMAL, expected(0, 10_000)), "label": (NORMAL, expected(0, 10_000)), **town()}
    window = {"x": expected(0, 1_000), "label": expected(2, 50), "extra": expected(3, 1_000)}
    finding = judged(reference, window)
    assert finding.verdict is Verdict.PASS
    assert finding.evidence["absent"] == ["town"]
    assert finding.evidence["too_few_rows"] == ["label"]
    assert finding.evidence["judged"] == 1


def test_a_finding_survives_json() -> None:
    reference = {"x": (NORMAL, expected(0, 10_000)), "y": (NORMAL, expected(0, 10_000))}
    finding = judged(reference, {"x": expected(0.9, 1_000), "y": expected(0, 1_000)})
    assert finding.evidence["breached"] == ["x"]
    assert decoded(Finding, json.loads(json.dumps(encoded(finding)))) == finding


def judged(
    reference: Mapping[str, tuple[Bins, Histogram]],
    window: Mapping[str, Histogram],
    *,
    min_rows: int = 200,
) -> Finding:
    watched = {name: Watched(*column) for name, column in reference.items()}
    return drift.check(watched, window, threshold=0.2, false_alarm_every=1000, min_rows=min_rows)


def town() -> dict[str, tuple[Bins, Histogram]]:
    bins = Bins.categorical({"north": 5_000, "south": 5_000})
    return {"town": (bins, Histogram((5_000, 5_000, 0, 0)))}


def town_window(*, new: int) -> Histogram:
    return Histogram(((1_000 - new) // 2, (1_000 - new) // 2, new, 0))


def drawn(draw: Draw, *, shift: float) -> tuple[Rows, Rows, Bins]:
    generator = np.random.default_rng(3)
    before, after = draw(generator, 20_000), draw(generator, 8_000)
    moved = np.round(after + shift) if (before == np.round(before)).all() else after + shift
    return before, moved, bins_of(before)


def counted(bins: Bins, *samples: Rows) -> tuple[Histogram, Histogram]:
    before, after = (bins.count(rows.tolist()) for rows in samples)
    return before, after


def shares(bins: Bins, *samples: Rows) -> list[Rows]:
    """Return the share of each sample's rows in each bin that either occupies."""
    counts = np.array([bins.count(rows.tolist()).counts for rows in samples], dtype=np.float64)
    return list(counts[:, counts.sum(axis=0) > 0] / counts.sum(axis=1, keepdims=True))


def listed(table: npt.NDArray[np.int64]) -> list[list[int]]:
    return [[int(count) for count in row] for row in table]
