"""What a run costs as a process, beside a DuckDB sum over all columns of the same file: processor time and peak memory.

A prediction log of --rows rows and 25 features (20 numbers, 5 words) in one window, labels in the row, as one Parquet
file, and as JSON lines in one file and in 365. Each process is run --repeat times, the two of a pair in turn; the table has
the least processor time of all its threads and the memory it took at most, and their ratios. Seconds depend on the
machine; the ratios hardly do.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import duckdb
import joblib
from sklearn.dummy import DummyClassifier

NUMBERS, WORDS = 20, 5
FILES = 365
FEATURES = ", ".join(
    [f"(hash(i * {n + 3}) % 100000) / 1000.0 AS f{n}" for n in range(NUMBERS)]
    + [
        f"['north', 'south', 'east', 'west', 'sea'][(hash(i * {n + 31}) % 5 + 1)::INTEGER] AS w{n}"
        for n in range(WORDS)
    ]
)
ROW = (
    "strftime(TIMESTAMP '2026-01-05' + to_microseconds((i * 86399000000 // {rows})::BIGINT), '%Y-%m-%dT%H:%M:%SZ')"
    "{cast} AS timestamp, 'r' || i AS id, (hash(i) % 10 < 4)::INTEGER AS prediction, "
    "CASE WHEN hash(i * 7) % 20 > 0 THEN (hash(i) % 10 < 4)::INTEGER ELSE (hash(i) % 10 >= 4)::INTEGER END AS label, "
    + FEATURES
)
SETTINGS = """
performance_threshold: 0.85
drift_threshold: 0.2
positive: 1
logs: {predictions: log, reference: reference.parquet}
"""
SUM = "import duckdb, sys; print(duckdb.sql('SELECT ' + sys.argv[1]).fetchall()[0][0])"

MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(done.stderr if done.returncode else 0)
"""
"""Run by a small process: of a large one the memory would count, too, until its child is another program."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: seconds of processor time, and megabytes at most."""

    seconds: float
    megabytes: float


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Rows of the log.")
@click.option("--repeat", default=3, show_default=True, help="Times each process is run.")
@click.option("--as-json", is_flag=True, help="Print JSON instead of a table.")
def main(rows: int, repeat: int, *, as_json: bool) -> None:
    """Print what run and a DuckDB sum cost, and the ratios."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for form in ("Parquet", "JSON lines, one file", f"JSON lines, {FILES} files"):
            project = _project(Path(folder, form.replace(" ", "-")))
            source = _write(project / "log", form, rows)
            summed, ran = _pair(project, source, repeat)
            found[form] = {"sum": asdict(summed), "run": asdict(ran)}
    if as_json:
        click.echo(json.dumps({"rows": rows, "pairs": found}))
        return
    click.echo(f"{rows:,} rows, {NUMBERS + WORDS} features, one window.\n")
    click.echo(
        "| log | sum: CPU s | run: CPU s | ratio | sum: MB | run: MB | ratio |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for form, pair in found.items():
        cells = [f"{form}"]
        for kind, digits in (("seconds", 2), ("megabytes", 0)):
            one, two = pair["sum"][kind], pair["run"][kind]
            cells += [f"{one:.{digits}f}", f"{two:.{digits}f}", f"{two / one:.1f}"]
        click.echo(f"| {' | '.join(cells)} |")


def _project(folder: Path) -> Path:
    """Make a project whose champion is adopted, and whose reference is counted."""
    (folder / "log").mkdir(parents=True)
    (folder / "config.yaml").write_text(SETTINGS)
    with duckdb.connect() as connection:
        row = ROW.format(rows=20_000, cast="::TIMESTAMP")
        connection.execute(
            f"COPY (SELECT {row} FROM range(20000) AS t(i)) TO '{folder}/reference.parquet' (FORMAT parquet)"
        )
        first = "COPY (SELECT * REPLACE ('2026-01-04' AS timestamp) FROM '{0}/reference.parquet' LIMIT 1) TO '{0}/log/first.{1}'"
        connection.execute(first.format(folder, "jsonl") + " (FORMAT json)")
        names = [name for name, *_ in connection.execute(f"DESCRIBE FROM '{folder}/reference.parquet'").fetchall()]
    features = [name for name in names if name[0] in "fw"]
    model = DummyClassifier().fit([[0] * len(features), [1] * len(features)], [0, 1])
    joblib.dump(model, folder / "live.joblib")
    _run(
        folder, "run", "--bootstrap", "--adopt", "live.joblib", "--since", "2026-01-05", "--now", "2026-01-05T00:00:00Z"
    )
    _run(folder, "run", "--now", "2026-01-05T00:00:01Z")
    (folder / "log" / "first.jsonl").unlink()
    return folder


def _write(log: Path, form: str, rows: int) -> str:
    """Write the log; return the DuckDB source that reads it."""
    with duckdb.connect() as connection:
        if form == "Parquet":
            query = f"SELECT {ROW.format(rows=rows, cast='::TIMESTAMP')} FROM range({rows}) AS t(i)"
            connection.execute(f"COPY ({query}) TO '{log}/log.parquet' (FORMAT parquet)")
            return f"'{log}/log.parquet'"
        files = FILES if str(FILES) in form else 1
        for number in range(files):
            part = f"range({rows * number // files}, {rows * (number + 1) // files})"
            query = f"SELECT {ROW.format(rows=rows, cast='')} FROM {part} AS t(i)"
            connection.execute(f"COPY ({query}) TO '{log}/{number:04}.jsonl' (FORMAT json)")
    for path in log.iterdir():
        os.utime(path, (0, 0))  # nobody is writing it any more
    return f"read_json('{log}/*.jsonl', format = 'newline_delimited')"


def _pair(project: Path, source: str, repeat: int) -> tuple[Cost, Cost]:
    """Return the least costs of both processes; each run counts as if it were the first."""
    columns = ", ".join(f"sum(f{n})" for n in range(NUMBERS)) + ", " + ", ".join(f"count(w{n})" for n in range(WORDS))
    state = project / ".retrain-check"
    kept = {path: path.read_bytes() for path in state.iterdir() if path.is_file()}
    summed, ran = [], []
    for _ in range(repeat):
        summed.append(_cost(project, [sys.executable, "-c", SUM, f"{columns} FROM {source}"]))
        for path, content in kept.items():
            path.write_bytes(content)
        ran.append(_cost(project, [sys.executable, "-m", "retrain_trigger", "run", "--now", "2026-01-06T00:00:00Z"]))
    return tuple(Cost(min(c.seconds for c in costs), min(c.megabytes for c in costs)) for costs in (summed, ran))  # type: ignore[return-value]  (two)


def _cost(folder: Path, command: list[str]) -> Cost:
    measured = subprocess.run(
        [sys.executable, "-S", "-c", MEASURED, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    if measured.returncode:
        raise click.ClickException(f"{' '.join(command[:4])} failed: {measured.stderr}")
    seconds, megabytes = map(float, measured.stdout.split())
    return Cost(seconds, megabytes)


def _run(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "retrain_trigger", *arguments], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
