"""What the evidence of several classes promises, each figure beside its bound: false alarms, and delay after a fall.

A stream is one window a day. The metric of the model is exactly t+0.03, t or t-0.05, with t = 0.85. `even`: all classes have as
many rows and are as often wrong. `uneven`: classes have 1, 1/2, 1/3, ... of the rows, and the k-th is wrong sqrt(k) times as
often as the first. `rare`: the last class has 1 % of the rows, the others share the rest; all are as often wrong. Mistakes fall on the other classes by their shares. The product's detector sees every window, and begins
anew after each of its alarms. Alarms are per 1,000 windows; a delay is the median number of windows until the first alarm
after a fall from t+0.03 to t-0.05, the window of the fall included. `point` is the point rule, 2 of 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import click
import numpy as np
import numpy.typing as npt
from false_alarms import FALSE_ALARM_EVERY, HEALTHY, THRESHOLD

from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.judge.checks import evidence

Tables = npt.NDArray[np.int64]
"""Counts of (stream, window, label, said)."""

Values = npt.NDArray[np.float64]

KINDS = ("even", "uneven", "rare")
RARE = 0.01
NAMES = "abcdefghijklmnopqrst"
ABOVE, UNDER = 0.03, -0.05
MOST_AT_T, MOST_ABOVE = 0.5, 0.0
MOST_DELAY = {500: 9, 2000: 4}
PATIENCE, OF = 2, 3
AFTER_THE_FALL = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A metric over so many classes, and how rows and mistakes fall on them."""

    metric: str
    classes: int
    kind: str
    rows: int

    def drawn(self, above: float, *, streams: int, windows: int, generator: np.random.Generator) -> Tables:
        """Draw windows of a model that is so far above the threshold."""
        chances = self._chances(self._errors(THRESHOLD + above))
        shape = (streams, windows, self.classes, self.classes)
        return generator.multinomial(self.rows, chances.ravel(), size=shape[:2]).reshape(shape)

    def values(self, tables: npt.NDArray[np.generic]) -> Values:
        """Return the metric of tables, over the classes that occur."""
        right, labelled = np.diagonal(tables, axis1=-2, axis2=-1), tables.sum(axis=-1)
        part, whole = (2 * right, labelled + tables.sum(axis=-2)) if self.metric == "f1_macro" else (right, labelled)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nanmean(part / whole, axis=-1))

    def _errors(self, metric: float) -> float:
        """Return how often the first class is wrong where the metric is this."""
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.values(self._chances(middle)) > metric else (low, middle)
        return low

    def _chances(self, errors: float) -> Values:
        ranks = np.arange(1, self.classes + 1)
        uneven = self.kind == "uneven"
        share = 1 / ranks if uneven else np.ones(self.classes)
        if self.kind == "rare":
            share[-1] = share[:-1].sum() * RARE / (1 - RARE)
        share = share / share.sum()
        wrong = np.minimum(errors * np.sqrt(ranks), 1) if uneven else np.full(self.classes, errors)
        others = np.tile(share, (self.classes, 1)) * (1 - np.eye(self.classes))
        mistakes = others / others.sum(axis=1, keepdims=True) * wrong[:, None]
        found: Values = (mistakes + np.diag(1 - wrong)) * share[:, None]
        return found


@click.command()
@click.option("--repetitions", default=100, show_default=True, help="Streams of each kind.")
@click.option("--days", default=500, show_default=True, type=click.IntRange(HEALTHY + 20), help="Windows of a stream.")
@click.option("--classes", multiple=True, type=int, default=(3, 5, 10), show_default=True)
@click.option("--rows", multiple=True, type=int, default=(500, 2000), show_default=True, help="Rows a day.")
@click.option("--kinds", multiple=True, type=click.Choice(KINDS), default=KINDS, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(
    *, repetitions: int, days: int, classes: Sequence[int], rows: Sequence[int], kinds: Sequence[str], seed: int
) -> None:
    """Print every figure beside its bound."""
    print(
        "| metric | classes | rows a day | at t | at most | t+0.03 | at most | delay to t-0.05 | at most "
        "| point: at t | point: t+0.03 | point: delay |\n|---|---|" + "---:|" * 10
    )
    for metric, number, kind, size in product(("f1_macro", "balanced_accuracy"), classes, kinds, rows):
        world = World(metric=metric, classes=number, kind=kind, rows=size)
        own, point = [], []
        for place, above in enumerate((0.0, ABOVE)):
            generator = np.random.default_rng([seed, number, KINDS.index(kind), size, place])
            tables = world.drawn(above, streams=repetitions, windows=days, generator=generator)
            own.append(sum(len(alarms(world, stream)) for stream in tables) / repetitions / days * 1000)
            point.append(sum(len(by_point(values)) for values in world.values(tables)) / repetitions / days * 1000)
        generator = np.random.default_rng([seed, number, KINDS.index(kind), size, 2])
        streams = fallen(world, streams=repetitions, generator=generator)
        delay = np.median([_delay(alarms(world, stream, stop=True)) for stream in streams])
        points = np.median([_delay(by_point(values)) for values in world.values(streams)])
        print(
            f"| {metric} | {number}, {kind} | {size:,} | {own[0]:.2f} | {MOST_AT_T} | {own[1]:.2f} | {MOST_ABOVE:g} | {delay:g} "
            f"| {MOST_DELAY.get(size, '')} | {point[0]:.0f} | {point[1]:.2f} | {points:g} |",
            flush=True,
        )


def fallen(world: World, *, streams: int, generator: np.random.Generator) -> Tables:
    """Draw the streams of a fall."""
    parts = [
        world.drawn(above, streams=streams, windows=windows, generator=generator)
        for above, windows in ((ABOVE, HEALTHY), (UNDER, AFTER_THE_FALL))
    ]
    return np.concatenate(parts, axis=1)


def alarms(world: World, stream: Tables, *, stop: bool = False) -> list[int]:
    """Return the windows in which the product's detector alarms; with `stop`, none after the first of the fall."""
    fresh = evidence.begin(world.metric, threshold=THRESHOLD, false_alarm_every=FALSE_ALARM_EVERY)
    detector, found = fresh, []
    for number, cells in enumerate(stream.tolist()):
        detector = detector.after(table(cells))
        if detector.alarms:
            detector = fresh
            found.append(number)
            if stop and number >= HEALTHY:
                break
    return found


def by_point(values: Values) -> list[int]:
    """Return the windows in which the point rule alarms; it begins anew after each alarm."""
    hits: list[bool] = []
    found = []
    for number, value in enumerate(values.tolist()):
        hits = [*hits, value < THRESHOLD][-OF:]
        if hits[-1] and sum(hits) >= PATIENCE:
            hits = []
            found.append(number)
    return found


def table(cells: Sequence[Sequence[int]]) -> Confusion:
    """Return counts as the product has them, with every class named."""
    counted = {
        (NAMES[label], NAMES[said]): rows for label, row in enumerate(cells) for said, rows in enumerate(row) if rows
    }
    return Confusion.naming(counted, NAMES[: len(cells)])


def _delay(found: Sequence[int]) -> float:
    return next((number - HEALTHY + 1 for number in found if number >= HEALTHY), float("inf"))


if __name__ == "__main__":
    main()
