"""What a tick costs: the first, which counts a whole prediction log, against the next ones, which count what came since.

The log has ROWS rows over DAYS days and labels in a file of their own that come --late days later and are missing for one row
in twenty, as one JSONL file and as a folder of daily files. Timed is retrain_trigger.engines.prediction_log.count with
what the ledger would have kept, `--repeat` times, the least counting: seconds of processor time, of all threads together. They depend on the machine; their
ratios to the first tick, measured in the same run, hardly do.
"""

import json
import os
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import duckdb

from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.counts.histograms import Bins
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.engines import prediction_log, reading
from retrain_trigger.engines.counted import Counted
from retrain_trigger.engines.plan import Plan

START = datetime(2026, 1, 5, tzinfo=UTC)
NAMES = ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")

LABELLED = "hash(n * 13) % 20 > 0"
"""One row in twenty never gets a label."""

ROW = """
    strftime(TIMESTAMP '2026-01-05' + to_microseconds((n * {gap})::BIGINT), '%Y-%m-%dT%H:%M:%SZ') AS timestamp,
    'r' || n AS id, (hash(n) % 10 < 4)::INTEGER AS prediction, (hash(n * 7) % 1000) / 1000.0 AS score,
    (hash(n * 3) % 1000) / 10.0 AS age, (hash(n * 11) % 1000) / 10.0 AS income,
    ['north', 'south', 'east'][(hash(n * 5) % 3 + 1)::INTEGER] AS city
"""
LABEL = """
    'r' || n AS id, (hash(n) % 10 < 4)::INTEGER AS label,
    strftime(TIMESTAMP '2026-01-05' + INTERVAL {late} DAY + to_microseconds((n * {gap})::BIGINT), '%Y-%m-%dT%H:%M:%SZ')
        AS labelled_at
"""


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Rows of the log at the first tick.")
@click.option("--days", default=365, show_default=True, help="Days that they are spread over.")
@click.option("--late", default=7, show_default=True, help="Days until labels come.")
@click.option("--repeat", default=3, show_default=True, help="Times each tick is measured.")
def main(rows: int, days: int, late: int, repeat: int) -> None:
    """Print one table of CPU seconds, and of ratios to the first tick."""
    click.echo(f"{rows:,} rows over {days} days, then a day more of {rows // days:,}.\n")
    click.echo("| log | labels | tick | CPU seconds | of the first |")
    click.echo("|---|---|---|---:|---:|")
    for daily in (False, True):
        for labels in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                name = "a folder of daily files" if daily else "one file"
                told = f"come {late} days late" if labels else "none"
                times = _times(Path(folder), rows, days, late if labels else None, daily=daily, repeat=repeat)
                first = times["first"]
                for tick, seconds in times.items():
                    click.echo(f"| {name} | {told} | {tick} | {seconds:.3f} | {seconds / first:.1%} |")


def _times(folder: Path, rows: int, days: int, late: int | None, *, daily: bool, repeat: int) -> dict[str, float]:
    log, truth = folder / "log", folder / "labels.jsonl"
    log.mkdir()
    step = rows // days
    plan = Plan(
        predictions=str(log / "*.jsonl"),
        labels=str(truth) if late is not None else None,
        columns={name: name for name in NAMES},
        window=timedelta(days=1),
        bins={
            "age": Bins.numeric([10.0 * cut for cut in range(1, 10)], [], low=0.0, high=100.0),
            "income": Bins.numeric([10.0 * cut for cut in range(1, 10)], [], low=0.0, high=100.0),
            "city": Bins.categorical({"north": 2, "south": 1}),
        },
        score_edges=tuple(cut / 20 for cut in range(1, 20)),
        coverage=0.8,
    )
    for day in range(days) if daily else ():
        _append(log / f"{day:04}.jsonl", ROW, day * step, step, step)
    if not daily:
        _append(log / "all.jsonl", ROW, 0, days * step, step)
    if late is not None:
        _append(truth, LABEL.replace("{late}", str(late)), 0, (days - late) * step, step, where=LABELLED)
    now, kept = START + timedelta(days=days, hours=1), folder / "kept"
    for path in (*log.iterdir(), truth):
        if path.exists():
            os.utime(path, (0, 0))  # nobody is writing it any more
    times = {}
    times["first"], known = _timed(plan, now, Counted(), kept, repeat)
    times["next, nothing came"], known = _timed(plan, now + timedelta(minutes=5), known, kept, repeat)
    _append(log / (f"{days:04}.jsonl" if daily else "all.jsonl"), ROW, days * step, step, step)
    if late is not None:
        _append(truth, LABEL.replace("{late}", str(late)), (days - late) * step, step, step, where=LABELLED)
    later = now + timedelta(days=1)
    times["next, a day came"], known = _timed(plan, later, known, kept, repeat)
    whole = prediction_log.count(plan, now=later)
    if _windows(plan, known, later) != _windows(plan, whole, later):
        raise click.ClickException("the next ticks counted otherwise than one count of all")
    promoted = replace(plan, since=later, version="next")
    times["first after a promotion"], _ = _timed(promoted, later + timedelta(minutes=5), known, kept, repeat)
    return times


def _append(path: Path, columns: str, start: int, rows: int, step: int, *, where: str = "true") -> None:
    """Append rows by number, `step` of them a day."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        part = Path(folder) / "part.jsonl"
        gap = 86_400_000_000 / step
        chosen = (
            f"SELECT {columns.format(gap=gap)} FROM range({start}, {start + rows}) AS t(n) WHERE {where} ORDER BY n"
        )
        connection.execute(f"COPY ({chosen}) TO '{part}' (FORMAT json)")
        with path.open("ab") as file:
            file.write(part.read_bytes())


def _timed(plan: Plan, now: datetime, known: Counted, kept: Path, repeat: int) -> tuple[float, Counted]:
    """Return the least time of some counts from the same state, and what was counted, as the ledger keeps it."""
    least, body = float("inf"), json.dumps(encoded(known))
    for _ in range(repeat):
        begun = time.process_time()
        before = decoded(Counted, json.loads(body))
        counted = prediction_log.count(plan, now=now, known=before, store=kept, keep=kept, scratch=kept)
        told = json.dumps(encoded(counted))
        least = min(least, time.process_time() - begun)
    return least, decoded(Counted, json.loads(told))


def _windows(plan: Plan, counted: Counted, now: datetime) -> list[WindowCounts]:
    return reading.seen(plan, counted, now=now, told=lambda *_: "").windows


if __name__ == "__main__":
    main()
