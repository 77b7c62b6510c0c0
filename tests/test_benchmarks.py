"""The scripts under benchmarks/ run, at a tiny size."""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random

import duckdb

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_false_alarms_prints_one_row_for_each_detector() -> None:
    tiny = ["--repetitions", "2", "--days", "65", "--rows", "200", "--river-repetitions", "0"]
    lines = printed("false_alarms.py", *tiny)
    rows = [line.split(" | ") for line in lines if line.startswith("| 200")]
    named = [(share, detector) for _, share, detector, *_ in rows]
    detectors = ("sequential", "point, 1 of 1", "point, 2 of 3")
    assert named == [(share, detector) for share in ("10%", "30%") for detector in detectors]
    assert all(len(row) == 11 for row in rows)
    # On a stream at t+0.03, the point rule alarms and the sequential one does not.
    assert [float(row[4]) > 0 for row in rows] == [False, True, True] * 2


def test_the_detector_prints_each_figure_beside_its_bound() -> None:
    lines = printed("detector.py", "--repetitions", "1", "--days", "80")
    bounds = [line.strip("| ").split(" | ") for line in lines if line.startswith(("| at t", "| blocks", "| daily"))]
    assert len(bounds) == 20
    assert all(len(row) == 7 for row in bounds)
    assert [line.split(" | ")[5] for line in lines if line.startswith("| t-")] == ["6 |", "4 |", "4 |", "75 |"]
    assert len([line for line in lines if line.endswith("| 100% | 0.0% |")]) == 6


def test_a_replay_is_measured_by_the_shape_of_its_log() -> None:
    rows = [line.strip("| ").split(" | ") for line in printed("replay.py", "--lines", "300", "--settings", "5")]
    assert [row[0] for row in rows[:2]] == ["F1", "F1, a breach without end"]
    assert rows[-1][0] == "5 settings, 365 days of tp fp fn tn, breaches that come and go"
    assert len(rows) == 7
    assert all(0 < float(seconds) < 30 and float(size) > 10 for _, seconds, size in rows)


def test_several_classes_are_printed_beside_their_bounds() -> None:
    lines = printed("classes.py", "--repetitions", "2", "--days", "80", "--classes", "3", "--rows", "500")
    rows = [line.strip("| ").split(" | ") for line in lines if " | 500 | " in line]
    assert [row[:2] for row in rows] == [
        [metric, f"3, {kind}"] for metric in ("f1_macro", "balanced_accuracy") for kind in ("even", "uneven", "rare")
    ]
    for row in rows:
        at_t, _, above, _, delay, most, point, *_ = map(float, row[3:])
        assert (at_t, above) == (0, 0)
        assert delay <= most < point or row[1] == "3, rare"


def test_estimates_are_printed_beside_what_came_true(tmp_path: Path) -> None:
    random = Random(1)

    def rows(count: int) -> list[tuple[int, float, int, int]]:
        scores = [random.random() for _ in range(count)]
        return [(number, score, int(score > 0.5), int(random.random() < score)) for number, score in enumerate(scores)]

    reference, analysis = rows(2000), rows(600)
    write(tmp_path / "synthetic_car_loan_reference.csv", "id,y_pred_proba,y_pred,repaid", reference)
    write(tmp_path / "synthetic_car_loan_analysis.csv", "id,y_pred_proba,y_pred", [row[:3] for row in analysis])
    targets = [(row[0], row[3]) for row in analysis]
    write(tmp_path / "synthetic_car_loan_analysis_target.csv", "id,repaid", targets)
    lines = printed("estimate.py", str(tmp_path), "--chunk", "300")
    chunks = [line.strip("| ").split(" | ") for line in lines if line.startswith(("| 1 ", "| 2 "))]
    assert len(chunks) == 2
    for _, realised, ours, twin, *_ in chunks:
        assert abs(float(ours) - float(realised)) < 0.1
        assert abs(float(ours) - float(twin)) < 0.02
    errors = [line for line in lines if line.startswith(("| f1", "| precision", "| recall", "| acc"))]
    assert len(errors) == 4


def write(path: Path, header: str, rows: Sequence[tuple[object, ...]]) -> None:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")


def test_decisions_plays_the_real_command_beside_plain_rules(tmp_path: Path) -> None:
    random = Random(1)
    table = [(number, random.random()) for number in range(300 * 13)]
    rows = [
        (at, x, int((x > 0.5) == (at < 300 * 7))) for at, x in table
    ]  # what is right is exchanged on the second day
    duckdb.execute("CREATE OR REPLACE TABLE stream (t BIGINT, x DOUBLE, y BIGINT)")
    duckdb.executemany("INSERT INTO stream VALUES (?, ?, ?)", rows)
    duckdb.execute(f"COPY stream TO '{tmp_path}/broken.parquet' (FORMAT parquet)")
    lines = printed("decisions.py", str(tmp_path), "--days", "7", "--cache", str(tmp_path / "cache"), "--tell")
    words = [line.split() for line in lines]
    told = [row[2].strip(":,") for row in words if row[0].isdigit()]
    assert told[:5] == ["healthy", "watching", "waiting", "promoted", "waiting"]
    ((_, never, *rules, score, attempts, promotions),) = [row for row in words if row[0] == "broken"]
    assert (attempts, promotions) == ("1", "1")
    assert rules[1::2][:3] == ["6", "6", "1"], "trainings: on each morning but the first, or every fifth day"
    assert float(never) < max(float(each) for each in rules[::2]) < float(score), (
        "daily retraining learns the old days, too"
    )
    closing = {row[0]: row for row in words if row[1:2] == ["recovered"]}
    assert " ".join(closing["defaults:"]) == (
        "defaults: recovered 1.000 of 1 streams (least 1.00), 1.0 attempts a stream"
    )
    detectors = {"ADWIN:", "DDM:", "PageHink:", "KSWIN:"}
    if find_spec("river") is None:
        assert lines[0].startswith("ADWIN, DDM, PageHink, KSWIN are left out: river is not installed")
        detectors = set()
    assert closing.keys() == {"defaults:", "periodic:", *detectors}


def test_slices_prints_its_table() -> None:
    slices = printed("slices.py", "--repetitions", "1", "--days", "62", "--rows", "500", "--number", "2")
    assert len([line for line in slices if line.startswith("| 500 ")]) == 5


def test_bench_prints_and_writes_each_figure_beside_its_limit(tmp_path: Path) -> None:
    tiny = ["--rows", "3000", "--repeat", "1", "--large", "--only", "sum,peers,growing"]
    lines = printed("bench.py", *tiny, "--peers", str(tmp_path), "--json", str(tmp_path / "bench" / "found.json"))
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    assert len({len(row) for row in rows if len(row) > 1}) == 1
    limits = {row[0]: [cell for cell in row if cell.startswith("at most")] for row in rows if len(row) > 1}
    assert limits["run"] == ["at most 3.5", "at most 1"]
    assert limits["1 % more of 0.00 GB, reading and counting"] == ["at most 0.05"]
    assert {f"of it {part}" for part in ("start", "reading", "counting", "judging", "ledger")} <= limits.keys()
    assert [row[0] for row in rows if len(row) == 1] == [
        f"{peer}: not measured, its environment is missing (make bench-peers)"
        for peer in ("scipy, column by column", "NannyML", "Evidently")
    ]
    told = json.loads((tmp_path / "bench" / "found.json").read_text())
    assert sum(map(len, told["parts"].values())) == len(rows) - 1
    assert all(figure["cost"]["seconds"] >= 0 for figure in told["parts"]["sum"])


def test_gate_prints_how_often_equal_models_are_promoted() -> None:
    lines = printed("gate.py", "--repetitions", "3", "--only", "equal")
    rows = [line.strip("| ").split(" | ") for line in lines[2:] if line]
    assert [row[0] for row in rows] == [rows for rows in ("500", "1,000", "2,000", "5,000") for _ in range(3)]
    assert all(len(row) == 6 for row in rows)
    assert all(float(row[3][:-1]) <= float(row[2][:-1]) for row in rows), "the gate asks for the margin, too"


def test_probation_prints_one_row_for_each_kind_of_day() -> None:
    lines = printed("probation.py", "--repetitions", "8", "--rows", "1000")
    end = lines.index("")
    assert [line.split(" | ")[0] for line in lines[end + 3 :]] == ["| the predecessor", "| the successor"]
    rows = [line.strip("| ").split(" | ") for line in lines[2:end]]
    assert [row[3] for row in rows] == ["counts", "values", "point"] * 6
    # With 30 % positives and windows that swing as rows do, only the worse champion is rolled back.
    assert (rows[9][4], rows[9][9]) == ("0.0%", "100.0%")


def printed(script: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(BENCHMARKS / script), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()
