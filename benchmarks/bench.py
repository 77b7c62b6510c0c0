"""What a run costs as a process, in processor time and memory.

It is measured beside a DuckDB sum over the same file, beside peers, and beside itself with more files, more rows, late
labels and a promotion.

The processes of a pair run in turn, --repeat times or for a minute; what is shown is the median, and the median of the
ratios of pairs. Seconds depend on the machine; the ratios hardly do. Peers are measured in environments that `make
bench-peers` makes. --large adds ten times the rows, and a log of --rows times 1 KB with late labels.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import click
import duckdb
import joblib
from sklearn.dummy import DummyClassifier

HERE = Path(__file__).parent
START = datetime(2024, 1, 1, tzinfo=UTC)
"""A Monday; all of the log is before today."""
DAY = timedelta(days=1)
DAYS = 365
LATE = 7
"""Days until a label comes."""

NUMBERS, WORDS = 20, 5
FEATURES = ", ".join(
    [f"(hash(i * {n + 3}) % 100000) / 1000.0 AS f{n}" for n in range(NUMBERS)]
    + [
        f"['north', 'south', 'east', 'west', 'sea'][(hash(i * {n + 31}) % 5 + 1)::INTEGER] AS w{n}"
        for n in range(WORDS)
    ]
)
AT = "TIMESTAMP '2024-01-01' + to_microseconds((i * {gap})::BIGINT)"
WRITTEN = "strftime({at}, '%Y-%m-%dT%H:%M:%SZ')"
LABEL = "CASE WHEN hash(i * 7) % 20 > 0 THEN (hash(i) % 10 < 4)::INTEGER ELSE (hash(i) % 10 >= 4)::INTEGER END AS label"
ROW = "{at} AS timestamp, 'r' || i AS id, (hash(i) % 10 < 4)::INTEGER AS prediction"
SETTINGS = "performance_threshold: 0.85\ndrift_threshold: 0.2\npositive: 1\nlogs: {{predictions: log, reference: reference.parquet{labels}}}\n"
SUM = "import duckdb, sys; print(duckdb.sql('SELECT ' + sys.argv[1]).fetchall()[0][0])"
SUMMED = ", ".join([*(f"sum(f{n})" for n in range(NUMBERS)), *(f"count(w{n})" for n in range(WORDS))])

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
    """What a process took: seconds of processor time, and megabytes at most, None where they were not measured."""

    seconds: float | None
    megabytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a process cost, beside another: the ratios of time and memory, and what each may be at most or at least."""

    name: str
    cost: Cost = Cost(0)
    beside: str = ""
    other: Cost | None = None
    time: float | None = None
    memory: float | None = None
    time_limit: str = ""
    memory_limit: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        other = self.other or Cost(None)
        time = (_shown(self.cost.seconds, 2), self.beside, _shown(other.seconds, 2), _shown(self.time, 2))
        memory = (_shown(self.cost.megabytes, 0), _shown(other.megabytes, 0), _shown(self.memory, 2))
        return (self.name, *time, self.time_limit, *memory, self.memory_limit)


HEADER = ("process", "CPU s", "beside", "CPU s", "ratio", "limit", "MB", "MB", "ratio", "limit")
Found = Iterator[Figure | str]
"""Figures, and sentences about what was not measured."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where projects are made, how large their logs are, how often each pair is run, and where the peers are."""

    folder: Path
    rows: int
    repeat: int
    peers: Path


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Rows of the log.")
@click.option("--repeat", default=3, show_default=True, help="Times each pair is run.")
@click.option("--large", is_flag=True, help="Measure ten times the rows, too, and a log of a gigabyte.")
@click.option("--only", default="", help="The parts to measure, with commas; default: all.")
@click.option(
    "--peers", default=HERE.parent / ".venv-peers", type=click.Path(path_type=Path), help="Their environments."
)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures to this file, too.")
def main(rows: int, repeat: int, *, large: bool, only: str, peers: Path, path: Path | None) -> None:
    """Print a table of what a run costs."""
    wanted = only.split(",") if only else [*PARTS, *(LARGE if large else ())]
    known = PARTS | LARGE
    if unknown := {*wanted} - {*known}:
        raise click.UsageError(f"no part {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    found: dict[str, list[Figure | str]] = {}
    click.echo(f"{rows:,} rows, {NUMBERS + WORDS} features, {os.cpu_count()} cores.\n\n| {' | '.join(HEADER)} |")
    click.echo("|---|---:|---|---:|---:|---|---:|---:|---:|---|")
    for part in wanted:
        found[part] = []
        with tempfile.TemporaryDirectory() as folder:
            for figure in known[part](Bench(Path(folder), rows, repeat, peers)):
                found[part].append(figure)
                click.echo(f"| {' | '.join(figure.cells)} |" if isinstance(figure, Figure) else f"| {figure} |")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        told = {part: [each if isinstance(each, str) else asdict(each) for each in own] for part, own in found.items()}
        path.write_text(json.dumps({"rows": rows, "repeat": repeat, "parts": told}, indent=2))


def _beside_a_sum(bench: Bench) -> Found:
    """Measure one Parquet file of one window, with labels in the row."""
    project = Project.made(bench.folder)
    source = project.parquet(bench.rows)
    yield _pairs(
        Figure(name="run", beside="DuckDB sum", time_limit="at most 3.5", memory_limit="at most 1"),
        lambda: project.first(START + DAY),
        lambda: _cost(project.folder, [sys.executable, "-c", SUM, f"{SUMMED} FROM '{source}'"]),
        bench.repeat,
    )
    splits = [project.first_split(START + DAY) for _ in range(bench.repeat)]
    for part in splits[0]:
        yield Figure(name=f"of it {part}", cost=Cost(median(split[part] for split in splits)))


def _beside_peers(bench: Bench) -> Found:
    """Measure peers on that file, with a reference of as many rows: peers read it each time, `run` counted it once."""
    there = {peer: bench.peers / peer / "bin" / "python" for peer in PEERS}
    there = {peer: python.absolute() for peer, python in there.items() if python.exists()}
    for peer in [peer for peer in PEERS if peer not in there]:
        yield f"{PEERS[peer][0]}: not measured, its environment is missing (make bench-peers)"
    if not there:
        return
    project = Project.made(bench.folder, reference=bench.rows)
    files = ["reference.parquet", project.parquet(bench.rows)]
    for peer, python in there.items():
        name, least = PEERS[peer]
        command = [str(python), str(HERE / "peers" / "drift.py"), peer, *files]
        yield _pairs(
            Figure(name=name, beside="run", time_limit=f"at least {least}"),
            lambda command=command: _cost(project.folder, command),
            lambda: project.first(START + DAY),
            bench.repeat,
        )


def _files(bench: Bench) -> Found:
    """Measure a file a day beside one file, and many tiny files."""
    one, daily = Project.made(bench.folder / "one"), Project.made(bench.folder / "daily")
    one.lines("all", 0, bench.rows, gap=DAYS * DAY / bench.rows)
    for day in range(DAYS):
        daily.lines(f"{day:04}", *(bench.rows * n // DAYS for n in (day, day + 1)), gap=DAYS * DAY / bench.rows)
    end = START + DAYS * DAY
    yield _pairs(
        Figure(name=f"first run, {DAYS} daily files", beside="one file", time_limit="at most 1.3"),
        lambda: daily.first(end),
        lambda: one.first(end),
        bench.repeat,
    )
    many, files = Project.made(bench.folder / "many"), bench.rows // 1000
    for number in range(files):
        many.lines(f"{number:04}", 4 * number, 4 * number + 4, gap=timedelta(minutes=15))
    cost = _median([many.first(START + files * timedelta(hours=1)) for _ in range(bench.repeat)])
    yield Figure(name=f"first run, {files:,} files of 4 rows", cost=cost, time_limit="at most 5 s")


def _promotion(bench: Bench) -> Found:
    """Measure the tick after a promotion beside one at which nothing came; the log is one file, labels come late."""
    project = Project.made(bench.folder, late=True)
    gap = DAYS * DAY / bench.rows
    project.lines("all", 0, bench.rows, gap=gap)
    project.labels(0, bench.rows * (DAYS - LATE) // DAYS, gap=gap)
    now = START + DAYS * DAY
    first = project.run(now)

    def ordinary() -> Cost:
        nonlocal now
        now += timedelta(minutes=5)
        return project.run(now)

    def promoted() -> Cost:
        nonlocal now
        now += timedelta(minutes=5)
        project.promote(now)
        return ordinary()

    figure = Figure(name="first run after a promotion", beside="ordinary run", time_limit="at most 2")
    yield _pairs(figure, promoted, ordinary, bench.repeat)
    yield Figure(name="first run of that log", cost=first)


def _more_rows(bench: Bench) -> Found:
    """Measure ten times the rows."""
    one, ten = Project.made(bench.folder / "one"), Project.made(bench.folder / "ten")
    one.parquet(bench.rows)
    ten.parquet(10 * bench.rows)
    figure = Figure(name=f"run, {10 * bench.rows:,} rows", beside=f"{bench.rows:,} rows")
    yield _pairs(
        replace(figure, time_limit="at most 11", memory_limit="at most 1.3"),
        lambda: ten.first(START + DAY),
        lambda: one.first(START + DAY),
        bench.repeat,
    )


def _growing(bench: Bench) -> Found:
    """Measure a hundredth more rows and labels of a log of a gigabyte, beside the first count of it."""
    project = Project.made(bench.folder, late=True)
    log = project.folder / "log" / "all.jsonl"
    project.lines("all", 0, 1000, gap=DAY)
    rows = bench.rows * 1000 * 1000 // log.stat().st_size
    log.unlink()
    known, gap = rows * (100 - LATE) // 100, 100 * DAY / rows
    project.lines("all", 0, rows, gap=gap)
    project.labels(0, known, gap=gap)
    name = f"1 % more of {log.stat().st_size / 1e9:.2f} GB"
    first = project.first_split(START + 100 * DAY)
    project.lines("all", rows, rows + rows // 100, gap=gap)
    project.labels(known, known + rows // 100, gap=gap)
    then = project.split(START + 101 * DAY)
    for what, parts in ((", the whole run", [*first]), (", reading and counting", ["reading", "counting"])):
        one, other = (sum(split.get(part, 0) for part in parts) for split in (then, first))
        figure = Figure(name=name + what, cost=Cost(one), beside="the first", other=Cost(other), time=one / other)
        yield replace(figure, time_limit="at most 0.05")


PEERS = {"scipy": ("scipy, column by column", 3), "nannyml": ("NannyML", 6), "evidently": ("Evidently", 45)}
"""Peers by environment: a name, and how many times as much as a run they cost at least."""

PARTS: dict[str, Callable[[Bench], Found]] = {
    "sum": _beside_a_sum,
    "peers": _beside_peers,
    "files": _files,
    "promotion": _promotion,
}
LARGE: dict[str, Callable[[Bench], Found]] = {"rows": _more_rows, "growing": _growing}


@dataclass(frozen=True, slots=True)
class Project:
    """A project whose champion is adopted, and whose reference is counted; `kept` is its state before the first count."""

    folder: Path
    kept: Path

    @classmethod
    def made(cls, folder: Path, *, reference: int = 20_000, late: bool = False) -> "Project":
        """Make the project; labels come in a file of their own if they are late."""
        (folder / "log").mkdir(parents=True)
        (folder / "config.yaml").write_text(SETTINGS.format(labels=", labels: labels.jsonl" if late else ""))
        project = cls(folder, folder / "kept")
        before = f"{_row(gap=DAY / reference, text=False)}, {LABEL}"
        project._write("reference.parquet", before, -reference, 0)  # rows later than a run would not count
        names = [f"f{n}" for n in range(NUMBERS)] + [f"w{n}" for n in range(WORDS)]
        joblib.dump(DummyClassifier().fit([[0] * len(names), [1] * len(names)], [0, 1]), folder / "live.joblib")
        first = {"timestamp": "2023-12-31T00:00:00Z", "id": "first", "prediction": 1, "label": 1}
        for name in ("log/first.jsonl", "labels.jsonl") if late else ("log/first.jsonl",):
            (folder / name).write_text(json.dumps(first) + "\n")
        project._retrain_check(
            "run",
            "--bootstrap",
            "--adopt",
            "live.joblib",
            "--since",
            f"{START:%Y-%m-%d}",
            "--now",
            f"{START:%Y-%m-%dT%XZ}",
        )
        project.run(START + timedelta(seconds=1))
        (folder / "log" / "first.jsonl").unlink()
        shutil.copytree(folder / ".retrain-check", project.kept)
        return project

    def parquet(self, rows: int) -> str:
        """Write the log as one file of one day; return its name."""
        self._write("log/all.parquet", f"{_row(gap=DAY / rows, text=False)}, {LABEL}", 0, rows)
        return "log/all.parquet"

    def lines(self, name: str, start: int, end: int, *, gap: timedelta) -> None:
        """Append rows to a file of lines; labels are in the row unless they come late."""
        label = "" if (self.folder / "labels.jsonl").exists() else f", {LABEL}"
        self._append(f"log/{name}.jsonl", _row(gap=gap, text=True) + label, start, end)

    def labels(self, start: int, end: int, *, gap: timedelta) -> None:
        """Append the labels of rows, which came LATE days after those; one row in twenty gets none."""
        came = WRITTEN.format(at=f"{_at(gap)} + INTERVAL {LATE} DAY")
        chosen = f"'r' || i AS id, {LABEL}, {came} AS labelled_at"
        self._append("labels.jsonl", chosen, start, end, where="hash(i * 13) % 20 > 0")

    def first(self, now: datetime) -> Cost:
        """Run as if nothing of the log had been counted."""
        self._forget()
        return self.run(now)

    def run(self, now: datetime) -> Cost:
        """Run."""
        return _cost(self.folder, [sys.executable, "-m", "retrain_trigger", "run", "--now", f"{now:%Y-%m-%dT%XZ}"])

    def first_split(self, now: datetime) -> dict[str, float]:
        """Run as if nothing of the log had been counted; return the seconds of processor time by part."""
        self._forget()
        return self.split(now)

    def split(self, now: datetime) -> dict[str, float]:
        """Run; return the seconds of processor time by part."""
        script = [sys.executable, str(HERE / "split.py"), "split.json"]
        _cost(self.folder, [*script, "run", "--now", f"{now:%Y-%m-%dT%XZ}"])
        found: dict[str, float] = json.loads((self.folder / "split.json").read_text())
        return found

    def promote(self, now: datetime) -> None:
        """Promote another model by hand."""
        options = ("--reason", "to measure the next run", "--yes", "--now", f"{now:%Y-%m-%dT%XZ}")
        self._retrain_check("adopt", "live.joblib", *options)

    def _forget(self) -> None:
        shutil.rmtree(self.folder / ".retrain-check")
        shutil.copytree(self.kept, self.folder / ".retrain-check")

    def _retrain_check(self, *arguments: str) -> None:
        _cost(self.folder, [sys.executable, "-m", "retrain_trigger", *arguments])

    def _append(self, name: str, chosen: str, start: int, end: int, *, where: str = "true") -> None:
        """Append lines to a file that, as it looks, nobody is writing any more."""
        self._write("part.jsonl", chosen, start, end, where=where)
        with (self.folder / name).open("ab") as file, (self.folder / "part.jsonl").open("rb") as part:
            shutil.copyfileobj(part, file)
        os.utime(self.folder / name, (0, 0))

    def _write(self, name: str, chosen: str, start: int, end: int, *, where: str = "true") -> None:
        form = "json" if name.endswith("jsonl") else "parquet"
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT {chosen} FROM range({start}, {end}) AS t(i) WHERE {where}) TO '{self.folder / name}' (FORMAT {form})"
            )


def _row(*, gap: timedelta, text: bool) -> str:
    at = WRITTEN.format(at=_at(gap)) if text else _at(gap)
    return f"{ROW.format(at=at)}, {FEATURES}"


def _at(gap: timedelta) -> str:
    return AT.format(gap=f"{gap / timedelta(microseconds=1):.0f}")


def _pairs(figure: Figure, measured: Callable[[], Cost], other: Callable[[], Cost], repeat: int) -> Figure:
    """Measure two processes in turn, `repeat` times or for a minute."""
    pairs: list[tuple[Cost, Cost]] = []
    begun = time.monotonic()
    while not pairs or (len(pairs) < repeat and time.monotonic() - begun < LONGEST):
        pairs.append((measured(), other()))
    ours, theirs = (_median(costs) for costs in zip(*pairs, strict=True))
    ratios = [
        median(getattr(one, kind) / getattr(two, kind) for one, two in pairs) for kind in ("seconds", "megabytes")
    ]
    return replace(figure, cost=ours, other=theirs, time=ratios[0], memory=ratios[1])


LONGEST = 60.0
"""Seconds after which no more pairs are measured."""


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(median(cost.seconds for cost in costs), median(cost.megabytes for cost in costs))


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _cost(folder: Path, command: list[str]) -> Cost:
    """Run a process to its end, peers without a word home. Raises ClickException if it fails."""
    measured = subprocess.run(
        [sys.executable, "-S", "-c", MEASURED, *command],
        cwd=folder,
        env=os.environ | {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if measured.returncode:
        raise click.ClickException(f"{' '.join(command[:4])} failed: {measured.stderr}")
    seconds, megabytes = map(float, measured.stdout.split())
    return Cost(seconds, megabytes)


if __name__ == "__main__":
    main()
