"""Models, seen from outside: a child process loads and asks them, under limits, and this one never does."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
    """What a loaded model says of itself: feature names, their number, classes (None where it does not say).

    `seconds` is the time it takes for `sample` rows at once, None where that was not asked; `rows` those it predicted.
    """

    features: tuple[str, ...] | None
    classes: tuple[str, ...] | None
    rows: int
    width: int | None = None
    seconds: float | None = None
    sample: int = 0


def inspect(model: Path, *, folder: Path, scratch: Path) -> ModelFacts:
    """Load a model in a child process and return what it says of itself. Raises PromotionError where it cannot."""
    return _ask(model, folder=folder, scratch=scratch, tables={}, features=(), timed=False)


def score(
    model: Path,
    *,
    folder: Path,
    scratch: Path,
    rows: Path,
    features: Sequence[str],
    predictions: Path,
    also: Mapping[Path, Path] | None = None,
    timed: bool = False,
) -> ModelFacts:
    """Write what a model predicts for each row of a Parquet file, in its order, as text, to `predictions`.

    `features` are used, in order, for a model that does not name its own. `folder` is where the child runs (a model
    may need modules that stand beside config.yaml); `scratch` takes its files. `also` maps other files of rows to where
    their predictions go; `timed` asks how long the model takes. Raises PromotionError.
    """
    tables = {rows: predictions, **(also or {})}
    return _ask(model, folder=folder, scratch=scratch, tables=tables, features=features, timed=timed)


def _ask(
    model: Path, *, folder: Path, scratch: Path, tables: Mapping[Path, Path], features: Sequence[str], timed: bool
) -> ModelFacts:
    reply = scratch / f"{model.parent.name}.reply.json"
    log = scratch / f"{model.parent.name}.scoring.log"
    for leftover in (reply, log, *tables.values()):
        files.remove(leftover)
    request = {
        "model": str(model),
        "tables": [{"rows": str(rows), "predictions": str(target)} for rows, target in tables.items()],
        "features": list(features),
        "timed": timed,
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
    return ModelFacts(
        tuple(names) if names else None,
        tuple(classes) if classes else None,
        answer["rows"],
        answer["width"],
        answer["seconds"],
        answer["sample"],
    )


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
