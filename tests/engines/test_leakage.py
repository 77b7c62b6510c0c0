from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from retrain_trigger.core.errors import DataError
from retrain_trigger.core.events import Span
from retrain_trigger.engines import labelled, leakage

COLUMNS = {
    role: role for role in ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")
}


def rows(folder: Path, name: str, query: str) -> Path:
    duckdb.sql(f"COPY ({query}) TO '{folder / name}.parquet' (FORMAT parquet)")
    return folder / f"{name}.parquet"


@pytest.mark.parametrize(
    ("trained", "held", "found"),
    [
        ("SELECT 'a' AS id, 1 AS x", "SELECT 'a' AS id, 2 AS x", (1, ("a",))),  # the same case, measured again
        ("SELECT 'A ' AS id", "SELECT 'a' AS id", (1, ("a",))),
        ("SELECT 7 AS id", "SELECT '7' AS id", (1, ("7",))),
        ("SELECT 'a' AS id, 1 AS x", "SELECT 'b' AS id, 1 AS x", (0, ())),
        ("SELECT range AS id FROM range(9)", "SELECT range AS id FROM range(4, 20)", (5, ("4", "5", "6"))),
        ("SELECT NULL AS id, 1 AS x", "SELECT NULL AS id, 1 AS x", (1, ("None",))),
        ("SELECT NULL AS id, 1 AS x", "SELECT NULL AS id, 2 AS x", (0, ())),
        # Without ids, by every column that both have but the label: numbers agree as numbers, times as times.
        (
            "SELECT TIMESTAMP '2026-01-01' AS timestamp, 1 AS x, 0 AS label",
            "SELECT '2026-01-01T00:00:00Z' AS timestamp, 1.0::DOUBLE AS x, 1 AS label",
            (1, ("2026-01-01T00:00:00Z",)),
        ),
        (
            "SELECT TIMESTAMP '2026-01-01' AS timestamp, 1 AS x",
            "SELECT TIMESTAMP '2026-01-02' AS timestamp, 1 AS x",
            (0, ()),
        ),
    ],
)
def test_rows_are_the_same_by_id_else_by_what_they_hold(
    tmp_path: Path, trained: str, held: str, found: tuple[int, tuple[str, ...]]
) -> None:
    leaked = leakage.between(rows(tmp_path, "trained", trained), rows(tmp_path, "held", held), columns=COLUMNS)
    assert (leaked.rows, leaked.first) == found


def test_a_row_leaks_with_any_other_of_its_group(tmp_path: Path) -> None:
    trained = rows(tmp_path, "trained", "SELECT range AS id, range // 2 AS customer FROM range(10)")
    query = "SELECT * FROM (VALUES (10, 4), (11, 5), (12, NULL), (3, NULL)) AS of(id, customer)"
    leaked = leakage.between(trained, rows(tmp_path, "held", query), columns=COLUMNS, group="customer")
    # The fourth has no customer, and the id of a row of which the customer is known: other rows, as far as that tells.
    assert (leaked.rows, leaked.first) == (1, ("10",))


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    whole = rows(tmp_path, "whole", "SELECT 1 AS id")
    (tmp_path / "torn.parquet").write_text("torn")
    with pytest.raises(DataError, match="cannot be compared"):
        leakage.between(whole, tmp_path / "torn.parquet", columns=COLUMNS)


def test_the_rows_of_an_early_training_end_where_it_is_told(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    query = "SELECT range AS id, TIMESTAMP '2026-02-20' + range * INTERVAL 1 HOUR AS timestamp, range % 2 AS label FROM range(200)"
    need = labelled.Need(reserve=labelled.Reserve(share=0.2))
    with labelled.opened(str(rows(tmp_path, "all", query)), columns=COLUMNS, now=now, need=need) as known:
        cut = now - timedelta(days=2)
        training = known.training(since=cut - timedelta(days=1), until=cut)
        span = known.span(training)
        assert span.oldest is not None
        assert span.newest is not None
        assert span.oldest >= cut - timedelta(days=1)
        assert span.newest <= cut
        assert span.rows == known.count(f"{training} AND NOT ({known.reserved})")
        assert sum(known.labels(training).values()) == span.rows
        assert known.span("false") == Span()
