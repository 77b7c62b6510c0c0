import math

from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core.comparisons import TOLERANCE, Comparison
from retrain_trigger.core.findings import Verdict, judged
from retrain_trigger.judge.gates import gates, veto


@given(st.floats(-1, 1), st.floats(0, 0.5))
def test_a_refit_is_refused_exactly_where_its_upper_end_is_under_minus_the_margin(upper: float, margin: float) -> None:
    found = veto.clearly_worse(upper, margin=margin)
    assert (found.verdict is Verdict.BREACH) == (upper < -margin - TOLERANCE)
    assert found.value == upper


def compared(upper: float) -> Comparison:
    return Comparison(
        metric="f1",
        positive="1",
        champion=0.8,
        challenger=0.83,
        difference=0.03,
        lower=-1.0,
        upper=upper,
        certainty=0.8,
        challengers=1,
        rows=9,
        disagreements=1,
        labels={"0": 5, "1": 4},
    )


def test_a_refit_need_not_be_better_on_few_rows_and_every_gate_on_the_model_stands() -> None:
    asked = [judged(name, 0.0, 1.0, "not so", fits=False) for name in gates.GATES]
    found = veto.judge(asked, compared(upper=0.05), margin=0.02)
    assert [finding.name for finding in found] == ["features", "answers", "latency", "size", "golden", "veto"]
    assert found[-1].verdict is Verdict.PASS
    assert veto.judge([], compared(upper=-0.1), margin=0.02)[-1].verdict is Verdict.BREACH
    assert veto.judge([], compared(upper=math.nan), margin=0.02)[-1].verdict is Verdict.PASS, "rows that cannot tell"
