"""What runs in the child process: load one model, under limits, and say what it predicts.

Started as `python -m retrain_trigger.world.scorer` with a JSON request on stdin:
`{"model": path, "rows": path | null, "features": [...], "hidden": [...], "predictions": path, "reply": path,
"patience": s, "parent": pid}`. `reply` receives a JSON
object: `{"features": [...] | null, "classes": [...] | null, "rows": n}` or `{"error": "..."}`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from retrain_trigger.world import answers, confinement

SLACK = 10.0
"""Seconds after its time is over that this process ends itself, should nobody have ended it."""


def main() -> None:
    """Answer one request; whatever the model does wrong becomes one line of the reply."""
    request = json.load(sys.stdin)
    confinement.begin(seconds=request["patience"] + SLACK, parent=request["parent"])
    try:
        reply = _answer(request)
    except BaseException as error:  # noqa: BLE001  (anything may come out of another's model, SystemExit too)
        reply = {"error": _told(error)}
    Path(request["reply"]).write_text(json.dumps(reply))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    import joblib  # noqa: PLC0415  (limits come first)

    model = joblib.load(request["model"])
    names = getattr(model, "feature_names_in_", None)
    classes = getattr(model, "classes_", None)
    reply: dict[str, Any] = {
        "features": None if names is None else [str(name) for name in names],
        "classes": None if classes is None else [answers.label(label) for label in classes],
        "rows": 0,
    }
    if request["rows"] is not None:
        reply["rows"] = _predict(model, reply["features"] or request["features"], request)
    return reply


def _predict(model: Any, features: list[str], request: dict[str, Any]) -> int:
    import duckdb  # noqa: PLC0415  (limits come first)
    import pandas as pd  # noqa: PLC0415  (limits come first)

    with duckdb.connect(":memory:") as connection:
        table = connection.read_parquet(request["rows"]).df().drop(columns=request["hidden"], errors="ignore")
        absent = [name for name in features if name not in table.columns]
        if absent:
            raise ValueError(f"the model needs column {absent[0]!r}, which the hold-out does not have")
        said = answers.listed(model.predict(table[features]), rows=len(table))
        predictions = pd.DataFrame({"prediction": answers.labels(said)}, dtype="object")
        connection.register("predictions", predictions)
        target = request["predictions"].replace("'", "''")
        connection.execute(f"COPY predictions TO '{target}' (FORMAT parquet)")
    return len(said)


def _told(error: BaseException) -> str:
    try:
        said = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  (an exception of another's may not even be printable)
        said = ""
    return f"{type(error).__name__}: {said[:500]}" if said else type(error).__name__


if __name__ == "__main__":
    main()
