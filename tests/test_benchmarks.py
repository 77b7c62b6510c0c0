"""The scripts under benchmarks/ run, at a tiny size."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_false_alarms_prints_one_row_for_each_detector() -> None:
    tiny = ["--repetitions", "2", "--days", "65", "--rows", "200", "--river-repetitions", "0"]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(BENCHMARKS / "false_alarms.py"), *tiny],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| 200")]
    named = [(share, detector) for _, share, detector, *_ in rows]
    detectors = ("sequential", "untempered", "point, 1 of 1", "point, 2 of 3")
    assert named == [(share, detector) for share in ("10%", "30%") for detector in detectors]
    assert all(len(row) == 11 for row in rows)
    # On a stream at t+0.03, the point rule alarms and the sequential one does not.
    assert [float(row[4]) > 0 for row in rows] == [False, False, True, True] * 2


def test_gate_prints_how_often_equal_models_are_promoted() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(BENCHMARKS / "gate.py"), "--repetitions", "3", "--only", "equal"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:] if line]
    assert [row[0] for row in rows] == [rows for rows in ("500", "1,000", "2,000", "5,000") for _ in range(3)]
    assert all(len(row) == 6 for row in rows)
    assert all(float(row[3][:-1]) <= float(row[2][:-1]) for row in rows), "the gate asks for the margin, too"
