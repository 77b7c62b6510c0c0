"""Is the policy worth it? Play it day by day on labelled streams, with the real command, beside plain rules.

    python benchmarks/decisions.py FOLDER [--try NAME=YAML]

FOLDER holds Parquet files with columns `t` (time or order), features and `y`. Each is cut into equal windows, one a day:
a champion is trained on the first TRAINED of them, and --days are played. On each day the live model predicts the rows of
the day, they are logged with their labels (`--late`: labels come so many days later), and `run` does what it does.

`never` keeps the first champion, which learns from all but the held-out rows. The other plain rules train without a
comparison, and promote what comes out; they get the labels at once. `10` and `all` train every day on the last ten windows
or on all rows. `periodic` trains every fifth day on the last ten. `ADWIN`, `DDM`, `PageHink` (upwards only) and `KSWIN` are
detectors of river with its defaults: they see the error of the live model, 0 or 1, row by row. A day on which one fires ends with
a training on the last ten windows, and the detector begins anew. ADWIN and KSWIN fire when the error falls, too.

`recovered` is the gain of a policy or a rule over never, divided by the gain of the better of `10` and `all`, at most 1, for
streams where that gain is at least LEAST_GAIN. `att` counts trainings of a rule and attempts of a policy, `pro` promotions.

To add a policy of settings, name it: `--try NAME='{trigger: {probe: 5}}'`, in the YAML of config.yaml. To add another rule,
write a row of RULES: a name, and what makes a fresh one for each stream, a function that is asked on each morning but the first.
It is given the day and the errors of the live model on the rows of the day before, and returns the window from which on a new
model is trained, or None to keep the live one.
"""

import importlib
import importlib.util
import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import attrgetter
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
from threadpoolctl import threadpool_limits

from retrain_trigger.config import load
from retrain_trigger.core.errors import RetrainCheckError
from retrain_trigger.pipeline import by_hand, run
from retrain_trigger.process import cached, warm
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

    def lived(self, rule: "Rule") -> "Played":
        """Predict each window by the newest model, and train a new one on each day that a rule says so."""
        said = np.array([""] * len(self.labels), dtype=object)
        model, attempts = self.learned(0, TRAINED), 0
        for day in range(TRAINED, self.days):
            before = self.window == day - 1
            first = rule(day, (said != self.labels.to_numpy())[before]) if day > TRAINED else None
            if first is not None:
                model, attempts = self.learned(first, day), attempts + 1
            rows = self.window == day
            said[rows] = model.predict(self.features[rows])
        return Played(self.score(said), attempts, attempts)


Rule = Callable[[int, np.ndarray], int | None]
"""Says on the morning of a day, with the errors of the day before, from which window on a model is trained; None for none."""


@dataclass(frozen=True)
class Played:
    """What a policy or a rule came to: the score of whatever was live, attempts, promotions.

    `never` is the score of the first champion, `said` what each day came to.
    """

    score: float
    attempts: int = 0
    promotions: int = 0
    never: float = math.nan
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
    plain = joblib.Memory(cache, verbose=0).cache(_plain)
    rules = tuple(RULES)
    if importlib.util.find_spec("river") is None:
        rules = tuple(name for name in rules if name not in DETECTORS)
        print(f"{', '.join(DETECTORS)} are left out: river is not installed (pip install --group bench)")
    heads = [*(f"{name:>8} att" for name in rules), *(f"{name:>9} att pro" for name in policies)]
    print(f"{'stream':<24} {'never':>6}  {'  '.join(heads)}", flush=True)
    shares: dict[str, list[float]] = {}
    attempts: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.parquet")):
        if not any(text in path.stem for text in only.split(",")):
            continue
        stream, ruled = read(path, days), plain(path, days, rules)
        played = {name: play(stream, text, late=late) for name, text in policies.items()}
        never = next(iter(played.values())).never
        gain = max(ruled[name].score for name in BEST) - never
        for name, each in {**played, **ruled}.items():
            attempts.setdefault(name, []).append(each.attempts)
            if gain >= LEAST_GAIN:
                shares.setdefault(name, []).append(min(1.0, (each.score - never) / gain))
        cells = [f"{each.score:>8.4f} {each.attempts:>3}" for each in ruled.values()]
        cells += [f"{each.score:>9.4f} {each.attempts:>3} {each.promotions:>3}" for each in played.values()]
        told = [line for each in played.values() for line in each.said] if tell else []
        print("\n".join([*told, f"{path.stem:<24} {never:>6.4f}  {'  '.join(cells)}"]), flush=True)
    for line in _closing({name: each for name, each in shares.items() if name not in BEST}, attempts):
        print(line)


def _closing(shares: Mapping[str, Sequence[float]], attempts: Mapping[str, Sequence[int]]) -> list[str]:
    """Say what each policy and rule recovered; the better of two rules is what they are held against."""
    return [
        f"{name}: recovered {mean(each):.3f} of {len(each)} streams (least {min(each):.2f}), "
        f"{mean(attempts[name]):.1f} attempts a stream"
        for name, each in shares.items()
    ]


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


def _plain(path: Path, days: int, rules: Sequence[str]) -> dict[str, Played]:
    """Return what plain rules came to."""
    stream = read(path, days)
    return {name: stream.lived(RULES[name]()) for name in rules}


def _last(day: int) -> int:
    """Return the first of the last windows."""
    return max(0, day - LAST)


class Detected:
    """Train after a day on which a detector of river fired; it then begins anew."""

    def __init__(self, name: str) -> None:
        self._make = DETECTORS[name]
        self._detector = self._make()

    def __call__(self, day: int, wrong: np.ndarray) -> int | None:
        """Show it the errors of the day before."""
        fired = False
        for error in wrong.astype(int).tolist():
            self._detector.update(error)
            fired = fired or self._detector.drift_detected
        if not fired:
            return None
        self._detector = self._make()
        return _last(day)


def _river(name: str, **options: object) -> Callable[[], Any]:
    """Return what makes a detector; river is loaded only then."""
    return lambda: attrgetter(name)(importlib.import_module("river.drift"))(**options)


def play(stream: Stream, settings: str, *, late: int) -> Played:
    """Play the real command on a stream."""
    with tempfile.TemporaryDirectory() as name, warm.serving(Path(name), threads=1), warm.used(Path(name)):
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
        return Played(stream.score(said), attempts, promotions, stream.score(never), tuple(told))

    def _config(self, settings: str) -> load.Config:
        stream = self.stream
        text = SETTINGS.format(
            threshold=max(_threshold(stream), 0.01),
            metric="f1" if stream.positive else "f1_macro",
            positive=f"positive: '{stream.positive}'" if stream.positive else "",
            command=json.dumps(cached.command(self.folder, built_in("label", list(stream.features)), None)),
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


DETECTORS: dict[str, Callable[[], Any]] = {
    "ADWIN": _river("ADWIN"),
    "DDM": _river("binary.DDM"),
    "PageHink": _river("PageHinkley", mode="up"),
    "KSWIN": _river("KSWIN", seed=0),
}

BEST = ("10", "all")
"""Rules of which the better one is what can be gained."""

RULES: dict[str, Callable[[], Rule]] = {
    "10": lambda: lambda day, _: _last(day),
    "all": lambda: lambda _day, _: 0,
    "periodic": lambda: lambda day, _: _last(day) if (day - TRAINED) % EVERY == 0 else None,
    **{name: partial(Detected, name) for name in DETECTORS},
}


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # of what is started from here
    with threadpool_limits(1):  # threads that wait for each other cost several times as much on a busy machine
        main()
