"""What runs in the child process: load one model, under limits, and say what it predicts.

Started as `python -m retrain_trigger.world.scorer` with a JSON request on stdin:
`{"model": path, "rows": path | null, "features": [...], "predictions": path, "reply": path}`. `reply` receives a JSON
object: `{"features": [...] | null, "classes": [...] | null, "rows": n}` or `{"error": "..."}`.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

MEMORY = 0.8
"""Share of this machine's memory that a model may take."""
FILE_SIZE = 4 << 30
"""Bytes that any one file written by a model may have."""


def main() -> None:
    """Answer one request; whatever the model does wrong becomes one line of the reply."""
    request = json.load(sys.stdin)
    _limit()
    try:
        reply = _answer(request)
    except Exception as error:  # noqa: BLE001  (anything may come out of another's model)
        reply = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
    Path(request["reply"]).write_text(json.dumps(reply))


def _limit() -> None:
    page = resource.getpagesize()
    with open("/proc/meminfo") if sys.platform == "linux" else open("/dev/null") as meminfo:  # noqa: PTH123  (two sources, one block)
        total = next((int(line.split()[1]) * 1024 for line in meminfo if line.startswith("MemTotal")), 0)
    for limit, value in (
        (resource.RLIMIT_AS, int(total * MEMORY) // page * page),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
    ):
        _, hard = resource.getrlimit(limit)
        if limit != resource.RLIMIT_AS or value:
            resource.setrlimit(
                limit, (value, hard) if hard in (-1, resource.RLIM_INFINITY) else (min(value, hard), hard)
            )


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    import joblib  # noqa: PLC0415  (limits come first)

    model = joblib.load(request["model"])
    names = getattr(model, "feature_names_in_", None)
    classes = getattr(model, "classes_", None)
    reply: dict[str, Any] = {
        "features": None if names is None else [str(name) for name in names],
        "classes": None if classes is None else [_label(label) for label in classes],
        "rows": 0,
    }
    if request["rows"] is not None:
        reply["rows"] = _predict(model, reply["features"] or request["features"], request)
    return reply


def _predict(model: Any, features: list[str], request: dict[str, Any]) -> int:
    import duckdb  # noqa: PLC0415  (limits come first)
    import pandas as pd  # noqa: PLC0415  (limits come first)

    with duckdb.connect(":memory:") as connection:
        table = connection.read_parquet(request["rows"]).df()
        absent = [name for name in features if name not in table.columns]
        if absent:
            raise ValueError(f"the model needs column {absent[0]!r}, which the hold-out does not have")
        said = list(model.predict(table[features]))
        if len(said) != len(table):
            raise ValueError(f"the model gave {len(said)} predictions for {len(table)} rows")
        predictions = pd.DataFrame({"prediction": [_label(value) for value in said]}, dtype="object")
        connection.register("predictions", predictions)
        target = request["predictions"].replace("'", "''")
        connection.execute(f"COPY predictions TO '{target}' (FORMAT parquet)")
    return len(said)


def _label(value: Any) -> str:
    """Write a prediction as text, as the labels are written: 1, 1.0 and true are all '1'."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124  (NaN is what differs from itself)
            raise ValueError("the model predicts values that are not finite")
        return str(int(value)) if value.is_integer() else repr(value)
    if value is None:
        raise ValueError("the model predicts nothing (None) for a row")
    return str(value)


if __name__ == "__main__":
    main()
