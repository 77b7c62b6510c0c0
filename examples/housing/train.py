"""Train a classifier of house values: what `make train-model` runs. Knows nothing of retrain-check but two variables."""

import os
import sys

import duckdb
import joblib
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

FEATURES = ["MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude"]
SEED = 0


def main() -> None:
    """Fit the model on the rows of RETRAIN_TRAIN_DATA and leave it at RETRAIN_OUTPUT."""
    source, target = _setting("RETRAIN_TRAIN_DATA"), _setting("RETRAIN_OUTPUT")
    rows = duckdb.read_parquet(source).df()
    joblib.dump(fitted(rows), target)
    print(f"trained on {len(rows):,} rows from {rows['timestamp'].min():%F} to {rows['timestamp'].max():%F}")


def fitted(rows: pd.DataFrame) -> HistGradientBoostingClassifier:
    """Return the model that these labelled rows give."""
    return HistGradientBoostingClassifier(random_state=SEED).fit(rows[FEATURES], rows["label"])


def _setting(name: str) -> str:
    if not os.environ.get(name):
        sys.exit(f"{name} is not set: `retrain-check run` sets it and starts this script by `make train-model`")
    return os.environ[name]


if __name__ == "__main__":
    main()
