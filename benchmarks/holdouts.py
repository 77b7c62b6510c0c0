"""Compare ways to decide about a challenger on labelled streams: by hash alone, and out of time.

    python benchmarks/holdouts.py FOLDER

FOLDER holds Parquet files with columns `t` (time or order), features and `y`; of longer ones, evenly spaced rows are
taken, ROWS in all. Each is cut into WINDOWS equal windows. A champion is trained on the first TRAINED of them; every
EVERY windows from then on challengers are trained on what is known, and judged by the functions that `run` judges with.
Each window is predicted by whoever is champion as it begins. Printed is, for each stream and
way to decide, the F1 over all predictions, how many challengers were promoted, and how many of them did worse than the
champion they replaced on the next EVERY windows by more than HARM; then the same over all streams.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates import bootstrap, gates, noninferiority
from retrain_trigger.judge.metrics import Measure

ROWS = 9_000
WINDOWS = 60
TRAINED = 6
EVERY = 6
OUT_OF_TIME = 2
SHARE = 0.2
MARGIN = 0.02
MIN_ROWS = 100
HARM = 0.01
BINARY = 2
REACHES = {"[all]": (None,), "[7, 30, all]": (7, 30, None)}

Predictions = npt.NDArray[Any]
Champion = tuple[int, int | None, int]
"""A model is known by what it was trained on: rows before a window, how many windows back, how many left out."""


@dataclass(frozen=True)
class Stream:
    """Rows in order of time; `reserved` are those that no model is trained on."""

    name: str
    features: pd.DataFrame
    labels: npt.NDArray[Any]
    window: npt.NDArray[Any]
    reserved: npt.NDArray[Any]
    positive: str | None
    models: dict[Champion, Predictions] = field(default_factory=dict)

    def said(self, by: Champion) -> Predictions:
        """Return what a model says of every row; it is trained once."""
        if by not in self.models:
            now, reach, left_out = by
            end = now - left_out
            rows = ~self.reserved & (self.window < end) & (self.window >= (end - reach if reach else 0))
            self.models[by] = fitted(self.features, self.labels, rows)
        return self.models[by]

    def f1(self, said: Predictions, rows: npt.NDArray[Any]) -> float:
        """Return F1 of the positive class, or macro F1, on some rows."""
        options = {"average": "macro"} if self.positive is None else {"pos_label": self.positive}
        return float(f1_score(self.labels[rows], said[rows], zero_division=0.0, **options))

    def compared(self, champion: Champion, challenger: Champion, rows: npt.NDArray[Any], *, among: int) -> Any:
        """Compare two models on some rows, as `run` does."""
        cells: dict[tuple[str, str, str], int] = {}
        for key in zip(self.labels[rows], self.said(champion)[rows], self.said(challenger)[rows], strict=True):
            cells[key] = cells.get(key, 0) + 1
        return bootstrap.compare(
            JointCounts(cells),
            Measure("f1_macro" if self.positive is None else "f1", self.positive or ""),
            certainty=0.95,
            challengers=among,
            seed=challenger[0],
            resamples=2000,
        )


Decides = Callable[[Stream, Champion, int], Champion]


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--only", default="", help="Streams whose name has this text.")
@click.option("--rows", default=ROWS, show_default=True, help="Rows of each stream.")
def main(folder: Path, only: str, rows: int) -> None:
    """Play every stream of FOLDER and print a table."""
    results: dict[str, list[tuple[str, float, int, int]]] = {}
    print(f"| stream | {' | '.join(ways())} |\n|---|{'---|' * len(ways())}")
    for path in sorted(folder.glob("*.parquet")):
        if only in path.stem:
            stream = opened(path, rows)
            for name, decides in ways().items():
                results.setdefault(name, []).append((stream.name, *played(stream, decides)))
            last = [f"{told[-1][1]:.3f} ({told[-1][2]}, {told[-1][3]})" for told in results.values()]
            print(f"| {stream.name} | {' | '.join(last)} |", flush=True)
    print("\n| decided by | mean F1 | worst stream against never | promoted | of them worse afterwards |")
    print("|---|---|---|---|---|")
    for line in table(results):
        print(line)


def table(results: dict[str, list[tuple[str, float, int, int]]]) -> Iterator[str]:
    """Yield a line for each way to decide."""
    never = {stream: score for stream, score, *_ in results["never"]}
    for name, told in results.items():
        worst, where = min((score - never[stream], stream) for stream, score, *_ in told)
        mean = np.mean([score for _, score, *_ in told])
        promoted, harmful = (sum(each[place] for each in told) for place in (2, 3))
        yield f"| {name} | {mean:.3f} | {worst:+.3f} ({where}) | {promoted} | {harmful} |"


def played(stream: Stream, decides: Decides) -> tuple[float, int, int]:
    """Play one stream; return F1 over all predictions, and how many challengers were promoted and did harm."""
    champion: Champion = (TRAINED, None, 0)
    said = stream.said(champion).copy()
    promoted = harmful = 0
    for now in range(TRAINED + EVERY, WINDOWS, EVERY):
        chosen = decides(stream, champion, now)
        if chosen != champion:
            rows = (stream.window >= now) & (stream.window < now + EVERY)
            loss = stream.f1(stream.said(champion), rows) - stream.f1(stream.said(chosen), rows)
            promoted, harmful = promoted + 1, harmful + (loss > HARM)
            champion = chosen
            later = stream.window >= now
            said[later] = stream.said(champion)[later]
    return stream.f1(said, stream.window >= TRAINED), promoted, harmful


def ways() -> dict[str, Decides]:
    """Return the ways to decide, by their name in the table."""
    found: dict[str, Decides] = {
        "never": lambda _stream, champion, _now: champion,
        "always, reach all": lambda _stream, _champion, now: (now, None, 0),
    }
    for name, reaches in REACHES.items():
        found[f"hashed hold-out, reaches {name}"] = by_hash(reaches)
        found[f"out of time, then hashed, reaches {name}"] = out_of_time(reaches)
    return found


def by_hash(reaches: Sequence[int | None]) -> Decides:
    """Decide on the reserved rows that are newer than the champion's training data."""

    def decides(stream: Stream, champion: Champion, now: int) -> Champion:
        rows = deciding(stream, champion, now)
        found = [(now, reach, 0) for reach in reaches]
        return best(stream, champion, found, rows) or champion

    return decides


def out_of_time(reaches: Sequence[int | None]) -> Decides:
    """Decide on all rows of the newest windows, then refit the winner and check that it is not worse."""

    def decides(stream: Stream, champion: Champion, now: int) -> Champion:
        first = max(now - OUT_OF_TIME, champion[0])
        rows = (stream.window >= first) & (stream.window < now)
        winner = best(stream, champion, [(now, reach, OUT_OF_TIME) for reach in reaches], rows)
        if winner is None:
            return champion
        refit = (now, winner[1], 0)
        found = stream.compared(champion, refit, deciding(stream, champion, now), among=len(reaches))
        findings = noninferiority.judge(judged(found), found.to_json(), margin=MARGIN)
        return refit if gates.promotes(findings) else champion

    return decides


def deciding(stream: Stream, champion: Champion, now: int) -> npt.NDArray[Any]:
    """Return the reserved rows that are newer than the champion's training data."""
    return np.asarray(stream.reserved & (stream.window >= champion[0]) & (stream.window < now))


def best(
    stream: Stream, champion: Champion, challengers: Sequence[Champion], rows: npt.NDArray[Any]
) -> Champion | None:
    """Return the best of those that pass every gate."""
    found = [(stream.compared(champion, each, rows, among=len(challengers)), each) for each in challengers]
    passed = [(each.difference, place) for place, (each, _) in enumerate(found) if gates.promotes(judged(each))]
    return found[max(passed)[1]][1] if passed else None


def judged(found: Any) -> Any:
    """Judge a comparison by the gates that need nothing but counts."""
    return gates.judge(gates.Case(comparison=found, asked=gates.Terms(margin=MARGIN, min_rows=MIN_ROWS)))


def opened(path: Path, rows: int) -> Stream:
    """Read a stream, evenly thinned out to so many rows."""
    with duckdb.connect() as connection:
        table = connection.sql(f"SELECT * FROM '{path}' ORDER BY t").df()
    table = table.iloc[np.unique(np.linspace(0, len(table) - 1, min(rows, len(table))).astype(int))]
    labels = table["y"].astype(str)
    counts = labels.value_counts()
    return Stream(
        name=path.stem,
        features=table.drop(columns=["t", "y"]).reset_index(drop=True),
        labels=labels.to_numpy(),
        window=np.arange(len(table)) * WINDOWS // len(table),
        reserved=np.random.default_rng(0).random(len(table)) < SHARE,
        positive=str(counts.index[-1]) if len(counts) == BINARY else None,
    )


def fitted(features: pd.DataFrame, labels: npt.NDArray[Any], rows: npt.NDArray[Any]) -> Predictions:
    """Train on some rows; predict all."""
    chosen = features.loc[:, features[rows].apply(lambda column: len(column.unique()) > 1)]
    texts = [name for name in chosen if not pd.api.types.is_numeric_dtype(chosen[name])]
    encoded = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), texts), remainder="passthrough"
    )
    if len(set(labels[rows])) == 1:
        return np.full(len(labels), labels[rows][0])
    model = make_pipeline(
        encoded, HistGradientBoostingClassifier(max_iter=30, max_bins=63, early_stopping=False, random_state=0)
    )
    return np.asarray(model.fit(chosen[rows], labels[rows]).predict(chosen))


if __name__ == "__main__":
    main()
