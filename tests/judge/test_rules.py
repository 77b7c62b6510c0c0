import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.records import decoded
from retrain_trigger.counts.table import ColumnCounts, Profile, TableCounts
from retrain_trigger.judge.rules import RULES, Case, bands, categories, check

NUMBER = ColumnCounts("number", 0)
LABELS = {"0": 3200, "1": 2000}


def table(
    columns: Mapping[str, ColumnCounts] | None = None, *, rows: int = 5200, labels: Mapping[str, int] | None = None
) -> TableCounts:
    columns = {"a": NUMBER, "b": NUMBER} if columns is None else columns
    return TableCounts(rows=rows, columns=columns, labels=LABELS if labels is None else labels)


CHAMPION = table()


def judged(
    split: TableCounts, profile: TableCounts | None, features: list[str] | None = None, **allowed: Any
) -> tuple[Finding, ...]:
    return check(Case(split=split, profile=profile, features=features, max_missing=0.05, **allowed))


def found(
    split: TableCounts, rule: str, profile: TableCounts | None = CHAMPION, features: list[str] | None = None
) -> list[Finding]:
    return [finding for finding in judged(split, profile, features) if finding.name == rule]


def breaches(
    split: TableCounts, profile: TableCounts | None = CHAMPION, features: list[str] | None = None
) -> dict[str, str]:
    findings = judged(split, profile, features)
    return {finding.name: finding.because for finding in findings if finding.verdict is Verdict.BREACH}


@pytest.mark.parametrize("profile", [None, CHAMPION])
def test_good_data_passes_every_rule_once(profile: TableCounts | None) -> None:
    findings = judged(table(), profile, ["a", "b"])
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
    assert list(breaches(table(labels=labels), None)) == ["classes"]


def test_a_vanished_class_and_rows_without_label_are_noted() -> None:
    (finding,) = found(table(labels={"0": 3000, "2": 2100}), "classes")
    assert finding.verdict is Verdict.PASS
    assert "gone since the champion: '1'" in finding.because
    assert "100 rows have no label" in finding.because


def test_repeated_ids_are_refused_and_equal_rows_noted() -> None:
    split = TableCounts(rows=50, columns={"a": NUMBER}, labels={"0": 25, "1": 25}, duplicate_ids=3, duplicate_rows=4)
    expected = {"duplicate_ids": "3 of 50 rows repeat the id of another; each id must appear once"}
    assert breaches(split, None) == expected
    (noted,) = found(split, "duplicate_rows", None)
    assert noted.because == "4 of 50 rows equal an earlier one; noted, not refused"


def number(**more: Any) -> ColumnCounts:
    return ColumnCounts("number", **{"missing": 0, "low": 10.0, "high": 30.0, "least": 5.0, "greatest": 99.0, **more})


def one(column: ColumnCounts, *, days: float = 10, **more: Any) -> TableCounts:
    until = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days)
    return replace(table({"a": column}), oldest="2026-01-01T00:00:00+00:00", newest=until.isoformat(), **more)


@pytest.mark.parametrize(
    ("column", "band"),
    [
        (number(), (-290.0, 330.0)),
        (number(least=-1e9, greatest=1e9), (-290.0, 330.0)),  # a sentinel of the champion's own stretches nothing
        (number(low=-30.0, high=10.0), (-330.0, 310.0)),
        (number(least=0.0), (0.0, 330.0)),  # an amount is never negative
        (number(low=0.0, high=1.0, least=0.0, greatest=1.0), (-10.0, 11.0)),  # but what was scaled to 1 may be
        (number(low=0.0, high=0.0, least=0.0, greatest=50.0), (0.0, 550.0)),  # nearly always 0
        (number(low=7.0, high=7.0, least=7.0, greatest=7.0), None),
        (NUMBER, None),
    ],
)
def test_what_is_far_outside(column: ColumnCounts, band: tuple[float, float] | None) -> None:
    assert bands(table({"a": column})).get("a") == band
    assert bands(None) == {}


def test_numbers_far_outside_are_refused_beyond_a_small_share() -> None:
    assert breaches(one(number(outside=260)), one(number())) == {}
    said = breaches(one(number(outside=261, greatest=9900.0)), one(number()))
    assert said["range"].startswith(
        "column 'a' is outside -290 to 330 in 5% of the rows (5 to 9900; for the champion 5 to 99); allowed are 5%."
    )


def test_the_share_is_of_the_rows_that_have_a_value() -> None:
    half = number(missing=2600, outside=131)
    assert list(breaches(one(half), one(number(missing=2600)))) == ["range"]


def text(**more: Any) -> ColumnCounts:
    return ColumnCounts("text", **{"missing": 0, "values": ("north", "south"), **more})


def test_new_categories_are_refused_beyond_their_share() -> None:
    assert breaches(one(text(unseen=1040)), one(text())) == {}
    said = breaches(one(text(unseen=1041)), one(text()))["new_categories"]
    assert said.startswith("column 'a' holds values that the champion never saw in 20% of the rows; allowed are 20%.")
    assert "'north', 'south'" in said


@pytest.mark.parametrize(
    "column",
    [
        text(values=None),  # too many to be categories
        text(values=tuple(str(i) for i in range(521))),  # an identifier: ten rows each at most
        text(values=("may",)),
        text(fresh=0.06),  # months and versions were new in the champion's own time, too
    ],
)
def test_a_text_column_that_is_no_closed_list_may_hold_anything(column: ColumnCounts) -> None:
    assert categories(one(column)) == {}
    assert breaches(one(text(unseen=5200)), one(column)) == {}


HOUR = 3600.0


@pytest.mark.parametrize(
    ("days", "still", "refused"),
    [
        (2.1, 24 * HOUR, True),
        (2.0, 24 * HOUR, False),  # as long twice over is chance
        (9.9, 24.1 * HOUR, False),  # it once stood still for more than a tenth of the champion's ten days
        (9.9, None, False),
    ],
)
def test_a_column_that_got_stuck(days: float, still: float | None, refused: bool) -> None:  # noqa: FBT001
    said = breaches(one(number(varies=False), days=days), one(number(varies=True, still=still)))
    assert list(said) == (["constant"] if refused else [])
    if refused:
        assert said["constant"].startswith(
            "column 'a' has one single value in 5,200 rows, for 2d; for the champion it varied, and kept one for 1d at"
        )


def test_a_retyped_column_is_refused_for_its_type_alone() -> None:
    assert list(breaches(one(text(varies=False)), one(number(varies=True, still=1.0)))) == ["types"]


def test_a_column_that_never_varied_may_stay_as_it_is() -> None:
    stuck = number(varies=False)
    assert breaches(one(stuck), one(number(varies=False, still=1.0))) == {}
    assert breaches(one(number(varies=True)), one(number(varies=True, still=1.0))) == {}


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [
        ({"0": 120, "1": 880}, {"0": 830, "1": 170}, False),  # as the example's data does
        ({"0": 600, "1": 400}, {"0": 960, "1": 40}, False),
        ({"0": 600, "1": 400}, {"0": 961, "1": 39}, True),
        ({"0": 980, "1": 20}, {"0": 999, "1": 1}, True),
        ({"0": 981, "1": 19}, {"0": 999, "1": 1}, False),  # too few were expected
        ({"0": 600, "1": 400}, {"no": 600, "yes": 400}, True),
        ({"0": 600, "1": 400}, {"1": 1000}, False),  # `classes` says so
    ],
)
def test_a_label_that_all_but_vanishes_is_refused(
    before: dict[str, int],
    now: dict[str, int],
    refused: bool,  # noqa: FBT001
) -> None:
    rates = [
        finding
        for finding in judged(table(rows=1000, labels=now), table(rows=1000, labels=before), label="y")
        if finding.name == "label_rate"
    ]
    assert {finding.verdict is Verdict.BREACH for finding in rates} == {refused}
    if refused:
        assert rates[0].because.startswith("column 'y' holds '")


NEWER = one(NUMBER, days=10)


@pytest.mark.parametrize(
    ("days", "now", "refused"),
    [
        (9.9, 13.1, True),
        (10, 13.1, True),
        (10, 12.9, False),  # waited for
        (10.1, 99, False),  # labels come late
    ],
)
def test_rows_that_stopped_coming(days: float, now: float, refused: bool) -> None:  # noqa: FBT001
    found = judged(
        one(NUMBER, days=days),
        NEWER,
        now=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=now),
        max_age=timedelta(days=3),
    )
    assert [finding.name for finding in found if finding.verdict is Verdict.BREACH] == (["newest"] if refused else [])


def test_unchecked_columns_may_hold_what_they_like_if_they_are_there() -> None:
    split = one(number(outside=5200, varies=False), labels={"0": 5199, "1": 1})
    profile = one(number(varies=True, still=1.0))

    def found(*unchecked: str) -> set[str]:
        seen = judged(split, profile, unchecked=frozenset(unchecked))
        return {finding.name for finding in seen if finding.verdict is Verdict.BREACH}

    assert found() == {"classes", "range", "constant", "label_rate"}
    assert found("a", "label") == {"classes"}


def test_a_profile_of_an_earlier_version_still_loads_and_judges() -> None:
    old = json.loads(
        '{"rows": 5200, "columns": {"a": {"type": "number", "missing": 0}}, "labels": {"0": 3200, "1": 2000}}'
    )
    assert breaches(one(number(outside=9, varies=False)), decoded(Profile, {**old, "watched": {}})) == {}


def test_an_empty_table_is_refused_and_its_nulls_are_unknown() -> None:
    empty = table(rows=0, labels={})
    assert set(breaches(empty)) == {"rows", "classes"}
    assert found(empty, "missing")[0].verdict is Verdict.UNKNOWN
