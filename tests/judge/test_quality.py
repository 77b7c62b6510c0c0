from collections.abc import Mapping

import pytest

from retrain_trigger.findings import Finding, Verdict
from retrain_trigger.judge.counts import ColumnCounts, TableCounts
from retrain_trigger.judge.quality import RULES, check

NUMBER = ColumnCounts("number", 0)
LABELS = {"0": 3200, "1": 2000}


def table(
    columns: Mapping[str, ColumnCounts] | None = None, *, rows: int = 5200, labels: Mapping[str, int] | None = None
) -> TableCounts:
    columns = {"a": NUMBER, "b": NUMBER} if columns is None else columns
    return TableCounts(rows=rows, columns=columns, labels=LABELS if labels is None else labels)


CHAMPION = table()


def found(
    split: TableCounts, rule: str, profile: TableCounts | None = CHAMPION, features: list[str] | None = None
) -> list[Finding]:
    return [finding for finding in check(split, profile, features=features, max_missing=0.05) if finding.name == rule]


def breaches(
    split: TableCounts, profile: TableCounts | None = CHAMPION, features: list[str] | None = None
) -> dict[str, str]:
    findings = check(split, profile, features=features, max_missing=0.05)
    return {finding.name: finding.because for finding in findings if finding.verdict is Verdict.BREACH}


@pytest.mark.parametrize("profile", [None, CHAMPION])
def test_good_data_passes_every_rule_once(profile: TableCounts | None) -> None:
    findings = check(table(), profile, features=["a", "b"], max_missing=0.05)
    assert [finding.name for finding in findings] == list(RULES)
    assert {finding.verdict for finding in findings} == {Verdict.PASS}


def test_a_column_without_any_value_is_refused_even_where_the_champion_had_none() -> None:
    empty = table({"a": NUMBER, "b": ColumnCounts("other", 5200)})
    expected = {"missing": "column 'b' has no value in 5,200 rows; nothing is trained on it"}
    assert breaches(empty) == breaches(empty, None) == breaches(empty, empty) == expected
    assert found(empty, "missing")[0].evidence == {"column": "b"}


def test_a_missing_column_is_refused_by_name() -> None:
    expected = {"columns": "column 'b' is missing; the champion was trained with it"}
    assert breaches(table({"a": NUMBER})) == expected
    assert breaches(table({"a": NUMBER}), None, ["a", "b"]) == expected
    assert [finding.evidence["column"] for finding in found(table({"c": NUMBER}), "columns")] == ["a", "b"]


def test_a_column_the_champion_does_not_use_may_go() -> None:
    assert breaches(table({"a": NUMBER}), CHAMPION, ["a"]) == {}


def test_a_new_column_is_noted() -> None:
    (finding,) = found(table({"a": NUMBER, "b": NUMBER, "z": NUMBER}), "columns")
    assert finding.verdict is Verdict.PASS
    assert finding.because.endswith("(new to the champion: 'z')")
    (first,) = found(table(), "columns", None)
    assert "new" not in first.because


def test_data_without_a_feature_is_refused() -> None:
    assert list(breaches(table({}), None)) == ["columns"]


def test_a_retyped_column_is_refused() -> None:
    expected = {"types": "column 'b' holds text values; the champion was trained on number values"}
    assert breaches(table({"a": NUMBER, "b": ColumnCounts("text", 0)})) == expected


@pytest.mark.parametrize(
    ("own", "now", "refused"),
    [(0, 520, True), (0, 260, False), (520, 780, False), (520, 781, True), (5000, 5199, False)],
)
def test_nulls_are_counted_above_the_champions_own_rate(own: int, now: int, refused: bool) -> None:  # noqa: FBT001
    profile = table({"a": ColumnCounts("number", own)})
    assert ("missing" in breaches(table({"a": ColumnCounts("number", now)}), profile)) is refused


def test_binary_fractions_do_not_refuse_what_is_allowed_exactly() -> None:
    profile = table({"a": ColumnCounts("number", 12)}, rows=100)
    assert 17 / 100 > 12 / 100 + 0.05
    assert breaches(table({"a": ColumnCounts("number", 17)}, rows=100, labels={"0": 50, "1": 50}), profile) == {}


def test_too_many_nulls_say_how_many_are_allowed() -> None:
    profile = table({"a": ColumnCounts("number", 130)})
    assert breaches(table({"a": ColumnCounts("number", 650)}), profile)["missing"] == (
        "column 'a' has no value in 12.5% of 5,200 rows; allowed are 7.5%, the champion's 2.5% and data.max_missing 5%"
    )


def test_nulls_of_a_column_the_champion_did_not_know_are_no_breach() -> None:
    assert breaches(table({"a": NUMBER, "b": NUMBER, "z": ColumnCounts("number", 5199)})) == {}
    assert breaches(table({"a": ColumnCounts("number", 5199)}), None) == {}


@pytest.mark.parametrize("labels", [{"1": 5200}, {}, {"1": 5199, "0": 1}])
def test_one_class_is_refused(labels: dict[str, int]) -> None:
    assert list(breaches(table(labels=labels))) == ["classes"]


def test_a_vanished_class_and_rows_without_label_are_noted() -> None:
    (finding,) = found(table(labels={"0": 3000, "2": 2100}), "classes")
    assert finding.verdict is Verdict.PASS
    assert "gone since the champion: '1'" in finding.because
    assert "100 rows have no label" in finding.because


def test_repeated_ids_are_refused_and_equal_rows_noted() -> None:
    split = TableCounts(rows=50, columns={"a": NUMBER}, labels={"0": 25, "1": 25}, duplicate_ids=3, duplicate_rows=4)
    expected = {"duplicate_ids": "3 of 50 rows repeat the id of another; an id must stand on one row only"}
    assert breaches(split, None) == expected
    (noted,) = found(split, "duplicate_rows", None)
    assert noted.because == "4 of 50 rows equal an earlier one; noted, not refused"


def test_an_empty_table_is_refused_and_its_nulls_are_unknown() -> None:
    empty = table(rows=0, labels={})
    assert set(breaches(empty)) == {"rows", "classes"}
    assert found(empty, "missing")[0].verdict is Verdict.UNKNOWN
