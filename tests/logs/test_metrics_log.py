import csv
import io
import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.core.errors import CannotJudgeError
from retrain_trigger.core.measurements import Mark, Measurement
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.logs.formats import FORMATS, Opening, recognised
from retrain_trigger.logs.metrics_log import LONGEST_LINE, MetricsLog, read
from retrain_trigger.logs.record import Wanted, metric_names

SAMPLES = Path(__file__).parents[2] / "sample_logs"

WRITTEN: dict[str, list[tuple[str, ...]]] = {
    "jsonl": [
        (
            '{"timestamp": "2026-01-02", "f1": 0.91, "n": 500, "model": "v1", "drift": {"Age": 0.1}}',
            '{"timestamp": "2026-01-03", "f1": NaN, "n": 510, "model": "v1", "drift": {"Age": NaN}}',
        ),
        (
            '{"ts": 1767312000, "metrics": {"F1-Score": 0.91, "n": 500}, "model_version": "v1", "drift": {"Age": 0.1}}',
            '{"ts": 1767398400000, "metrics": {"F1": NaN, "n": 510}, "version": "v1", "drift": {"Age": "inf"}}',
        ),
    ],
    "csv": [
        ("timestamp,f1,n,model,drift.Age", "2026-01-02,0.91,500,v1,0.1", "2026-01-03,nan,510,v1,nan"),
        ("Date;F1 score;Rows;Model;drift.Age", '"2026-01-02";0.91;500;v1;0.1', '"2026-01-03";nan;510;v1;inf'),
    ],
    "text": [
        ("2026-01-02 f1=0.91 n=500 model=v1 drift.Age=0.1", "2026-01-03 f1=nan n=510 model=v1 drift.Age=inf"),
        (
            "2026-01-02 00:00:00,000 INFO eval: f1=0.91 n=500 model=v1 drift.Age=0.1",
            "2026-01-02 00:00:01,000 INFO eval: all done: no errors",
            "2026-01-03 00:00:00,000 INFO eval: F1 score: NaN, n: 510, model: v1, drift.Age: nan",
        ),
        (
            'ts="2026-01-02 00:00:00" level=info f1=0.91 n=500 model="v1" drift.Age=0.1',
            "ts=2026-01-03T00:00:00Z level=info f1=inf n=510 model=v1 drift.Age=nan",
        ),
        (
            "[2026/01/02] INFO:eval:f1: 0.91. n: 500; model: v1; drift.Age: 0.1",
            "[2026/01/03] INFO:eval:f1: nan; n: 510; model: v1; drift.Age: nan",
        ),
    ],
    "mlflow": [("1767312000000 0.91 0", "1767398400000 nan 1")],
    "numbers": [("2026-01-02 0.91", "2026-01-03 nan"), ("1767312000,0.91", "1767398400,inf")],
}


FILES = {"mlflow": "f1"}
"""MLflow names a file for its metric."""


def log(
    tmp_path: Path, text: str | bytes, *, metric: str = "f1", final: bool = False, name: str = "metrics.log"
) -> MetricsLog:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read([path], wanted=Wanted(metric), now=None, final=final)


def values(found: MetricsLog) -> list[float | None]:
    return [each.value for each in found.measurements]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_tells_the_same(name: str, tmp_path: Path) -> None:
    for lines in WRITTEN[name]:
        assert next(each for each in FORMATS if FORMATS[each](Opening(lines, metric_names("f1")))) == name
        found = log(tmp_path, "\n".join(lines) + "\n", name=FILES.get(name, "metrics.log"))
        assert values(found) == [0.91, None]
        assert [each.at for each in found.measurements] == [
            datetime(2026, 1, 2, tzinfo=UTC),
            datetime(2026, 1, 3, tzinfo=UTC),
        ]
        if name not in {"numbers", "mlflow"}:
            assert [(each.rows, each.model) for each in found.measurements] == [(500, "v1"), (510, "v1")]
            assert [each.drift for each in found.measurements] == [{"Age": 0.1}, {"Age": None}]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_format_survives_marks_of_editors_and_crashes(name: str, newline: str, tmp_path: Path) -> None:
    for lines in WRITTEN[name]:
        dirty = "\ufeff# a note" + newline + newline + newline.join(lines) + newline + "\0\0\0"
        file = FILES.get(name, "metrics.log")
        assert values(log(tmp_path, dirty, name=file)) == [0.91, None]
        padded = b"\0" * (2 * LONGEST_LINE + 7) + newline.join(lines).encode() + newline.encode()
        assert values(log(tmp_path, padded, name=file)) == [0.91, None]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_names_a_bad_line_and_reads_the_rest(name: str, tmp_path: Path) -> None:
    for lines in WRITTEN[name]:
        file = FILES.get(name, "metrics.log")
        found = log(tmp_path, "\n".join(lines).encode() + b"\n2026-01-04 f1=\xff\n", name=file)
        assert values(found) == [0.91, None]
        assert found.notes[0] == f"{tmp_path}/{file}:{len(lines) + 1}: not UTF-8; the line is left out"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_leaves_a_half_written_line_for_the_next_time(name: str, tmp_path: Path) -> None:
    for lines in WRITTEN[name]:
        cut, file = "\n".join(lines), FILES.get(name, "metrics.log")
        whole = log(tmp_path, cut + "\n", name=file)
        for end in range(cut.rindex("\n") + 1, len(cut)):
            found = log(tmp_path, cut[:end], name=file)
            assert found.measurements == whole.measurements[:1]
            assert not any("left out" in note for note in found.notes)
            assert all(found.mark.ends[each.file] < whole.measurements[1].end for each in found.measurements)
        assert log(tmp_path, cut, final=True, name=file).measurements == whole.measurements


def test_a_half_written_line_does_not_decide_the_format(tmp_path: Path) -> None:
    assert values(log(tmp_path, 'f1=0.9\n{"f1')) == [0.9]


def test_a_json_object_is_whole_without_its_newline_and_has_the_same_end_with_it(tmp_path: Path) -> None:
    half = log(tmp_path, '{"f1": 0.9}\n{"f1": 0.8}')
    whole = log(tmp_path, '{"f1": 0.9}\n{"f1": 0.8}\n')
    assert values(half) == [0.9, 0.8]
    assert half.measurements == whole.measurements
    assert not any(half.mark.is_before(each) for each in whole.measurements)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('{"f1": 1}', 1.0),
        ('{"f1": 1e999}', None),
        ('{"f1": -Infinity}', None),
        ('{"f1": "NaN"}', None),
        ('{"f1": 1' + "0" * 400 + "}", None),
        ('{"F1_score": 0.5}', 0.5),
        ('{"metrics": {"f1": 0.5}, "val": {"f1": 0.6}}', 0.5),
        ('{"f1": 0.5, "metrics": {"f1": 0.6}}', 0.5),
        ('  {"f1": 0.5}  ', 0.5),
        ('{"f1": 0.5, "a": 1, "A": 2, "timestamp": null, "n": null}', 0.5),
        ("0.5", 0.5),
        ("+.5e0", 0.5),
        ("nan", None),
        ("-inf", None),
        ("0.5  # a note", 0.5),
        ("f1=0.5.", 0.5),
        ("f1 = 0.5 (n=3)", 0.5),
        ("f1=0.5,n=3", 0.5),
        ("(f1: 0.5)", 0.5),
        ("f1=0.5 # was f1=0.4", 0.5),
        ("eval: f1: 0.5", 0.5),
        ("INFO:root:f1=0.5", 0.5),
        ('msg="f1=0.4 once" f1=0.5', 0.5),
        ("val_f1=0.4 f1=0.5 f1_old=0.3 time=2026-01-02T03:04:05", 0.5),
        ("f1,note\n0.5,", 0.5),
        ("f1\n0.5", 0.5),
        (",timestamp,f1\n0,2026-01-02,0.5", 0.5),
        ("timestamp\tf1\tnote\n2026-01-02\t0.5\t", 0.5),
        ('f1,note\n0.5,"a, b"', 0.5),
        ("f1,note\n0.5,x\nf1,note", 0.5),
        ("date,time,f1\n2026-01-02,03:04:05,0.5", 0.5),
    ],
)
def test_a_line_has_a_value(line: str, value: float | None, tmp_path: Path) -> None:
    found = log(tmp_path, line + "\n")
    assert values(found) == [value]
    assert found.notes == ()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"f1": "high"}', "f1 is 'high', not a number"),
        ('{"f1": true}', "f1 is True, not a number"),
        ('{"f1": [0.5]}', "f1 is [0.5], not a number"),
        ('{"f1": 0.5, "f1": 0.6}', "'f1' appears twice"),
        ('{"f1": 0.5, "F1": 0.6}', "'f1' appears twice"),
        ('{"f1": 0.5', "not valid JSON at column 11"),
        ('{"f1": 0.5} {"f1": 0.6}', "not one JSON object"),
        ('{"f1": ' + "9" * 5000 + "}", "too many digits"),
        ('{"f1": ' + "[" * 100_000, "nested too deeply"),
        ('{"f1": 0.5, "timestamp": "yesterday"}', "timestamp 'yesterday' is no time from 1970 to 2285"),
        ('{"f1": 0.5, "timestamp": 12.5}', "timestamp 12.5 is no time"),
        ('{"f1": 0.5, "timestamp": true}', "timestamp True is no time"),
        ('{"f1": 0.5, "timestamp": "0001-01-01T00:00:00+10:00"}', "is no time"),
        ('{"f1": 0.5, "n": -1}', "n is -1, not a count"),
        ('{"f1": 0.5, "n": 1.5}', "n is 1.5, not a count"),
        ('{"f1": 0.5, "n": NaN}', "n is nan, not a count"),
        ('{"f1": 0.5, "n": 1e300}', "n is 1e+300, not a count"),
        ('{"tp": 1, "fp": 2, "fn": 3, "tn": "x"}', "tn is 'x', not a number"),
        ('{"f1": 0.5, "model": ["v1"]}', "not the name of a version"),
        ('{"f1": 0.5, "model": "\\u001b[31m"}', "not the name of a version"),
        ('{"f1": 0.5, "model": "\\ud800"}', "not the name of a version"),
        ('{"f1": 0.5, "drift": "high"}', "drift is 'high', not a number"),
        ('{"f1": 0.5, "drift": {"a": true}}', "drift.a is True, not a number"),
        ("f1: computing on 500 rows", "f1 is 'computing', not a number"),
        ("f1=[0.5]", "f1 is '[0.5]', not a number"),
        ("f1: {'1': 0.5}", "not a number"),
        ("f1=0.5.6", "f1 is '0.5.6', not a number"),
        ("f1=np.array(0.5, 0.6", "not a number"),
        ("f1=1_000", "f1 is '1_000', not a number"),
        ("f1=0.9 f1=0.5", "'f1' appears twice"),
        (
            "train f1=0.9 val f1=0.5",
            "f1 stands 2 times: train.f1, val.f1; set `metric` to the one that counts, such as train.f1",
        ),
        ("2026-13-45 f1=0.5", "timestamp '2026-13-45' is no time"),
        ("f1,n\n0.5", "1 fields, and the header has 2"),
        ('f1,n\n"0.5,3', "a quotation mark is not closed"),
        ("f1,f1\n0.5,0.6", "'f1' appears twice"),
        ("f1;n\n0,5;3,5", "n is '3,5', not a count"),
        ("f1,n\n0,5,3", "3 fields, and the header has 2; a decimal comma needs quotation marks or semicolons"),
    ],
    ids=lambda text: text[:30],
)
def test_a_log_of_a_bad_line_is_refused_with_its_reason(line: str, why: str, tmp_path: Path) -> None:
    number = line.count("\n") + 1
    if line.startswith("{"):  # among good lines a single one is only left out
        found = log(tmp_path, '{"f1": 0.7}\n' * 3 + line + "\n")
        assert values(found) == [0.7] * 3
        assert why in found.notes[0]
        assert f"metrics.log:{number + 3}: " in found.notes[0]
    else:
        with pytest.raises(CannotJudgeError) as caught:
            log(tmp_path, line + "\n" + line.rpartition("\n")[2] + "\n")
        assert f"metrics.log:{number}: " in str(caught.value)
        assert why in str(caught.value)


@pytest.mark.parametrize("line", ["0,5", "2026-01-02 03:04:05,678", "2026-01-02 x", "12 0.5", "high"])
def test_among_bare_numbers_what_is_none_is_bad(line: str, tmp_path: Path) -> None:
    found = log(tmp_path, f"0.7\n0.8\n{line}\n0.9\n")
    assert values(found) == [0.7, 0.8, 0.9]
    (note,) = found.notes
    assert note.startswith(f"{tmp_path}/metrics.log:3: ")
    assert f"{line!r}, not a number" in note or f"{line!r} is not a number" in note


@pytest.mark.parametrize(
    "line",
    [
        "done",
        "Best f1: 0.9",
        "required f1=0.9",
        "f1=",
        "f1: none",
        "loss=0.3",
        "42",
        "2026-01-02 03:04:05,678 INFO started",
        "f1 == 0.5",
        "best f1 0.9",
        "f1 3 times",
        "f1 2026-01-02",
    ],
)
def test_chatter_in_a_text_log_is_no_measurement(line: str, tmp_path: Path) -> None:
    found = log(tmp_path, f"f1=0.7\n{line}\n{line}\nf1=0.8\nf1=0.9\n")
    assert values(found) == [0.7, 0.8, 0.9]
    assert found.notes == (f"{tmp_path}/metrics.log: lines without f1: 2 of 5",)


@pytest.mark.parametrize(
    "line", ["INFO eval: f1 0.8", "F1  0.80 (required f1 0.85)", "f1 0,8 n=500", "best f1 0.9, f1 0.8", "f1 80.0 %"]
)
def test_a_text_may_state_a_value_with_nothing_before_it(line: str, tmp_path: Path) -> None:
    assert values(log(tmp_path, f"2026-01-02 {line}\n2026-01-03 {line}\n")) == [0.8, 0.8]


@pytest.mark.parametrize("value", ["82", "1.5", "-0.1"])
def test_a_share_outside_0_and_1_is_no_value_and_a_metric_of_ones_own_may_be_anything(
    value: str, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"f1": {value}, "revenue": {value}}}\n')
    with pytest.raises(CannotJudgeError, match=f"f1 is {value}, not from 0 to 1"):
        read([path], wanted=Wanted("f1"), now=None)
    (found,) = read([path], wanted=Wanted("revenue"), now=None).measurements
    assert found.value == float(value)


def test_one_percent_of_bad_lines_is_borne_and_more_is_not(tmp_path: Path) -> None:
    assert len(log(tmp_path, '{"f1": 0.9}\n' * 693 + "{\n" * 7).measurements) == 693
    with pytest.raises(CannotJudgeError, match=r"metrics.log:693: .* 8 of 700 lines of .* at most 1% may be"):
        log(tmp_path, '{"f1": 0.9}\n' * 692 + "{\n" * 8)
    assert values(log(tmp_path, '{"f1": 0.9}\n{\n')) == [0.9]
    with pytest.raises(CannotJudgeError, match="1 of 1 lines"):
        log(tmp_path, "{\n")


def test_the_first_bad_lines_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    found = log(tmp_path, '{"f1": 0.9}\n' * 800 + "{\n" * 8)
    assert len(found.notes) == 6
    assert found.notes[0].startswith(f"{tmp_path}/metrics.log:801: not valid JSON")
    assert found.notes[5] == f"{tmp_path}/metrics.log: and 3 more bad lines"


def test_a_line_longer_than_a_mebibyte_is_bad_and_the_next_one_is_read(tmp_path: Path) -> None:
    found = log(tmp_path, '{"f1": 0.9}\n' + "x" * (3 * LONGEST_LINE) + '\n{"f1": 0.8}\n')
    assert values(found) == [0.9, 0.8]
    assert "metrics.log:2: longer than 1048576 bytes" in found.notes[0]
    assert found.measurements[1].where.endswith(":3")
    assert found.measurements[1].end == (tmp_path / "metrics.log").stat().st_size - 1


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ('"2026-01-02T03:04:05Z"', "2026-01-02T03:04:05+00:00"),
        ('"2026-01-02 03:04:05,678"', "2026-01-02T03:04:05.678000+00:00"),
        ('"2026-01-02T03:04:05.123456789+02:00"', "2026-01-02T01:04:05.123456+00:00"),
        ('"2026-01-02 03:04:05 UTC"', "2026-01-02T03:04:05+00:00"),
        ('"20260102"', "2026-01-02T00:00:00+00:00"),
        ("20260102", "2026-01-02T00:00:00+00:00"),
        ('"2026/01/02"', "2026-01-02T00:00:00+00:00"),
        ("1701011200", "2023-11-26T15:06:40+00:00"),
        ('"1701011200500"', "2023-11-26T15:06:40.500000+00:00"),
        ("1701011200.5", "2023-11-26T15:06:40.500000+00:00"),
    ],
)
def test_a_time_becomes_utc(written: str, read_as: str, tmp_path: Path) -> None:
    (one,) = log(tmp_path, f'{{"timestamp": {written}, "f1": 0.9}}\n').measurements
    assert one.at == datetime.fromisoformat(read_as)
    assert one.at.tzinfo is UTC


def test_counts_stand_beside_the_metric_or_in_its_place(tmp_path: Path) -> None:
    table = '"tp": 40, "fp": 10, "fn": 5, "tn": 45'
    found = log(tmp_path, f'{{{table}}}\n{{"f1": 0.8, {table}, "n": 99}}\n{{"TP": 1, "f1": 0.7}}\n')
    assert [(each.value, each.counts, each.rows) for each in found.measurements] == [
        (None, (40, 10, 5, 45), 100),
        (0.8, (40, 10, 5, 45), 99),
        (0.7, None, None),
    ]


def test_drift_is_a_number_or_a_map_and_its_threshold_is_no_feature(tmp_path: Path) -> None:
    found = log(tmp_path, '{"f1": 1, "drift": 0.3}\n{"f1": 1, "drift": {"Age": 0.1, "x": null}}\n{"f1": 1}\n')
    assert [each.drift for each in found.measurements] == [{"": 0.3}, {"Age": 0.1}, {}]
    found = log(tmp_path, "f1,drift.Age,DRIFT.x,drift.threshold\n1,0.1,,0.2\n")
    assert [each.drift for each in found.measurements] == [{"Age": 0.1}]


def test_lines_with_drift_alone_are_counted_in_a_note(tmp_path: Path) -> None:
    found = log(tmp_path, '{"f1": 1}\n{"drift": 0.3}\n')
    assert values(found) == [1.0]
    assert found.notes == (f"{tmp_path}/metrics.log: drift without f1 is left out (lines: 1)",)


TABLE = '{"a": {"a": 8, "B-1": 2}, "B-1": {"B-1": 9}, "c": {}}'
LISTS, CLASSES = "[[8, 2, 0], [0, 9, 0], [0, 0, 0]]", '["a", "B-1", "c"]'
IN_LISTS = f'"confusion": {LISTS}, "classes": {CLASSES}'


def in_csv(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.parametrize(
    "lines",
    [
        (
            f'{{"ts": "2026-01-02", "f1_macro": 0.8, "confusion": {TABLE}}}',
            f'{{"ts": "2026-01-03", "confusion": {TABLE}}}',
        ),
        (
            f'{{"ts": "2026-01-02", "metrics": {{"f1-macro": 0.8, {IN_LISTS}}}}}',
            f'{{"ts": "2026-01-03", "metrics": {{{IN_LISTS}}}}}',
        ),
        (
            f'[{{"ts": "2026-01-02", "macro_f1": 0.8, "confusion": {TABLE}}},',
            f'{{"ts": "2026-01-03", "confusion": {TABLE}}}]',
        ),
        (
            f'{{"classes": {CLASSES}, "history": [{{"ts": "2026-01-02", "f1_macro": 0.8, "confusion": {LISTS}}},',
            f'{{"ts": "2026-01-03", "confusion": {LISTS}}}]}}',
        ),
        ("ts,f1_macro,confusion", f"2026-01-02,0.8,{in_csv(TABLE)}", f"2026-01-03,,{in_csv(TABLE)}"),
        (
            "ts;f1_macro;confusion;classes",
            f"2026-01-02;0.8;{LISTS};{in_csv(CLASSES)}",
            f"2026-01-03;;{LISTS};{in_csv(CLASSES)}",
        ),
        (f"2026-01-02 f1_macro=0.8 confusion='{TABLE}'", f"2026-01-03 confusion='{TABLE}'"),
        (
            f"2026-01-02 00:00:00,000 INFO eval: f1_macro: 0.8, confusion: {TABLE}",
            f"2026-01-03 00:00:00,000 INFO eval: confusion={LISTS} classes={CLASSES}",
        ),
    ],
    ids=["jsonl", "jsonl, lists", "document", "history", "csv", "csv, lists", "logfmt", "python"],
)
def test_a_confusion_table_is_the_same_in_every_form(tmp_path: Path, lines: tuple[str, ...]) -> None:
    path = tmp_path / "metrics.log"
    path.write_text("\n".join(lines) + "\n")
    found = read([path], wanted=Wanted("f1_macro"), now=None)
    table = Confusion({("a", "a"): 8, ("a", "B-1"): 2, ("B-1", "B-1"): 9, ("c", "c"): 0})
    read_of = [(each.at, each.value, each.rows, each.confusion) for each in found.measurements]
    assert read_of == [
        (datetime(2026, 1, 2, tzinfo=UTC), 0.8, 19, table),
        (datetime(2026, 1, 3, tzinfo=UTC), None, 19, table),
    ]
    assert found.notes == ()


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('{"a": {"a": 1.5}}', "confusion of label 'a', said to be 'a', is 1.5, not a count"),
        ('{"a": {"a": -1}}', "confusion of label 'a', said to be 'a', is -1, not a count"),
        ('{"1": {"a": 1}, "1.0": {"a": 1}}', "confusion of label '1', said to be 'a', stands there twice"),
        ('{"": {"a": 1}}', "confusion has a class '', which is no name of one"),
        ('"none today"', "confusion is 'none today', neither {label: {said: rows}} nor a list of lists"),
        ("[[1, 2], [3, 4]]", "confusion is a list of 2 lists, and no `classes` beside it names so many"),
        (
            '[[1, 2], [3, 4]], "classes": ["a"]',
            "confusion is a list of 2 lists, and no `classes` beside it names so many",
        ),
        ('[[1, 2], [3]], "classes": ["a", "b"]', "confusion has 2 rows, and not each of them has 2 values"),
        ('[[1, 2], [3, 4]], "classes": [1, "1"]', "`classes` names a class twice: [1, '1']"),
    ],
)
def test_a_table_that_cannot_be_read_makes_a_bad_line(tmp_path: Path, table: str, why: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"f1_macro": 0.8, "confusion": {table}}}\n{{"f1_macro": 0.9}}\n')
    found = read([path], wanted=Wanted("f1_macro"), now=None)
    assert [each.value for each in found.measurements] == [0.9]
    assert found.notes == (f"{path}:1: {why}; the line is left out",)


def test_a_table_in_text_that_is_not_whole_makes_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.log"
    path.write_text('2026-01-02 f1_macro=0.8 confusion={"a": {"a": 8, ...}}\n2026-01-03 f1_macro=0.9\n')
    found = read([path], wanted=Wanted("f1_macro"), now=None)
    assert [each.value for each in found.measurements] == [0.9]
    assert "neither {label: {said: rows}} nor a list of lists; the line is left out" in found.notes[0]


def test_a_metric_of_one_class_looks_at_no_table(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"f1": 0.8, "confusion": "of another kind"}\n{"f1": 0.9, "confusion": {"a": {"a": 1.5}}}\n')
    found = read([path], wanted=Wanted("f1"), now=None)
    assert [(each.value, each.confusion) for each in found.measurements] == [(0.8, None), (0.9, None)]


def test_measurements_are_in_order_of_time_and_the_last_of_a_time_and_model_counts(tmp_path: Path) -> None:
    lines = [("03", 0.3, "a"), ("02", 0.2, "a"), ("03", 0.35, "a"), ("03", 0.4, "b"), ("01", 0.1, "a")]
    text = "".join(f'{{"ts": "2026-01-{day}", "f1": {f1}, "model": "{model}"}}\n' for day, f1, model in lines)
    assert values(log(tmp_path, text)) == [0.1, 0.2, 0.35, 0.4]


def test_a_line_without_time_stays_behind_the_line_before_it(tmp_path: Path) -> None:
    text = '{"f1": 0.0}\n{"ts": "2026-01-03", "f1": 0.3}\n{"f1": 0.31}\n{"f1": 0.31}\n{"ts": "2026-01-02", "f1": 0.2}\n'
    assert values(log(tmp_path, text)) == [0.0, 0.2, 0.3, 0.31, 0.31]


def test_lines_dated_after_now_are_left_out_of_everything(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"ts": "2026-01-02", "f1": 0.2}\n{"ts": "2099-01-02", "f1": 0.3}\n{"ts": "2099-01-03", "f1": 1}\n')
    now = datetime(2026, 1, 2, tzinfo=UTC)
    found = read([path], wanted=Wanted("f1"), now=now)
    assert values(found) == [0.2]
    assert found.newest == found.mark.at == now
    assert found.notes == (f"{path}:2: 2 lines are dated after now (2026-01-02T00:00:00+0000) and left out",)


def test_newest_is_the_files_own_time_where_lines_have_none(tmp_path: Path) -> None:
    path = tmp_path / "m.log"
    path.write_text("0.9\n")
    os.utime(path, (1767312000, 1767312000))
    written = datetime(2026, 1, 2, tzinfo=UTC)
    assert read([path], wanted=Wanted("f1"), now=None).newest == written
    assert read([path], wanted=Wanted("f1"), now=datetime(2026, 1, 1, tzinfo=UTC)).newest == datetime(
        2026, 1, 1, tzinfo=UTC
    )
    assert read([io.BytesIO(b"0.9\n")], wanted=Wanted("f1"), now=None).newest is None


def test_a_mark_lies_behind_all_that_was_read_and_before_what_comes_later(tmp_path: Path) -> None:
    path = tmp_path / "m.log"
    path.write_text("0.9\n0.8\n0.")
    mark = read([path], wanted=Wanted("f1"), now=None).mark
    with path.open("a") as log_file:
        log_file.write("7\n0.6\n")
    later = read([path], wanted=Wanted("f1"), now=None)
    assert [each.value for each in later.measurements if mark.is_before(each)] == [0.7, 0.6]


@pytest.mark.parametrize("header", ["", "f1\n"])
def test_a_log_emptied_in_place_is_a_new_file(header: str, tmp_path: Path) -> None:
    path = tmp_path / "m.log"
    path.write_text(header + "0.91\n0.92\n0.93\n")
    mark = read([path], wanted=Wanted("f1"), now=None).mark
    with path.open("r+") as log_file:
        log_file.truncate()
        log_file.write(header + "0.81\n")
    after = read([path], wanted=Wanted("f1"), now=None)
    assert [each.value for each in after.measurements if mark.is_before(each)] == [0.81]


def test_a_rotated_log_keeps_its_identity_under_its_new_name(tmp_path: Path) -> None:
    path = tmp_path / "m.log"
    path.write_text("0.91\n0.92\n")
    mark = read([path], wanted=Wanted("f1"), now=None).mark
    path.rename(tmp_path / "m.log.1")
    path.write_text("0.91\n")
    found = read([tmp_path / "m.log.1", path], wanted=Wanted("f1"), now=None)
    assert [each.where for each in found.measurements if mark.is_before(each)] == [f"{path}:1"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "m.log"
    path.write_text("0.91\n0.92\n")
    (tmp_path / "link.log").symlink_to(path)
    assert values(read([path, tmp_path / "link.log"], wanted=Wanted("f1"), now=None)) == [0.91, 0.92]


def test_a_stream_ends_with_its_last_line() -> None:
    found = read([io.BytesIO(b"0.9\n0.8")], wanted=Wanted("f1"), now=None)
    assert [(each.value, each.where, each.file) for each in found.measurements] == [
        (0.9, "stdin:1", "stdin"),
        (0.8, "stdin:2", "stdin"),
    ]
    assert found.mark == Mark(ends={"stdin": 7})


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()
    (tmp_path / "half.log").write_text("0.")
    (tmp_path / "notes.log").write_text("# nothing yet\n\n")
    for name, why in [
        ("absent.log", "absent.log does not exist; write"),
        (".", "is a folder; name a file in it"),
        ("empty.log", "empty.log: no whole line yet"),
        ("half.log", "half.log: no whole line yet"),
        ("notes.log", "notes.log: no whole line yet"),
        ("a\0b", "cannot be read"),
        ("x" * 300, "cannot be read \\(File name too long\\)"),
    ]:
        with pytest.raises(CannotJudgeError, match=why):
            read([tmp_path / name], wanted=Wanted("f1"), now=None)


def test_an_empty_log_beside_a_full_one_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "new.log").touch()
    (tmp_path / "old.log").write_text("0.9\n")
    found = read([tmp_path / "old.log", tmp_path / "new.log"], wanted=Wanted("f1"), now=None)
    assert values(found) == [0.9]
    assert found.notes == (f"{tmp_path}/new.log has no lines",)


@pytest.mark.parametrize(
    "text",
    [
        '{"accuracy": 0.9, "loss": 0.2, "ts": "2026-01-02"}\n',
        "accuracy,loss,n\n0.9,0.2,3\n",
        "accuracy=0.9 loss=0.2 model=a\n",
    ],
)
def test_a_log_without_the_metric_says_what_it_has(text: str, tmp_path: Path) -> None:
    with pytest.raises(CannotJudgeError, match="has f1; it has accuracy, loss; set `metric` to one of these"):
        log(tmp_path, text)
    assert values(log(tmp_path, text, metric="acc")) == [0.9]


@pytest.mark.parametrize(
    ("start", "what"), [("f1=0.9\n".encode("utf-16"), "UTF-16"), (b"PK\x03\x04", "compressed"), (b"PAR1", "Parquet")]
)
def test_a_file_that_is_no_text_is_named_for_what_it_is(start: bytes, what: str, tmp_path: Path) -> None:
    with pytest.raises(CannotJudgeError, match=f"is {what}; a metrics log is UTF-8 text"):
        log(tmp_path, start)


PIECES = st.sampled_from(
    b'f1|0.82|nan|1e999|=|: |,|\n|\r\n|{|}|"| |\0|\xff|#|2026-01-02| 03:04:05,678|timestamp|drift|drift.a|n|-1'
    b'|{"f1": 0.9}|[|model|{"f1": NaN, "tp": 1, "fp": 1, "fn": 1, "tn": 1}\n|1767312000|\xef\xbb\xbf|tp|\t|;'.split(
        b"|"
    )
)


@settings(max_examples=250, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=8), max_size=60).map(b"".join), st.booleans())
def test_any_bytes_are_read_or_refused(raw: bytes, final: bool) -> None:  # noqa: FBT001  (drawn by hypothesis)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    try:
        found = read([io.BytesIO(raw)], wanted=Wanted("f1"), now=now, final=final)
    except CannotJudgeError as error:
        str(error).encode()
        return
    for each in found.measurements:
        assert_plain(each, longest=len(raw), now=now)
    "".join(found.notes).encode()


def assert_plain(each: Measurement, *, longest: int, now: datetime) -> None:
    numbers = [each.value, *each.drift.values()]
    assert all(number is None or math.isfinite(number) for number in numbers)
    assert 0 < each.end <= longest
    assert each.at is None or (each.at.tzinfo is UTC and each.at <= now)
    json.dumps([each.model, each.where, each.file, *each.drift]).encode()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_every_format_gives_back_the_numbers_that_were_written(numbers: list[float]) -> None:
    for line in ("{}", '{{"gain": {}}}', "gain={}", "INFO eval: gain: {} ok"):
        raw = "".join(line.format(number) + "\n" for number in numbers).encode()
        assert values(read([io.BytesIO(raw)], wanted=Wanted("gain"), now=None)) == numbers
    raw = b"gain,note\n" + b"".join(f"{number},x\n".encode() for number in numbers)
    assert values(read([io.BytesIO(raw)], wanted=Wanted("gain"), now=None)) == numbers


def test_sample_logs_read_as_they_are_meant() -> None:
    under = {
        "healthy.jsonl": [],
        "decay.jsonl": list(range(33, 60)),
        "sudden_drop.csv": list(range(40, 60)),
        "noisy_but_fine.jsonl": [8, 19, 27, 33, 46, 55],
        "dummy.log": [25, 26, 27, 28, 29],
    }
    for name, days in under.items():
        found = read([SAMPLES / name], wanted=Wanted("f1"), now=None)
        assert not any("left out" in note for note in found.notes)
        assert [day for day, each in enumerate(found.measurements) if each.value is None or each.value < 0.85] == days
        assert all(each.at is not None and (each.rows or 200) >= 200 for each in found.measurements)
        for each in found.measurements:
            if each.counts:
                tp, fp, fn, tn = each.counts
                assert each.value == round(2 * tp / (2 * tp + fp + fn), 4)
                assert each.rows == tp + fp + fn + tn
    assert {"dummy.log", "broken.csv", *under} == {path.name for path in SAMPLES.iterdir()}


def test_the_decaying_sample_drifts_and_the_broken_one_is_refused() -> None:
    drift = [
        each.drift["income"] or 0
        for each in read([SAMPLES / "decay.jsonl"], wanted=Wanted("f1"), now=None).measurements
    ]
    assert drift[0] < 0.05
    assert drift[-1] > 0.2
    with pytest.raises(CannotJudgeError, match=r"broken.csv:4: f1 is '0,8994', not a number; .* 6 of 11 lines"):
        read([SAMPLES / "broken.csv"], wanted=Wanted("f1"), now=None)
    with (SAMPLES / "broken.csv").open() as rows:
        assert next(csv.reader(rows)) == ["timestamp", "f1", "n"]


def test_reading_imports_none_of_the_heavy_libraries() -> None:
    heavy = {"numpy", "scipy", "sklearn", "joblib", "duckdb", "pandas"}
    code = "import sys, retrain_trigger.logs.metrics_log; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "retrain_trigger" in loaded
    assert not heavy & set(loaded)


def test_text_is_what_any_other_log_is_taken_for() -> None:
    assert recognised([], ("f1",)).parse("f1=0.5") == [{"f1": "0.5"}]
