"""Play fourteen months of a service that predicts house values, its monitoring, and `retrain-check run` every week.

Everything is written below demo/, which starts empty. Exits 1 unless a challenger was promoted, the end is healthy, and
no week under the threshold was called healthy. Meanwhile a second process retrains the same weeks by the calendar.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import duckdb
import joblib
import pandas as pd
import train

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "housing" / "housing.parquet"
DEMO = ROOT / "demo"
LABELLED = DEMO / "logs" / "labelled"
METRICS = DEMO / "logs" / "metrics.jsonl"
POINTER = DEMO / "models" / "champion.json"

BEGIN = datetime(2020, 10, 1, tzinfo=UTC)  # five months of labelled rows train the first champion
START = datetime(2021, 3, 1, tzinfo=UTC)  # it is in service from here
END = datetime(2022, 5, 9, tzinfo=UTC)  # the last whole week ends here
WEEK = timedelta(days=7)
THRESHOLD = 0.85  # performance_threshold in config.yaml
EVERY = (1, 4)  # weeks between the retrainings by the calendar that the demo is compared with
LOW, LOOKED_AT, SOON = 0.5, 20, 2  # an F1 under LOW on so many rows should be followed by an alarm so many weeks later


def main() -> None:
    """Make the first champion, play the weeks, and tell what came of them."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a week is so few rows that threads cost more than they save
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as beside:
        retrained = beside.submit(by_the_calendar, list(every_week()))
        weeks = played()
        conclude(weeks, retrained.result())


def played() -> list[dict[str, Any]]:
    """Play all weeks with retrain-check, and show what it remembers; return what came of each week."""
    empty(DEMO)
    LABELLED.mkdir(parents=True)
    log_rows(rows(BEGIN, START), "first-months")
    tick(START, "the first champion is trained", "--bootstrap")
    _, first_model = champion()
    weeks = [play(start, first_model) for start in every_week()]
    for question in ("history", "explain"):
        print(f"\n$ retrain-check {question}\n{retrain_check(question)}", end="")
    return weeks


def by_the_calendar(starts: list[datetime]) -> dict[int, list[float]]:
    """Return the F1 of each week, had the same script trained anew every so many weeks (EVERY) on all rows so far."""
    scores: dict[int, list[float]] = {every: [] for every in EVERY}
    models = []
    for number, start in enumerate(starts):
        models.append(train.fitted(rows(BEGIN, start)))
        week = rows(start, start + WEEK)
        for every, found in scores.items():
            model = models[number - number % every]
            found.append(f1_counts(week["label"], model.predict(week[train.FEATURES]))["f1"])
    return scores


def empty(folder: Path) -> None:
    """Remove a folder whatever its modes: sealed models are read-only."""
    if folder.exists():
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)
        subprocess.run(["rm", "-r", folder], check=True)


def every_week() -> Iterator[datetime]:
    """Yield the start of every week."""
    start = START
    while start < END:
        yield start
        start += WEEK


def play(start: datetime, first_model: Any) -> dict[str, Any]:
    """Let the service predict one week, monitoring log it, and cron run retrain-check; return what came of it."""
    version, model = champion()
    week = rows(start, start + WEEK)
    week["prediction"] = model.predict(week[model.feature_names_in_])
    log_rows(week, f"{start:%F}")
    measured = f1_counts(week["label"], week["prediction"])
    with METRICS.open("a") as log:
        log.write(json.dumps({"timestamp": iso(start), **measured, "model": version}) + "\n")
    report = tick(start + WEEK, f"f1 {measured['f1']:.2f}")
    kept = f1_counts(week["label"], first_model.predict(week[first_model.feature_names_in_]))
    looked_at = measured["tp"] + measured["fp"] + measured["fn"]
    return {**report, "week": start, "f1": measured["f1"], "looked_at": looked_at, "f1_without": kept["f1"]}


def champion() -> tuple[str, Any]:
    """Follow the pointer, as a service does: the version and its model."""
    pointer = json.loads(POINTER.read_text())
    return pointer["version"], joblib.load(POINTER.parent / pointer["path"])


def rows(start: datetime, end: datetime) -> pd.DataFrame:
    """Return the rows of a period."""
    table = every_row()
    times = table["timestamp"].dt.tz_localize(UTC)
    return table[(times >= start) & (times < end)].copy()


@cache
def every_row() -> pd.DataFrame:
    """Read the data, named as config.yaml expects, with an id of its own for every row."""
    table = duckdb.read_parquet(str(DATA)).df().rename(columns={"t": "timestamp", "y": "label"})
    table.insert(1, "id", [f"district-{number}" for number in table.index])
    return table


def log_rows(table: pd.DataFrame, name: str) -> None:
    """Write labelled rows to a file of their own."""
    duckdb.from_df(table).write_parquet(str(LABELLED / f"{name}.parquet"))


def f1_counts(labels: pd.Series, predictions: pd.Series) -> dict[str, float]:
    """Count one week's confusion table, as monitoring would, and its F1."""
    right, said_yes, is_yes = labels == predictions, predictions == "1", labels == "1"
    tp, fp, fn = int((right & is_yes).sum()), int((~right & said_yes).sum()), int((~right & is_yes).sum())
    f1 = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0
    return {"f1": round(f1, 4), "n": len(labels), "tp": tp, "fp": fp, "fn": fn, "tn": len(labels) - tp - fp - fn}


def tick(now: datetime, seen: str, *options: str) -> dict[str, Any]:
    """Do what cron does every week; print what came of it in one line."""
    report: dict[str, Any] = json.loads(retrain_check("run", *options, "--now", iso(now), "--format", "json"))
    print(f"{now:%F}  {seen}  {said(report)}", flush=True)
    return report


def said(report: dict[str, Any]) -> str:
    """Say what a run came to, without repeating the F1 that stands before it; of a watched week, what is not proven."""
    measured = report["findings"][0]["because"] if report["findings"] else ""
    proof = measured.partition("not proven yet: ")[2].partition(" (")[0]
    because = proof or report["because"].removeprefix(measured).removeprefix("; ")
    return f"{report['outcome']}: {because}" if because else report["outcome"]


def retrain_check(*arguments: str) -> str:
    """Call the real command where config.yaml is, and return what it printed; end the demo where it broke."""
    command = [sys.executable, "-m", "retrain_trigger", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"retrain-check {' '.join(arguments)}: exit {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def conclude(weeks: list[dict[str, Any]], calendar: dict[int, list[float]]) -> None:
    """Compare what was served with the first champion, and with retraining by the calendar; hold the words to account."""
    promoted = [number for number, week in enumerate(weeks) if week["outcome"] == "promoted"]
    if not promoted:
        sys.exit("\nThe demo failed: no challenger was promoted.")
    if weeks[-1]["outcome"] != "healthy":
        sys.exit(f"\nThe demo failed: the last run is not healthy. {weeks[-1]['because']}")
    if praised := [f"{week['week']:%F}" for week in weeks if is_praised(week)]:
        sys.exit(f"\nThe demo failed: weeks under f1 {THRESHOLD} were called healthy: {', '.join(praised)}.")
    first = promoted[0] + 1
    since = weeks[first:]
    served, without = (fmean(week[key] for week in since) for key in ("f1", "f1_without"))
    trained = sum(entry["kind"] == "training" for entry in json.loads(retrain_check("history", "--format", "json"))) - 1
    print(
        f"\nChallengers promoted: {len(promoted)}. The last run is healthy, and no week under f1 {THRESHOLD} was called so.\n"
        f"Mean weekly F1 over the {len(since)} weeks after the first promotion:\n"
        f"  {served:.3f}  retrain-check, {trained} trainings\n"
        f"  {without:.3f}  the first champion, had it been kept"
    )
    for every, scores in calendar.items():
        often = "every week" if every == 1 else f"every {every} weeks"
        print(f"  {fmean(scores[first:]):.3f}  the same script {often}, {(len(weeks) - 1) // every} trainings")
    print("\n".join(low_weeks(weeks)))


def is_praised(week: dict[str, Any]) -> bool:
    """Say whether a week under the threshold was called healthy."""
    return bool(week["outcome"].startswith("healthy") and week["f1"] < THRESHOLD)


def low_weeks(weeks: list[dict[str, Any]]) -> list[str]:
    """Say which weeks of a very low F1 no alarm followed soon, and why not."""
    low = [n for n, week in enumerate(weeks) if week["f1"] < LOW and week["looked_at"] >= LOOKED_AT]
    silent = [weeks[n] for n in low if not any(map(alarmed, weeks[n : n + SOON + 1]))]
    told = (
        f"Weeks with F1 under {LOW} on {LOOKED_AT} or more rows that F1 looks at: {len(low)}, of which "
        f"{len(low) - len(silent)} were followed by an alarm within {SOON} weeks."
    )
    return [told, *map(unproven, silent)]


def alarmed(week: dict[str, Any]) -> bool:
    """Say whether the run after a week found a breach, or an alert."""
    return any(finding["verdict"] == "BREACH" for finding in week["findings"])


def unproven(week: dict[str, Any]) -> str:
    """Say why a low week was no alarm: how much weaker its rows' evidence is where weeks swing that much anyway."""
    seen = week["findings"][0]
    swing = seen["evidence"]["overdispersion"]
    return (
        f"  not {week['week']:%F}: the weeks of its champion differ {swing:.1f} times as much as their rows explain, so "
        f"its {week['looked_at']} rows count as {week['looked_at'] / swing:.0f} (evidence {seen['value']:.0f} of {seen['limit']:,.0f})"
    )


def iso(at: datetime) -> str:
    """Write a UTC time as logs and `--now` have it."""
    return f"{at:%Y-%m-%dT%H:%MZ}"


if __name__ == "__main__":
    main()
