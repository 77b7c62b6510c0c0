import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from retrain_trigger.counts.confusion import Confusion, OneVsRest
from retrain_trigger.judge.metrics import METRICS, positive_label, score

CLASSES = st.sampled_from(["0", "1", "2"])
ROWS = st.lists(st.tuples(CLASSES, CLASSES), min_size=1, max_size=40)


def sklearn_score(metric: str, labels: list[str], said: list[str]) -> float:
    one = {"labels": ["1"], "average": "macro", "zero_division": np.nan}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match metric:
            case "f1":
                return float(sklearn_metrics.f1_score(labels, said, **one))
            case "precision":
                return float(sklearn_metrics.precision_score(labels, said, **one))
            case "recall":
                return float(sklearn_metrics.recall_score(labels, said, **one))
            case "f1_macro":
                return float(sklearn_metrics.f1_score(labels, said, average="macro"))
            case "accuracy":
                return float(sklearn_metrics.accuracy_score(labels, said))
            case _:
                return float(sklearn_metrics.balanced_accuracy_score(labels, said))


def counted(rows: list[tuple[str, str]]) -> Confusion:
    return Confusion({row: rows.count(row) for row in rows})


@pytest.mark.parametrize("metric", sorted(METRICS.keys() - {"cost"}))
@settings(max_examples=40, deadline=None)
@given(rows=ROWS)
def test_a_metric_agrees_with_scikit_learn_and_lies_within_0_and_1(metric: str, rows: list[tuple[str, str]]) -> None:
    found = score(counted(rows), metric, "1")
    expected = sklearn_score(metric, [label for label, _ in rows], [said for _, said in rows])
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert math.isnan(found) or 0 <= found <= 1


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=40, deadline=None)
@given(tables=st.lists(st.tuples(*[st.integers(0, 9)] * 4), min_size=1, max_size=8))
def test_a_metric_of_arrays_is_the_metric_of_each_entry(metric: str, tables: list[tuple[int, int, int, int]]) -> None:
    def both_classes(tp: object, fp: object, fn: object, tn: object) -> dict[str, OneVsRest]:
        return {"1": OneVsRest(tp, fp, fn, tn), "0": OneVsRest(tn, fn, fp, tp)}

    single = [METRICS[metric].of(both_classes(*table), "1") for table in tables]
    with np.errstate(invalid="ignore"):
        together = METRICS[metric].of(both_classes(*np.array(tables, dtype=float).T), "1")
    assert np.array_equal(together, single, equal_nan=True)


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_of_no_rows_is_undefined(metric: str) -> None:
    assert math.isnan(score(Confusion({}), metric, "1"))


@pytest.mark.parametrize(
    ("labels", "configured", "expected"),
    [
        ({"0": 5, "1": 900}, None, "1"),
        ({"0": 5, "1": 900}, "0", "0"),
        ({"False": 5, "True": 900}, None, "True"),
        ({"true": 900, "1": 950, "x": 1}, None, "1"),
        ({"stay": 900, "churn": 5}, None, "churn"),
        ({"a": 5, "b": 5}, None, "b"),
    ],
)
def test_the_positive_label(labels: dict[str, int], configured: str | None, expected: str) -> None:
    assert positive_label(labels, configured) == expected


def test_no_label_has_no_positive_one() -> None:
    with pytest.raises(ValueError, match="no label"):
        positive_label({}, None)
