"""Models, seen from outside: a child process loads and asks them, under limits, and this one never does."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from retrain_trigger.errors import PromotionError
from retrain_trigger.world import files

PATIENCE = 1800.0
"""Seconds that a model may take to load and score the hold-out."""
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a loaded model says of itself: its feature names and classes (None where it does not say)."""

    features: tuple[str, ...] | None
    classes: tuple[str, ...] | None
    rows: int


def inspect(model: Path, *, folder: Path, scratch: Path) -> ModelFacts:
    """Load a model in a child process and return what it says of itself. Raises PromotionError where it cannot."""
    return _ask(model, folder=folder, scratch=scratch, rows=None, features=(), predictions=None)


def score(
    model: Path, *, folder: Path, scratch: Path, rows: Path, features: Sequence[str], predictions: Path
) -> ModelFacts:
    """Write what a model predicts for each row of a Parquet file, in its order, as text, to `predictions`.

    `features` are used, in order, for a model that does not name its own. `folder` is where the child runs (a model
    may need modules that stand beside config.yaml); `scratch` takes its files. Raises PromotionError.
    """
    return _ask(model, folder=folder, scratch=scratch, rows=rows, features=features, predictions=predictions)


def _ask(
    model: Path, *, folder: Path, scratch: Path, rows: Path | None, features: Sequence[str], predictions: Path | None
) -> ModelFacts:
    reply = scratch / f"{model.parent.name}.reply.json"
    log = scratch / f"{model.parent.name}.scoring.log"
    for leftover in (reply, log, predictions):
        if leftover is not None:
            files.remove(leftover)
    request = {
        "model": str(model),
        "rows": str(rows) if rows else None,
        "features": list(features),
        "predictions": str(predictions),
        "reply": str(reply),
    }
    ending = _converse(json.dumps(request).encode(), folder, log)
    try:
        answer = json.loads(reply.read_text())
    except (OSError, ValueError):
        answer = {"error": f"the process that loads it {ending}"}
    if "error" in answer:
        raise PromotionError(f"the model {model} could not be used: {answer['error']}")
    names, classes = answer["features"], answer["classes"]
    return ModelFacts(tuple(names) if names else None, tuple(classes) if classes else None, answer["rows"])


def _converse(request: bytes, folder: Path, log: Path) -> str:
    """Run the child; return how it ended, in words."""
    with files.create(log) as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "retrain_trigger.world.scorer"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.communicate(request, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return f"did not end within {PATIENCE:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    said = "".join(c for c in log.read_text(errors="replace")[-_SHOWN:] if c.isprintable() or c == " ")
    return f"ended with {process.returncode} ({said.strip() or 'it printed nothing'})"
