"""Runs killed while a model's children run, or while a prediction log is read: the next run leaves nothing behind.

Run as `python torture/cut_off.py [--number N] [--seed S]`; prints what went wrong, and exits with 1 where anything did.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zoo
from projects import Project
from projects import day as at

LINGERING = """
import subprocess, time
from pathlib import Path

class Lingering:
    feature_names_in_ = ["old", "new", "slight", "worse"]
    def predict(self, table):
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        subprocess.Popen(["sleep", "600"], env={})
        time.sleep(1.5)
        return table["new"].to_numpy()
"""
TRAIN = """
import os, joblib, lingering
joblib.dump(lingering.Lingering(), os.environ["RETRAIN_OUTPUT"])
"""
ROWS = 60_000


def run(number: int | None = None, seed: int = 7, **chosen: Any) -> tuple[int, list[str]]:
    """Cut off so many runs of each kind, as `zoo.run` meets animals."""
    cuts = {f"{name} {place}": (name, place) for name in KINDS for place in range(number or 100)}
    return zoo.run(cuts, met, seed=seed, **chosen)


def met(project: Project, cut: tuple[str, int]) -> list[str]:
    """Kill a run at some moment, let the next one come, and say what is left."""
    name, place = cut
    prepared, busy = KINDS[name]
    prepared(project)
    (project.folder / "tmp").mkdir()
    chance = random.Random(f"{name} {place}")
    killed = _started(project, day=4)
    until = time.monotonic() + 60
    while killed.poll() is None and not busy(project) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 1.2))
    killed.kill()
    killed.wait()
    later = _started(project, day=4.2)
    said = later.communicate(timeout=300)[0]
    wrong = [] if later.returncode == 0 else [f"the next run: exit {later.returncode}: {said[-600:]}"]
    if living := zoo.left_alive(project):
        wrong.append(f"processes are left: {living}")
    left = [path.name for path in (project.folder / "tmp").iterdir()]
    left += [path.name for path in (project.folder / ".retrain-check").glob("spill")]
    return wrong + [f"left lying about: {path}" for path in (*left, *zoo.untidy(project))]


def _started(project: Project, *, day: float) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "retrain_trigger", "run", "--now", at(day).isoformat()],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(project.folder / "tmp")},
    )


def _lingers(project: Project) -> None:
    """Let the next training make a model that starts processes and takes its time."""
    project.write("lingering.py", LINGERING)
    project.write("train.py", TRAIN)
    project.makefile(f"@{sys.executable} train.py")


def _reads(project: Project) -> None:
    """Give the service a prediction log that takes a while to count, and a metric that no longer breaches."""
    rows = (
        json.dumps(
            {
                "timestamp": at(place * 4 / ROWS).isoformat(),
                "id": f"{place}",
                "a": place % 7,
                "prediction": place % 2,
                "label": place % 2,
            }
        )
        for place in range(ROWS)
    )
    project.write("predictions.jsonl", "\n".join(rows) + "\n")
    config = (project.folder / "config.yaml").read_text()
    project.write("config.yaml", f"{config}logs: {{predictions: predictions.jsonl}}\n")


def _asks_a_model(project: Project) -> bool:
    return any(
        Path(f"/proc/{pid}/comm").read_text(errors="replace") == "sleep\n"
        for pid in zoo.alive(project)
        if Path(f"/proc/{pid}").exists()
    )


KINDS: dict[str, tuple[Callable[[Project], None], Callable[[Project], bool]]] = {
    "children": (_lingers, _asks_a_model),
    "log": (_reads, lambda project: bool(zoo.alive(project))),
}
"""What is prepared, and whether a run has come to where it is to be killed."""

if __name__ == "__main__":
    zoo.visit(run, called="cut-off runs", about=__doc__)
