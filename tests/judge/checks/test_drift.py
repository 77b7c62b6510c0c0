import math

import pytest

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.judge.checks.drift import check_logged
from retrain_trigger.judge.policy import Patience

ONCE = Patience(1, 1)


def line(number: int, drift: dict[str, float | None], rows: int | None = None) -> Measurement:
    return Measurement(value=0.9, where=f"m.jsonl:{number}", file="f", end=number, rows=rows, drift=drift)


def judged(*measurements: Measurement, patience: Patience = ONCE, min_rows: int = 0) -> Finding:
    finding = check_logged(measurements, threshold=0.2, patience=patience, min_rows=min_rows)
    assert finding is not None
    return finding


def test_where_no_line_carries_drift_there_is_no_check() -> None:
    assert check_logged([line(1, {})], threshold=0.2, patience=ONCE) is None
    assert check_logged([], threshold=0.2, patience=ONCE) is None


@pytest.mark.parametrize(
    ("drift", "verdict"),
    [
        ({"": 0.19}, Verdict.PASS),
        ({"": 0.2}, Verdict.BREACH),
        ({"": None}, Verdict.UNKNOWN),
        ({"a": math.nan}, Verdict.UNKNOWN),
        ({"a": math.inf}, Verdict.UNKNOWN),
        ({"a": 0.1, "b": None}, Verdict.UNKNOWN),
        ({"a": 0.3, "b": None}, Verdict.BREACH),
        ({"a": 0.1, "b": 0.0}, Verdict.PASS),
    ],
)
def test_the_feature_that_moved_furthest_decides(drift: dict[str, float | None], verdict: Verdict) -> None:
    assert judged(line(1, drift)).verdict is verdict


def test_the_features_that_breach_are_named_largest_first() -> None:
    finding = judged(line(1, {"age": 0.25, "rooms": 0.31, "income": 0.1}))
    assert finding.because == "drift 0.31 reaches drift_threshold 0.2 (rooms 0.31, age 0.25; m.jsonl:1; point rule)"
    assert finding.evidence["features"] == ["rooms", "age"]
    assert finding.value == 0.31


def test_a_feature_that_reaches_the_threshold_is_named() -> None:
    assert judged(line(1, {"a": 0.2, "b": 0.1})).evidence["features"] == ["a"]


def test_many_features_are_counted_in_the_sentence_and_named_in_the_evidence() -> None:
    finding = judged(line(1, {f"f{number}": 0.3 + number / 100 for number in range(8)}))
    assert "f7 0.37, f6 0.36, f5 0.35, f4 0.34, f3 0.33, 3 more; " in finding.because
    assert len(finding.evidence["features"]) == 8


def test_a_bare_number_has_no_feature_to_name() -> None:
    finding = judged(line(1, {"": 0.4}))
    assert finding.because == "drift 0.4 reaches drift_threshold 0.2 (m.jsonl:1; point rule)"
    assert finding.evidence["features"] == []


def test_the_latest_line_that_carries_drift_is_judged() -> None:
    assert judged(line(1, {"a": 0.1}), line(2, {"a": 0.4}), line(3, {})).verdict is Verdict.BREACH
    assert judged(line(1, {"a": 0.4}), line(2, {"a": 0.1})).verdict is Verdict.PASS


def test_patience_holds_for_drift_too() -> None:
    patience = Patience(2, 3)
    assert judged(line(1, {"a": 0.1}), line(2, {"a": 0.4}), patience=patience).verdict is Verdict.PASS
    assert judged(line(1, {"a": 0.3}), line(2, {"a": 0.4}), patience=patience).verdict is Verdict.BREACH


def test_too_few_rows_are_unknown_where_rows_are_stated() -> None:
    assert judged(line(1, {"a": 0.4}, rows=12), min_rows=200).verdict is Verdict.UNKNOWN
    assert judged(line(1, {"a": 0.4}), min_rows=200).verdict is Verdict.BREACH
