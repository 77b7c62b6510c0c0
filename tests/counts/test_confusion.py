import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.counts.confusion import Confusion, JointCounts
from retrain_trigger.counts.table import ColumnCounts, TableCounts

CLASSES = st.sampled_from(["0", "1", "2"])
ROWS = st.lists(st.tuples(CLASSES, CLASSES, CLASSES), max_size=40)


def counted(rows: list[tuple[str, str, str]]) -> JointCounts:
    return JointCounts({row: rows.count(row) for row in rows})


@given(first=ROWS, second=ROWS)
def test_counting_in_parts_and_adding_is_counting_together(
    first: list[tuple[str, str, str]], second: list[tuple[str, str, str]]
) -> None:
    whole = counted(first + second)
    assert counted(first) + counted(second) == whole
    assert counted(second) + counted(first) == whole
    assert counted(first).champion + counted(second).champion == whole.champion
    assert whole.rows == whole.champion.rows == len(first) + len(second)


@given(rows=ROWS)
def test_exchanging_swaps_the_marginals_and_twice_is_nothing(rows: list[tuple[str, str, str]]) -> None:
    joint = counted(rows)
    assert joint.exchanged().champion == joint.challenger
    assert joint.exchanged().challenger == joint.champion
    assert joint.exchanged().exchanged() == joint
    assert joint.disagreements == sum(champion != challenger for _, champion, challenger in rows)
    assert joint.labels == {label: [row[0] for row in rows].count(label) for label in sorted({row[0] for row in rows})}


@given(rows=ROWS)
def test_one_vs_rest_accounts_for_every_row(rows: list[tuple[str, str, str]]) -> None:
    confusion = counted(rows).champion
    for cls in (*confusion.labels, "never seen"):
        tp, fp, fn, tn = confusion.one_vs_rest(cls)
        assert tp == sum(label == said == cls for label, said, _ in rows)
        assert fp == sum(said == cls != label for label, said, _ in rows)
        assert fn == sum(label == cls != said for label, said, _ in rows)
        assert tp + fp + fn + tn == len(rows)


@given(rows=ROWS)
def test_counts_survive_json(rows: list[tuple[str, str, str]]) -> None:
    joint = counted(rows)
    assert JointCounts.from_json(json.loads(json.dumps(joint.to_json()))) == joint
    assert Confusion.from_json(json.loads(json.dumps(joint.champion.to_json()))) == joint.champion


def test_a_cell_given_twice_counts_twice() -> None:
    assert JointCounts.from_json([["1", "0", "1", 2], ["1", "0", "1", 3]]).cells == {("1", "0", "1"): 5}


def test_a_cell_without_rows_is_no_class() -> None:
    assert Confusion({("1", "1"): 3, ("2", "0"): 0}).labels == ("1",)
    assert JointCounts({("1", "1", "1"): 3, ("2", "0", "0"): 0}).labels == {"1": 3}


@pytest.mark.parametrize("count", [-1, 1.5, True, "3", None])
def test_what_is_no_number_of_rows_is_refused(count: object) -> None:
    with pytest.raises(ValueError, match="is not a number of rows"):
        JointCounts.from_json([["1", "0", "1", count]])
    with pytest.raises(ValueError, match="is not a number of rows"):
        Confusion.from_json([["1", "0", count]])


def test_a_table_survives_json() -> None:
    table = TableCounts(
        rows=5,
        columns={"a": ColumnCounts("number", 1), "b": ColumnCounts("text", 0)},
        labels={"0": 3, "1": 2},
        duplicate_ids=1,
        duplicate_rows=2,
        newest="2026-01-02T00:00:00Z",
    )
    assert TableCounts.from_json(json.loads(json.dumps(table.to_json()))) == table
