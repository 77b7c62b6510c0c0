"""A metrics log of one line without end: a clear refusal, and little memory.

Run as `python torture/long_line.py [--megabytes N]`; exits with 1 where anything went wrong.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST = 100 << 20
"""Bytes of memory that reading it may take."""

READ = """
import re, sys
from pathlib import Path
from retrain_trigger.errors import CannotJudgeError
from retrain_trigger.world import metrics_log
try:
    metrics_log.read([Path(sys.argv[1])], metric="f1", now=None)
except CannotJudgeError as error:
    print(error)
print(re.search(r"VmHWM:\\s*([0-9]+)", Path("/proc/self/status").read_text())[1])
"""


def run(*, megabytes: int = 1024, seed: int = 7) -> tuple[int, list[str]]:  # noqa: ARG001  (as the other scripts have it)
    """Read a line of so many megabytes, alone and after a good one; return how many logs, and what went wrong."""
    violations = []
    for before, lines in ((b"", 1), (b'{"f1": 0.9}\n', 2)):
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "metrics.log"
            with log.open("wb") as file:
                file.write(before)
                for _ in range(megabytes):
                    file.write(b"x" * (1 << 20))
            said, memory = _read(log)
        if int(memory) * 1024 > LARGEST:
            violations.append(f"it took {int(memory) // 1024} MB")
        if lines == 1 and "metrics.log:1: longer than" not in said:
            violations.append(f"the line was not named: {said}")
    return 2, violations


def _read(log: Path) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", READ, str(log)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=600
    )
    *said, memory = done.stdout.splitlines()
    return " ".join(said), memory


def main() -> None:
    """Read them and say what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    count, violations = run(megabytes=parser.parse_args().megabytes)
    print("\n".join([*violations, f"{count} lines without end, {len(violations)} violations"]))
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
