"""Logs, labels and labelled rows of one line without end: a clear refusal, and little memory.

Run as `python torture/long_line.py [--megabytes N]`; exits with 1 where anything went wrong.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST = 100
"""Megabytes of memory that reading it may take above reading an ordinary file in the same way."""

READ = """
import re, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from retrain_trigger.core.errors import RetrainCheckError
NOW = datetime(2026, 2, 1, tzinfo=UTC)
COLUMNS = {n: n for n in ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")}
how, log, labels = sys.argv[1], Path(sys.argv[2]), sys.argv[3] or None
try:
    if how == "metrics":
        from retrain_trigger.logs import metrics_log
        from retrain_trigger.logs.record import Wanted
        metrics_log.read([log], wanted=Wanted("f1"), now=None)
    elif how == "labelled":
        from retrain_trigger.engines import labelled
        with labelled.opened(str(log), columns=COLUMNS, now=NOW):
            pass
    else:
        from retrain_trigger.engines import past, prediction_log
        from retrain_trigger.engines.plan import Plan
        plan = Plan(
            predictions=str(log), labels=labels, columns=COLUMNS, window=timedelta(days=1), bins={}, score_edges=()
        )
        if how == "counted":
            prediction_log.count(plan, now=NOW)
        else:
            with past.replaying(plan, until=NOW):
                pass
except RetrainCheckError as error:
    print(error)
print(re.search(r"VmHWM:\\s*([0-9]+)", Path("/proc/self/status").read_text())[1])
"""
METRICS = b'{"f1": 0.9}\n'
NAMED = r"longer than [0-9]+ (MB|bytes)|has no end yet"


@dataclass(frozen=True)
class Case:
    """A file that ends in a long line: how it is read, its kind, what stands before, and which file it is."""

    how: str
    kind: str
    before: bytes
    labels: bool = False

    @property
    def name(self) -> str:
        """Name the case in a message."""
        place = "after good lines" if self.before else "alone"
        return f"{self.how}, {'labels' if self.labels else 'log'}.{self.kind} {place}"

    def read(self, folder: Path, *, megabytes: int) -> tuple[str, int]:
        """Read the file with a line of so many megabytes; return what was said, and the megabytes that it took."""
        log, labels = folder / f"log.{self.kind}", folder / f"labels.{self.kind}"
        log.write_bytes(ordinary(self.kind, label=not self.labels) if self.labels else self.before)
        labels.write_bytes(self.before)
        with (labels if self.labels else log).open("ab") as file:
            for _ in range(megabytes):
                file.write(b"x" * (1 << 20))
        done = subprocess.run(
            [sys.executable, "-c", READ, self.how, str(log), str(labels) if self.labels else ""],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        *said, memory = done.stdout.splitlines()
        return " ".join(said), int(memory) // 1024


def ordinary(kind: str, *, label: bool = True) -> bytes:
    """Return rows of a prediction log that nothing is wrong with."""
    rows = [{"timestamp": "2026-01-05", "id": f"r{number}", "prediction": 1, "label": 1} for number in range(300)]
    rows = rows if label else [{name: row[name] for name in row if name != "label"} for row in rows]
    if kind == "jsonl":
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return "".join(",".join(map(str, row)) + "\n" for row in [list(rows[0]), *(row.values() for row in rows)]).encode()


def cases() -> Iterator[Case]:
    """Yield every way to read a file, alone and after good lines."""
    yield from (Case("metrics", "log", before) for before in (METRICS, b""))
    for kind in ("jsonl", "csv"):
        for before in (ordinary(kind), b""):
            yield from (Case(how, kind, before) for how in ("counted", "replayed", "labelled"))
            yield from (Case(how, kind, before, labels=True) for how in ("counted", "replayed"))


def run(*, megabytes: int = 1024) -> tuple[int, list[str]]:
    """Read a line of so many megabytes in every way; return how many files were read, and what went wrong."""
    violations, usual, count = list[str](), dict[str, int](), 0
    for case in cases():
        with tempfile.TemporaryDirectory() as folder:
            if case.how not in usual:
                _, usual[case.how] = case.read(Path(folder), megabytes=0)
            said, memory = case.read(Path(folder), megabytes=megabytes)
        above = memory - usual[case.how]
        if above > LARGEST:
            violations.append(f"{case.name}: it took {above} MB more than an ordinary file")
        # One bad line among the good ones of a metrics log is left out, with a note.
        if not re.search(NAMED, said) and not (case.how == "metrics" and case.before):
            violations.append(f"{case.name}: the line was not named: {said}")
        count += 1
    return count, violations


def main() -> None:
    """Read them and say what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    count, violations = run(megabytes=parser.parse_args().megabytes)
    print("\n".join([*violations, f"{count} lines without end, {len(violations)} violations"]))
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
