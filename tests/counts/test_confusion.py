from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.counts.confusion import Confusion, JointCounts

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


def test_a_cell_without_rows_is_no_class() -> None:
    assert Confusion({("1", "1"): 3, ("2", "0"): 0}).labels == ("1",)
    assert JointCounts({("1", "1", "1"): 3, ("2", "0", "0"): 0}).labels == {"1": 3}
