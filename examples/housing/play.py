"""Play fourteen months of a service that predicts house values, its monitoring, and `retrain-check run` every week.

Everything is written below demo/, which starts empty. Exits 1 unless a challenger was promoted and the end is healthy.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import duckdb
import joblib
import pandas as pd

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


def main() -> None:
    """Make the first champion, play the weeks, and tell what came of them."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a week is so few rows that threads cost more than they save
    empty(DEMO)
    LABELLED.mkdir(parents=True)
    log_rows(rows(BEGIN, START), "first-months")
    tick(START, "the first champion is trained", "--bootstrap")
    _, first_model = champion()
    weeks = [play(start, first_model) for start in every_week()]
    for question in ("history", "explain"):
        print(f"\n$ retrain-check {question}\n{retrain_check(question)}", end="")
    conclude(weeks)


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
    return {**report, "f1": measured["f1"], "f1_without": kept["f1"]}


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
    """Say what a run came to, without repeating the F1 that stands before it."""
    measured = report["findings"][0]["because"] if report["findings"] else ""
    because = report["because"].removeprefix(measured).removeprefix("; ")
    return f"{report['outcome']}: {because}" if because else report["outcome"]


def above_threshold(report: dict[str, Any]) -> bool:
    """Say whether the newest F1 reaches the threshold (a single low week is no evidence, and healthy too)."""
    evidence = report["findings"][0]["evidence"]
    return bool(evidence["latest"] >= evidence["threshold"])


def retrain_check(*arguments: str) -> str:
    """Call the real command where config.yaml is, and return what it printed; end the demo where it broke."""
    command = [sys.executable, "-m", "retrain_trigger", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"retrain-check {' '.join(arguments)}: exit {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def conclude(weeks: list[dict[str, Any]]) -> None:
    """Compare what was served with what the first champion would have served since it was first replaced."""
    promoted = [number for number, week in enumerate(weeks) if week["outcome"] == "promoted"]
    if not promoted:
        sys.exit("\nThe demo failed: no challenger was promoted.")
    if weeks[-1]["outcome"] != "healthy" or not above_threshold(weeks[-1]):
        sys.exit(f"\nThe demo failed: the last run is not healthy. {weeks[-1]['because']}")
    since = weeks[promoted[0] + 1 :]
    served, without = (fmean(week[key] for week in since) for key in ("f1", "f1_without"))
    print(
        f"\nChallengers promoted: {len(promoted)}. The last run is healthy.\n"
        f"Mean weekly F1 over the {len(since)} weeks after the first promotion: {served:.2f}. The first champion, had "
        f"it been kept: {without:.2f}."
    )


def iso(at: datetime) -> str:
    """Write a UTC time as logs and `--now` have it."""
    return f"{at:%Y-%m-%dT%H:%MZ}"


if __name__ == "__main__":
    main()
