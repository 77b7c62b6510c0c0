import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.core.events import Said
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.records import encoded
from retrain_trigger.counts.scores import ExposureCounts
from retrain_trigger.judge.checks.feedback import SIGNIFICANT, check, compared

CELLS = st.dictionaries(
    st.tuples(st.booleans(), st.sampled_from(["0", "1", "2"]), st.sampled_from(["0", "1", None])),
    st.integers(1, 1000),
)
SOME = settings(max_examples=40, deadline=None)
VERSIONS = st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 1)), max_size=6)


def version(number: int, rows: int, positives: int) -> Said:
    return Said(version=f"v{number}", rows=rows, positives=positives)


def found(
    exposure: ExposureCounts | None = None, versions: list[Said] | None = None, *, min_rows: int = 200
) -> dict[str, Finding]:
    findings = check(exposure, versions or [], positive="1", min_rows=min_rows)
    assert all(finding.warns for finding in findings)
    return {finding.name.removeprefix("feedback_"): finding for finding in findings}


def exposure(*, exposed: tuple[int, int, int, int], unexposed: tuple[int, int, int, int]) -> ExposureCounts:
    """Rows (predicted 1 and label 1, 1 and 0, 0 and 1, 0 and 0) of both kinds."""
    pairs = (("1", "1"), ("1", "0"), ("0", "1"), ("0", "0"))
    cells = [
        ((kind, *pair), count)
        for kind, counts in ((True, exposed), (False, unexposed))
        for pair, count in zip(pairs, counts, strict=True)
    ]
    return ExposureCounts(dict(cells))


def rates(*shares: float, rows: int = 2000) -> list[Said]:
    return [version(number, rows, round(rows * share)) for number, share in enumerate(shares, 1)]


def test_without_a_source_there_is_no_finding() -> None:
    assert found() == {}
    assert found(ExposureCounts({})) == {}
    assert found(versions=rates(0.1, 0.5)) == {}
    assert set(found(versions=rates(0.1, 0.2, 0.3))) == {"prediction_trend"}
    assert set(found(ExposureCounts({(True, "1", None): 1}))) == {"exposed_labels", "label_gap"}


def test_a_model_that_makes_its_own_labels_is_told_so() -> None:
    cells = {(True, "1", "1"): 920, (False, "1", "0"): 80, (False, "0", None): 9_000}
    finding = found(ExposureCounts(cells))["exposed_labels"]
    assert finding.verdict is Verdict.BREACH
    assert finding.value == 0.92
    assert finding.because == (
        "the model itself brought about 92 % of the labels (1,000 labelled rows, limit 90 %): "
        "what it never lets through it never learns; keep some rows unexposed"
    )
    fair = {**cells, (False, "0", "0"): 200}
    assert found(ExposureCounts(fair))["exposed_labels"].verdict is Verdict.PASS


def test_rows_without_a_label_are_no_labels() -> None:
    finding = found(ExposureCounts({(True, "1", "1"): 199, (True, "1", None): 9_000}))["exposed_labels"]
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.because == (
        "199 labelled rows that say whether they were exposed are fewer than trigger.min_rows 200"
    )


def test_a_label_that_exposure_changes_is_seen() -> None:
    finding = found(exposure(exposed=(450, 50, 10, 490), unexposed=(300, 200, 10, 490)))["label_gap"]
    assert finding.verdict is Verdict.BREACH
    assert finding.because.startswith(
        "46 % of exposed rows are positive and 31 % of unexposed ones with the same prediction (effect size 0.36"
    )
    assert finding.evidence["errors"] > SIGNIFICANT


def test_rows_whose_label_has_not_come_are_no_negatives() -> None:
    counts = exposure(exposed=(450, 50, 10, 490), unexposed=(450, 50, 10, 490))
    waiting = counts + ExposureCounts({(False, "1", None): 5_000})
    assert found(waiting)["label_gap"] == found(counts)["label_gap"]


def test_the_skill_of_a_model_that_exposes_what_it_thinks_positive_is_no_label_gap() -> None:
    findings = found(exposure(exposed=(810, 90, 5, 95), unexposed=(90, 10, 45, 855)))
    assert findings["label_gap"].verdict is Verdict.PASS
    assert findings["label_gap"].value == pytest.approx(0)


def test_where_the_prediction_alone_decides_what_is_exposed_the_label_gap_is_unknown() -> None:
    finding = found(exposure(exposed=(810, 90, 0, 0), unexposed=(0, 0, 45, 855)))["label_gap"]
    assert finding.verdict is Verdict.UNKNOWN
    assert "0 exposed and 0 unexposed labelled rows with the same prediction" in finding.because


def test_a_gap_that_is_only_significant_or_only_large_is_none() -> None:
    tiny = exposure(exposed=(500_000, 500_000, 0, 0), unexposed=(480_000, 520_000, 0, 0))
    assert found(tiny)["label_gap"].verdict is Verdict.PASS
    assert "chance" not in found(tiny)["label_gap"].because
    few = exposure(exposed=(110, 100, 0, 0), unexposed=(85, 125, 0, 0))
    finding = found(few)["label_gap"]
    assert finding.verdict is Verdict.PASS
    assert finding.value is not None
    assert finding.limit is not None
    assert finding.value >= finding.limit
    assert finding.because.endswith("limit 0.2, not beyond chance)")


def test_gaps_need_rows_of_both_kinds() -> None:
    findings = found(exposure(exposed=(900, 100, 0, 0), unexposed=(100, 99, 0, 0)))
    assert findings["label_gap"].verdict is Verdict.UNKNOWN
    assert findings["label_gap"].because == (
        "1,000 exposed and 199 unexposed labelled rows with the same prediction are fewer than trigger.min_rows 200"
    )


@SOME
@given(one=CELLS, two=CELLS)
def test_adding_counts_is_counting_together_and_kinds_exchanged_give_the_same_verdicts(
    one: dict[tuple[bool, str, str | None], int], two: dict[tuple[bool, str, str | None], int]
) -> None:
    whole = ExposureCounts(one) + ExposureCounts(two)
    assert whole.rows == sum(one.values()) + sum(two.values())
    exchanged = ExposureCounts(
        {(not exposed, said, label): count for (exposed, said, label), count in whole.cells.items()}
    )
    findings, others = found(whole), found(exchanged)
    if "label_gap" in findings:
        assert findings["label_gap"].verdict is others["label_gap"].verdict
        assert findings["label_gap"].value == pytest.approx(others["label_gap"].value)
    assert all(json.dumps(encoded(finding)) for finding in findings.values())


@SOME
@given(marked=st.integers(0, 500), others=st.integers(0, 500))
def test_equal_shares_are_no_gap_and_exchange_turns_the_sign(marked: int, others: int) -> None:
    assert compared([(marked, 500, marked, 500)]).effect == 0
    gap, turned = compared([(marked, 500, others, 700)]), compared([(others, 700, marked, 500)])
    assert gap.effect == pytest.approx(-turned.effect)
    assert -math.pi <= gap.effect <= math.pi


def test_equal_rows_in_two_strata_are_one_stratum() -> None:
    one, two = compared([(60, 200, 20, 200)]), compared([(30, 100, 10, 100), (30, 100, 10, 100)])
    assert one == pytest.approx(two)


@pytest.mark.parametrize(
    ("shares", "verdict", "words"),
    [
        ((0.1, 0.2, 0.3), Verdict.BREACH, "rose with each of the last 3 champions, v1 10 %, v2 20 %, v3 30 %"),
        ((0.5, 0.4, 0.3, 0.2), Verdict.BREACH, "fell with each of the last 4 champions"),
        ((0.5, 0.1, 0.2, 0.3), Verdict.BREACH, "rose with each of the last 3 champions, v2 10 %"),
        ((0.1, 0.2, 0.3, 0.2), Verdict.PASS, "has no clear trend over the champions, v2 20 %, v3 30 %, v4 20 %"),
        ((0.1, 0.3, 0.3), Verdict.PASS, "has no clear trend"),
        ((0.1, 0.3, 0.301), Verdict.PASS, "has no clear trend"),
        ((0.30, 0.335, 0.37), Verdict.PASS, "has no clear trend"),
        ((0.2, 0.2, 0.2), Verdict.PASS, "has no clear trend"),
        ((0.0, 0.5, 1.0), Verdict.BREACH, "rose"),
    ],
)
def test_predictions_that_move_one_way_from_champion_to_champion(
    shares: tuple[float, ...], verdict: Verdict, words: str
) -> None:
    finding = found(versions=rates(*shares))["prediction_trend"]
    assert finding.verdict is verdict
    assert words in finding.because


def test_a_long_trend_shows_the_latest_champions() -> None:
    finding = found(versions=rates(*(number / 20 for number in range(1, 11))))["prediction_trend"]
    assert "rose with each of the last 10 champions, v6 30 %, v7 35 %" in finding.because
    assert len(finding.evidence["versions"]) == 10


def test_champions_with_too_few_rows_are_left_out() -> None:
    versions = [*rates(0.1, 0.2), version(3, 150, 0), version(4, 2000, 600)]
    assert found(versions=versions)["prediction_trend"].verdict is Verdict.BREACH
    findings = found(versions=versions[:3])
    assert {finding.verdict for finding in findings.values()} == {Verdict.UNKNOWN}
    assert findings["prediction_trend"].because == (
        "2 champions predicted at least 200 rows (trigger.min_rows), fewer than 3"
    )
    assert {
        finding.verdict for finding in found(versions=[version(n, 0, 0) for n in range(3)], min_rows=0).values()
    } == {Verdict.UNKNOWN}


@SOME
@given(drawn=VERSIONS)
def test_every_history_of_champions_is_judged(drawn: list[tuple[int, float]]) -> None:
    versions = [version(number, rows, int(rows * share)) for number, (rows, share) in enumerate(drawn)]
    for finding in found(versions=versions).values():
        assert finding.value is None or math.isfinite(finding.value)
        assert json.dumps(encoded(finding))


def test_by_chance_a_signature_is_seen_once_in_hundreds_of_times() -> None:
    """Nothing differs: 300 rows of each kind, 5 % positive; ten champions of 300 rows each."""
    generator = np.random.default_rng(7)
    seen = {"label_gap": 0, "prediction_trend": 0}
    for _ in range(1_000):
        kinds = [tuple(map(int, generator.multinomial(300, [0.04, 0.01, 0.01, 0.94]))) for _ in range(2)]
        counts = exposure(exposed=kinds[0], unexposed=kinds[1])  # type: ignore[arg-type]
        versions = [version(number, 300, int(generator.binomial(300, 0.05))) for number in range(10)]
        for name, finding in found(counts, versions, min_rows=100).items():
            if name in seen:
                seen[name] += finding.verdict is Verdict.BREACH
    assert all(hits <= 5 for hits in seen.values()), seen
