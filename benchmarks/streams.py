"""Replay labelled streams: where nothing changes the trigger must stay quiet, where something does it must act.

    python benchmarks/streams.py FOLDER

FOLDER holds Parquet files with columns `t` (time or order), features and `y`. Each stream is cut into WINDOWS equal
windows, one a day. A champion is trained on the first TRAINED of them; its F1 on the next TRAINED less ALLOWANCE is the
threshold; the rest is replayed with `simulate`, as cron would have seen it, with drift warning only and with drift
retraining. Streams whose names begin with `control_` are shuffled: each of their retrainings is a false alarm.
"""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import duckdb
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from retrain_trigger.config import load
from retrain_trigger.judge.policy import Action
from retrain_trigger.questions import simulate

WINDOWS = 60
TRAINED = 6
ALLOWANCE = 0.03
BINARY = 2
DAY_ONE = datetime(2026, 1, 1, tzinfo=UTC)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--only", default="", help="Streams whose name has this text.")
def main(folder: Path, only: str) -> None:
    """Replay every stream of FOLDER and print a table."""
    print(f"{'stream':<26} {'rows':>6} {'metric':<9} {'t':>5} {'on_drift: warn':<32} on_drift: retrain")
    for path in sorted(folder.glob("*.parquet")):
        if only in path.stem:
            print(row(path), flush=True)


def row(path: Path) -> str:
    """Replay one stream; return its line of the table."""
    with duckdb.connect() as connection:
        table = connection.sql(f"SELECT * FROM '{path}' ORDER BY t").df()
    table["window"] = np.arange(len(table)) * WINDOWS // len(table)
    labels = table["y"].astype(str)
    positive = (
        min(labels.unique(), key=lambda label: ((labels == label).sum(), label)) if labels.nunique() == BINARY else None
    )
    metric = "f1" if positive else "f1_macro"
    said = predictions(table, labels)
    after = table["window"].between(TRAINED, 2 * TRAINED - 1)
    threshold = score(labels[after], said[after], positive) - ALLOWANCE
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), table, labels, said)
        told = [tell(Path(name), metric, threshold, positive, on_drift) for on_drift in ("warn", "retrain")]
    return f"{path.stem:<26} {len(table):>6} {metric:<9} {threshold:>5.2f} {told[0]:<32} {told[1]}"


def predictions(table: pd.DataFrame, labels: pd.Series) -> pd.Series:
    """Train on the first windows; predict all rows."""
    first = table["window"] < TRAINED
    features = table.drop(columns=["t", "y", "window"])
    features = features.loc[:, features[first].apply(lambda column: len(column.unique()) > 1)]
    texts = [name for name in features if not pd.api.types.is_numeric_dtype(features[name])]
    encoded = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), texts), remainder="passthrough"
    )
    model = make_pipeline(encoded, HistGradientBoostingClassifier(random_state=0))
    model.fit(features[first], labels[first])
    return pd.Series(model.predict(features), index=table.index)


def score(labels: pd.Series, said: pd.Series, positive: str | None) -> float:
    """Return F1 of the positive class, or macro F1."""
    if positive is None:
        return float(f1_score(labels, said, average="macro"))
    return float(f1_score(labels, said, pos_label=positive))


def write(folder: Path, table: pd.DataFrame, labels: pd.Series, said: pd.Series) -> None:
    """Write the reference (what the champion was trained on) and the prediction log of the windows after it."""
    within = table.groupby("window").cumcount() / table.groupby("window")["t"].transform("size")
    log = table.drop(columns=["t", "y", "window"]).assign(
        timestamp=[DAY_ONE + timedelta(days=float(day)) for day in table["window"] + within * 0.999],
        label=labels,
        prediction=said,
    )
    trained = table["window"] < TRAINED
    with duckdb.connect() as connection:
        for file, part in (("reference", log[trained].drop(columns="prediction")), ("log", log[~trained])):
            connection.register("part", part)
            connection.execute(f"COPY part TO '{folder / file}.parquet' (FORMAT parquet)")


def tell(folder: Path, metric: str, threshold: float, positive: str | None, on_drift: str) -> str:
    """Replay the log under the settings; return in which windows a retraining would have started."""
    settings = folder / f"{on_drift}.yaml"
    chosen = f"positive: '{positive}'" if positive else ""
    settings.write_text(
        f"performance_threshold: {max(threshold, 0):.4f}\nmetric: {metric}\n{chosen}\n"
        f"logs: {{predictions: log.parquet, reference: reference.parquet}}\n"
        f"trigger: {{on_drift: {on_drift}, min_rows: 50, patience: 2 of 3}}\n"
    )
    found = simulate.simulate(load.load(settings), [])
    acted: list[Any] = [
        (step.at - DAY_ONE).days for step in found.steps if step.at and step.decision.action is Action.RETRAIN
    ]
    return f"{len(acted)}: {', '.join(map(str, acted[:8]))}" if acted else "0"


if __name__ == "__main__":
    main()
