"""The same rows in every form of file come to the same counts, and one odd line harms that line only."""

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from retrain_trigger.core.errors import CannotJudgeError
from retrain_trigger.counts.histograms import Bins
from retrain_trigger.counts.tally import Tally, total
from retrain_trigger.engines import prediction_log, reading
from retrain_trigger.engines.counted import Counted
from retrain_trigger.engines.plan import Plan

NOW = datetime(2026, 1, 10, tzinfo=UTC)
NAMES = ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")
PLAN = Plan(
    predictions="",
    labels=None,
    columns={name: name for name in NAMES},
    window=timedelta(days=1),
    bins={
        "age": Bins.numeric([30.0, 45.5], [0.1], low=0.0, high=99.0),
        "opt in": Bins.categorical({"yes": 3, "no": 2, "t": 1}),
    },
    slices=("opt in",),
)
ROWS: list[dict[str, Any]] = [
    {
        "timestamp": f"2026-01-{5 + n // 20:02}T{n % 20:02}:30:00Z",
        "id": f"r{n}",
        "prediction": ("yes", "no", "F")[n % 3],
        "label": ("yes", "no", "F", None)[n % 4],
        "age": (0.1, 30.0, 45.5, 60.25, None)[n % 5],
        "opt in": ("yes", "no", "t", None)[n % 4],
    }
    for n in range(60)
]
FEATURES = ("age", "opt in")


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def table(rows: list[dict[str, Any]], *, separator: str = ",", decimal: str = ".") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(
            "" if value is None else str(value).replace(".", decimal) if isinstance(value, float) else value
            for value in row.values()
        )
    return text.getvalue().encode()


def nested(rows: list[dict[str, Any]], *, text: bool = False) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        features = {name: row[name] for name in FEATURES}
        plain = {name: value for name, value in row.items() if name not in FEATURES}
        found.append({**plain, "input": json.dumps(features) if text else features})
    return found


def parquet(rows: list[dict[str, Any]], kind: str = "DOUBLE") -> bytes:
    """Write rows as Parquet, with times as times and numbers of a kind."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        source, target = Path(folder, "rows.jsonl"), Path(folder, "rows.parquet")
        source.write_bytes(lines(rows))
        number = f" REPLACE (age::{kind} AS age)" if "age" in rows[0] else ""
        query = f"SELECT *{number} FROM read_json('{source}', format = 'newline_delimited')"
        connection.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet)")
        return target.read_bytes()


FORMS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a table": ("log.csv", lambda: table(ROWS)),
    "decimal commas": ("log.csv", lambda: table(ROWS, separator=";", decimal=",")),
    "quoted decimal commas": ("log.csv", lambda: table(ROWS, decimal=",")),
    "tabs": ("log.tsv", lambda: table(ROWS, separator="\t")),
    "a packed table": ("log.csv.gz", lambda: gzip.compress(table(ROWS))),
    "JSON text in a table": ("log.csv", lambda: table(nested(ROWS, text=True))),
    "lines of JSON": ("log.jsonl", lambda: lines(ROWS)),
    "packed lines": ("log.jsonl.gz", lambda: gzip.compress(lines(ROWS))),
    "numbers as text": ("log.jsonl", lambda: lines([{**row, "age": row["age"] and str(row["age"])} for row in ROWS])),
    "nested lines": ("log.jsonl", lambda: lines(nested(ROWS))),
    "Parquet": ("log.parquet", lambda: parquet(ROWS)),
    "single precision": ("log.parquet", lambda: parquet(ROWS, "FLOAT")),
    "nested Parquet": ("log.parquet", lambda: parquet(nested(ROWS))),
}


def counted(path: Path, plan: Plan = PLAN) -> Counted:
    return prediction_log.count(replace(plan, predictions=str(path)), now=NOW)


def tally(path: Path) -> Tally:
    return total(piece.tally for piece in counted(path).pieces)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "lines of JSON"])
def test_every_form_of_file_comes_to_the_same_counts(tmp_path: Path, form: str) -> None:
    (tmp_path / "plain.jsonl").write_bytes(lines(ROWS))
    name, content = FORMS[form]
    (tmp_path / name).write_bytes(content())
    plain = tally(tmp_path / "plain.jsonl")
    assert tally(tmp_path / name) == plain
    assert sum(plain.cells.values()) == len(ROWS)
    assert {counts[-1] for (*_, column), counts in plain.histograms.items() if column == "age"} == {4}


ODD = {
    "60 new keys": json.dumps({f"k{n}": n for n in range(60)}),
    "an empty key": json.dumps({**ROWS[0], "id": "odd", "": 1}),
    "a key that differs in case": json.dumps({**ROWS[0], "id": "odd", "AGE": 7}),
    "a number for a word": json.dumps({**ROWS[0], "id": 7}),
    "a word for a number": json.dumps({**ROWS[0], "id": "odd", "age": "old"}),
    "an object for a number": json.dumps({**ROWS[0], "id": "odd", "age": {"years": 3}}),
    "a list": "[1, 2]",
    "no JSON": '{"timestamp": "2026',
    "nested deeply": '{"age": ' + "[" * 200 + "]" * 200 + "}",
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", [0, 30, 60])
def test_one_odd_line_harms_that_line(tmp_path: Path, odd: str, place: int) -> None:
    good = [json.dumps(row) for row in ROWS]
    (tmp_path / "log.jsonl").write_text("\n".join([*good[:place], ODD[odd], *good[place:]]) + "\n")
    (tmp_path / "plain.jsonl").write_bytes(lines(ROWS))
    plain, found = tally(tmp_path / "plain.jsonl"), counted(tmp_path / "log.jsonl")
    more = sum(piece.tally.rows for piece in found.pieces) - plain.rows
    assert more + sum(piece.bad for piece in found.pieces) + sum(sum(p.timeless.values()) for p in found.pieces) == 1
    assert sum(abs(n - plain.cells.get(cell, 0)) for cell, n in total(p.tally for p in found.pieces).cells.items()) <= 1


def test_a_copy_and_a_second_name_of_a_file_count_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    (log / "a.jsonl").write_bytes(lines(ROWS))
    (log / "b.jsonl").write_bytes(lines(ROWS))
    (log / "c.jsonl").hardlink_to(log / "a.jsonl")
    found = counted(log)
    assert {Path(copy).name: Path(first).name for copy, first in found.copies.items()} == {
        "b.jsonl": "a.jsonl",
        "c.jsonl": "a.jsonl",
    }
    assert sum(piece.tally.rows for piece in found.pieces) == len(ROWS)


def test_an_id_counts_once_in_its_window_and_the_earliest_row_counts(tmp_path: Path) -> None:
    again = [{**ROWS[0], "timestamp": f"2026-01-05T01:{minute:02}:00Z", "prediction": "no"} for minute in range(9)]
    (tmp_path / "log.jsonl").write_bytes(lines([*again, *ROWS, {**ROWS[0], "timestamp": "2026-01-09T00:00:00Z"}]))
    (tmp_path / "plain.jsonl").write_bytes(lines([*ROWS, {**ROWS[0], "timestamp": "2026-01-09T00:00:00Z"}]))
    found = counted(tmp_path / "log.jsonl")
    assert sum(piece.repeated for piece in found.pieces) == 9
    assert total(piece.tally for piece in found.pieces).cells == tally(tmp_path / "plain.jsonl").cells


@pytest.mark.parametrize(
    ("said", "truth", "classes", "f1_rows"),
    [
        ("Churn", "churn", None, 60),
        ("Churn", "churn", ("Churn", "Stay"), 60),
        ("1.0", "True", ("0", "1"), 60),
        ("0.9", "1", ("0", "1"), 0),
        ("0.9", "1", None, 0),
    ],
)
def test_words_of_two_vocabularies_are_matched_or_not_used(
    tmp_path: Path, said: str, truth: str, classes: tuple[str, ...] | None, f1_rows: int
) -> None:
    other = {"Churn": "Stay", "churn": "stay", "1.0": "0.0", "True": "False", "0.9": "0.13", "1": "0"}
    rows = [
        {**row, "prediction": said if n % 2 else other[said], "label": truth if n % 2 else other[truth]}
        for n, row in enumerate(ROWS)
    ]
    (tmp_path / "log.jsonl").write_bytes(lines(rows))
    plan = replace(PLAN, classes=classes)
    seen = reading.seen(plan, counted(tmp_path / "log.jsonl", plan), now=NOW, told=lambda *_: "")
    right = sum(n for window in seen.windows for (label, said), n in window.confusion.cells.items() if label == said)
    assert right == f1_rows
    assert sum(window.unusable.rows for window in seen.windows) == 60 - f1_rows


@pytest.mark.parametrize("form", ["log.parquet", "log.jsonl"])
def test_a_column_may_have_the_name_that_the_reader_gives_its_own(tmp_path: Path, form: str) -> None:
    rows = [{**row, "file_index": n} for n, row in enumerate(ROWS)]
    (tmp_path / form).write_bytes(parquet(rows) if form.endswith("parquet") else lines(rows))
    (tmp_path / "plain.jsonl").write_bytes(lines(ROWS))
    plan = replace(PLAN, bins={**PLAN.bins, "file_index": Bins.numeric([30.0], [], low=0.0, high=60.0)})
    found = total(piece.tally for piece in counted(tmp_path / form, plan).pieces)
    assert found.cells == tally(tmp_path / "plain.jsonl").cells
    assert sum(found.histograms[next(key for key in found.histograms if key[2] == "file_index")]) == 20


def test_files_that_differ_in_the_middle_only_are_no_copies(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    many = [{**row, "id": f"{n}-{row['id']}"} for n in range(40) for row in ROWS]
    (log / "a.jsonl").write_bytes(lines(many))
    (log / "b.jsonl").write_bytes(lines(many).replace(b'"20-r7"', b'"20-x7"'))
    assert not counted(log).copies


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("log.csv.gz", gzip.compress(table(ROWS))[:-30], "no whole gzip file"),
        ("log.jsonl.gz", b"{}\n", "no whole gzip file"),
        ("log.csv", table(ROWS).replace(b"\r\n", b"\r"), "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CannotJudgeError, match=why):
        counted(tmp_path / name)
