"""False alarms and delay, of the product's rules and of well-known drift detectors, on the same synthetic streams.

A stream is one window a day, for a year. Precision and recall are equal, so F1 is their common value; it stays, or
falls after 60 windows at t+0.03. Every detector begins anew after each of its alarms. False alarms are windows with an
alarm, per 1,000 windows; where F1 comes down from t+0.1 to t+0.03, per 1,000 of those after that (an alarm a year is
3.3). Delay is the median number of windows until the first alarm after the fall, the window of the fall included.

`sequential` is retrain_trigger.judge.checks.evidence. `1 of 1` and `2 of 3` are the point rule of judge.checks.point, as NumPy
twins that every stream checks against the product. ADWIN, DDM and Page-Hinkley are those of river with its defaults (Page-Hinkley upwards
only); as usual for them they see each row, as 0 (right) or 1 (wrong), in order; a window counts once however often
they alarm in it.
"""

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from retrain_trigger.core.findings import Verdict
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.judge.checks import evidence, point
from retrain_trigger.judge.checks.ratios import Counts
from retrain_trigger.judge.metrics import Measure
from retrain_trigger.judge.policy import Patience

Flags = npt.NDArray[np.bool_]
Table = npt.NDArray[np.int64]
Rule = Callable[[Table], Flags]
"""Takes one window of every repetition, (repetitions, 4), and says in which of them it alarms."""

THRESHOLD = 0.85
FALSE_ALARM_EVERY = 1000
HEALTHY = 60
BLOCK = 10
CHECKED_WINDOWS = 60
FALLS_PER_YEAR = 5
"""River sees so many times more falls than years: they end with the alarm, and a median needs more than a rate."""

FRESH = evidence.begin("f1", threshold=THRESHOLD, false_alarm_every=FALSE_ALARM_EVERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """How F1 runs: `above` the threshold at first, by `daily_sd` around it, then `after`; errors come in `block`s."""

    title: str
    above: float
    after: float | None = None
    block: int = 1
    daily_sd: float = 0.0

    @property
    def falls(self) -> bool:
        """Whether an alarm is due at the end."""
        return self.after is not None and self.after < 0


STREAMS = (
    Stream(title="at t", above=0),
    Stream(title="at t+0.03", above=0.03),
    Stream(title="blocks, t", above=0, block=BLOCK),
    Stream(title="blocks, t+0.03", above=0.03, block=BLOCK),
    Stream(title="daily sd 0.02, t+0.03", above=0.03, daily_sd=0.02),
    Stream(title="from t+0.1 to t+0.03", above=0.1, after=0.03),
    Stream(title="fall to t-0.02", above=0.03, after=-0.02),
    Stream(title="fall to t-0.05", above=0.03, after=-0.05),
)


@click.command()
@click.option("--repetitions", default=200, show_default=True, help="Streams of each kind.")
@click.option("--river-repetitions", default=4, show_default=True, help="Years of each kind for river, row by row.")
@click.option("--days", default=365, show_default=True, type=click.IntRange(HEALTHY + 1), help="Windows of a stream.")
@click.option("--rows", multiple=True, type=int, default=(200, 500, 1000, 5000), show_default=True, help="Rows a day.")
@click.option("--seed", default=1, show_default=True)
def main(repetitions: int, river_repetitions: int, days: int, rows: Sequence[int], seed: int) -> None:
    """Print one table of false alarms per 1,000 windows and of median delay in windows."""
    river = importlib.util.find_spec("river")
    click.echo(f"F1, threshold t = {THRESHOLD}, {days} windows, {repetitions} repetitions, seed {seed}.")
    if river is None:
        click.echo("ADWIN, DDM and Page-Hinkley are left out: river is not installed.")
    else:
        falls = FALLS_PER_YEAR * river_repetitions
        click.echo(f"ADWIN, DDM and Page-Hinkley: {river_repetitions} of the repetitions, {falls} of the falls.")
    titles = [stream.title for stream in STREAMS]
    click.echo("\nFalse alarms per 1,000 windows; for a fall, the median number of windows until the alarm.\n")
    click.echo("| rows a day | positives | detector | " + " | ".join(titles) + " |")
    click.echo("|---" * 3 + "|---:" * len(titles) + "|")
    for size in rows:
        for share in (0.1, 0.3):
            few = 0 if river is None else river_repetitions
            columns = [
                _column(
                    stream, rows=size, share=share, repetitions=repetitions, days=days, river=few, seed=[seed, place]
                )
                for place, stream in enumerate(STREAMS)
            ]
            for detector in columns[0]:
                row = " | ".join(column[detector] for column in columns)
                click.echo(f"| {size:,} | {share:.0%} | {detector} | {row} |")


def _column(
    stream: Stream, *, rows: int, share: float, repetitions: int, days: int, river: int, seed: Sequence[int]
) -> dict[str, str]:
    """Return the cell of each detector; `river` is how many repetitions its detectors get, 0 where it is missing."""
    generator = np.random.default_rng([*seed, rows, round(100 * share)])
    counts = drawn(stream, rows=rows, share=share, repetitions=repetitions, days=days, generator=generator)
    check_twin(counts[0, :CHECKED_WINDOWS])
    cells = {name: _cell(stream, alarms(rule(repetitions), counts)) for name, rule in RULES.items()}
    return cells | _river_cells(stream, counts[: river * (FALLS_PER_YEAR if stream.falls else 1)], generator)


def drawn(
    stream: Stream, *, rows: int, share: float, repetitions: int, days: int, generator: np.random.Generator
) -> Table:
    """Return counts tp, fp, fn, tn of each window: (repetitions, days, 4); `share` of the rows is positive."""
    f1 = np.full((repetitions, days), THRESHOLD + stream.above)
    if stream.after is not None:
        f1[:, HEALTHY:] = THRESHOLD + stream.after
    f1 = np.clip(f1 + stream.daily_sd * generator.standard_normal(f1.shape), 0, 1)
    wrong = share * (1 - f1)
    blocks = generator.multinomial(rows // stream.block, np.stack([wrong, wrong, 1 - 2 * wrong], axis=-1))
    fp, fn = blocks[..., 0] * stream.block, blocks[..., 1] * stream.block
    tp = generator.binomial(rows - fp - fn, share * f1 / (1 - 2 * wrong))
    return np.stack([tp, fp, fn, rows - tp - fp - fn], axis=-1)


def alarms(rule: Rule, counts: Table) -> Flags:
    """Return the windows that alarm: (repetitions, days)."""
    return np.stack([rule(counts[:, day]) for day in range(counts.shape[1])], axis=1)


class Sequential:
    """The product's detector, one for each repetition; begins anew after an alarm."""

    def __init__(self, repetitions: int) -> None:
        self.detectors = [FRESH] * repetitions

    def __call__(self, counts: Table) -> Flags:
        """Take one window of each repetition: (repetitions, 4)."""
        pairs = zip(self.detectors, counts.tolist(), strict=True)
        after = [each.after((tp, fp, fn, tn)) for each, (tp, fp, fn, tn) in pairs]
        self.detectors = [FRESH if each.alarms else each for each in after]
        return np.array([each.alarms for each in after])


class PointTwin:
    """What the point rule does for F1, for many repetitions at once; begins anew after an alarm."""

    def __init__(self, repetitions: int, patience: Patience) -> None:
        self.patience = patience
        self.hits = np.zeros((repetitions, patience.of), dtype=bool)

    def __call__(self, counts: Table) -> Flags:
        """Take one window of each repetition: (repetitions, 4)."""
        tp, fp, fn, _ = counts.T
        under = 2 * tp / (2 * tp + fp + fn) < THRESHOLD
        self.hits = np.concatenate([self.hits[:, 1:], under[:, None]], axis=1)
        found: Flags = under & (self.hits.sum(axis=1) >= self.patience.hits)
        self.hits[found] = False
        return found


def check_twin(windows: Table) -> None:
    """Raise RuntimeError unless the twin says of one stream, window by window, what the product says of it."""
    counts = [(int(tp), int(fp), int(fn), int(tn)) for tp, fp, fn, tn in windows]
    for patience in (Patience(1, 1), Patience(2, 3)):
        twin = PointTwin(1, patience)
        if [bool(twin(window[None])[0]) for window in windows] != list(_point(counts, patience)):
            raise RuntimeError(f"the twin of the point rule, {patience}, is not the product's")


def _point(counts: Sequence[Counts], patience: Patience) -> Iterator[bool]:
    """Yield whether the product's point rule breaches at each window, beginning anew after a breach."""
    seen: list[Measurement] = []
    for number, window in enumerate(counts):
        seen.append(Measurement(value=None, where=f"line {number}", file="", end=number, counts=window))
        finding = point.check(seen, Measure("f1"), threshold=THRESHOLD, min_rows=0, patience=patience)
        breached = finding.verdict is Verdict.BREACH
        yield breached
        if breached:
            seen.clear()


def _river_cells(stream: Stream, counts: Table, generator: np.random.Generator) -> dict[str, str]:
    """Return the cell of each of river's detectors; they take their time, so there are few repetitions."""
    seen: dict[str, list[Flags]] = {}
    for windows in counts:
        year = [_row_errors(window, stream.block, generator) for window in windows]
        for name, detector in _row_detectors().items():
            seen.setdefault(name, []).append(_row_alarms(detector, year, stop=stream.falls))
    return {name: _cell(stream, np.array(found)) for name, found in seen.items()}


def _row_errors(counts: Table, block: int, generator: np.random.Generator) -> list[int]:
    """Return 1 for a wrong row and 0 for a right one, in an order drawn at random, wrong ones in blocks."""
    _, fp, fn, _ = counts
    blocks = np.zeros(counts.sum() // block, dtype=np.int64)
    blocks[: (fp + fn) // block] = 1
    errors: list[int] = np.repeat(generator.permutation(blocks), block).tolist()
    return errors


def _row_alarms(detector: Any, year: Sequence[Sequence[int]], *, stop: bool) -> Flags:
    """Return the windows in which a row alarms; with `stop`, nothing after the first alarm of the fall is looked at."""
    found = np.zeros(len(year), dtype=bool)
    for day, errors in enumerate(year):
        for error in errors:
            detector.update(error)
            if detector.drift_detected:
                found[day] = True
        if stop and found[day] and day >= HEALTHY:
            break
    return found


def _row_detectors() -> dict[str, Any]:
    drift = importlib.import_module("river.drift")
    return {"ADWIN": drift.ADWIN(), "DDM": drift.binary.DDM(), "Page-Hinkley": drift.PageHinkley(mode="up")}


def _cell(stream: Stream, found: Flags) -> str:
    fallen = found if stream.after is None else found[:, HEALTHY:]
    if not stream.falls:
        return f"{1000 * fallen.mean():.2f}"
    delays = np.where(fallen.any(axis=1), fallen.argmax(axis=1) + 1.0, np.inf)
    median = float(np.median(delays))
    return f"{median:g}" if math.isfinite(median) else f"over {fallen.shape[1]}"


RULES: dict[str, Callable[[int], Rule]] = {
    "sequential": Sequential,
    "point, 1 of 1": lambda repetitions: PointTwin(repetitions, Patience(1, 1)),
    "point, 2 of 3": lambda repetitions: PointTwin(repetitions, Patience(2, 3)),
}

if __name__ == "__main__":
    main()
