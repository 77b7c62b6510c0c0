from pathlib import Path

import duckdb
import pytest

from retrain_trigger.core.errors import PromotionError
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.counts.groups import Groups
from retrain_trigger.engines.tallies import Answers, golden_tally, groups, sliced_counts, write_golden

COLUMNS = {"id": "id", "label": "label"}


def parquet(path: Path, query: str) -> Path:
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path


def sliced(tmp_path: Path, values: str, column: str = "part", at_most: int = 9) -> dict[str | None, JointCounts]:
    holdout = parquet(tmp_path / "holdout.parquet", f"SELECT unnest({values}) AS part, 1 AS label")
    rows = duckdb.read_parquet(str(holdout)).shape[0]
    said = parquet(tmp_path / "said.parquet", f"SELECT '1' AS prediction FROM range({rows})")
    return sliced_counts(Answers(rows=holdout, label="label", champion=said, challenger=said), column, at_most=at_most)


def test_each_value_is_counted_those_with_the_most_rows_first(tmp_path: Path) -> None:
    found = sliced(tmp_path, "['b', 'a', 'b', NULL, NULL, NULL, 'c', 'a', 'a', 'a']")
    assert found == {value: JointCounts({("1", "1", "1"): n}) for value, n in (("a", 4), (None, 3), ("b", 2), ("c", 1))}
    assert list(found) == ["a", None, "b", "c"]
    assert list(sliced(tmp_path, "['b', 'a', 'b', NULL, NULL, NULL]", at_most=2)) == [None, "b"]


def test_numbers_and_times_are_slices_too_and_nan_is_no_value(tmp_path: Path) -> None:
    assert list(sliced(tmp_path, "[2, 2, 10]")) == ["2", "10"]
    assert list(sliced(tmp_path, "[0.5, 'nan'::DOUBLE, 'nan'::DOUBLE]")) == [None, "0.5"]
    assert list(sliced(tmp_path, "[DATE '2026-01-01']")) == ["2026-01-01"]


def test_a_slice_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        PromotionError, match=r"promotion\.slices names 'region', and the hold-out has no such column; it"
    ):
        sliced(tmp_path, "['a']", column="region")


def test_wrong_golden_rows_are_named_by_id_or_place(tmp_path: Path) -> None:
    source = tmp_path / "golden.csv"
    source.write_text("id,label,x\nanna,1,1\nbert,0,2\ncara,,3\ndora,1.0,4\n")
    write_golden(str(source), tmp_path / "golden.parquet", columns=COLUMNS)
    said = parquet(tmp_path / "said.parquet", "SELECT unnest(['1', '1', NULL]) AS prediction")
    found = golden_tally(tmp_path / "golden.parquet", label="label", predictions=said)
    assert (found.rows, found.wrong, found.first) == (3, 2, ("bert", "dora"))
    source.write_text("label,x\n1,1\n0,2\n1,4\n")
    write_golden(str(source), tmp_path / "golden.parquet", columns=COLUMNS)
    found = golden_tally(tmp_path / "golden.parquet", label="label", predictions=said)
    assert found.first == ("row 2", "row 3")


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "there are no rows at"), ("x\n1\n", r"column 'label' \(label\) is missing"), ("", "promotion.golden")],
)
def test_golden_rows_that_cannot_be_used(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "golden.csv").write_text(text)
    with pytest.raises(PromotionError, match=said):
        write_golden(str(tmp_path / "golden.csv"), tmp_path / "golden.parquet", columns=COLUMNS)


def test_groups_are_those_of_a_column_or_of_an_hour_and_a_row_without_one_is_alone(tmp_path: Path) -> None:
    rows, said = tmp_path / "rows.parquet", tmp_path / "said.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT range AS id, if(range % 5 = 4, NULL, range % 3)::DOUBLE AS customer, range % 2 AS label, "
            f"'2026-01-01 00:00:00Z'::VARCHAR AS at FROM range(30)) TO '{rows}' (FORMAT parquet)"
        )
        connection.execute(f"COPY (SELECT '1' AS prediction FROM range(30)) TO '{said}' (FORMAT parquet)")
    answers = Answers(rows=rows, label="label", champion=said, challenger=said)
    influence = {("1", "1", "1"): 2.0, ("0", "1", "1"): -1.0}
    by: dict[object, float] = {}
    for row in range(30):
        key = row % 3 if row % 5 != 4 else f"alone {row}"
        by[key] = by.get(key, 0.0) + (2.0 if row % 2 else -1.0)
    found = groups(answers, influence, column="customer", time="at")
    assert found == Groups(3 + 6, sum(each**2 for each in by.values()))
    assert groups(answers, influence, column=None, time="at") == Groups(1, 15.0**2)
    assert groups(answers, influence, column=None, time="absent") is None
