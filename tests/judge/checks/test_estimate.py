import json
import math
import random
from collections import Counter
from functools import lru_cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.records import encoded
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.scores import EDGES, SCORE_BINS, ScoreCounts, bin_of
from retrain_trigger.judge.checks.estimate import Calibration, calibration, check, estimated, expected
from retrain_trigger.judge.metrics import METRICS, Measure, score

Row = tuple[float, str, str | None]
SCORES = st.floats(0, 1)
SAID = st.sampled_from(["0", "1"])
ROWS = st.lists(st.tuples(SCORES, SAID, st.sampled_from(["0", "1", None])), max_size=60)
SOME = settings(max_examples=40, deadline=None)
LABELLED = st.lists(st.tuples(SCORES, SAID, SAID), min_size=1, max_size=60)


def counted(rows: list[Row]) -> ScoreCounts:
    return ScoreCounts(dict(Counter((bin_of(score), said, label) for score, said, label in rows)))


def learned(rows: list[Row]) -> Calibration:
    found = calibration(counted(rows), "1")
    assert found is not None
    return found


@lru_cache
def drawn(rows: int, *, seed: int, sharpness: float = 1.0) -> list[Row]:
    """Rows whose score is the probability of label 1; the larger `sharpness`, the fewer are in doubt."""
    generator = random.Random(seed)
    found: list[Row] = []
    for _ in range(rows):
        likely = 1 / (1 + math.exp(-generator.gauss(0, 2) * sharpness))
        found.append((likely, "1" if likely >= 0.5 else "0", "1" if generator.random() < likely else "0"))
    return found


def without_labels(rows: list[Row]) -> list[Row]:
    return [(score, said, None) for score, said, _ in rows]


def judged(
    scores: ScoreCounts | None, found: Calibration | None, *, metric: str = "f1", threshold: float = 0.85
) -> Finding:
    return check(scores, found, Measure(metric, "1", (1, 5)), threshold=threshold, min_rows=200)


def test_edges_ascend_and_keep_two_decimals_apart() -> None:
    assert list(EDGES) == sorted(set(EDGES))
    assert len({bin_of(percent / 100) for percent in range(101)}) == 101


@SOME
@given(score=st.one_of(SCORES, st.sampled_from(EDGES), st.floats(-1e9, 1e9)))
def test_the_bin_is_the_number_of_edges_below_the_score(score: float) -> None:
    assert bin_of(score) == sum(score > edge for edge in EDGES) < SCORE_BINS


def test_nan_has_no_bin() -> None:
    with pytest.raises(ValueError, match="not a number"):
        bin_of(math.nan)


@SOME
@given(first=ROWS, second=ROWS)
def test_counting_in_parts_and_adding_is_counting_together(first: list[Row], second: list[Row]) -> None:
    whole = counted(first + second)
    assert counted(first) + counted(second) == whole
    assert whole.rows == len(first + second)
    assert whole.labelled == sum(label is not None for _, _, label in first + second)


@SOME
@given(rows=LABELLED)
def test_probabilities_rise_with_the_score_and_add_up_to_the_positives(rows: list[Row]) -> None:
    found = learned(rows)
    assert len(found.probabilities) == 2 * SCORE_BINS
    assert list(found.probabilities) == sorted(found.probabilities)
    assert 0 <= found.probabilities[0] <= found.probabilities[-1] <= 1
    assert found.fitted.tp + found.fitted.fn == pytest.approx(found.positives)
    assert found.rows == len(rows)


@SOME
@given(rows=LABELLED)
def test_pooling_gives_what_isotonic_regression_gives(rows: list[Row]) -> None:
    cells = [2 * bin_of(score) + (said == "1") for score, said, _ in rows]
    wanted = IsotonicRegression().fit(cells, [float(label == "1") for *_, label in rows]).predict(cells)
    assert [learned(rows).probabilities[cell] for cell in cells] == pytest.approx(list(wanted))


@SOME
@given(rows=LABELLED)
def test_the_rows_learned_from_are_counted_as_a_confusion_counts_them(rows: list[Row]) -> None:
    confusion = Confusion(dict(Counter((str(label), said) for _, said, label in rows)))
    assert learned(rows).realised == confusion.one_vs_rest("1")


def test_a_cell_without_rows_lies_between_its_neighbours() -> None:
    found = learned([(0.2, "0", "0"), (0.8, "1", "1")])
    between = found.probabilities[2 * bin_of(0.2) : 2 * bin_of(0.8) + 2]
    assert between[0] == found.probabilities[0] == 0
    assert between[-1] == found.probabilities[-1] == 1
    assert all(one < two for one, two in pairwise(between))


def test_without_labels_nothing_is_learned() -> None:
    assert calibration(counted([(0.3, "0", None)]), "1") is None
    assert calibration(ScoreCounts({(3, "0", "0"): 0}), "1") is None


@SOME
@given(first=ROWS, second=ROWS, reference=LABELLED)
def test_what_is_expected_of_parts_adds_up(first: list[Row], second: list[Row], reference: list[Row]) -> None:
    found = learned(reference)
    parts = zip(expected(counted(first), found, "1"), expected(counted(second), found, "1"), strict=True)
    assert list(expected(counted(first + second), found, "1")) == pytest.approx([one + two for one, two in parts])
    assert sum(expected(counted(first), found, "1")) == pytest.approx(len(first))


@SOME
@given(rows=ROWS, reference=LABELLED)
def test_labels_that_have_come_are_not_looked_at(rows: list[Row], reference: list[Row]) -> None:
    found = learned(reference)
    assert list(expected(counted(rows), found, "1")) == pytest.approx(
        list(expected(counted(without_labels(rows)), found, "1"))
    )


@pytest.mark.parametrize("metric", METRICS)
def test_where_every_cell_has_one_label_the_estimate_is_the_truth(metric: str) -> None:
    rows: list[Row] = [(0.1, "0", "0")] * 50
    rows += [(0.2, "1", "0")] * 5 + [(0.7, "0", "1")] * 10 + [(0.9, "1", "1")] * 30
    truth = Confusion(dict(Counter((str(label), said) for _, said, label in rows)))
    wanted = score(truth, metric, "1", cost=(1, 5))
    assert 0 < wanted < 1
    assert estimated(counted(without_labels(rows)), learned(rows), Measure(metric, "1", (1, 5))) == pytest.approx(
        wanted
    )


@pytest.mark.parametrize("metric", METRICS)
def test_the_estimate_follows_rows_that_are_harder_to_tell(metric: str) -> None:
    found = learned(drawn(5_000, seed=1))
    hard = drawn(5_000, seed=2, sharpness=0.5)
    truth = Confusion(dict(Counter((str(label), said) for _, said, label in hard)))
    usual = estimated(counted(drawn(5_000, seed=3)), found, Measure(metric, "1", (1, 5)))
    harder = estimated(counted(without_labels(hard)), found, Measure(metric, "1", (1, 5)))
    assert harder == pytest.approx(score(truth, metric, "1", cost=(1, 5)), abs=0.1 if metric == "cost" else 0.02)
    assert abs(harder - usual) > 0.05


@pytest.mark.parametrize("metric", METRICS)
def test_no_rows_have_no_estimate(metric: str) -> None:
    assert math.isnan(estimated(ScoreCounts({}), learned(drawn(50, seed=1)), Measure(metric)))


def test_a_low_estimate_breaches_and_says_that_it_only_warns() -> None:
    found = learned(drawn(5_000, seed=1, sharpness=3))
    finding = judged(counted(without_labels(drawn(1_000, seed=2, sharpness=0.5))), found)
    assert finding.verdict is Verdict.BREACH
    assert finding.name == "estimated_f1"
    assert finding.because.startswith("estimated_f1 0.")
    assert finding.because.endswith(" is under performance_threshold 0.85 (expected of the scores of 1,000 rows)")
    assert finding.warns
    assert sum(finding.evidence["expected"].values()) == pytest.approx(1_000)
    json.dumps(encoded(finding))


def test_an_estimate_above_the_threshold_passes() -> None:
    found = learned(drawn(5_000, seed=1, sharpness=3))
    finding = judged(counted(drawn(1_000, seed=2, sharpness=3)), found)
    assert finding.verdict is Verdict.PASS
    assert finding.warns


def test_an_estimated_cost_must_not_be_above_the_threshold() -> None:
    found, scores = learned(drawn(5_000, seed=1)), counted(drawn(1_000, seed=2))
    cost = judged(scores, found, metric="cost").value
    assert cost is not None
    assert judged(scores, found, metric="cost", threshold=cost - 0.01).verdict is Verdict.BREACH
    assert judged(scores, found, metric="cost", threshold=cost + 0.01).verdict is Verdict.PASS


ENOUGH = drawn(200, seed=1)


@pytest.mark.parametrize(
    ("scores", "reference", "because"),
    [
        (None, ENOUGH, "there is no row with a score"),
        (ENOUGH, [], "there is no labelled row with a score to learn from"),
        (ENOUGH[1:], ENOUGH, "199 rows with a score are fewer than trigger.min_rows 200"),
        (ENOUGH, ENOUGH[1:], "199 labelled rows with a score to learn from are fewer than trigger.min_rows 200"),
        (ENOUGH, [(0.4, "1", "0")] * 300, "300 labelled rows with a score to learn from are of one class"),
        (ENOUGH, [(0.4, "1", "1")] * 300, "300 labelled rows with a score to learn from are of one class"),
    ],
)
def test_where_nothing_can_be_estimated_the_reason_is_said(
    scores: list[Row] | None, reference: list[Row], because: str
) -> None:
    found = calibration(counted(reference), "1")
    finding = judged(None if scores is None else counted(scores), found)
    assert (finding.verdict, finding.because) == (Verdict.UNKNOWN, because)
    assert finding.warns
    assert judged(counted(ENOUGH), learned(ENOUGH)).verdict is not Verdict.UNKNOWN


def test_a_score_of_the_predicted_class_is_noticed() -> None:
    rows: list[Row] = [(max(likely, 1 - likely), said, label) for likely, said, label in drawn(5_000, seed=1)]
    finding = judged(counted(rows), learned(rows))
    assert finding.verdict is Verdict.UNKNOWN
    assert "the scores do not explain the labels" in finding.because
    assert "is the score the probability of '1'?" in finding.because


def test_the_score_of_one_of_three_classes_tells_f1_and_not_accuracy() -> None:
    rows = [*drawn(500, seed=1), *[(0.05, "2", "2")] * 100]
    assert judged(counted(rows), learned(rows)).verdict is not Verdict.UNKNOWN
    finding = judged(counted(rows), learned(rows), metric="accuracy")
    assert finding.because == "the score of one class does not tell accuracy of 3 classes"
