from pathlib import Path

import duckdb
import joblib
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retrain_trigger.errors import PromotionError
from retrain_trigger.world import models


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    table = pd.DataFrame({"b": [0.0, 1.0] * 1500, "note": "x", "a": range(3000), "label": ["stay", "churn"] * 1500})
    table.to_csv(tmp_path / "rows.csv", index=False)
    with duckdb.connect() as connection:
        connection.execute(f"COPY (FROM '{tmp_path}/rows.csv') TO '{tmp_path}/rows.parquet' (FORMAT parquet)")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(table[["a", "b"]], table["label"])
    joblib.dump(model, tmp_path / "model.joblib")
    return tmp_path / "rows.parquet"


def test_a_model_says_what_it_needs_answers_and_how_long_it_takes(rows: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 5 AS a, 1.0 AS b) TO '{few}' (FORMAT parquet)")
    said, of_few = tmp_path / "said.parquet", tmp_path / "of_few.parquet"
    found = models.score(
        tmp_path / "model.joblib",
        folder=tmp_path,
        scratch=tmp_path,
        rows=rows,
        features=["not", "asked"],
        predictions=said,
        also={few: of_few},
        timed=True,
    )
    assert (found.features, found.width, found.classes) == (("a", "b"), 2, ("churn", "stay"))
    assert (found.rows, found.sample) == (3000, 1000)
    assert found.seconds is not None
    assert 0 < found.seconds < 5
    assert duckdb.read_parquet(str(said)).fetchall() == [("stay",), ("churn",)] * 1500
    assert duckdb.read_parquet(str(of_few)).fetchall() == [("churn",)]
    untimed = models.inspect(tmp_path / "model.joblib", folder=tmp_path, scratch=tmp_path)
    assert (untimed.width, untimed.seconds, untimed.sample) == (2, None, 0)


def test_a_column_that_the_rows_do_not_have_is_named(rows: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT a FROM '{rows}') TO '{other}' (FORMAT parquet)")
    with pytest.raises(PromotionError, match=r"needs column 'b', which the rows of other\.parquet do not have"):
        models.score(
            tmp_path / "model.joblib",
            folder=tmp_path,
            scratch=tmp_path,
            rows=other,
            features=[],
            predictions=tmp_path / "said.parquet",
        )
