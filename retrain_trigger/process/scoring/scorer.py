"""What runs in the child process: load one model, under limits, and say what it predicts.

Started as `python -m retrain_trigger.process.scoring.scorer` with a JSON request on stdin:
`{"model": path, "tables": [{"rows": path, "predictions": path}, ...], "features": [...], "hidden": [...], "timed": bool,
"reply": path, "patience": s, "parent": pid}`.
`reply` receives a JSON object: `{"features": [...] | null, "width": n | null, "classes": [...] | null, "rows": n,
"seconds": s | null, "sample": n, "foreign": text | null}` or `{"error": "..."}`; `rows`, `seconds` and `sample` are of the first table.
"""

import json
import sys
import time
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from retrain_trigger.process.scoring import answers, confinement

SAMPLE = 1000
"""Rows that are predicted at once to see how long a model takes."""
TIMES = 7
"""How often; the least counts, as whatever else runs on the machine only adds to it."""
LONGEST = 20.0
"""Seconds after which no further time is taken: a slow model is known well enough by then."""
FEW = 20
"""Rows that show whether a model takes text as it is."""
RECODES = (3, 1)
"""The first XGBoost that knows a category by its name; before, it was known by its place among those of the table."""
SLACK = 10.0
"""Seconds after its time is over that this process ends itself, should nobody have ended it."""


def main() -> None:
    """Answer one request; whatever the model does wrong becomes one line of the reply."""
    request = json.load(sys.stdin)
    confinement.guarded(parent=request["parent"])
    confinement.begin(seconds=request["patience"] + SLACK, parent=request["parent"])
    Path(request["reply"]).write_text(json.dumps(replied(request)))


def replied(request: dict[str, Any]) -> dict[str, Any]:
    """Return the reply to a request."""
    try:
        return _answer(request)
    except BaseException as error:  # noqa: BLE001  (anything may come out of another's model, SystemExit too)
        return {"error": _told(error)}


Model = Any
"""What a file held: anything at all."""

Table = Any
"""A pandas DataFrame, or a part of one as the model takes it."""


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    model, foreign = _loaded(request["model"])
    if not callable(getattr(model, "predict", None)):
        raise TypeError(f"it is a {type(model).__name__} without a predict method")
    names = getattr(model, "feature_names_in_", None)
    classes = getattr(model, "classes_", None)
    width = getattr(model, "n_features_in_", None)
    reply: dict[str, Any] = {
        "features": None if names is None else [str(name) for name in names],
        "width": None if width is None else int(width),
        "classes": None if classes is None else [answers.label(label) for label in classes],
        "rows": 0,
        "seconds": None,
        "sample": 0,
        "foreign": foreign,
    }
    features, hidden = reply["features"] or request["features"], request["hidden"]
    for place, table in enumerate(request["tables"]):
        rows = _predict(model, features, hidden, **table)
        if place == 0:
            reply["rows"] = rows
    if request["timed"] and request["tables"]:
        reply["seconds"], reply["sample"] = _time(
            model, _suited(model, _table(request["tables"][0]["rows"], features, hidden, at_most=SAMPLE))
        )
    return reply


def _loaded(path: str) -> tuple[Model, str | None]:
    """Load a model; also say where another scikit-learn wrote it than the one that reads it."""
    import joblib

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = joblib.load(path)
    versions = (
        (
            getattr(each.message, "original_sklearn_version", None),
            getattr(each.message, "current_sklearn_version", None),
        )
        for each in caught
    )
    wrote, reads = next((pair for pair in versions if all(pair)), (None, None))
    if wrote is None:
        return model, None
    return model, f"was written by scikit-learn {wrote} and is read by {reads}: it may answer otherwise here"


def _predict(model: Model, features: list[str], hidden: list[str], *, rows: str, predictions: str) -> int:
    import duckdb
    import pandas as pd

    table = _suited(model, _table(rows, features, hidden))
    said = answers.listed(model.predict(table), rows=len(table)) if len(table) else []
    predicted = pd.DataFrame({"prediction": answers.labels(said)}, dtype="object")
    with duckdb.connect(":memory:") as connection:
        connection.register("predicted", predicted)
        target = predictions.replace("'", "''")
        connection.execute(f"COPY predicted TO '{target}' (FORMAT parquet)")
    return len(said)


def _table(rows: str, features: list[str], hidden: list[str], *, at_most: int | None = None) -> Table:
    """Read the columns that the model needs as a pandas DataFrame, in its order; none of the `hidden` ones."""
    import duckdb

    with duckdb.connect(":memory:") as connection:
        relation = connection.read_parquet(rows)
        table = (relation if at_most is None else relation.limit(at_most)).df().drop(columns=hidden, errors="ignore")
    absent = [name for name in features if name not in table.columns]
    if absent:
        raise ValueError(f"the model needs column {absent[0]!r}, which the rows of {Path(rows).name} do not have")
    return table[features]


def _suited(model: Model, table: Table) -> Table:
    """Return a table with its texts as categories where the model takes them so only, as LightGBM and XGBoost do.

    Files of rows have no such type: whoever fitted the model made it of their text.
    """
    import pandas as pd

    texts = [name for name in table if pd.api.types.is_string_dtype(table[name])]
    if not texts or not len(table) or not _recodes():
        return table
    try:
        model.predict(table.head(FEW))
    except Exception:  # noqa: BLE001  (anything may come out of another's model; what it says of all rows is what counts)
        named = table.astype(dict.fromkeys(texts, "category"))
        with suppress(Exception):
            model.predict(named.head(FEW))
            return named
    return table


def _recodes() -> bool:
    """Say whether what has been loaded knows a category by its name, whichever others a table has."""
    version = getattr(sys.modules.get("xgboost"), "__version__", "99.0").split(".")
    return tuple(int(part) for part in version[:2]) >= RECODES


def _time(model: Model, table: Table) -> tuple[float, int]:
    """Return the seconds that the model takes to predict a table, at best, and its rows; it has predicted before."""
    best, end = float("inf"), time.perf_counter() + LONGEST
    for _ in range(TIMES):
        start = time.perf_counter()
        model.predict(table)
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() > end:
            break
    return best, len(table)


def _told(error: BaseException) -> str:
    try:
        said = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  (an exception of another's may not even be printable)
        said = ""
    told = f"{type(error).__name__}: {said[:500]}" if said else type(error).__name__
    return f"{told.rstrip('.')}{_advice(error, said)}"


def _advice(error: BaseException, said: str) -> str:
    """Say what to do where a model cannot be loaded for want of the code that it is made of."""
    match error:
        case ModuleNotFoundError(name=str(name)):
            package = name.partition(".")[0]
            if find_spec(package) is not None:
                return f"; it was saved with another version of {package} than the one that is installed here"
            return f"; install {package} where retrain-check runs, or put {package}.py beside config.yaml"
        case AttributeError() if "__main__" in said:
            return "; put its class in a module beside config.yaml, import it from there, and save the model again"
    return ""


if __name__ == "__main__":
    main()
