"""Estimated against realised performance, beside NannyML's CBPE, on NannyML's synthetic car loan data.

FOLDER holds synthetic_car_loan_reference.csv, synthetic_car_loan_analysis.csv and
synthetic_car_loan_analysis_target.csv, as NannyML ships them (nannyml/datasets/data). The model answers the reference
with labels; the analysis rows, in order and in chunks, are estimated without theirs.

`ours` is retrain_trigger.judge.checks.estimate, on counts. `CBPE` is NannyML itself, with its defaults, where it is installed
beside this project; `CBPE twin` is the same method written down again: isotonic regression of the label on each single
score (scikit-learn), and the metric of the summed probabilities. NannyML calibrates only where that lowers the expected
calibration error in cross-validation, as it does here; the twin always does.
"""

import csv
import importlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.scores import ScoreCounts, bin_of
from retrain_trigger.judge.checks.estimate import calibration, estimated
from retrain_trigger.judge.metrics import Measure, score

Numbers = npt.NDArray[np.float64]

METRICS = ("f1", "precision", "recall", "accuracy")
POSITIVE = "1"

TOLERANCE = 1e-9
"""Errors of two methods that add in another order count as equal when they differ by less."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Score, prediction and label of each row."""

    scores: Numbers
    said: Numbers
    labels: Numbers

    def chunks(self, size: int) -> Iterator["Rows"]:
        """Yield the rows in order, `size` at a time; a rest is left out."""
        for start in range(0, len(self.scores) - size + 1, size):
            part = slice(start, start + size)
            yield Rows(self.scores[part], self.said[part], self.labels[part])


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--chunk", default=5000, show_default=True, help="Rows of a chunk.")
def main(folder: Path, chunk: int) -> None:
    """Print F1 by chunk, then the mean absolute error of each metric, of ours and of CBPE."""
    reference = read(folder / "synthetic_car_loan_reference.csv", None)
    analysis = read(folder / "synthetic_car_loan_analysis.csv", folder / "synthetic_car_loan_analysis_target.csv")
    nannyml = _nannyml()
    methods = {"ours": ours, "CBPE twin": twin} | ({} if nannyml is None else {"CBPE": _cbpe(nannyml)})
    if nannyml is None:
        click.echo("CBPE itself is left out: NannyML is not installed.\n")
    realised = {metric: [truth(rows, metric) for rows in analysis.chunks(chunk)] for metric in METRICS}
    found = {name: method(reference, analysis, chunk) for name, method in methods.items()}
    click.echo(f"| chunk of {chunk:,} rows | realised F1 | " + " | ".join(found) + " |")
    click.echo("|---:" * (2 + len(found)) + "|")
    for number, value in enumerate(realised["f1"]):
        row = " | ".join(f"{by_metric['f1'][number]:.4f}" for by_metric in found.values())
        click.echo(f"| {number + 1} | {value:.4f} | {row} |")
    click.echo("\n| mean absolute error | " + " | ".join(found) + " | ours no worse |")
    click.echo("|---" + "|---:" * (1 + len(found)) + "|")
    for metric in METRICS:
        errors = {name: _error(by_metric[metric], realised[metric]) for name, by_metric in found.items()}
        beaten = all(errors["ours"] <= error + TOLERANCE for error in errors.values())
        cells = " | ".join(f"{error:.6f}" for error in errors.values())
        click.echo(f"| {metric} | {cells} | {'yes' if beaten else 'no'} |")


def read(path: Path, targets: Path | None) -> Rows:
    """Read the rows of a file; their labels stand in `targets`, in the same order, where it is given."""
    rows = _records(path)
    labels = rows if targets is None else _records(targets)
    if targets is not None and [row["id"] for row in rows] != [row["id"] for row in labels]:
        raise click.ClickException(f"{targets} does not have the ids of {path}, in the same order")
    return Rows(
        np.array([float(row["y_pred_proba"]) for row in rows]),
        np.array([float(row["y_pred"]) for row in rows]),
        np.array([float(row["repaid"]) for row in labels]),
    )


def truth(rows: Rows, metric: str) -> float:
    """Return the metric by the labels."""
    pairs = Counter((_text(label), _text(said)) for label, said in zip(rows.labels, rows.said, strict=True))
    return score(Confusion(dict(pairs)), metric, POSITIVE)


def ours(reference: Rows, analysis: Rows, chunk: int) -> dict[str, list[float]]:
    """Return what the product estimates of each chunk, by metric."""
    learned = calibration(_counted(reference, labelled=True), POSITIVE)
    if learned is None:
        raise click.ClickException("the reference has no labels")
    chunks = [_counted(rows, labelled=False) for rows in analysis.chunks(chunk)]
    return {metric: [estimated(counts, learned, Measure(metric, POSITIVE)) for counts in chunks] for metric in METRICS}


def twin(reference: Rows, analysis: Rows, chunk: int) -> dict[str, list[float]]:
    """Return what CBPE, as published, estimates of each chunk, by metric."""
    calibrator = IsotonicRegression(out_of_bounds="clip").fit(reference.scores, reference.labels)
    found: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for rows in analysis.chunks(chunk):
        likely = calibrator.predict(rows.scores)
        tp, fp = (likely * rows.said).sum(), ((1 - likely) * rows.said).sum()
        fn, tn = (likely * (1 - rows.said)).sum(), ((1 - likely) * (1 - rows.said)).sum()
        found["f1"].append(float(2 * tp / (2 * tp + fp + fn)))
        found["precision"].append(float(tp / (tp + fp)))
        found["recall"].append(float(tp / (tp + fn)))
        found["accuracy"].append(float((tp + tn) / chunk))
    return found


def _cbpe(nannyml: ModuleType) -> Callable[[Rows, Rows, int], dict[str, list[float]]]:
    """Return what NannyML's own CBPE estimates of each chunk, by metric."""
    pandas = importlib.import_module("pandas")

    def method(reference: Rows, analysis: Rows, chunk: int) -> dict[str, list[float]]:
        known = {"score": reference.scores, "said": reference.said, "label": reference.labels}
        estimator = nannyml.CBPE(
            problem_type="classification_binary",
            y_pred_proba="score",
            y_pred="said",
            y_true="label",
            metrics=list(METRICS),
            chunk_size=chunk,
        )
        estimator.fit(pandas.DataFrame(known))
        whole = len(analysis.scores) // chunk * chunk
        asked = pandas.DataFrame({"score": analysis.scores[:whole], "said": analysis.said[:whole]})
        table = estimator.estimate(asked).filter(period="analysis").to_df(multilevel=False)
        return {metric: [float(value) for value in table[f"{metric}_value"]] for metric in METRICS}

    return method


def _nannyml() -> ModuleType | None:
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # else every call reports home
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its imports warn of its own dependencies
            return importlib.import_module("nannyml")
    except ImportError:
        return None


def _counted(rows: Rows, *, labelled: bool) -> ScoreCounts:
    cells = zip(rows.scores, rows.said, rows.labels, strict=True)
    return ScoreCounts(
        dict(Counter((bin_of(at), _text(said), _text(label) if labelled else None) for at, said, label in cells))
    )


def _records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _error(values: Sequence[float], realised: Sequence[float]) -> float:
    return float(np.mean(np.abs(np.subtract(values, realised))))


def _text(number: float) -> str:
    return str(int(number))


if __name__ == "__main__":
    main()
