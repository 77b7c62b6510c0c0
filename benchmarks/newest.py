"""How often the gate is wrong where the newest windows decide: once, in a year of retries, and if rows are alike.

Models are drawn as in gate.py, and judged by the product's own code. `one of 3`: three challengers, each as good as told,
on the same rows. A year has RETRIES attempts, each a time after the last; a promoted challenger is the champion of the
next one, unless its probation of seven days rolls it back (a day has as many rows as decide, and the metric of each
model is what it is: nothing drifts). `falling` is the certainty 1 - 0.2 * 6 / (pi^2 j^2) at the j-th attempt since the
last promotion: over all attempts, one in five.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import product

import click
import numpy as np
from gate import CHALLENGERS, CHAMPION, MARGIN, SHARES, Numbers, drawn, f1_gain, header, row, shares
from probation import World, ended, window

from retrain_trigger.core.comparisons import TOLERANCE
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.counts.groups import Groups
from retrain_trigger.judge.checks import probation
from retrain_trigger.judge.gates import bootstrap, design
from retrain_trigger.judge.metrics import Measure

CERTAINTY = 0.8
WORSE, BETTER = 0.02, 0.06
POSITIVES = 0.3
ROWS = (200, 500, 1000, 2000, 5000)
SHARED = 0.5
"""Share of the rows on which a challenger repeats the champion's answer."""

ALIKE = (1, 3, 10, 30)
"""Rows of one customer."""

RETRIES = 16
FALLS = (0.0, 0.01)
"""By how much each challenger is worse than the first champion."""

RESAMPLES = 2000
F1 = Measure("f1")
Certainty = Callable[[int], float]


@click.command()
@click.option("--repetitions", default=1000, show_default=True, help="Simulated comparisons, or years, of each kind.")
@click.option("--seed", default=1, show_default=True)
@click.option("--only", type=click.Choice(["once", "groups", "year"]), help="One table alone.")
def main(*, repetitions: int, seed: int, only: str | None) -> None:
    """Print the tables of docs/explanation/gate.md."""
    for name, table in TABLES.items():
        if only in {None, name}:
            for line in table(repetitions, np.random.default_rng(seed)):
                print(line, flush=True)
            print()


def once(repetitions: int, generator: np.random.Generator) -> Iterator[str]:
    """Let three challengers be compared that are no better, or one that is."""
    yield from header(
        "rows", "positives", "equal, one of 3", f"worse by {WORSE}, one of 3", f"better by {BETTER}, each"
    )
    for rows, positives in product(ROWS, SHARES):
        found = []
        for f1, number in ((CHAMPION, CHALLENGERS), (CHAMPION - WORSE, CHALLENGERS), (CHAMPION + BETTER, 1)):
            cells = shares(positives, [f1] * number, SHARED)
            tables = (drawn(cells, rows, generator) for _ in range(repetitions))
            found.append(sum(_chosen(each, CERTAINTY, seed) is not None for seed, each in enumerate(tables)))
        yield row(f"{rows:,}", f"{positives:.0%}", *(f"{part / repetitions:.1%}" for part in found))


def groups(repetitions: int, generator: np.random.Generator) -> Iterator[str]:
    """Give a customer several rows, all alike or none, and ask for the lower end of a 95 % interval."""
    yield from header(
        "rows",
        "of one customer",
        "equal, alike",
        "with data.group",
        f"better by {BETTER}, not alike",
        "with data.group",
    )
    equal, better = (shares(POSITIVES, [CHAMPION + by], SHARED) for by in (0.0, BETTER))
    for rows, size in product(ROWS, ALIKE):
        found = np.zeros(4)
        for seed in range(repetitions):
            alike = [
                JointCounts({cell: size})
                for cell, count in drawn(equal, rows // size, generator)[0].cells.items()
                for _ in range(count)
            ]
            mixed = generator.multinomial(size, better.ravel(), size=rows // size)
            found += [*_above(alike, seed), *_above([_table(each) for each in mixed], seed)]
        yield row(f"{rows:,}", size, *(f"{part / repetitions:.1%}" for part in found))


def year(repetitions: int, generator: np.random.Generator) -> Iterator[str]:
    """Let a champion that nothing is wrong with be challenged RETRIES times."""
    yield from header(
        "rows", "challengers", "certainty", "probation", "promotions a year", "rolled back", "F1 lost at the end"
    )
    for rows, fall, (name, certainty), watched in product((200, 1000), FALLS, CERTAINTIES.items(), (False, True)):
        found = np.zeros(3)
        for _ in range(repetitions):
            found += _year(rows, fall, certainty, watched=watched, generator=generator)
        promoted, back, lost = found / repetitions
        told = f"worse by {fall}" if fall else "equal"
        yield row(f"{rows:,}", told, name, "7d" if watched else "none", f"{promoted:.2f}", f"{back:.2f}", f"{lost:.4f}")


def _year(
    rows: int, fall: float, certainty: Certainty, *, watched: bool, generator: np.random.Generator
) -> tuple[int, int, float]:
    """Return how many were promoted, how many of them rolled back, and how much worse the champion is in the end."""
    lost, since, promoted, back = 0.0, 0, 0, 0
    for _ in range(RETRIES):
        since += 1
        tables = drawn(_challenged(lost, fall), rows, generator)
        if _chosen(tables, certainty(since), int(generator.integers(1 << 31))) is None:
            continue
        promoted, since = promoted + 1, 0
        if watched and _rolled_back(rows, CHAMPION - lost, CHAMPION - fall, generator):
            back += 1
        else:
            lost = fall
    return promoted, back, lost


@cache
def _challenged(lost: float, fall: float) -> Numbers:
    """Return the cells of a champion that is worse by `lost` than the first one, and of three challengers."""
    return shares(POSITIVES, [CHAMPION - fall] * CHALLENGERS, SHARED, champion=CHAMPION - lost)


def _rolled_back(rows: int, before: float, after: float, generator: np.random.Generator) -> bool:
    world = World(title="", rows=rows, positives=POSITIVES)
    was, own = (
        [window(world.day(generator, f1), counted=True) for _ in range(days)] for f1, days in ((before, 20), (after, 7))
    )
    return ended(probation.standing("v1", was, F1, threshold=CHAMPION - MARGIN), own) is not None


def _chosen(tables: Sequence[JointCounts], certainty: float, seed: int) -> int | None:
    """Return the place of the challenger that passes margin and certainty with the largest difference; None if none does."""
    gains = [f1_gain(joint) for joint in tables]
    for place in sorted(range(len(tables)), key=gains.__getitem__, reverse=True):
        if gains[place] < MARGIN - TOLERANCE:
            return None
        found = bootstrap.compare(
            tables[place], F1, certainty=certainty, challengers=CHALLENGERS, seed=seed, resamples=RESAMPLES
        )
        if found.lower > TOLERANCE:
            return place
    return None


def _above(customers: Sequence[JointCounts], seed: int) -> tuple[bool, bool]:
    """Say whether the lower end is above 0: as if rows were independent, and with the design effect of the customers."""
    joint = sum(customers, JointCounts({}))
    influence = design.influences(joint, F1)
    squares = math.fsum(
        sum(count * influence[cell] for cell, count in each.cells.items() if count) ** 2 for each in customers
    )
    found = bootstrap.compare(joint, F1, certainty=0.95, challengers=1, seed=seed, resamples=RESAMPLES)
    alike = design.of(Groups(len(customers), squares), joint, influence, by="customer")
    return found.lower > 0, design.stretched(found, alike).lower > 0


def _table(counts: Numbers) -> JointCounts:
    cells = zip(np.ndindex(2, 2, 2), counts, strict=True)
    return JointCounts({(str(y), str(a), str(b)): int(count) for (y, a, b), count in cells if count})


CERTAINTIES: dict[str, Certainty] = {
    "80 %": lambda _: 0.8,
    "95 %": lambda _: 0.95,
    "falling": lambda attempt: 1 - 0.2 * 6 / (math.pi * attempt) ** 2,
}

TABLES: dict[str, Callable[[int, np.random.Generator], Iterator[str]]] = {"once": once, "groups": groups, "year": year}

if __name__ == "__main__":
    main()
