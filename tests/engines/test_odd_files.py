"""Files that are odd where nobody looks first: in the middle, in one line, in one column, at the end."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from retrain_trigger.core.errors import CannotJudgeError
from retrain_trigger.counts.histograms import Bins
from retrain_trigger.counts.tally import Tally, total
from retrain_trigger.engines import parts, prediction_log, reading, waiting
from retrain_trigger.engines.counted import Counted
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.reading import Seen

NOW = datetime(2026, 1, 10, tzinfo=UTC)
NAMES = ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")
AGE = Bins.numeric([30.0, 45.5], [], low=0.0, high=99.0)
PLAN = Plan(
    predictions="",
    labels=None,
    columns={name: name for name in NAMES},
    window=timedelta(days=1),
    bins={"age": AGE, "city": Bins.categorical({"north": 3, "south": 2})},
)
Row = dict[str, Any]


def row(number: int, **more: Any) -> Row:
    at = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(minutes=number)
    return {"timestamp": at.isoformat(), "id": f"r{number}", "prediction": number % 2, **more}


def rows(count: int = 20, first: int = 0) -> list[Row]:
    return [
        row(number, age=20.5 + number, city="north" if number % 3 else "south")
        for number in range(first, first + count)
    ]


def nested(flat: list[Row], *within: str, text: bool = False) -> list[Row]:
    """Put the features of rows into objects within each other."""
    found = []
    for each in flat:
        inner: Any = {name: each[name] for name in ("age", "city")}
        for name in reversed(within[1:]):
            inner = {name: inner}
        plain = {name: value for name, value in each.items() if name not in {"age", "city"}}
        found.append({**plain, within[0]: json.dumps(inner) if text else inner})
    return found


def write(path: Path, lines: list[Row]) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    if path.suffix == ".parquet":
        source = write(path.with_suffix(".jsonl"), lines)
        with duckdb.connect() as connection:
            connection.execute(f"COPY (SELECT * FROM read_json('{source}')) TO '{path}' (FORMAT parquet)")
        source.unlink()
    elif path.suffix == ".csv":
        text = io.StringIO()
        table = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(lines)
        path.write_text(text.getvalue())
    else:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def quiet(path: Path) -> Path:
    """Let nobody have written a file for a day."""
    os.utime(path, (time.time() - 86400,) * 2)
    return path


def counted(path: Path, plan: Plan = PLAN, labels: Path | None = None) -> Counted:
    return prediction_log.count(replace(plan, predictions=str(path), labels=str(labels) if labels else None), now=NOW)


def tally(path: Path, plan: Plan = PLAN) -> Tally:
    return total(piece.tally for piece in counted(path, plan).pieces)


def seen(path: Path, plan: Plan = PLAN, labels: Path | None = None) -> Seen:
    own = replace(plan, labels=str(labels) if labels else None)
    return reading.seen(own, counted(path, plan, labels), now=NOW, told=lambda *_: "")


FLAT = rows(60)
THIRDS = [FLAT[:20], FLAT[20:40], FLAT[40:]]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_features_of_a_file_in_the_middle_may_be_nested_otherwise(tmp_path: Path, kind: str) -> None:
    forms = [["features"], ["input"], ["request", "features"]]
    for number, (third, within) in enumerate(zip(THIRDS, forms, strict=True)):
        write(tmp_path / f"log/{number}.{kind}", nested(third, *within, text=kind == "csv"))
    write(tmp_path / f"log/3.{kind}", [row(99, age=1.5, city="north")])
    write(tmp_path / "plain.jsonl", [*FLAT, row(99, age=1.5, city="north")])
    assert tally(tmp_path / "log") == tally(tmp_path / "plain.jsonl")
    told = {container for container, _ in seen(tmp_path / "log").aside.nested}
    assert told == {"features", "input", "request.features"}


@pytest.mark.parametrize("place", [0, 7, 19])
@pytest.mark.parametrize("how", ["quiet", "growing"])
def test_one_line_may_be_nested_otherwise_than_the_others(tmp_path: Path, place: int, how: str) -> None:
    many = rows(2000)
    odd = nested([many[place * 100]], "payload", "x")
    log = write(tmp_path / "log.jsonl", [*many[: place * 100], *odd, *many[place * 100 + 1 :]])
    if how == "quiet":
        quiet(log)
    assert tally(log) == tally(write(tmp_path / "plain.jsonl", many))


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_column_may_be_a_word_first_and_an_object_later(tmp_path: Path, kind: str) -> None:
    first = [{**each, "features": "v1"} for each in nested(FLAT[:20], "features")]
    later = nested(FLAT[20:], "features", text=kind == "csv")
    log = write(tmp_path / f"log.{kind}", [*first, *later])
    found = tally(log).histograms
    assert {sum(counts[:-1]) for counts in found.values()} == {40}


def test_a_watched_column_may_itself_be_an_object_later(tmp_path: Path) -> None:
    plan = replace(PLAN, bins={**PLAN.bins, "features": Bins.categorical({"v1": 3})})
    first = [{**each, "features": "v1"} for each in nested(FLAT[:20], "features")]
    found = tally(write(tmp_path / "log.jsonl", [*first, *nested(FLAT[20:], "features")]), plan).histograms
    assert {column: sum(counts[:-1]) for (*_, column), counts in found.items()} == {
        "age": 40,
        "city": 40,
        "features": 60,
    }


def test_what_stands_in_a_row_and_in_an_object_of_it_is_the_value_of_the_row(tmp_path: Path) -> None:
    both = [{**each, "age": None if n == 7 else each["age"], "before": {"age": 99.5}} for n, each in enumerate(FLAT)]
    found = tally(write(tmp_path / "log.jsonl", both))
    assert [counts[-1] for (*_, name), counts in found.histograms.items() if name == "age"] == [1]


def test_an_object_in_one_row_of_a_table_holds_columns(tmp_path: Path) -> None:
    one = nested([FLAT[30]], "extra", text=True)[0]
    others = [{**each, "extra": ""} for each in nested(FLAT, "extra")]
    log = write(tmp_path / "log.csv", [*others[:30], one, *others[31:]])
    assert [sum(counts[:-1]) for counts in tally(log).histograms.values()] == [1, 1]


def test_lines_of_labels_that_are_none_are_counted_and_said(tmp_path: Path) -> None:
    log, labels = write(tmp_path / "log.jsonl", rows(200)), tmp_path / "labels.jsonl"
    good = [json.dumps({"id": f"r{number}", "label": number % 2}) for number in range(200)]
    labels.write_text("\n".join([*good[:100], "no json", *good[100:], "[3]"]) + "\n")
    found = seen(log, labels=labels)
    assert found.aside.label_lines == 2
    assert sum(window.labelled for window in found.windows) == 200
    labels.write_text("\n".join([*good, *["no json"] * 9]) + "\n")
    with pytest.raises(CannotJudgeError, match=r"labels.jsonl .*: 9 of 209 lines are not JSON objects"):
        seen(log, labels=labels)


def test_half_a_label_that_nobody_goes_on_with_is_said(tmp_path: Path) -> None:
    log, labels = write(tmp_path / "log.jsonl", rows()), tmp_path / "labels.jsonl"
    labels.write_text('{"id": "r1", "label": 1}\n{"id": "r2", "la')
    assert seen(log, labels=labels).aside.label_lines == 0
    assert seen(log, labels=quiet(labels)).aside.label_lines == 1


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_nuls_within_a_quiet_file_lose_no_row(tmp_path: Path, kind: str) -> None:
    log = write(tmp_path / f"log.{kind}", FLAT)
    plain = tally(log)
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:30], b"\0" * 100, *lines[30:]]))
    assert tally(quiet(log)) == plain


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_names_that_differ_only_in_the_case_of_letters_are_both_watched(tmp_path: Path, kind: str) -> None:
    plan = replace(PLAN, bins={**PLAN.bins, "Age": AGE})
    both = [{**each, "xge": each["age"] if number < 9 else None} for number, each in enumerate(FLAT)]
    log = write(tmp_path / f"log.{kind}", both)
    log.write_bytes(log.read_bytes().replace(b"xge", b"Age"))
    found = {name: sum(counts[:-1]) for (*_, name), counts in tally(log, plan).histograms.items()}
    assert found == {"age": 60, "Age": 9, "city": 60}


def test_rows_that_cannot_be_kept_are_told_in_plain_words(tmp_path: Path) -> None:
    log, labels = write(tmp_path / "log.jsonl", FLAT), write(tmp_path / "labels.jsonl", [{"id": "r1", "label": 1}])
    plan, keep = replace(PLAN, predictions=str(log), labels=str(labels)), tmp_path / "state"
    keep.mkdir()
    (keep / waiting.FOLDER).write_text("a file")
    with pytest.raises(
        CannotJudgeError, match=r"what a later run needs .* cannot be kept: .*rows: Not a folder.*; move away"
    ):
        prediction_log.count(plan, now=NOW, store=keep, keep=keep)


def test_a_full_disk_is_told_in_plain_words(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; from pathlib import Path; from datetime import datetime, UTC\n"
        "sys.path.insert(0, sys.argv[1]); import test_odd_files as t\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "t.prediction_log.count(t.replace(t.PLAN, predictions=sys.argv[2]), now=t.NOW, keep=Path(sys.argv[3]))\n"
    )
    log = quiet(write(tmp_path / "log.jsonl", rows(2000)))
    arguments = [sys.executable, "-c", script, str(Path(__file__).parent), str(log), str(tmp_path / "state")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert "CannotJudgeError: what a later run needs of the rows cannot be kept: " in last
    assert "File too large" in last


@pytest.mark.parametrize("times", ["[now()]", "{'at': now()}", "[1]", "MAP {'at': now()}", "TIME '12:00:00'"])
def test_a_column_of_times_that_holds_none_is_no_time(tmp_path: Path, times: str) -> None:
    with duckdb.connect() as connection:
        query = f"SELECT {times} AS timestamp, 'r' || i AS id, 1 AS prediction FROM range(5) AS t(i)"
        connection.execute(f"COPY ({query}) TO '{tmp_path}/log.parquet' (FORMAT parquet)")
    found = seen(tmp_path / "log.parquet")
    assert found.aside.unplaced.by_reason == {"time": 5}


@pytest.mark.parametrize("name", ["nth", "file_row_number", "seen", "blank", "file", "w"])
def test_an_example_is_right_whatever_columns_are_called(tmp_path: Path, name: str) -> None:
    odd = [{**each, name: 1000 - number} for number, each in enumerate(FLAT)]
    odd[30]["prediction"] = None
    log = write(tmp_path / "log.parquet", odd)
    plan = replace(PLAN, bins={**PLAN.bins, name: AGE})
    examples = [example for piece in counted(log, plan).pieces for example in piece.examples.values()]
    assert [example.place for example in examples] == [30]


@pytest.mark.parametrize(
    ("one", "other", "is_one"),
    [
        ("12.00::DECIMAL(9, 2)", "12", True),
        ("-5.0::DOUBLE", "-5", True),
        ("12345678901234567::BIGINT", "'12345678901234567'", True),
        ("4e9::FLOAT", "4000000000", True),
        ("'12.00'", "12", False),
        ("'007'", "7", False),
    ],
)
def test_a_whole_number_is_one_id_in_parquet_and_text_is_text(
    tmp_path: Path, one: str, other: str, *, is_one: bool
) -> None:
    (tmp_path / "log").mkdir()
    with duckdb.connect() as connection:
        for number, value in enumerate((one, other)):
            query = f"SELECT TIMESTAMP '2026-01-05' AS timestamp, {value} AS id, {number} AS prediction"
            connection.execute(f"COPY ({query}) TO '{tmp_path}/log/{number}.parquet' (FORMAT parquet)")
    assert sum(piece.tally.rows for piece in counted(tmp_path / "log").pieces) == (1 if is_one else 2)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize(("one", "other"), [("12.00", "12"), ("-5.0", "-5")])
def test_a_whole_number_is_one_id_in_text(tmp_path: Path, kind: str, one: str, other: str) -> None:
    assert tally(write(tmp_path / f"log.{kind}", [row(1, id=one), row(1, id=other)])).rows == 1


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_blanks_around_an_id_are_none_of_it_and_an_id_of_blanks_is_none(tmp_path: Path, kind: str) -> None:
    ids = ["r1", " r1", "r1 ", "  r1  ", "!", "! ", "r 1", "", "   "]
    lines = [{**row(0, age=30), "id": each} for each in ids]
    pieces = counted(write(tmp_path / f"log.{kind}", lines)).pieces
    assert total(piece.tally for piece in pieces).rows == len(["r1", "!", "r 1", "", "   "])
    assert sum(piece.repeated for piece in pieces) == len(ids) - 5


@pytest.mark.parametrize("how", ["quiet", "growing", "in parts"])
def test_names_of_columns_may_have_several_lines(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = [{"age\nin years" if name == "age" else name: value for name, value in each.items()} for each in FLAT]
    renamed[40]["prediction"] = None
    log = write(tmp_path / "log.csv", renamed)
    if how == "quiet":
        quiet(log)
    if how == "in parts":
        monkeypatch.setattr(parts, "LARGEST", 500)
    plan = replace(PLAN, bins={"age\nin years": AGE})
    found = counted(log, plan)
    assert [sum(counts[:-1]) for counts in total(p.tally for p in found.pieces).histograms.values()] == [60]
    assert [example.line for piece in found.pieces for example in piece.examples.values()] == [2 + 40 + 1]


def test_a_column_without_a_name_takes_that_of_no_other(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("timestamp,,prediction,column1,column1\n2026-01-05,4,1,50.5,1\n")
    found = tally(log, replace(PLAN, bins={"column1": AGE}))
    assert [*found.histograms.values()] == [(0, 0, 1, 0)]


@pytest.mark.parametrize("after", [1, 20])
def test_rows_after_an_open_quotation_mark_are_said_when_nobody_goes_on_with_it(tmp_path: Path, after: int) -> None:
    many = rows(3000)
    log = write(tmp_path / "log.csv", many)
    lines = log.read_text().splitlines(keepends=True)
    lines[-after] = lines[-after].replace("north", '"north').replace("south", '"south')
    log.write_text("".join(lines))
    assert seen(log).aside.lines == 0, "it may still be written"
    found = seen(quiet(log))
    assert (found.aside.lines, sum(window.rows for window in found.windows)) == (after, 3000 - after)
    with log.open("a") as file:
        file.write('"\n')
    plan = replace(PLAN, predictions=str(log))
    grown = prediction_log.count(plan, now=NOW, known=counted(quiet(log)))
    assert sum(piece.bad for piece in grown.pieces) == sum(piece.bad for piece in counted(log).pieces)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("spelling", [True, "True", "TRUE"])
def test_a_truth_value_is_a_number_where_the_profile_says_so(tmp_path: Path, kind: str, spelling: Any) -> None:
    plan = replace(PLAN, bins={"member": Bins.numeric([], [0.0, 1.0], low=0.0, high=1.0)})
    false = {True: False, "True": "False", "TRUE": "FALSE"}[spelling]
    log = write(
        tmp_path / f"log.{kind}", [row(number, member=spelling if number % 3 else false) for number in range(9)]
    )
    assert [*tally(log, plan).histograms.values()] == [(0, 3, 0, 6, 0, 0)]
