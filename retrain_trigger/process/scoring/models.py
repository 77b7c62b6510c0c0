"""Models, seen from outside: a child process loads and asks them, under limits, and this one never does."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from retrain_trigger.core.errors import PromotionError, TrainingError
from retrain_trigger.core.redaction import redacted
from retrain_trigger.process import output, training, tree, warm
from retrain_trigger.store import files

PATIENCE = 1800.0
"""Seconds that a model may take at most to load and score the hold-out."""

MOST_PROCESSES = 500
"""Processes that a model may have at once, with those that they start."""

LOCK = "scoring.lock"
"""The file, among those of a run, whose lock the child and all that it starts hold."""

_POLL = 0.25
_GRACE = 10.0
_SHOWN = 300
_LARGEST_REPLY = 64 << 20


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a loaded model says of itself: feature names, their number, classes (None if it does not say).

    `seconds` is the time it takes for `sample` rows at once, None if that was not asked; `rows` those it predicted.
    `foreign` says that another scikit-learn wrote it than the one that reads it, None if that is not so.
    """

    features: tuple[str, ...] | None
    classes: tuple[str, ...] | None
    rows: int
    width: int | None = None
    seconds: float | None = None
    sample: int = 0
    foreign: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a model is asked to predict; by default nothing, so that it only says what it is.

    `tables` maps Parquet files of rows to the files that its predictions go to, as text, in the order of the rows.
    `features` are used, in order, for a model that does not name its own; no model is given the columns in `hidden`.
    `timed` asks how long it takes.
    """

    tables: Mapping[Path, Path] = field(default_factory=dict)
    features: Sequence[str] = ()
    hidden: Sequence[str] = ()
    timed: bool = False


def ask(model: Path, request: Request, *, folder: Path, scratch: Path, patience: float = PATIENCE) -> ModelFacts:
    """Load a model in a child process, let it predict, and return what it says of itself. Raises PromotionError.

    `folder` is where the child runs (a model may need modules that stand beside config.yaml); `scratch` takes its
    files; `patience` is in seconds.
    """
    reply = scratch / f"{model.parent.name}.reply.json"
    log = scratch / f"{model.parent.name}.scoring.log"
    for leftover in (reply, log, *request.tables.values()):
        files.remove(leftover)
    document = {
        "model": str(model),
        "tables": [{"rows": str(rows), "predictions": str(target)} for rows, target in request.tables.items()],
        "features": list(request.features),
        "hidden": list(request.hidden),
        "timed": request.timed,
        "reply": str(reply),
        "patience": patience,
        "parent": os.getpid(),
    }
    answer = _answered(reply, _converse(json.dumps(document).encode(), folder, scratch, log, patience))
    if "error" in answer:
        raise PromotionError(f"the model {model} could not be used: {redacted(str(answer['error']))}")
    names, classes = answer["features"], answer["classes"]
    return ModelFacts(
        tuple(names) if names else None,
        tuple(classes) if classes else None,
        answer["rows"],
        answer["width"],
        answer["seconds"],
        answer["sample"],
        answer["foreign"],
    )


def _answered(reply: Path, ending: str | None) -> dict[str, Any]:
    """Read the reply; a model in the same process may have written anything there, or have ended it early."""
    if ending is not None:
        return {"error": f"the process that loads it {ending}"}
    try:
        with files.open_regular(reply) as file:
            answer = json.loads(file.read(_LARGEST_REPLY))
    except (OSError, ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and ("error" in answer or set(answer) == {each.name for each in fields(ModelFacts)}):
        return answer
    return {"error": "the process that loads it left no reply"}


def end_leftover(scratch: Path) -> None:
    """End what is left of a child whose controller was killed; what cannot be ended holds nothing up."""
    held = scratch / LOCK
    if held.exists() and training.is_alive(scratch.name, held):
        with suppress(TrainingError):
            training.end_tree(scratch.name, held, grace=0.0)


def _converse(request: bytes, folder: Path, scratch: Path, log: Path, patience: float) -> str | None:
    """Run the child; return how it ended, in words, None if it ended well. Nothing that it started is left."""
    others, run, held = tree.adopt_orphans(), scratch.name, scratch / LOCK
    with training.inheritable_lock(held, run) as descriptor, output.kept(log) as printed:
        process = None
        try:
            process = subprocess.Popen(
                warm.scoring(),
                cwd=folder,
                env={**training.inherited(), **training.marks(run, held)},
                pass_fds=(descriptor,),
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            failed = _fed(process, request, patience, others)
        finally:
            if process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            tree.kill(within=_GRACE, but=others)
            training.end_tree(run, held, but=others, grace=0.0)
            if process is not None:
                process.wait()
    if failed is None and process.returncode:
        lines = " / ".join(output.last_lines(log))[-_SHOWN:]
        failed = f"ended with {process.returncode} ({redacted(lines) or 'it printed nothing'})"
    return failed


def _fed(process: "subprocess.Popen[bytes]", request: bytes, patience: float, others: AbstractSet[int]) -> str | None:
    """Hand over the request and wait for the end; return why it was not waited for, None if it ended."""
    end = time.monotonic() + patience
    rest: bytes | None = request
    while time.monotonic() < end:
        try:
            process.communicate(rest, timeout=_POLL)
        except subprocess.TimeoutExpired:
            rest = None  # it goes on with what it was given
            if len(tree.of(os.getpid(), but=others)) > MOST_PROCESSES:
                return f"started more than {MOST_PROCESSES} processes"
        else:
            return None
    return f"did not end within {patience:.0f} s"
