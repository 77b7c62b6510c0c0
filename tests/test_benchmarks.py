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


def test_probation_prints_one_row_for_each_kind_of_day() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(BENCHMARKS / "probation.py"), "--repetitions", "8", "--rows", "1000"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [row[3] for row in rows] == ["counts", "values", "point"] * 6
    # With 30 % positives and windows that swing as rows do, only the worse champion is rolled back.
    assert (rows[9][4], rows[9][9]) == ("0.0%", "100.0%")
