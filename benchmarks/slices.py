"""False warnings and delay of the slices of a prediction log: each value of a column judged for itself.

A stream is one window a day. Slices have unequal shares of its rows: proportional to 1, 1/2, 1/3, ... Precision and
recall of each are equal, so F1 is their common value; it stays, or that of the largest or the middle slice falls after
60 windows at t+0.03. False warnings are streams in which any slice was warned of, and the first of those per 1,000
windows until then. The rule is the product's, retrain_trigger.judge.checks.slices; a stream ends with its first warning.
"""

from collections.abc import Sequence

import click
import numpy as np
import numpy.typing as npt
from false_alarms import FALSE_ALARM_EVERY, HEALTHY, THRESHOLD, Table

from retrain_trigger.core.findings import Verdict
from retrain_trigger.judge.checks import evidence, slices
from retrain_trigger.judge.checks.slices import Slice, Slices

POSITIVE = 0.3


@click.command()
@click.option("--repetitions", default=200, show_default=True, help="Streams of each kind.")
@click.option("--days", default=365, show_default=True, type=click.IntRange(HEALTHY + 1), help="Windows of a stream.")
@click.option("--rows", multiple=True, type=int, default=(1000, 5000), show_default=True, help="Rows a day.")
@click.option("--number", multiple=True, type=int, default=(5, 20), show_default=True, help="Slices.")
@click.option("--seed", default=1, show_default=True)
def main(repetitions: int, days: int, rows: Sequence[int], number: Sequence[int], seed: int) -> None:
    """Print one table of false warnings and of median delay in windows."""
    click.echo(
        f"F1, threshold t = {THRESHOLD}, 30 % positives, {days} windows, {repetitions} repetitions, seed {seed}.\n"
    )
    click.echo("| rows a day | slices | all at | streams warned | per 1,000 windows | fall of | median delay |")
    click.echo("|---:|---:|---|---:|---:|---|---:|")
    for size in rows:
        for k in number:
            generator = np.random.default_rng([seed, size, k])
            for above in (0.0, 0.03):
                first = _first(_drawn(generator, (repetitions, days, k), size, above, None, 0.0))
                count = int(np.isfinite(first).sum())
                rate = f"{1000 * count / np.where(np.isfinite(first), first + 1, days).sum():.2f}"
                click.echo(f"| {size:,} | {k} | t+{above:g} | {count} of {repetitions} | {rate} | | |")
            for which, fall in ((0, 0.05), (0, 0.1), (k // 2, 0.1)):
                first = _first(_drawn(generator, (repetitions, days, k), size, 0.03, which, fall), since=HEALTHY)
                delay = float(np.median(first - HEALTHY + 1))
                share = 1 / (which + 1) / sum(1 / (place + 1) for place in range(k))
                shown = f"{delay:g}" if np.isfinite(delay) else f"over {days - HEALTHY}"
                told = f"a slice of {size * share:,.0f} rows to t-{fall:g}"
                click.echo(f"| {size:,} | {k} | | | | {told} | {shown} |")


def _drawn(
    generator: np.random.Generator,
    shape: tuple[int, int, int],
    rows: int,
    above: float,
    which: int | None,
    fall: float,
) -> Table:
    """Return counts tp, fp, fn, tn of each slice: (repetitions, days, slices, 4)."""
    shares = 1 / np.arange(1, shape[2] + 1)
    own = generator.multinomial(rows, shares / shares.sum(), size=shape[:2])
    f1 = np.full(shape, THRESHOLD + above)
    if which is not None:
        f1[:, HEALTHY:, which] = THRESHOLD - fall
    wrong = POSITIVE * (1 - f1)
    mistakes = generator.multinomial(own, np.stack([wrong, wrong, 1 - 2 * wrong], axis=-1))
    fp, fn = mistakes[..., 0], mistakes[..., 1]
    tp = generator.binomial(own - fp - fn, POSITIVE * f1 / (1 - 2 * wrong))
    return np.stack([tp, fp, fn, own - tp - fp - fn], axis=-1)


def _first(counts: Table, *, since: int = 0) -> npt.NDArray[np.float64]:
    """Return the first window of each stream, from `since` on, with a warning of any slice; infinity without one."""
    return np.array([_warned(stream.tolist(), since) for stream in counts])


def _warned(stream: Sequence[Sequence[Sequence[int]]], since: int) -> float:
    begin = evidence.begin("f1", threshold=THRESHOLD, false_alarm_every=FALSE_ALARM_EVERY * len(stream[0]))
    detectors = {Slice("region", str(place)): begin for place in range(len(stream[0]))}
    for day, window in enumerate(stream):
        for each, (tp, fp, fn, tn) in zip(detectors, window, strict=True):
            now = detectors[each].after((tp, fp, fn, tn))
            detectors[each] = begin if now.alarms and day < since else now
        if slices.check(detectors, Slices()).verdict is Verdict.BREACH:
            return day
    return float("inf")


if __name__ == "__main__":
    main()
