"""The built-in model of a backtest, for who has no training command yet: gradient boosting over all columns.

`python -m retrain_trigger.process.baseline LABEL '["COLUMN", ...]'` trains it on RETRAIN_TRAIN_DATA and leaves it at
RETRAIN_OUTPUT.
"""

import json
import os
import sys
from collections.abc import Sequence
from functools import partial

import duckdb
import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

TREES = 40


def main(label: str, features: Sequence[str]) -> None:
    """Train on the rows that have a label."""
    with duckdb.connect() as connection:
        rows = connection.read_parquet(os.environ["RETRAIN_TRAIN_DATA"]).df().dropna(subset=[label])
    joblib.dump(fitted(rows[list(features)], rows[label]), os.environ["RETRAIN_OUTPUT"])


def fitted(rows: pd.DataFrame, labels: pd.Series) -> Pipeline:
    """Train a model; whatever is no number counts as a word, and empty columns are left out."""
    filled = [name for name in rows if rows[name].notna().any()]
    numbers = [name for name in filled if pd.api.types.is_numeric_dtype(rows[name])]
    words = [name for name in filled if name not in numbers]
    coded = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    texts = make_pipeline(FunctionTransformer(partial(pd.DataFrame.astype, dtype=str)), coded)
    encoded = make_column_transformer((texts, words), ("passthrough", numbers))
    return make_pipeline(encoded, HistGradientBoostingClassifier(max_iter=TREES, random_state=0)).fit(rows, labels)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
