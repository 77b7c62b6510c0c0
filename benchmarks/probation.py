"""How often a probation rolls back a champion that is as good as its predecessor, and how soon one that is worse.

One window a day. The predecessor served 30 windows with an F1 of 0.88 (threshold 0.85) and then either went on so
(its successor came by `--force` or drift), or fell to 0.78 and was replaced when the sequential evidence alarmed. The
successor serves seven more windows at the F1 that its predecessor had last, less 0, 0.05 or 0.10. Precision and recall
are equal, so F1 is their common value. `values` judges windows without their counts; `point` is what is not done:
compare each value with the predecessor's last one, less `promotion.margin`.

The second table has an outage day (F1 0.3) among the predecessor's windows, or among the successor's after its first;
bounds are at least 95 % for worse ones, at most 2 % for equally good ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click
import numpy as np

from retrain_trigger.core.events import Standing, Window
from retrain_trigger.core.findings import Verdict
from retrain_trigger.judge.checks import evidence, probation
from retrain_trigger.judge.checks.ratios import Counts
from retrain_trigger.judge.metrics import Measure

THRESHOLD = 0.85
HEALTHY, FALLEN = 0.88, 0.78
OUTAGE = 0.3
TENURE, PROBATION = 30, 7
MARGIN = 0.02
MIN_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How a day comes about: its rows, the share of positives, errors in blocks of `block`, F1 swinging by `daily_sd`."""

    title: str
    rows: int
    positives: float
    block: int = 1
    daily_sd: float = 0.0

    def day(self, generator: np.random.Generator, level: float) -> Counts:
        """Draw a day with this F1."""
        if self.daily_sd:
            level = float(np.clip(generator.normal(level, self.daily_sd), 0.01, 0.99))
        trials = self.rows // self.block
        truths = int(generator.binomial(trials, self.positives))
        tp = int(generator.binomial(truths, level))
        wrong = min(1.0, self.positives * (1 - level) / (1 - self.positives))
        fp = int(generator.binomial(trials - truths, wrong))
        return (tp * self.block, fp * self.block, (truths - tp) * self.block, (trials - truths - fp) * self.block)


@click.command()
@click.option("--repetitions", default=2000, show_default=True, help="Probations of each kind.")
@click.option("--rows", multiple=True, type=int, default=(200, 500, 1000, 5000), show_default=True, help="Rows a day.")
@click.option("--seed", default=1, show_default=True)
def main(*, repetitions: int, rows: tuple[int, ...], seed: int) -> None:
    """Print the table: the share rolled back of equally good ones, and within 1, 3 and 7 windows of worse ones."""
    print(
        "| rows a day | positives | windows swing | judged by | equally good | worse by 0.05: in 3 | in 7 "
        "| worse by 0.10: in 1 | in 3 | in 7 |"
    )
    print("|---|---|---|---|---:|---:|---:|---:|---:|---:|")
    for number, world in enumerate(worlds(rows)):
        for judge in ("counts", "values", "point"):
            generator = np.random.default_rng([seed, number])
            equal, worse, bad = (
                [rolled_back(generator, world, fall, judge=judge) for _ in range(repetitions)]
                for fall in (0.0, 0.05, 0.10)
            )
            shares = [within(equal, 7), within(worse, 3), within(worse, 7), *(within(bad, last) for last in (1, 3, 7))]
            cells = " | ".join(f"{share:.1%}" for share in shares)
            print(f"| {world.rows:,} | {world.positives:.0%} | {world.title} | {judge} | {cells} |", flush=True)
    print("\n| outage day of | rows a day | positives | equally good | at most | worse by 0.10 | at least |")
    print("|---|---:|---|---:|---:|---:|---:|")
    world = World(title="as rows do", rows=500, positives=0.3)
    for whose in ("the predecessor", "the successor"):
        generator = np.random.default_rng([seed, 100, len(whose)])
        equal, bad = (
            sum(after_an_outage(generator, world, fall, whose=whose) for _ in range(repetitions)) / repetitions
            for fall in (0.0, 0.10)
        )
        print(f"| {whose} | {world.rows:,} | {world.positives:.0%} | {equal:.1%} | 2% | {bad:.1%} | 95% |", flush=True)


def worlds(rows: Sequence[int]) -> Iterator[World]:
    """Yield every kind of day."""
    for number in rows:
        for positives in (0.1, 0.3):
            yield World(title="as rows do", rows=number, positives=positives)
            yield World(title="errors in tens", rows=number, positives=positives, block=10)
            yield World(title="by sd 0.02", rows=number, positives=positives, daily_sd=0.02)


def rolled_back(generator: np.random.Generator, world: World, fall: float, *, judge: str) -> int | None:
    """Return the window of a probation after which the champion is rolled back; None where it is not."""
    fallen = bool(generator.integers(2))
    was = predecessor(generator, world, fallen=fallen, counted=judge == "counts")
    level = (FALLEN if fallen else HEALTHY) - fall
    own = [window(world.day(generator, level), counted=judge == "counts") for _ in range(PROBATION)]
    if judge == "point":
        last = (was.windows[-1].value or 0.0) - MARGIN
        return next((number for number, each in enumerate(own, start=1) if (each.value or 0.0) <= last), None)
    return ended(was, own)


def after_an_outage(generator: np.random.Generator, world: World, fall: float, *, whose: str) -> bool:
    """Say whether a champion is rolled back where one day, any of the predecessor's or a later one of its own, was lost."""
    levels = [[HEALTHY] * TENURE, [HEALTHY - fall] * PROBATION]
    if whose == "the predecessor":
        levels[0][generator.integers(TENURE)] = OUTAGE
    else:
        levels[1][generator.integers(1, PROBATION)] = OUTAGE
    before, own = ([window(world.day(generator, level), counted=True) for level in each] for each in levels)
    return ended(probation.standing("v1", before, Measure("f1"), threshold=THRESHOLD), own) is not None


def ended(was: Standing, own: Sequence[Window]) -> int | None:
    """Return the window after which a probation rolls back; None where it does not."""
    for looks in range(1, len(own) + 1):
        finding = probation.check(was, own[:looks], Measure("f1"), margin=MARGIN, looks=PROBATION, min_rows=MIN_ROWS)
        if finding.verdict is Verdict.BREACH:
            return looks
    return None


def predecessor(generator: np.random.Generator, world: World, *, fallen: bool, counted: bool) -> Standing:
    """Let a champion serve, and fall until the evidence alarms where it is `fallen`."""
    before = [world.day(generator, HEALTHY) for _ in range(TENURE)]
    detector = evidence.begin("f1", threshold=THRESHOLD, false_alarm_every=1000)
    for counts in before:
        detector = detector.after(counts)
    while fallen and not detector.alarms:
        before.append(world.day(generator, FALLEN))
        detector = detector.after(before[-1])
    seen = [window(counts, counted=counted) for counts in before]
    return probation.standing("v1", seen, Measure("f1"), threshold=THRESHOLD)


def window(counts: Counts, *, counted: bool) -> Window:
    """Return a window as the log shows it: with its counts, or with the value alone."""
    tp, fp, fn, _ = counts
    return Window(None, None, counts) if counted else Window(2 * tp / max(2 * tp + fp + fn, 1), None, None)


def within(found: Sequence[int | None], last: int) -> float:
    """Return the share that was rolled back within so many windows."""
    return sum(each is not None and each <= last for each in found) / len(found)


if __name__ == "__main__":
    main()
