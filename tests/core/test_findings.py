import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core.findings import Finding, Verdict, at_least, at_most, below, figures, unknown
from retrain_trigger.core.records import decoded, encoded

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@pytest.mark.parametrize(
    ("finding", "verdict", "because"),
    [
        (at_least("f1", 0.85, 0.85, limit_name="t"), Verdict.PASS, "f1 0.85 is at or above t 0.85"),
        (at_least("f1", 0.8499, 0.85, limit_name="t"), Verdict.BREACH, "f1 0.8499 is under t 0.85"),
        (at_most("cost", 3, 3, limit_name="t"), Verdict.PASS, "cost 3 is at or under t 3"),
        (at_most("cost", 3.1, 3, limit_name="t", note="9 rows"), Verdict.BREACH, "cost 3.1 is above t 3 (9 rows)"),
        (below("drift", 0.2, 0.2, limit_name="t"), Verdict.BREACH, "drift 0.2 reaches t 0.2"),
        (below("drift", 0.1, 0.2, limit_name="t"), Verdict.PASS, "drift 0.1 is under t 0.2"),
        (at_least("f1", None, 0.85, limit_name="t"), Verdict.UNKNOWN, "f1 is not a number"),
        (at_least("f1", math.nan, 0.85, limit_name="t", note="x:1"), Verdict.UNKNOWN, "f1 is not a number (x:1)"),
        (at_most("cost", None, 3, limit_name="t"), Verdict.UNKNOWN, "cost is not a number"),
        (below("drift", math.nan, 0.2, limit_name="t"), Verdict.UNKNOWN, "drift is not a number"),
    ],
)
def test_a_value_beside_its_limit(finding: Finding, verdict: Verdict, because: str) -> None:
    assert (finding.verdict, finding.because) == (verdict, because)
    assert (finding.value is None) == (verdict is Verdict.UNKNOWN)


@pytest.mark.parametrize(("verdict", "value"), [(Verdict.UNKNOWN, 0.5), (Verdict.PASS, None), (Verdict.BREACH, None)])
def test_only_an_unknown_has_no_value(verdict: Verdict, value: float | None) -> None:
    with pytest.raises(ValueError, match="f1: value"):
        Finding(name="f1", verdict=verdict, value=value, limit=None, because="")


@given(st.none() | NUMBERS, NUMBERS)
def test_a_finding_survives_the_ledger(value: float | None, limit: float) -> None:
    for finding in (at_least("f1", value, limit, limit_name="t", evidence={"at": "now"}), unknown("f1", "no log")):
        assert decoded(Finding, json.loads(json.dumps(encoded(finding)))) == finding


@given(NUMBERS, NUMBERS)
def test_the_two_directions_agree_except_where_value_and_limit_are_the_same(value: float, limit: float) -> None:
    least, most = at_least("x", value, limit, limit_name="t"), at_most("x", value, limit, limit_name="t")
    assert (least.verdict is most.verdict) == (value == limit)
    reached = below("x", value, limit, limit_name="t")
    assert (reached.verdict is Verdict.BREACH) == (value >= limit)


@given(st.lists(st.integers(-(10**9), 10**9).map(lambda millionths: millionths / 1e6), min_size=1, max_size=4))
def test_figures_keep_different_numbers_apart_and_equal_ones_together(values: list[float]) -> None:
    texts = figures(*values)
    assert len(set(texts)) == len(set(values))
    assert all(math.isclose(float(text), value, abs_tol=0.005) for text, value in zip(texts, values, strict=True))
