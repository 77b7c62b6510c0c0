"""A project as a user has it: config.yaml, a Makefile, data, logs, and models that are real joblib files."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import duckdb
import forks
import joblib
import numpy as np

START = datetime(2026, 1, 1, tzinfo=UTC)
BREAK = START + timedelta(days=20)
PATIENCE = 120.0
"""Seconds that a command may take."""

ECHO = '''
"""A model that repeats one column of its input: how right it is, is written in the data."""

class Echo:
    def __init__(self, column):
        self.column = column
        self.feature_names_in_ = ["old", "new", "slight", "worse"]

    def predict(self, table):
        return table[self.column].to_numpy()
'''

TRAIN = """
import os, pickle, sys
from echo import Echo
with open(os.environ["RETRAIN_OUTPUT"], "wb") as file:
    pickle.dump(Echo(sys.argv[1]), file)
"""
"""What joblib writes of a model without arrays, too; to load joblib takes longer than the rest."""

ONE = SimpleNamespace(predict=np.ones_like, n_features_in_=1, classes_=[0, 1])
"""A model that always says 1, for one feature: to load scikit-learn takes longer than most runs."""
ZERO = SimpleNamespace(predict=np.zeros_like, n_features_in_=1, classes_=[0, 1])
"""One that always says 0."""


def repeating(column: str) -> SimpleNamespace:
    """Return a model that repeats a column, as `Echo` does, and stands in no module."""
    return SimpleNamespace(predict=itemgetter(column), feature_names_in_=["old", "new", "slight", "worse"])


CUT_OFF = """
import os, sys
try:
    from retrain_trigger.cli import door
    from retrain_trigger.core import entries
    from retrain_trigger.store.ledger import Ledger
except ImportError:  # an earlier version
    from retrain_trigger import cli as door, entries
    from retrain_trigger.world.ledger import Ledger

append, kinds = Ledger.append, getattr(entries, "KINDS", {})  # earlier versions append a kind

def cut_off(self, event, **more):
    append(self, event, **more)
    if kinds.get(type(event), event) == sys.argv[1]:
        os.kill(os.getpid(), 9)

Ledger.append = cut_off
door.main(sys.argv[2:])
"""
"""Runs the real command, and kills it when it has written an entry of a kind."""


@dataclass(frozen=True)
class Project:
    """A folder with everything that `retrain-check` needs, and ways to work in it.

    Its commands are forks of a process that has loaded them, or, where `forked` is false or a command is given what an
    interpreter looks at when it starts, `python -m retrain_trigger` from the start.
    """

    folder: Path
    forked: bool = True

    def write(self, name: str, text: str) -> Path:
        """Write a file, making its folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def has_in_production(self) -> Path:
        """Leave a tiny model that can be adopted: `production.model`."""
        joblib.dump(ZERO, self.folder / "production.model")
        return self.folder / "production.model"

    def makefile(self, *recipe: str) -> None:
        """Write the Makefile: what `make train-model` runs."""
        self.write("Makefile", "train-model:\n" + "".join(f"\t{line}\n" for line in recipe))

    def trains(self, column: str) -> None:
        """Let `make train-model` make a model that repeats this column."""
        self.write("echo.py", ECHO)
        self.write("train.py", TRAIN)
        self.makefile(f"@{sys.executable} train.py {column}")

    def log(self, *values: float | None, since: datetime = BREAK, **more: Any) -> None:
        """Log one daily F1 after the other."""
        lines = [
            json.dumps({"timestamp": (since + timedelta(days=day)).isoformat(), "f1": value, "n": 500, **more})
            for day, value in enumerate(values)
        ]
        with self.write_folder("logs/metrics.jsonl").open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def write_folder(self, name: str) -> Path:
        """Return a path whose folder exists."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def retrain_check(
        self, *arguments: str, code: int | None = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the real command; `code` is the exit code to expect, None for any."""
        done = self._forked(arguments, environment) if self.forked else None
        done = done or self._started(arguments, environment)
        said = f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, said
        assert "Traceback" not in done.stdout + done.stderr, said
        return done

    def _forked(
        self, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str] | None:
        return forks.run(arguments, folder=self.folder, environment=environment, within=PATIENCE)

    def _started(self, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "retrain_trigger", *arguments],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def run(self, *arguments: str, day: float, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a tick so many days after the break."""
        now = (BREAK + timedelta(days=day)).isoformat()
        return self.retrain_check("run", "--now", now, *arguments, code=code)

    @property
    def pointer(self) -> dict[str, Any]:
        """Return what the pointer says."""
        document: dict[str, Any] = json.loads((self.folder / "models/champion.json").read_text())
        return document

    def kinds(self) -> list[str]:
        """Return the kinds of all ledger entries, oldest first."""
        return [entry["kind"] for entry in self.history()]

    def history(self) -> list[dict[str, Any]]:
        """Return the ledger's entries, oldest first."""
        entries: list[dict[str, Any]] = json.loads(self.retrain_check("history", "--format", "json").stdout)
        return entries

    def trainings(self) -> int:
        """Count the trainings that were started."""
        return self.kinds().count("training")


CONFIG = """\
performance_threshold: 0.85
drift_threshold: 0.20
data: {labelled: labelled.parquet, holdout: 40%, windows: [all]}
promotion: {decide_on: holdout, min_rows: 200}
"""


def write_rows(path: Path, *, per_hour: int = 8, hours: int = 40 * 24, select: str = "*") -> None:
    """Write labelled rows in which each feature is a prediction, right as often as its name says."""
    random = Random(7)
    rows = []
    for number in range(hours * per_hour):
        at = START + timedelta(hours=number // per_hour)
        label = random.random() < 0.4
        right = {"old": 0.95 if at < BREAK else 0.7, "new": 0.95, "slight": 0.71, "worse": 0.5}
        said = {name: int(label if random.random() < share else not label) for name, share in right.items()}
        rows.append({"timestamp": at.isoformat(), "id": f"r{number}", **said, "label": int(label)})
    write_parquet(path, rows, select=select)


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], *, select: str = "*") -> None:
    """Write rows as Parquet, with the types that DuckDB sees in them."""
    source = path.with_suffix(".jsonl")
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT {select} FROM read_json('{source}')) TO '{path}' (FORMAT parquet)")
    source.unlink()


def day(number: float) -> datetime:
    """Return the time so many days after the break."""
    return BREAK + timedelta(days=number)
