"""What the sequential evidence promises, each figure beside its bound: false alarms, alerts, delay after an outage day.

A stream is one window a day, 500 of them; F1 is drawn as in benchmarks/false_alarms.py, threshold t = 0.85. The
product's detector sees every window, and begins anew after each of its alarms. Alarms and alerts are per 1,000 windows;
a delay is the median number of windows until the first alarm after the fall, the window of the fall included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import click
import numpy as np
from false_alarms import FRESH, HEALTHY, THRESHOLD, Stream, drawn

from retrain_trigger.judge.checks.ratios import Counts

OUTAGE = 0.4
BEFORE_THE_FALL = 8
"""An outage day lies so many windows before the fall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """A stream in which nothing happens, and how often it may alarm."""

    stream: Stream
    rows: Sequence[int]
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """A fall after `healthy` windows at t+0.03, with an outage day or without; the bound of its median delay."""

    to: float
    rows: int
    share: float
    bound: float
    healthy: int = HEALTHY
    outage: bool = True


STEADY = (
    Steady(stream=Stream(title="at t", above=0), rows=(500, 5000), bound=0.6),
    Steady(stream=Stream(title="blocks of ten, t", above=0, block=10), rows=(200, 1000, 5000), bound=1.3),
    Steady(stream=Stream(title="blocks of ten, t+0.03", above=0.03, block=10), rows=(200, 1000, 5000), bound=0.1),
    Steady(stream=Stream(title="daily sd 0.02, t+0.03", above=0.03, daily_sd=0.02), rows=(500, 5000), bound=0.1),
)
MOST_ALERTS = 1.0
FALLS = (
    Fall(to=-0.02, rows=5000, share=0.3, bound=6),
    Fall(to=-0.05, rows=5000, share=0.3, bound=4),
    Fall(to=-0.05, rows=5000, share=0.3, bound=4, healthy=3),
    Fall(to=-0.05, rows=500, share=0.01, bound=75, outage=False),
)
ALERTED_ROWS = (500, 1000, 5000)


@click.command()
@click.option("--repetitions", default=200, show_default=True, help="Streams of each kind.")
@click.option("--days", default=500, show_default=True, type=click.IntRange(HEALTHY + 20), help="Windows of a stream.")
@click.option("--seed", default=1, show_default=True)
def main(*, repetitions: int, days: int, seed: int) -> None:
    """Print every figure beside its bound."""
    print(
        "| F1 | rows a day | positives | false alarms | at most | alerts | at most |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for number, steady in enumerate(STEADY):
        for rows in steady.rows:
            for share in (0.1, 0.3):
                generator = np.random.default_rng([seed, number, rows, round(100 * share)])
                counts = drawn(
                    steady.stream, rows=rows, share=share, repetitions=repetitions, days=days, generator=generator
                )
                alarms, alerts = rates(counts.tolist())
                print(
                    f"| {steady.stream.title} | {rows:,} | {share:.0%} | {alarms:.2f} | {steady.bound} "
                    f"| {alerts:.2f} | {MOST_ALERTS:g} |",
                    flush=True,
                )
    print("\n| fall to | rows a day | positives | before it | median delay | at most |\n|---|---:|---:|---|---:|---:|")
    for number, fall in enumerate(FALLS):
        generator = np.random.default_rng([seed, 100, number])
        delays = [
            delay(fall, stream) for stream in fallen(fall, repetitions=repetitions, days=days, generator=generator)
        ]
        before = (
            f"{fall.healthy} windows, outage day, {BEFORE_THE_FALL - 1}" if fall.outage else f"{fall.healthy} windows"
        )
        print(
            f"| t{fall.to:+.2f} | {fall.rows:,} | {fall.share:.0%} | {before} | {np.median(delays):g} | {fall.bound:g} |",
            flush=True,
        )
    print(
        "\n| outage day of F1 0.4 | positives | alerted on the day | at least | alarmed by that day alone |\n|---:|---:|---:|---:|---:|"
    )
    for rows in ALERTED_ROWS:
        for share in (0.1, 0.3):
            generator = np.random.default_rng([seed, 200, rows, round(100 * share)])
            told, alarmed = outages(rows=rows, share=share, repetitions=repetitions, generator=generator)
            print(f"| {rows:,} rows | {share:.0%} | {told:.1%} | 100% | {alarmed:.1%} |", flush=True)


def rates(streams: Sequence[Sequence[Sequence[int]]]) -> tuple[float, float]:
    """Return alarms and alerts per 1,000 windows."""
    alarms = alerts = windows = 0
    for stream in streams:
        detector = FRESH
        for counts in stream:
            detector = detector.after(cells(counts))
            windows, alarms, alerts = windows + 1, alarms + detector.alarms, alerts + detector.alerts
            detector = FRESH if detector.alarms else detector
    return 1000 * alarms / windows, 1000 * alerts / windows


def fallen(
    fall: Fall, *, repetitions: int, days: int, generator: np.random.Generator
) -> Sequence[Sequence[Sequence[int]]]:
    """Draw the streams of a fall, oldest window first."""
    above = [0.03] * fall.healthy
    if fall.outage:
        above += [OUTAGE - THRESHOLD] + [0.03] * (BEFORE_THE_FALL - 1)
    above += [fall.to] * (days - len(above))
    parts = [
        drawn(
            Stream(title="", above=one),
            rows=fall.rows,
            share=fall.share,
            repetitions=repetitions,
            days=1,
            generator=generator,
        )
        for one in above
    ]
    return np.concatenate(parts, axis=1).tolist()  # type: ignore[no-any-return]


def delay(fall: Fall, stream: Sequence[Sequence[int]]) -> float:
    """Return how many windows the first alarm after the fall takes; infinity where none comes."""
    begins = fall.healthy + (BEFORE_THE_FALL if fall.outage else 0)
    detector = FRESH
    for number, counts in enumerate(stream):
        detector = detector.after(cells(counts))
        if detector.alarms and number >= begins:
            return number - begins + 1
        detector = FRESH if detector.alarms else detector
    return float("inf")


def outages(*, rows: int, share: float, repetitions: int, generator: np.random.Generator) -> tuple[float, float]:
    """Return the shares of outage days, after 60 windows at t+0.03, that are alerted of and that alarm."""
    streams = fallen(
        Fall(to=0, rows=rows, share=share, bound=0),
        repetitions=repetitions,
        days=HEALTHY + BEFORE_THE_FALL,
        generator=generator,
    )
    told = alarmed = 0
    for stream in streams:
        detector = FRESH
        for counts in stream[: HEALTHY + 1]:
            detector = detector.after(cells(counts))
        told, alarmed = told + detector.alerts, alarmed + detector.alarms
    return told / repetitions, alarmed / repetitions


def cells(counts: Sequence[int]) -> Counts:
    """Return counts as the product has them."""
    tp, fp, fn, tn = counts
    return (tp, fp, fn, tn)


if __name__ == "__main__":
    main()
