"""False warnings and delay of the slices of a prediction log: each value of a column judged for itself.

A stream is one window a day. Slices have unequal shares of its rows: proportional to 1, 1/2, 1/3, ... Precision and
recall of each are equal, so F1 is their common value; it stays, or that of the largest or the middle slice falls after
60 windows at t+0.03. The code is the product's: retrain_trigger.judge.slices over judge.evidence. False warnings are
streams in which any slice was warned of, and the first of those per 1,000 windows until then.
"""

from collections.abc import Sequence

import click
import numpy as np
import numpy.typing as npt

from retrain_trigger.findings import Verdict
from retrain_trigger.judge import slices
from retrain_trigger.judge.evidence import Detector
from retrain_trigger.judge.slices import Slice, Slices

THRESHOLD = 0.85
FALSE_ALARM_EVERY = 1000
HEALTHY = 60
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
                first = [_first(generator, size, k, days, above, None, 0.0) for _ in range(repetitions)]
                warned = [day for day in first if day is not None]
                seen = sum(days if day is None else day + 1 for day in first)
                rate = f"{1000 * len(warned) / seen:.2f}"
                click.echo(f"| {size:,} | {k} | t+{above:g} | {len(warned)} of {repetitions} | {rate} | | |")
            for which, fall in ((0, 0.05), (0, 0.1), (k // 2, 0.1)):
                first = [_first(generator, size, k, days, 0.03, which, fall) for _ in range(repetitions)]
                delay = np.median([np.inf if day is None else day - HEALTHY + 1 for day in first])
                share = 1 / (which + 1) / sum(1 / (place + 1) for place in range(k))
                shown = f"{delay:g}" if np.isfinite(delay) else f"over {days - HEALTHY}"
                told = f"a slice of {size * share:,.0f} rows to t-{fall:g}"
                click.echo(f"| {size:,} | {k} | | | | {told} | {shown} |")


def _first(  # noqa: PLR0917  (private; called twice, side by side)
    generator: np.random.Generator, rows: int, number: int, days: int, above: float, which: int | None, fall: float
) -> int | None:
    """Return the first day with a warning of any slice (of the one that falls: from the fall on), None without one."""
    shares = 1 / np.arange(1, number + 1)
    begin = Detector.begin("f1", threshold=THRESHOLD, false_alarm_every=FALSE_ALARM_EVERY * number)
    detectors = {Slice("region", str(place)): begin for place in range(number)}
    for day in range(days):
        f1 = np.full(number, THRESHOLD + above)
        if which is not None and day >= HEALTHY:
            f1[which] = THRESHOLD - fall
        counts = drawn(generator, generator.multinomial(rows, shares / shares.sum()), f1)
        for place, (each, detector) in enumerate(detectors.items()):
            detectors[each] = detector.after(tuple(counts[place].tolist()))
        finding = slices.check(detectors, Slices())
        if finding.verdict is Verdict.BREACH and (which is None or day >= HEALTHY):
            return day
    return None


def drawn(
    generator: np.random.Generator, rows: npt.NDArray[np.int64], f1: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Return counts tp, fp, fn, tn of each slice: (slices, 4)."""
    wrong = POSITIVE * (1 - f1)
    mistakes = generator.multinomial(rows, np.stack([wrong, wrong, 1 - 2 * wrong], axis=-1))
    fp, fn = mistakes[:, 0], mistakes[:, 1]
    tp = generator.binomial(rows - fp - fn, POSITIVE * f1 / (1 - 2 * wrong))
    return np.stack([tp, fp, fn, rows - tp - fp - fn], axis=-1)


if __name__ == "__main__":
    main()
