"""How often drift is reported where nothing changed, and how soon where something did.

    python benchmarks/drift.py --repetitions 200

A repetition draws a reference of its own, cuts bins from it as the product does, and judges windows against it with
the product's `drift.check`. A window's rows are independent, so its counts are multinomial over the bins: they are
drawn as such, with the bins' true probabilities, and not row by row.

Most windows without a change are nowhere near a report, and judging 100 columns in 365 windows 200 times over takes
hours in Python. So each window is first measured by a vectorised twin of `psi`; only where that reaches the threshold
does `drift.check` decide. The twin is compared with `psi` on a sample of every repetition's columns.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrain_trigger.core.findings import Finding
from retrain_trigger.counts.histograms import NUMERIC_BINS, Bins, Histogram
from retrain_trigger.judge.checks import drift
from retrain_trigger.judge.checks.pooling import EXPECTED_ROWS

Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

COLUMNS, WINDOWS = 100, 365
THRESHOLD, FALSE_ALARM_EVERY, MIN_ROWS = 0.20, 1000, 200
ROUNDING = 1e-9
COMPARED = 40
"""So many (column, window) of each repetition on which twin and product are compared."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A column of values 0, 1, 2, ... or, where `normal`, of a standard normal; some of them missing.

    `shares` are those of the values; `step`, if not 0, is what a normal is rounded to.
    """

    shares: tuple[float, ...] = ()
    normal: bool = False
    step: float = 0.0
    missing: float = 0.0
    categorical: bool = False

    def draw(self, generator: np.random.Generator, rows: int) -> Numbers:
        """Draw rows; a missing one is NaN."""
        if self.normal:
            drawn = generator.standard_normal(rows)
            drawn = np.round(drawn / self.step) * self.step if self.step else drawn
        else:
            drawn = generator.choice(len(self.shares), size=rows, p=self.shares).astype(np.float64)
        drawn[generator.random(rows) < self.missing] = np.nan
        return drawn

    def bins(self, rows: Numbers) -> Bins:
        """Cut bins from the rows of a reference, as the product does."""
        values, counts = np.unique(rows[~np.isnan(rows)], return_counts=True)
        if self.categorical:
            return Bins.categorical({f"{value:06.0f}": int(n) for value, n in zip(values, counts, strict=True)})
        known = rows[~np.isnan(rows)]
        quantiles = np.quantile(known, np.arange(1, NUMERIC_BINS) / NUMERIC_BINS, method="inverted_cdf")
        atoms = values[counts * NUMERIC_BINS >= len(known)]
        return Bins.numeric(quantiles.tolist(), atoms.tolist(), low=float(values[0]), high=float(values[-1]))

    def count(self, bins: Bins, rows: Numbers) -> Counts:
        """Count rows by place; each different value is placed by the product once."""
        values, counts = np.unique(rows, return_counts=True)
        if self.categorical or len(values) < len(rows) / 2:
            places = [bins.index(self._text(value)) for value in values.tolist()]
            return np.bincount(places, weights=counts, minlength=bins.size).astype(np.int64)
        known = np.sort(rows[~np.isnan(rows)])
        upto = [np.searchsorted(known, bound, "right" if takes else "left") for bound, takes in bins.bounds]
        return np.array([*np.diff([0, *upto, len(known)]), len(rows) - len(known)])

    def chances(self, bins: Bins, shift: float = 0.0) -> Numbers:
        """Return how likely a row falls into each bin, with a normal's mean moved by `shift`."""
        if self.categorical or not self.normal:
            places = [bins.index(self._text(float(value))) for value in range(len(self.shares))]
            inside = np.bincount(places, weights=self.shares, minlength=bins.size)[:-1]
        else:
            upto = [self._below(bound, shift, takes=takes) for bound, takes in bins.bounds]
            inside = np.diff([0.0, *upto, 1.0])
        chances: Numbers = np.append(inside * (1 - self.missing), self.missing)
        total: float = chances.sum()
        return chances / total

    def _text(self, value: float) -> float | str | None:
        return (None if math.isnan(value) else f"{value:06.0f}") if self.categorical else value

    def _below(self, bound: float, shift: float, *, takes: bool) -> float:
        """Return the probability of a value under the bound, or at it where the bin takes it."""
        if self.step:
            place = round(bound / self.step)
            bound = (place + (0.5 if takes else -0.5)) * self.step
        return 0.5 * math.erfc((shift - bound) / math.sqrt(2))


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Columns with references of their own: bins, the reference's counts, and the chances of each bin."""

    bins: list[Bins]
    counts: list[Counts]
    chances: list[Numbers]

    @property
    def reference(self) -> dict[str, tuple[Bins, Histogram]]:
        """What `drift.check` is handed."""
        both = zip(self.bins, self.counts, strict=True)
        return {f"x{place}": (bins, histogram(counts)) for place, (bins, counts) in enumerate(both)}


def main() -> None:
    """Print the table, a row at a time."""
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument("--repetitions", type=int, default=200)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    options.add_argument("--rows", nargs="*", type=int, default=[200, 1_000, 100_000], help="rows of a window")
    options.add_argument("--references", nargs="*", type=int, default=[10_000, 1_000], help="rows of the reference")
    options.add_argument("--changes-only", action="store_true", help="leave out the windows without a change")
    options.add_argument("--nulls-only", action="store_true", help="leave out the windows with a change")
    options.add_argument("--output", type=Path, help="append the table to this file, too")
    chosen = options.parse_args()
    for line in table(chosen):
        print(line, flush=True)
        if chosen.output:
            with chosen.output.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def table(chosen: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the table."""
    if not chosen.changes_only:
        yield f"| nothing changes: {COLUMNS} columns, {WINDOWS} windows | m | n | windows | report drift | per 1,000 |"
        yield "|---|---|---|---|---|---|"
        for kind in chosen.kinds:
            for m in chosen.references:
                for n in chosen.rows:
                    reports, windows = false_alarms(KINDS[kind], m=m, n=n, **named(chosen))
                    yield f"| {kind} | {m:,} | {n:,} | {windows:,} | {reports:,} | {1000 * reports / windows:.2f} |"
    if not chosen.nulls_only:
        yield "| something changes | m | n | runs | named in the first window | named within two |"
        yield "|---|---|---|---|---|---|"
        for change, run in CHANGES.items():
            for m in chosen.references:
                for n in (rows for rows in chosen.rows if rows <= MOST_ROWS_OF_A_CHANGE):
                    first, second = detections(run, m=m, n=n, **named(chosen))
                    yield f"| {change} | {m:,} | {n:,} | {chosen.repetitions:,} | {first:.1%} | {second:.1%} |"


def named(chosen: argparse.Namespace) -> dict[str, int]:
    """Return the options that every simulation takes."""
    return {"repetitions": chosen.repetitions, "seed": chosen.seed}


def false_alarms(kind: Kind, *, m: int, n: int, repetitions: int, seed: int) -> tuple[int, int]:
    """Return how many windows report drift, and out of how many, where nothing changes."""
    reports = 0
    for repetition in range(repetitions):
        generator = np.random.default_rng([seed, m, n, repetition])
        drawn = references(generator, [kind] * COLUMNS, m)
        windows = [generator.multinomial(n, chances, size=WINDOWS) for chances in drawn.chances]
        found = [
            twin(bins, counts, window) for bins, counts, window in zip(drawn.bins, drawn.counts, windows, strict=True)
        ]
        compare(drawn, windows, found, generator)
        near = np.flatnonzero((np.array(found) >= THRESHOLD - ROUNDING).any(axis=0))
        reports += sum(bool(judged(drawn.reference, windows, at).evidence["breached"]) for at in near.tolist())
    return reports, repetitions * WINDOWS


def detections(
    change: Callable[[np.random.Generator, int], tuple[Drawn, Numbers]], *, m: int, n: int, repetitions: int, seed: int
) -> tuple[float, float]:
    """Return the share of runs in which column x0 is named in the first window, and in either of the first two."""
    hits = np.zeros((repetitions, 2), dtype=bool)
    for repetition in range(repetitions):
        generator = np.random.default_rng([seed, m, n, repetition, 1])
        drawn, changed = change(generator, m)
        windows = [generator.multinomial(n, chances, size=2) for chances in (changed, *drawn.chances[1:])]
        hits[repetition] = ["x0" in judged(drawn.reference, windows, at).evidence["breached"] for at in range(2)]
    return float(hits[:, 0].mean()), float(hits.any(axis=1).mean())


def references(generator: np.random.Generator, kinds: Sequence[Kind], m: int) -> Drawn:
    """Draw a reference of m rows for each column, and cut its bins from it."""
    rows = [kind.draw(generator, m) for kind in kinds]
    # A category's values are chosen by every other row and counted by the rest; the product must do so, too.
    chosen = [drawn[::2] if kind.categorical else drawn for kind, drawn in zip(kinds, rows, strict=True)]
    counted = [drawn[1::2] if kind.categorical else drawn for kind, drawn in zip(kinds, rows, strict=True)]
    bins = [kind.bins(drawn) for kind, drawn in zip(kinds, chosen, strict=True)]
    return Drawn(
        bins=bins,
        counts=[kind.count(own, drawn) for kind, own, drawn in zip(kinds, bins, counted, strict=True)],
        chances=[kind.chances(own) for kind, own in zip(kinds, bins, strict=True)],
    )


def judged(reference: Mapping[str, tuple[Bins, Histogram]], windows: Sequence[Counts], at: int) -> Finding:
    """Judge one window by the product's own function."""
    window = {f"x{place}": histogram(counts[at]) for place, counts in enumerate(windows)}
    return drift.check(reference, window, threshold=THRESHOLD, false_alarm_every=FALSE_ALARM_EVERY, min_rows=MIN_ROWS)


def histogram(counts: Counts) -> Histogram:
    """Return counts as the product keeps them."""
    return Histogram(tuple(counts.tolist()))


def twin(bins: Bins, reference: Counts, windows: Counts) -> Numbers:
    """Return `drift.psi` of each window (a row of `windows`), all at once; -inf where it is far from the threshold.

    Far is where the sum over all bins, not pooled and without its floor taken off, is under half the threshold: pooling
    can only lessen it, save for what smoothing adds, and so can taking off.
    """
    m, n = int(reference.sum()), int(windows[0].sum())
    found = np.full(len(windows), -np.inf)
    close = _unpooled(reference, windows, m, n) >= THRESHOLD / 2
    if close.any():
        found[close] = _pooled(bins, reference, windows[close], m, n)
    return found


def _unpooled(reference: Counts, windows: Counts, m: int, n: int) -> Numbers:
    half = len(reference) / 2
    r, w = (reference + 0.5) / (m + half), (windows + 0.5) / (n + half)
    total: Numbers = np.sum((w - r) * np.log(w / r), axis=1)
    return total


def _pooled(bins: Bins, reference: Counts, windows: Counts, m: int, n: int) -> Numbers:
    before = np.broadcast_to(reference, windows.shape)
    was, now = before[:, :-1], windows[:, :-1]
    if not bins.numeric_column:
        by_text = np.argsort(np.array(bins.labels[:-1]), kind="stable")
        was, now = was[:, by_text], now[:, by_text]
        order = np.argsort(was + now, axis=1, kind="stable")
        was, now = np.take_along_axis(was, order, axis=1), np.take_along_axis(now, order, axis=1)
    pools = _Pools(len(windows), min(m, n) / (m + n))
    for place in range(was.shape[1]):
        pools.take(np.stack([was[:, place], now[:, place]]))
    pools.close(np.ones(len(windows), dtype=bool))
    missing = np.stack([before[:, -1], windows[:, -1]])
    pools.emit(missing, missing.sum(axis=0) > 0)
    return pools.psi(m, n)


class _Pools:
    """The pooling of `histograms.pooled`, for many windows side by side.

    `kept` is the last pool of a run that is large enough, `open` the one that is not yet; rows of the reference first.
    """

    def __init__(self, windows: int, scale: float) -> None:
        self.scale = scale
        self.kept, self.open = np.zeros((2, windows), dtype=np.int64), np.zeros((2, windows), dtype=np.int64)
        self.emitted: list[tuple[Counts, npt.NDArray[np.bool_]]] = []

    def take(self, pair: Counts) -> None:
        dense = pair.sum(axis=0) * self.scale >= EXPECTED_ROWS
        if dense.any():
            self.close(dense)
            self.emit(pair, dense)
        if dense.all():
            return
        self.open += np.where(dense, 0, pair)
        full = self.open.sum(axis=0) * self.scale >= EXPECTED_ROWS
        self.emit(self.kept, full & (self.kept.sum(axis=0) > 0))
        self.kept = np.where(full, self.open, self.kept)
        self.open = np.where(full, 0, self.open)

    def close(self, ended: npt.NDArray[np.bool_]) -> None:
        last = self.kept + self.open
        self.emit(last, ended & (last.sum(axis=0) > 0))
        self.kept, self.open = np.where(ended, 0, self.kept), np.where(ended, 0, self.open)

    def emit(self, pair: Counts, where: npt.NDArray[np.bool_]) -> None:
        if where.any():
            self.emitted.append((pair.copy(), where))

    def psi(self, m: int, n: int) -> Numbers:
        pools = np.sum([where for _, where in self.emitted], axis=0)
        total = np.zeros(len(pools))
        for (was, now), where in self.emitted:
            r, w = (was + 0.5) / (m + pools / 2), (now + 0.5) / (n + pools / 2)
            total += np.where(where, (w - r) * np.log(w / r), 0.0)
        floor: Numbers = (pools - 1) * (1 / n + 1 / m)
        return np.maximum(0.0, total - floor)


def compare(drawn: Drawn, windows: Sequence[Counts], found: Sequence[Numbers], generator: np.random.Generator) -> None:
    """Stop where twin and product disagree on a sample of columns and windows."""
    for _ in range(COMPARED):
        column, at = int(generator.integers(COLUMNS)), int(generator.integers(WINDOWS))
        own = drift.psi(histogram(drawn.counts[column]), histogram(windows[column][at]), drawn.bins[column])
        theirs = found[column][at]
        if abs(own - theirs) > ROUNDING and not (np.isneginf(theirs) and own < THRESHOLD):
            raise SystemExit(f"twin {theirs} and product {own} disagree on column {column}, window {at}")


def shifted(generator: np.random.Generator, m: int) -> tuple[Drawn, Numbers]:
    """Return 20 normal columns, and the chances of the first moved by half a standard deviation."""
    drawn = references(generator, [KINDS["continuous"]] * 20, m)
    return drawn, KINDS["continuous"].chances(drawn.bins[0], shift=0.5)


def fallen(generator: np.random.Generator, m: int) -> tuple[Drawn, Numbers]:
    """Return 20 columns, the first with 95 % of its rows at one value, and its chances with 50 % there."""
    before = Kind(shares=(0.95, *[0.005] * 10))
    drawn = references(generator, [before, *[KINDS["continuous"]] * 19], m)
    return drawn, Kind(shares=(0.5, *[0.05] * 10)).chances(drawn.bins[0])


def emptied(generator: np.random.Generator, m: int) -> tuple[Drawn, Numbers]:
    """Return 20 normal columns, and the chances of the first with 20 % of its rows missing."""
    drawn = references(generator, [KINDS["continuous"]] * 20, m)
    return drawn, Kind(normal=True, missing=0.2).chances(drawn.bins[0])


def renamed(generator: np.random.Generator, m: int) -> tuple[Drawn, Numbers]:
    """Return 20 columns, the first of five categories, and its chances with 20 % of a sixth."""
    before = Kind(shares=(0.4, 0.3, 0.15, 0.1, 0.05), categorical=True)
    drawn = references(generator, [before, *[KINDS["continuous"]] * 19], m)
    return drawn, Kind(shares=(0.32, 0.24, 0.12, 0.08, 0.04, 0.2), categorical=True).chances(drawn.bins[0])


def overrun(generator: np.random.Generator, m: int) -> tuple[Drawn, Numbers]:
    """Return 20 columns, the first of 200 categories, and its chances with one of them in 20 % of the rows."""
    drawn = references(generator, [KINDS["200 categories"], *[KINDS["continuous"]] * 19], m)
    changed = 0.8 * np.array(KINDS["200 categories"].shares)
    changed[100] += 0.2
    return drawn, Kind(shares=tuple(changed.tolist()), categorical=True).chances(drawn.bins[0])


def falling(values: int, power: float) -> tuple[float, ...]:
    """Return shares in proportion to 1, 1/2^power, 1/3^power, ..."""
    sizes = 1 / np.arange(1, values + 1) ** power
    return tuple((sizes / sizes.sum()).tolist())


KINDS = {
    "continuous": Kind(normal=True),
    "discrete": Kind(shares=(0.05, 0.15, 0.22, 0.22, 0.17, 0.1, 0.05, 0.02, 0.01, 0.01)),
    "with ties": Kind(normal=True, step=0.25),
    "with missing": Kind(normal=True, missing=0.05),
    "200 categories": Kind(shares=falling(200, 0.0), categorical=True),
    "200 categories, uneven": Kind(shares=falling(200, 1.0), categorical=True),
    "2,000 categories": Kind(shares=falling(2_000, 0.5), categorical=True),
}
"""What columns without a change are made of."""

CHANGES = {
    "1 of 20 columns shifted by half a standard deviation": shifted,
    "95 % at one value falls to 50 %": fallen,
    "missing: 0 % to 20 %": emptied,
    "a new category in 20 % of the rows": renamed,
    "one of 200 categories from 0.5 % to 20 %": overrun,
}
"""What changes in the first of 20 columns."""

MOST_ROWS_OF_A_CHANGE = 1_000

if __name__ == "__main__":
    main()
