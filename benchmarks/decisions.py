"""Is the policy worth it? Play it day by day on labelled streams, with the real command, beside plain rules.

    python benchmarks/decisions.py FOLDER [--try NAME=YAML]

FOLDER holds Parquet files with columns `t` (time or order), features and `y`. Each is cut into equal windows, one a day:
a champion is trained on the first TRAINED of them, and --days are played. On each day the live model predicts the rows of
the day, they are logged with their labels (`--late`: labels come so many days later), and `run` does what it does.

`never` keeps the first champion, which learns from all but the held-out rows. `10` and `all` train every day on the last
ten windows or on all rows, and `periodic` trains every fifth day on the last ten: without a comparison. `recovered` is the gain of a policy over never,
divided by the gain of the better of `10` and `all`, at most 1, for streams where that gain is at least LEAST_GAIN.
"""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import Any

import click
import duckdb
import joblib
import numpy as np
import pandas as pd
import yaml
from sklearn.metrics import f1_score

from retrain_trigger.config import load
from retrain_trigger.core.errors import RetrainCheckError
from retrain_trigger.pipeline import by_hand, run
from retrain_trigger.process.baseline import fitted
from retrain_trigger.questions.backtest import built_in
from retrain_trigger.store.ledger import Ledger

TRAINED = 6
"""Windows of the first training."""
LEAST_GAIN = 0.02
LAST = 10
EVERY = 5
MARGIN, SHARE = 0.02, 0.2
BINARY = 2
DAY_ONE = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SETTINGS = """
performance_threshold: {threshold:.4f}
drift_threshold: 0.2
metric: {metric}
{positive}
logs: {{predictions: logs/*.parquet}}
train: {{command: {command}}}
"""


@dataclass(frozen=True)
class Stream:
    """Rows in order of time, each in a window; `positive` is the rarer of two labels, None for more labels."""

    name: str
    features: pd.DataFrame
    labels: pd.Series
    window: np.ndarray
    positive: str | None

    @property
    def days(self) -> int:
        """How many windows there are."""
        return int(self.window[-1]) + 1

    @property
    def played(self) -> np.ndarray:
        """Which rows are played."""
        return self.window >= TRAINED

    def score(self, said: np.ndarray, *, rows: np.ndarray | None = None) -> float:
        """Return F1 of the positive label over all rows that are played, or macro F1."""
        chosen = self.played if rows is None else rows
        options = {"average": "macro"} if self.positive is None else {"pos_label": self.positive}
        return float(f1_score(self.labels[chosen], said[chosen], zero_division=0, **options))

    def learned(self, first: int, last: int) -> Any:
        """Train on windows from `first` to before `last`."""
        rows = (self.window >= first) & (self.window < last)
        return fitted(self.features[rows], self.labels[rows])

    def answered(self, rule: Callable[[int], int | None]) -> np.ndarray:
        """Predict each window by the newest model; `rule` says from which window one is trained that day, or not."""
        said = np.array([""] * len(self.labels), dtype=object)
        model = self.learned(0, TRAINED)
        for day in range(TRAINED, self.days):
            first = rule(day) if day > TRAINED else None
            model = model if first is None else self.learned(first, day)
            rows = self.window == day
            said[rows] = model.predict(self.features[rows])
        return said


@dataclass(frozen=True)
class Played:
    """What a policy came to: the score of whatever was live, and of the first champion (`never`), attempts, promotions."""

    score: float
    never: float
    attempts: int = 0
    promotions: int = 0
    said: tuple[str, ...] = ()


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--only", default="", help="Streams whose name has one of these texts, with commas between.")
@click.option(
    "--try", "tried", multiple=True, help="A policy by name, and its settings in YAML, e.g. a='{trigger: {probe: 5}}'."
)
@click.option("--days", default=60, show_default=True, help="Days that are played.")
@click.option("--late", default=0, show_default=True, help="Days until labels come.")
@click.option("--cache", type=click.Path(path_type=Path), help="A folder that keeps what plain rules came to.")
@click.option("--tell", is_flag=True, help="Print what each day came to.")
def main(
    folder: Path, only: str, tried: Sequence[str], *, days: int, late: int, cache: Path | None, tell: bool
) -> None:
    """Print a table: a stream a line, and what each policy recovered of what retraining gains."""
    policies = {name: text for name, _, text in (each.partition("=") for each in tried)} or {"defaults": "{}"}
    memory = joblib.Memory(cache, verbose=0)
    plain = memory.cache(_plain)
    heads = [f"{name:>9} att pro" for name in policies]
    print(f"{'stream':<24} {'never':>6} {'10':>6} {'all':>6} {'period':>6}  {'  '.join(heads)}", flush=True)
    shares: dict[str, list[float]] = {name: [] for name in (*policies, "periodic")}
    attempts: dict[str, list[int]] = {name: [] for name in policies}
    for path in sorted(folder.glob("*.parquet")):
        if not any(text in path.stem for text in only.split(",")):
            continue
        stream, rules = read(path, days), plain(path, days)
        played = {name: play(stream, text, late=late) for name, text in policies.items()}
        never = next(iter(played.values())).never
        gain = max(rules["10"], rules["all"]) - never
        scores = {**{name: found.score for name, found in played.items()}, "periodic": rules["periodic"]}
        if gain >= LEAST_GAIN:
            for name, found in scores.items():
                shares[name].append(min(1.0, (found - never) / gain))
        for name, each in played.items():
            attempts[name].append(each.attempts)
        plainly = " ".join(f"{score:>6.4f}" for score in (never, *rules.values()))
        cells = [f"{each.score:>9.4f} {each.attempts:>3} {each.promotions:>3}" for each in played.values()]
        told = [line for each in played.values() for line in each.said] if tell else []
        print("\n".join([*told, f"{path.stem:<24} {plainly}  {'  '.join(cells)}"]), flush=True)
    for name, each in shares.items():
        tried = f", {mean(attempts[name]):.1f} attempts a stream" if name in attempts else ""
        if each:
            print(f"{name}: recovered {mean(each):.3f} of {len(each)} streams (least {min(each):.2f}){tried}")


def read(path: Path, days: int) -> Stream:
    """Read a stream."""
    with duckdb.connect() as connection:
        table = connection.sql(f"SELECT * FROM '{path}' ORDER BY t").df()
    window = np.arange(len(table)) * (TRAINED + days) // len(table)
    labels = table["y"].astype(str)
    features = table.drop(columns=["t", "y"])
    features = features.loc[:, features[window < TRAINED].apply(lambda column: len(column.unique()) > 1)]
    two = labels.nunique() == BINARY
    positive = min(labels.unique(), key=lambda label: ((labels == label).sum(), label)) if two else None
    return Stream(path.stem, features, labels, window, positive)


def _plain(path: Path, days: int) -> dict[str, float]:
    """Return what each plain rule scores."""
    stream = read(path, days)
    rules: dict[str, Callable[[int], int | None]] = {
        "10": lambda day: max(0, day - LAST),
        "all": lambda _: 0,
        "periodic": lambda day: max(0, day - LAST) if (day - TRAINED) % EVERY == 0 else None,
    }
    return {name: stream.score(stream.answered(rule)) for name, rule in rules.items()}


def play(stream: Stream, settings: str, *, late: int) -> Played:
    """Play the real command on a stream."""
    with tempfile.TemporaryDirectory() as name:
        return Player(Path(name), stream, late).played(settings)


@dataclass(frozen=True)
class Player:
    """A project in a folder, and the days that it lives through."""

    folder: Path
    stream: Stream
    late: int

    def played(self, settings: str) -> Played:
        """Live through all days."""
        stream = self.stream
        config = self._config(settings)
        said = np.array([""] * len(stream.labels), dtype=object)
        for day in range(TRAINED):
            self._write(day, stream.labels.to_numpy(dtype=object))
        by_hand.bootstrap(config, now=DAY_ONE + TRAINED * HOUR * 24, say=_unheard)
        never = joblib.load(self.folder / "models" / _live(config)).predict(stream.features)
        told = []
        for day in range(TRAINED, stream.days):
            rows = stream.window == day
            model = joblib.load(self.folder / "models" / _live(config))
            said[rows] = model.predict(stream.features[rows])
            self._write(day, said)
            try:
                outcome = run.run(config, now=DAY_ONE + timedelta(days=day + 1) + HOUR, say=_unheard)
                because = f"{outcome.word.value}: {outcome.because}"
            except RetrainCheckError as error:
                because = f"exit {int(error.code)}: {error}"
            told.append(f"{day - TRAINED:>3} {stream.score(said, rows=rows):.3f} {because}")
        kinds = self._kinds(config)
        attempts, promotions = (kinds.count(kind) - 1 for kind in ("training", "promoted"))
        return Played(stream.score(said), stream.score(never), attempts, promotions, tuple(told))

    def _config(self, settings: str) -> load.Config:
        stream = self.stream
        text = SETTINGS.format(
            threshold=max(_threshold(stream), 0.01),
            metric="f1" if stream.positive else "f1_macro",
            positive=f"positive: '{stream.positive}'" if stream.positive else "",
            command=json.dumps(built_in("label", list(stream.features))),
        )
        (self.folder / "config.yaml").write_text(_merged(text, settings))
        return load.load(self.folder / "config.yaml")

    def _write(self, day: int, said: np.ndarray) -> None:
        """Log a day: rows, predictions, and labels that are known later."""
        stream = self.stream
        rows = np.flatnonzero(stream.window == day)
        start, step = DAY_ONE + timedelta(days=day), timedelta(days=0.999) / max(1, len(rows))
        at = [start + number * step for number in range(len(rows))]
        log = stream.features.iloc[rows].assign(
            timestamp=at,
            id=[f"r{row}" for row in rows],
            prediction=said[rows].astype(str),
            label=stream.labels.iloc[rows],
            labelled_at=[each + self.late * timedelta(days=1) for each in at],
        )
        (self.folder / "logs").mkdir(exist_ok=True)
        with duckdb.connect() as connection:
            connection.register("log", log)
            connection.execute(f"COPY log TO '{self.folder / 'logs' / f'{day:03}'}.parquet' (FORMAT parquet)")

    def _kinds(self, config: load.Config) -> list[str]:
        with Ledger.reading(config.state / "ledger.sqlite") as ledger:
            return [entry.kind.value for entry in ledger.entries()]


def _threshold(stream: Stream) -> float:
    """Return what a champion scores on rows of its own time that it was not trained on, less MARGIN."""
    first = stream.window < TRAINED
    held = first & (np.random.default_rng(0).random(len(first)) < SHARE)
    model = fitted(stream.features[first & ~held], stream.labels[first & ~held])
    said = np.array([""] * len(first), dtype=object)
    said[held] = model.predict(stream.features[held])
    return stream.score(said, rows=held) - MARGIN


def _merged(settings: str, more: str) -> str:
    """Return settings with those of a policy in their places."""
    one, other = yaml.safe_load(settings), yaml.safe_load(more) or {}
    for key, value in other.items():
        one[key] = {**one[key], **value} if isinstance(one.get(key), dict) else value
    return yaml.safe_dump(one)


def _live(config: load.Config) -> str:
    return str(json.loads(config.model.pointer.read_text())["path"])


def _unheard(_: str) -> None:
    pass


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
