"""How often the gate promotes what is no better, and lets through what is: simulated comparisons, seeded.

A champion has precision and recall F1; a challenger repeats its answer on a share of the rows, and answers the others
by itself, as well as it takes for its own F1. Tables of counts are drawn as they would come out of n rows, and judged
by the product's own code: `retrain_trigger.judge.gates.bootstrap`, `gates` and `subgroups`. `plain margin` is the rule
"promote when the difference is at least promotion.margin", on the same tables. Where that says no the gate does, too,
so its interval is not drawn; each kind checks that, and `subgroups.judge`, on its first tables.
"""

import time
from collections.abc import Callable, Iterator
from itertools import product

import click
import numpy as np
import numpy.typing as npt

from retrain_trigger.core.comparisons import TOLERANCE, Comparison
from retrain_trigger.core.findings import Verdict
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates import bootstrap, gates
from retrain_trigger.judge.gates import slices as subgroups
from retrain_trigger.judge.gates.slices import Slice
from retrain_trigger.judge.metrics import Measure, score

Numbers = npt.NDArray[np.float64]

CHAMPION = 0.80
MARGIN = 0.02
CERTAINTY = 0.95
CHALLENGERS = 3
MIN_ROWS = 500
BETTER = 0.06
ROW_BY_ROW = 20_000
"""Rows up to which a bootstrap of rows is done beside."""
SHARES = (0.1, 0.3, 0.5)
GLANCE = 500
"""Resamples that show that a bound at 5 % or less is out of reach, where one at 15 % is."""
CHECKED = 5
"""Tables of each kind on which nothing is left out."""


@click.command()
@click.option("--repetitions", default=1000, show_default=True, help="Simulated comparisons of each kind.")
@click.option("--shared", default=0.5, show_default=True, help="Share of the rows on which a challenger repeats.")
@click.option("--margin", default=MARGIN, show_default=True, help="promotion.margin.")
@click.option("--seed", default=1, show_default=True)
@click.option("--only", type=click.Choice(["equal", "better", "slices", "speed"]), help="One table alone.")
def main(repetitions: int, shared: float, margin: float, seed: int, only: str | None) -> None:
    """Print the tables of docs/explanation/gate.md."""
    for name, table in TABLES.items():
        if only in {None, name}:
            for line in table(repetitions, shared, margin, np.random.default_rng(seed)):
                print(line, flush=True)
            print()


def equal(repetitions: int, shared: float, margin: float, generator: np.random.Generator) -> Iterator[str]:
    """Compare models that are equally good: every promotion is a mistake."""
    yield from header("rows", "positives", "plain margin", "gate", "plain margin, best of 3", "gate, best of 3")
    for rows, share in product((500, 1000, 2000, 5000), SHARES):
        cells = shares(share, [CHAMPION] * CHALLENGERS, shared)
        found = np.zeros(4)
        for place in range(repetitions):
            joints = drawn(cells, rows, generator)
            whole = place < CHECKED
            one = promoted(joints[0], margin, challengers=1, seed=place, whole=whole)
            several = [promoted(each, margin, challengers=len(joints), seed=place, whole=whole) for each in joints]
            found += [*one, *np.any(several, axis=0)]
        yield row(f"{rows:,}", f"{share:.0%}", *(f"{part:.1%}" for part in found / repetitions))


def better(repetitions: int, shared: float, margin: float, generator: np.random.Generator) -> Iterator[str]:
    """Compare with a challenger that is better by BETTER: each promotion is right."""
    yield from header("rows", "positives", "plain margin", "gate", "gate, one of 3")
    for rows, share in product((500, 1000, 2000, 5000), SHARES):
        cells = shares(share, [CHAMPION + BETTER], shared)
        found = np.zeros(3)
        for place in range(repetitions):
            (joint,) = drawn(cells, rows, generator)
            one = promoted(joint, margin, challengers=1, seed=place, whole=place < CHECKED)
            found += [*one, promoted(joint, margin, challengers=CHALLENGERS, seed=place)[1] if one[1] else False]
        yield row(f"{rows:,}", f"{share:.0%}", *(f"{part:.1%}" for part in found / repetitions))


def slices(repetitions: int, shared: float, margin: float, generator: np.random.Generator) -> Iterator[str]:
    """Let one slice of 500 rows fall, or none: then each block is for nothing."""
    yield from header("slices", "rows in each", "positives", "fall in one of them", "blocked", "and names it")
    kinds = [
        *product((1, 20), (500,), SHARES, (0.05, 0.20)),
        *product((20,), (200, 500), SHARES, (0.0,)),
    ]
    for (number, rows, share, fall), own in zip(kinds, generator.spawn(len(kinds)), strict=True):
        usual, fallen = (shares(share, [CHAMPION - by], shared) for by in (0.0, fall))
        found = np.zeros(2)
        for place in range(repetitions):
            joints = [drawn(usual if each else fallen, rows, own)[0] for each in range(number)]
            blocked = blocking(joints, margin, seed=place, whole=place < CHECKED)
            found += [bool(blocked), 0 in blocked]
        blocks, names = found / repetitions
        yield row(number, rows, f"{share:.0%}", fall or "none", f"{blocks:.1%}", f"{names:.1%}" if fall else "")


def speed(repetitions: int, shared: float, margin: float, generator: np.random.Generator) -> Iterator[str]:  # noqa: ARG001
    """Take the time of 10,000 resamples, and show the interval beside that of a bootstrap of rows."""
    yield from header(
        "rows", "ms, least of 20", "ms of CPU, median", "interval from counts", "interval from rows, 2,000 resamples"
    )
    for rows in (1000, ROW_BY_ROW, 1_000_000):
        cells = shares(0.3, [CHAMPION + BETTER], shared)
        (joint,) = drawn(cells, rows, generator)
        took, computed = [], []
        for place in range(20):
            start, begun = time.perf_counter(), time.process_time()
            found = compared(joint, challengers=1, seed=place)
            took.append(1000 * (time.perf_counter() - start))
            computed.append(1000 * (time.process_time() - begun))
        by_row = "" if rows > ROW_BY_ROW else "{:+.4f} to {:+.4f}".format(*bootstrap_of_rows(joint, generator))
        interval = f"{found.lower:+.4f} to {found.upper:+.4f}"
        yield row(f"{rows:,}", f"{min(took):.1f}", f"{np.median(computed):.1f}", interval, by_row)


def shares(positives: float, challengers: list[float], shared: float, *, champion: float = CHAMPION) -> Numbers:
    """Return the chance of each (label, champion said, challenger 1 said, ...), an axis of length 2 for each."""
    table = np.zeros([2] * (2 + len(challengers)))
    for key in product((0, 1), repeat=table.ndim):
        label, first, *others = key
        usual = rate(champion, label, positives)
        chance = (positives if label else 1 - positives) * says(first, usual)
        for said, f1 in zip(others, challengers, strict=True):
            own = (rate(f1, label, positives) - shared * usual) / (1 - shared)
            if not 0 <= own <= 1:
                raise click.UsageError(f"--shared {shared:g} leaves no room for a challenger of F1 {f1:g}")
            chance *= shared * (said == first) + (1 - shared) * says(said, own)
        table[key] = chance
    return table


def rate(f1: float, label: int, positives: float) -> float:
    """Return how often a model whose precision and recall are `f1` says 1 for rows of a label."""
    return f1 if label else (1 - f1) * positives / (1 - positives)


def says(said: int, of_one: float) -> float:
    """Return the chance of an answer, given that of the answer 1."""
    return of_one if said else 1 - of_one


def drawn(cells: Numbers, rows: int, generator: np.random.Generator) -> list[JointCounts]:
    """Draw the rows of one hold-out; return the joint counts of the champion with each challenger."""
    counts = generator.multinomial(rows, cells.ravel()).reshape(cells.shape)
    tables = []
    for axis in range(2, cells.ndim):
        others = tuple(other for other in range(2, cells.ndim) if other != axis)
        table = counts.sum(axis=others)
        tables.append(JointCounts({(str(y), str(a), str(b)): int(table[y, a, b]) for y, a, b in np.ndindex(2, 2, 2)}))
    return tables


def promoted(
    joint: JointCounts, margin: float, *, challengers: int, seed: int, whole: bool = False
) -> tuple[bool, bool]:
    """Say whether the plain margin promotes, and whether the gate does."""
    plain = f1_gain(joint) >= margin - TOLERANCE
    if not (plain or whole):
        return False, False
    found = compared(joint, challengers=challengers, seed=seed)
    accepted = gates.promotes(
        gates.judge(gates.Case(comparison=found, asked=gates.Terms(margin=margin, min_rows=MIN_ROWS)))
    )
    if accepted and not plain:
        raise AssertionError("the gate promotes what the plain margin does not")
    return plain, accepted


def blocking(joints: list[JointCounts], margin: float, *, seed: int, whole: bool) -> set[int]:
    """Return the slices that block; all by the product where `whole`, else those alone that fall by the margin."""
    if whole:
        parts = [Slice("place", str(place), joint) for place, joint in enumerate(joints)]
        told = subgroups.judge(parts, Measure("f1"), margin=margin, seed=seed)
        by_product = {int(each.evidence["value"]) for each in told if each.verdict is Verdict.BREACH}
    judged = [
        joint.rows >= subgroups.MIN_ROWS and joint.labels.get("1", 0) >= subgroups.MIN_POSITIVES for joint in joints
    ]
    found = {
        place
        for place, joint in enumerate(joints)
        if judged[place]
        and f1_gain(joint) < -margin
        and compared(joint, challengers=1, seed=seed, certainty=0.7, resamples=GLANCE).upper < 0
        and compared(joint, challengers=sum(judged), seed=seed, certainty=subgroups.CERTAINTY).upper < 0
    }
    if whole and found != by_product:
        raise AssertionError(f"slices {found} block here, {by_product} in the product")
    return found


def compared(
    joint: JointCounts,
    *,
    challengers: int,
    seed: int,
    certainty: float = CERTAINTY,
    resamples: int = bootstrap.RESAMPLES,
) -> Comparison:
    """Compare by F1 as the product does."""
    return bootstrap.compare(
        joint,
        Measure("f1"),
        certainty=certainty,
        challengers=challengers,
        seed=seed,
        resamples=resamples,
    )


def f1_gain(joint: JointCounts) -> float:
    """Return by how much the challenger's F1 is higher."""
    return score(joint.challenger, "f1", "1") - score(joint.champion, "f1", "1")


def bootstrap_of_rows(joint: JointCounts, generator: np.random.Generator) -> tuple[float, float]:
    """Return the percentile interval of a bootstrap that draws rows, one by one."""
    keys = np.array([[int(part) for part in key] for key, count in joint.cells.items() for _ in range(count)])
    gains = []
    for _ in range(2000):
        label, champion, challenger = keys[generator.integers(0, len(keys), len(keys))].T
        scores = [2 * (label & said).sum() / (label.sum() + said.sum()) for said in (champion, challenger)]
        gains.append(scores[1] - scores[0])
    lower, upper = np.quantile(gains, [(1 - CERTAINTY) / 2, (1 + CERTAINTY) / 2])
    return float(lower), float(upper)


def header(*names: str) -> Iterator[str]:
    """Yield the head of a table."""
    yield row(*names)
    yield row(*("---:" for _ in names))


def row(*cells: object) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


TABLES: dict[str, Callable[[int, float, float, np.random.Generator], Iterator[str]]] = {
    "equal": equal,
    "better": better,
    "slices": slices,
    "speed": speed,
}

if __name__ == "__main__":
    main()
