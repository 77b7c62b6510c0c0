from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from retrain_trigger.counts.table import TableCounts
from retrain_trigger.engines import labelled
from retrain_trigger.engines.description import NOTHING_KNOWN, Known
from retrain_trigger.engines.tables import AT

ROLES = {role: role for role in ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")}


def described(
    tmp_path: Path, columns: str, *, rows: int = 1000, where: str = "true", known: Known = NOTHING_KNOWN
) -> TableCounts:
    """Describe hourly rows; `i` is their number."""
    source = tmp_path / "rows.parquet"
    start = "TIMESTAMP '2026-01-01' + INTERVAL (i) HOUR AS timestamp"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT {start}, i % 2 AS label, {columns} FROM range({rows}) r(i)) TO '{source}' (FORMAT parquet)"
        )
    with labelled.opened(str(source), columns=ROLES, now=datetime(2030, 1, 1, tzinfo=UTC)) as found:
        return found.describe(where, known)


def test_what_is_not_finite_is_missing_and_has_no_part_in_the_range(tmp_path: Path) -> None:
    odd = "CASE i % 4 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN 'inf'::DOUBLE WHEN 2 THEN NULL ELSE i END AS a"
    column = described(tmp_path, odd).columns["a"]
    assert (column.type, column.missing) == ("number", 750)
    assert (column.least, column.greatest) == (3, 999)
    assert column.low == pytest.approx(10, abs=4)
    assert column.high == pytest.approx(990, abs=4)


def test_rows_are_counted_against_what_is_known(tmp_path: Path) -> None:
    known = Known(bands={"a": (10, 989)}, values={"b": ["it's", "0"]})
    columns = described(tmp_path, "i AS a, if(i < 5, NULL, (i % 10)::VARCHAR) AS b", known=known).columns
    assert columns["a"].outside == 20
    assert columns["b"].unseen == 995 - 99
    assert columns["b"].missing == 5


def test_every_kind_of_column_is_described(tmp_path: Path) -> None:
    kinds = "i > 3 AS flag, DATE '2026-01-01' + (i % 7)::INTEGER AS day, [i] AS list, {'x': i} AS \"odd \"\"name\", 1.5::DECIMAL(9, 2) AS price"
    columns = described(tmp_path, kinds).columns
    assert {name: column.type for name, column in columns.items()} == {
        "flag": "boolean",
        "day": "time",
        "list": "other",
        'odd "name': "other",
        "price": "number",
    }
    assert [columns[name].varies for name in ("flag", "day", "list", "price")] == [True, True, None, False]


@pytest.mark.parametrize(
    ("column", "hours"),
    [
        ("i", 0),
        ("i // 100", 100),
        ("i > 300", 699),
        ("if(i < 400, 0, i)", 400),
        ("if(i < 400, NULL, i)", 0),
        ("if(i BETWEEN 200 AND 299, NULL, i // 500)", 500),  # rows without a value end nothing
    ],
)
def test_how_long_a_column_kept_one_value(tmp_path: Path, column: str, hours: float) -> None:
    slices = 999 / 200  # hours: as exact as it is known
    still = (described(tmp_path, f"{column} AS a").columns["a"].still or 0) / 3600
    assert hours <= still <= hours + 4 * slices


def test_values_of_categories_and_how_many_were_new(tmp_path: Path) -> None:
    columns = described(
        tmp_path, "'v' || i % 3 AS steady, 'm' || i // 150 AS month, 'c' || i AS id_like, if(i < 900, 'a', 'b') AS late"
    ).columns
    assert columns["steady"].values == ("v0", "v1", "v2")
    assert columns["steady"].fresh == 0
    assert columns["month"].fresh > 0.7
    assert columns["late"].values == ("a", "b")
    assert columns["late"].fresh == pytest.approx(0.5, abs=0.02)
    assert columns["id_like"].values is None


def test_rows_of_one_moment_and_no_rows_at_all(tmp_path: Path) -> None:
    moment = described(tmp_path, "i AS a, 'x' AS b", where=f"{AT} = TIMESTAMP '2026-01-02'")
    assert (moment.rows, moment.columns["a"].still) == (1, None)
    assert moment.columns["b"].values == ("x",)
    nothing = described(tmp_path, "i AS a, 'x' AS b", where="false")
    assert (nothing.rows, nothing.oldest, nothing.newest) == (0, None, None)
    assert nothing.columns["a"].missing == 0
    assert described(tmp_path, "i AS id").columns == {}
