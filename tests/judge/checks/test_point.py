import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.judge.checks.point import check
from retrain_trigger.judge.metrics import Measure
from retrain_trigger.judge.policy import Patience

ONCE = Patience(1, 1)
TWO_OF_THREE = Patience(2, 3)
START = datetime(2026, 3, 1, tzinfo=UTC)


def line(day: int, value: float | None, **known: object) -> Measurement:
    fields = {"at": START + timedelta(days=day), "rows": 412, **known}
    return Measurement(value=value, where=f"logs/metrics.jsonl:{day}", file="f", end=day, **fields)  # type: ignore[arg-type]


def checked(*measurements: Measurement, patience: Patience = ONCE) -> Finding:
    return check(measurements, Measure("f1"), threshold=0.85, min_rows=200, patience=patience)


@pytest.mark.parametrize(
    ("values", "patience", "verdict"),
    [
        ([0.82], ONCE, Verdict.BREACH),
        ([0.85], ONCE, Verdict.PASS),
        ([0.82, 0.9], ONCE, Verdict.PASS),
        ([0.82, 0.9, 0.82], TWO_OF_THREE, Verdict.BREACH),
        ([0.82, 0.82, 0.9], TWO_OF_THREE, Verdict.PASS),
        ([0.82, 0.9, 0.9, 0.82], TWO_OF_THREE, Verdict.PASS),
        ([0.82], TWO_OF_THREE, Verdict.PASS),
        ([0.82, None, 0.82], TWO_OF_THREE, Verdict.BREACH),
        ([None, None, 0.82], TWO_OF_THREE, Verdict.PASS),
        ([0.82, 0.82, None], TWO_OF_THREE, Verdict.UNKNOWN),
        ([0.9, 0.82, None], TWO_OF_THREE, Verdict.UNKNOWN),
        ([0.82, 0.82, math.nan], TWO_OF_THREE, Verdict.UNKNOWN),
        ([math.inf], ONCE, Verdict.UNKNOWN),
        ([], ONCE, Verdict.UNKNOWN),
    ],
)
def test_the_point_rule(values: list[float | None], patience: Patience, verdict: Verdict) -> None:
    assert checked(*(line(day, value) for day, value in enumerate(values)), patience=patience).verdict is verdict


def test_a_breach_says_what_was_seen_and_where() -> None:
    finding = checked(line(29, 0.8), line(30, 0.9), line(31, 0.82), patience=TWO_OF_THREE)
    assert finding.because == (
        "f1 0.82 is under performance_threshold 0.85 "
        "(412 labelled rows, logs/metrics.jsonl:31; point rule, 2 of the last 3)"
    )
    assert (finding.value, finding.limit) == (0.82, 0.85)
    assert finding.evidence == {
        "rule": "point",
        "watching": False,
        "needs": 0,
        "where": "logs/metrics.jsonl:31",
        "at": "2026-04-01T00:00:00Z",
        "windows": ["2026-03-30T00:00:00Z", "2026-04-01T00:00:00Z"],
    }


def test_a_first_breach_waits_and_says_for_what() -> None:
    finding = checked(line(1, 0.9), line(2, 0.9), line(3, 0.82), patience=TWO_OF_THREE)
    assert finding.verdict is Verdict.PASS
    assert "is under performance_threshold 0.85" in finding.because
    assert finding.because.endswith("; point rule, 1 of the last 3, patience is 2 of 3)")


def test_a_healthy_measurement_waits_for_nothing() -> None:
    assert checked(line(1, 0.9), line(2, 0.9), patience=TWO_OF_THREE).because == (
        "f1 0.9 is at or above performance_threshold 0.85 (412 labelled rows, logs/metrics.jsonl:2; point rule)"
    )
    after_a_hit = checked(line(1, 0.8), line(2, 0.9), patience=TWO_OF_THREE)
    assert after_a_hit.because.endswith("; point rule, 1 of the last 2)")


def test_lines_without_time_are_told_by_their_place() -> None:
    finding = checked(line(7, 0.8, at=None, rows=None))
    assert finding.because == "f1 0.8 is under performance_threshold 0.85 (logs/metrics.jsonl:7; point rule)"
    assert (finding.evidence["at"], finding.evidence["windows"]) == (None, ["logs/metrics.jsonl:7"])


def test_too_few_rows_are_unknown_and_no_hit() -> None:
    latest = checked(line(1, 0.5, rows=12))
    assert latest.verdict is Verdict.UNKNOWN
    assert latest.because.startswith("12 labelled rows are fewer than trigger.min_rows 200 (")
    assert checked(line(1, 0.5, rows=12), line(2, 0.82), patience=TWO_OF_THREE).verdict is Verdict.PASS
    assert checked(line(1, 0.5, rows=None)).verdict is Verdict.BREACH
    assert checked(line(1, 0.5, rows=None, counts=(1, 1, 1, 9))).verdict is Verdict.UNKNOWN


def test_a_value_that_is_not_logged_follows_from_the_counts() -> None:
    assert checked(line(1, None, counts=(90, 10, 10, 300))).value == pytest.approx(0.9)
    assert checked(line(1, 0.7, counts=(90, 10, 10, 300))).value == pytest.approx(0.7)
    assert checked(line(1, None, counts=(0, 0, 0, 412))).verdict is Verdict.UNKNOWN


def test_the_counts_of_a_line_are_a_table_of_two_classes() -> None:
    measured = line(1, None, counts=(90, 20, 10, 80))
    finding = check([measured], Measure("balanced_accuracy"), threshold=0.5, min_rows=1, patience=ONCE)
    assert finding.value == pytest.approx((90 / 100 + 80 / 100) / 2)


def test_counts_say_nothing_about_a_business_metric() -> None:
    measured = line(1, None, counts=(90, 10, 10, 300))
    assert check([measured], Measure("revenue"), threshold=5.0, min_rows=1, patience=ONCE).verdict is Verdict.UNKNOWN


def test_a_metric_may_be_better_when_lower() -> None:
    def error(value: float, measure: Measure) -> Verdict:
        return check([line(1, value)], measure, threshold=10.0, min_rows=200, patience=ONCE).verdict

    for measure in (Measure("cost"), Measure("rmse", lower_is_better=True)):
        assert error(12.0, measure) is Verdict.BREACH
        assert error(9.0, measure) is Verdict.PASS
    assert error(12.0, Measure("revenue")) is Verdict.PASS


def test_the_healthy_path_imports_nothing_heavy() -> None:
    code = (
        "import sys, retrain_trigger.judge.checks.point, retrain_trigger.judge.checks.drift, retrain_trigger.judge.rules; "
        "print(*({'numpy', 'scipy', 'sklearn', 'joblib', 'duckdb', 'pandas'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
