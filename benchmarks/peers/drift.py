"""What a peer makes of a log and its reference: `drift.py NAME reference.parquet log.parquet`, in the peer's environment."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

NO_FEATURES = {"timestamp", "id", "prediction", "label"}


def loop_over_scipy(reference: pd.DataFrame, log: pd.DataFrame) -> Any:
    """Test column by column, as people do who have nothing else."""
    from scipy.stats import chi2_contingency, ks_2samp  # noqa: PLC0415  (each environment has its own peer only)

    found = {}
    for name in log:
        both = reference[name].dropna(), log[name].dropna()
        if pd.api.types.is_numeric_dtype(log[name]):
            found[name] = float(ks_2samp(*both).pvalue)
        else:
            counts = pd.concat([column.value_counts() for column in both], axis=1).fillna(0)
            found[name] = float(chi2_contingency(counts).pvalue)
    return found


def nannyml(reference: pd.DataFrame, log: pd.DataFrame) -> Any:
    """Measure univariate drift, with the methods and thresholds that are the default, in one chunk."""
    import nannyml as peer  # noqa: PLC0415  (as above)

    calculator = peer.UnivariateDriftCalculator(column_names=[*log.columns], chunk_number=1)
    return calculator.fit(reference).calculate(log).to_df().to_json()


def evidently(reference: pd.DataFrame, log: pd.DataFrame) -> Any:
    """Make the preset report on drift."""
    from evidently import Report  # noqa: PLC0415  (as above)
    from evidently.presets import DataDriftPreset  # noqa: PLC0415  (as above)

    return Report([DataDriftPreset()]).run(log, reference).json()


PEERS: dict[str, Callable[[pd.DataFrame, pd.DataFrame], Any]] = {
    "scipy": loop_over_scipy,
    "nannyml": nannyml,
    "evidently": evidently,
}

if __name__ == "__main__":
    peer, *paths = sys.argv[1:]
    features = [name for name in pq.read_schema(paths[1]).names if name not in NO_FEATURES]
    print(json.dumps(PEERS[peer](*(pd.read_parquet(path, columns=features) for path in paths))))
