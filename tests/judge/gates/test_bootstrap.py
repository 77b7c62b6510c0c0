import json
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.core.comparisons import Comparison
from retrain_trigger.core.records import encoded
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates.bootstrap import compare
from retrain_trigger.judge.metrics import METRICS, Measure

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
CLASSES = st.sampled_from(["0", "1", "2"])
TABLES = st.dictionaries(st.tuples(CLASSES, CLASSES, CLASSES), st.integers(0, 200), max_size=12).map(JointCounts)


def compared(
    joint: JointCounts, metric: str = "f1", *, challengers: int = 1, seed: int = 1, resamples: int = 1000
) -> Comparison:
    return compare(
        joint,
        Measure(metric),
        certainty=0.95,
        challengers=challengers,
        seed=seed,
        resamples=resamples,
    )


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25, deadline=None)
@given(joint=TABLES)
def test_laws_of_a_comparison(metric: str, joint: JointCounts) -> None:
    found, turned = compared(joint, metric, resamples=200), compared(joint.exchanged(), metric, resamples=200)
    assert found == compared(joint, metric, resamples=200) or math.isnan(found.difference + found.lower + found.upper)
    assert turned.difference == pytest.approx(-found.difference, nan_ok=True)
    assert math.isnan(found.lower) or math.isnan(found.upper) or -1 <= found.lower <= found.upper <= 1
    json.dumps(encoded(found), allow_nan=False)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25, deadline=None)
@given(joint=TABLES)
def test_a_model_is_no_better_than_itself(metric: str, joint: JointCounts) -> None:
    itself = JointCounts({(label, said, said): count for (label, said, _), count in joint.cells.items()})
    found = compared(itself, metric, resamples=200)
    assert found.difference == 0 or math.isnan(found.difference)
    assert found.lower == 0 or math.isnan(found.lower)
    assert (found.disagreements, found.rows_needed) == (0, None)


def test_the_interval_is_that_of_a_bootstrap_of_rows() -> None:
    generator = np.random.default_rng(7)
    label = generator.random(600) < 0.4
    champion = label ^ (generator.random(600) < 0.18)
    challenger = label ^ (generator.random(600) < 0.12)
    table: dict[tuple[str, str, str], int] = {}
    for row in zip(label, champion, challenger, strict=True):
        key = (str(int(row[0])), str(int(row[1])), str(int(row[2])))
        table[key] = table.get(key, 0) + 1

    def f1(truth: Flags, said: Flags) -> Numbers:
        found: Numbers = np.divide(2 * (truth & said).sum(axis=1), truth.sum(axis=1) + said.sum(axis=1))
        return found

    chosen = generator.integers(0, 600, size=(4000, 600))
    by_row = f1(label[chosen], challenger[chosen]) - f1(label[chosen], champion[chosen])
    found = compared(JointCounts(table), resamples=20_000)
    # The Monte Carlo error of a 2.5 % quantile of 4,000 draws is 4.2 % of their standard deviation.
    allowed = 4 * 0.042 * float(by_row.std())
    assert found.lower == pytest.approx(float(np.quantile(by_row, 0.025)), abs=allowed)
    assert found.upper == pytest.approx(float(np.quantile(by_row, 0.975)), abs=allowed)


BETTER = JointCounts({("1", "0", "1"): 60, ("1", "1", "0"): 30, ("1", "1", "1"): 400, ("0", "0", "0"): 510})


def test_one_seed_gives_one_interval_and_another_seed_another() -> None:
    assert compared(BETTER, seed=1) == compared(BETTER, seed=1)
    assert compared(BETTER, seed=1).lower != compared(BETTER, seed=2).lower


def test_the_order_in_which_cells_were_counted_changes_nothing() -> None:
    backwards = JointCounts(dict(sorted(BETTER.cells.items(), reverse=True)))
    assert compared(backwards) == compared(BETTER)


def test_what_is_drawn_in_batches_is_what_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compared(BETTER)
    monkeypatch.setattr("retrain_trigger.judge.gates.bootstrap.BATCH", 1000)
    assert compared(BETTER) == whole


def test_certainty_is_shared_among_challengers() -> None:
    alone, among_five = compared(BETTER, resamples=10_000), compared(BETTER, challengers=5, resamples=10_000)
    assert among_five.lower < alone.lower
    assert among_five.upper > alone.upper
    assert among_five.difference == alone.difference


def test_more_rows_of_the_same_kind_narrow_the_interval_to_what_rows_needed_said() -> None:
    weak = JointCounts({("1", "0", "1"): 6, ("1", "1", "0"): 3, ("1", "1", "1"): 40, ("0", "0", "0"): 51})
    found = compared(weak, resamples=10_000)
    assert found.lower < 0
    assert found.rows_needed is not None
    times = math.ceil(1.2 * found.rows_needed / found.rows)
    assert compared(JointCounts({key: count * times for key, count in weak.cells.items()})).lower > 0


def test_a_score_that_is_undefined_leaves_everything_unknown() -> None:
    silent = JointCounts({("0", "0", "0"): 50})
    found = compared(silent, "precision")
    assert all(math.isnan(value) for value in (found.champion, found.difference, found.lower, found.upper))
    assert found.rows_needed is None
    assert math.isnan(compared(JointCounts({}), "accuracy").lower)


def test_resamples_without_a_positive_widen_the_interval_to_unknown() -> None:
    rare = JointCounts({("0", "1", "0"): 1, ("1", "1", "1"): 1, ("0", "0", "0"): 998})
    found = compared(rare)
    assert found.difference > 0
    assert math.isnan(found.lower)


@pytest.mark.parametrize("right", [2, 3, 5, 6])
def test_a_handful_of_disagreements_to_one_side_is_no_certainty_before_mcnemar_says_so(right: int) -> None:
    joint = JointCounts({("1", "0", "1"): right, ("1", "1", "1"): 50, ("0", "0", "0"): 450})
    found = compared(joint, "accuracy", resamples=10_000)
    assert (found.champion_alone, found.challenger_alone) == (0, right)
    assert found.mcnemar == pytest.approx(2 * 0.5**right)
    assert (found.lower > 1e-9) == (found.mcnemar < 0.05), "at 5 of 5 it is 0.06, at 6 of 6 0.03"


@given(fewer=st.integers(0, 400), more=st.integers(0, 400))
def test_mcnemars_test_is_that_of_fair_coins(fewer: int, more: int) -> None:
    found = compared(JointCounts({("1", "1", "0"): fewer, ("1", "0", "1"): more}), "accuracy", resamples=1)
    tosses, tail = fewer + more, min(fewer, more)
    exact = 2 * sum(math.comb(tosses, k) for k in range(tail + 1)) / 2**tosses
    assert found.mcnemar == pytest.approx(min(1.0, exact))


def test_mcnemars_test_of_millions_of_disagreements_is_a_number() -> None:
    even = JointCounts({("1", "1", "0"): 3_000_000, ("1", "0", "1"): 3_000_000})
    assert compared(even, "accuracy", resamples=1).mcnemar == 1.0
    assert compared(even + JointCounts({("1", "0", "1"): 1_000_000}), "accuracy", resamples=1).mcnemar == 0.0
