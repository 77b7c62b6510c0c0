"""The same measurements in every form give the same result; what has two readings is asked about."""

import gzip
import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.core.errors import CannotJudgeError
from retrain_trigger.core.measurements import Mark
from retrain_trigger.logs.metrics_log import MetricsLog, read
from retrain_trigger.logs.record import Wanted

Row = tuple[date, float]


def log(folder: Path, text: str | bytes, name: str = "m.log", **wanted: str) -> MetricsLog:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read([path], wanted=Wanted(**{"metric": "f1", **wanted}), now=None)


def values(found: MetricsLog) -> list[float | None]:
    return [each.value for each in found.measurements]


def days(found: MetricsLog) -> list[str]:
    return [f"{each.at:%Y-%m-%d}" for each in found.measurements if each.at]


def lines(each: Callable[[Row], str], header: str = "") -> Callable[[list[Row]], bytes]:
    return lambda rows: (header + "".join(each(row) + "\n" for row in rows)).encode()


def epoch(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def objects(rows: list[Row]) -> list[dict[str, object]]:
    return [{"timestamp": str(day), "f1": f1} for day, f1 in rows]


FORMS: dict[str, Callable[[list[Row]], bytes]] = {
    "jsonl": lines(lambda row: json.dumps({"timestamp": str(row[0]), "f1": row[1]})),
    "jsonl of texts": lines(lambda row: json.dumps({"timestamp": str(row[0]), "f1": str(row[1])})),
    "array": lambda rows: json.dumps(objects(rows)).encode(),
    "indented array": lambda rows: json.dumps(objects(rows), indent=2).encode(),
    "array, newest first": lambda rows: json.dumps(objects(rows)[::-1], indent=1).encode(),
    "documents in a row": lambda rows: "\n".join(json.dumps(each, indent=2) for each in objects(rows)).encode(),
    "history in a document": lambda rows: json.dumps({"by": "eval", "history": objects(rows)}, indent=2).encode(),
    "columns in a document": lambda rows: json.dumps(
        {"timestamp": [str(day) for day, _ in rows], "f1": [f1 for _, f1 in rows]}, indent=1
    ).encode(),
    "days of a document": lambda rows: json.dumps({str(day): {"f1": f1} for day, f1 in rows}, indent=1).encode(),
    "csv": lines(lambda row: f"{row[0]},{row[1]}", "timestamp,f1\n"),
    "excel": lambda rows: (
        "\ufeffsep=;\r\nDatum;F1\r\n" + "".join(f"{day:%d.%m.%Y};{str(f1).replace('.', ',')}\r\n" for day, f1 in rows)
    ).encode(),
    "month first": lines(lambda row: f"{row[0].month}/{row[0].day}/{row[0].year},{row[1]}", "date,f1\n"),
    "index of pandas": lines(lambda row: f"{row[0]},{row[1]}", ",f1\n"),
    "tsv": lines(lambda row: f"{row[0]}\t{row[1]}", "date\tF1 score\n"),
    "logfmt": lines(lambda row: f"level=info ts={row[0]} f1={row[1]}"),
    "logging": lines(lambda row: f"{row[0]} 00:00:00,000 INFO eval: F1: {row[1]}"),
    "airflow": lines(lambda row: f"[{row[0]}, 00:00:00 UTC] {{eval.py:12}} INFO - f1: {row[1]}"),
    "loguru": lines(lambda row: f"{row[0]} 00:00:00.000 | INFO     | __main__:evaluate:12 - f1={row[1]}"),
    "structlog": lines(lambda row: f"{row[0]}T00:00:00Z [info     ] evaluated                      f1={row[1]}"),
    "printed dicts": lines(lambda row: f"{{'timestamp': '{row[0]}', 'f1': np.float64({row[1]})}}"),
    "tensors": lines(lambda row: f"{row[0]} f1: tensor({row[1]}, device='cuda:0')"),
    "numbers": lines(lambda row: f"{row[0]} {row[1]}"),
    "numbers with commas": lines(lambda row: f"{row[0]} {str(row[1]).replace('.', ',')}"),
    "milliseconds": lines(lambda row: f"{epoch(row[0])}000,{row[1]}", "time,f1\n"),
    "nanoseconds": lines(lambda row: f"{epoch(row[0])}000000000,{row[1]}", "time,f1\n"),
}
START = date(2026, 8, 31)
"""No month has 31 days and 8 is no day of a 31st month: it has one reading."""


@settings(max_examples=25, deadline=None)
@given(shares=st.lists(st.integers(1, 999), min_size=2, max_size=12))
def test_every_form_of_the_same_measurements_gives_the_same_result(
    shares: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [(START + timedelta(days=place), share / 1000) for place, share in enumerate(shares)]
    for name, write in FORMS.items():
        found = log(tmp_path_factory.getbasetemp(), write(rows))
        assert values(found) == [f1 for _, f1 in rows], name
        assert days(found) == [str(day) for day, _ in rows], name
    packed = log(tmp_path_factory.getbasetemp(), gzip.compress(FORMS["csv"](rows)))
    assert values(packed) == [f1 for _, f1 in rows]


def test_mlflow_names_the_file_for_the_metric(tmp_path: Path) -> None:
    text = "1741392000000 0.93 0\n1741478400000 0.91 1\n"
    assert values(log(tmp_path, text, "accuracy", metric="accuracy")) == [0.93, 0.91]
    with pytest.raises(CannotJudgeError, match="has f1; it has accuracy"):
        log(tmp_path, text, "accuracy")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("date,f1\n03/04/2026,0.9\n05/06/2026,0.8\n", r'logs\.date_format to "%d/%m/%Y" or "%m/%d/%Y"'),
        ('date,gain\n2026-01-01,"1,234"\n2026-01-02,"2,345"\n', r'logs\.decimal to "," or "."'),
        ("date,f1\n03.04.26,0.9\n", r"logs\.date_format"),
    ],
)
def test_what_has_two_readings_is_asked_about_with_the_key_to_set(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(CannotJudgeError, match=key):
        log(tmp_path, text, metric="gain" if "gain" in text else "f1")


def test_what_the_settings_say_leaves_no_doubt(tmp_path: Path) -> None:
    text = 'when;gain\n03/04/2026;1,234\n04/04/2026 06:30;"2,345"\n'
    found = log(tmp_path, text, metric="gain", timestamp="when", decimal=",", date_format="%d/%m/%Y")
    assert (values(found), days(found)) == ([1.234, 2.345], ["2026-04-03", "2026-04-04"])
    assert found.notes[0].startswith(f"{tmp_path}/m.log: read with dates as %d/%m/%Y, a decimal comma")


@pytest.mark.parametrize(
    ("later", "why"),
    [
        ("8/31/2026;0,70", "the lines before it are written as day.month.year"),
        ("2026-09-02;0,70", "the lines before it are written as day.month.year"),
        ("02.09.2026;0.7", 'its decimal mark is "," in this log'),
        ("02.09.2026;70%", "in percent"),
    ],
)
def test_a_line_that_is_written_otherwise_is_bad_and_leaves_the_others_as_they_were(
    tmp_path: Path, later: str, why: str
) -> None:
    text = "Datum;f1\n31.08.2026;0,92\n01.09.2026;0,91\n"
    before = log(tmp_path, text)
    after = log(tmp_path, text + later + "\n")
    assert after.measurements == before.measurements
    assert f"{tmp_path}/m.log:4: " in after.notes[1]
    assert why in after.notes[1]


def test_a_growing_log_never_changes_what_was_read(tmp_path: Path) -> None:
    chance = random.Random(5)
    rows = ["31.08.2026;0,9", "8/31/2026;0.8", "03.04.2026;0,7", "2026-09-01;0.6", "01.09.2026;92%", "x;1", "1.9.26;,5"]
    for _ in range(150):
        text, known = "Datum;f1\n", None
        for row in chance.choices(rows, k=6):
            text += row + "\n"
            try:
                found = log(tmp_path, text)
            except CannotJudgeError:
                continue
            lines_of = {each.where: (each.at, each.value) for each in found.measurements}
            assert known is None or all(lines_of.get(where, read_as) == read_as for where, read_as in known.items())
            known = lines_of


def test_a_metric_that_stands_several_times_is_picked_by_its_path(tmp_path: Path) -> None:
    report = json.dumps(
        {"timestamp": "2026-01-05", "metrics": [{"name": "q", "current": {"f1": 0.65}, "reference": {"f1": 0.93}}]},
        indent=2,
    )
    with pytest.raises(CannotJudgeError, match=r"metrics\.0\.current\.f1, metrics\.0\.reference\.f1; set `metric`"):
        log(tmp_path, report)
    assert values(log(tmp_path, report, metric="current.f1")) == [0.65]
    words = "2026-01-05 Current F1: 0.65\n2026-01-05 Best F1: 0.93\n"
    assert values(log(tmp_path, words, metric="current.f1")) == [0.65]
    by_class = json.dumps({"0": {"f1-score": 0.9}, "weighted avg": {"f1-score": 0.7, "support": 40}})
    (found,) = log(tmp_path, by_class, metric="weighted avg.f1-score").measurements
    assert (found.value, found.rows) == (0.7, 40)


@pytest.mark.parametrize("word", ["Best", "required", "champion", "After", "previous best"])
def test_the_words_before_a_name_belong_to_it(tmp_path: Path, word: str) -> None:
    assert values(log(tmp_path, f"f1: 0.71\n{word} f1: 0.93\n")) == [0.71]


def test_a_document_that_is_written_anew_is_seen_again(tmp_path: Path) -> None:
    def mark(f1: list[float]) -> tuple[Mark, list[float | None]]:
        found = log(tmp_path, json.dumps([{"f1": each} for each in f1], indent=2))
        return found.mark, [each.value for each in found.measurements if seen.is_before(each)]

    seen = Mark()
    for f1, new in (([0.9], [0.9]), ([0.9, 0.8], [0.8]), ([0.9, 0.7], [0.7]), ([0.6, 0.9, 0.7], [0.6])):
        reached, fresh = mark(f1)
        assert fresh == new
        seen = Mark(ends={**seen.ends, **reached.ends})


def test_what_stands_beside_drift_is_neither_drift_nor_a_reason_to_refuse(tmp_path: Path) -> None:
    found = log(tmp_path, "date,f1,drift_p_value,drift_status,drift.age,drift_income\n2026-01-05,0.9,0.01,OK,0.2,0.3\n")
    assert [dict(each.drift) for each in found.measurements] == [{"age": 0.2}]
    assert found.notes == (f"{tmp_path}/m.log: drift_income is not read as drift; name it drift.income if it is",)


@pytest.mark.parametrize(
    "form", ["jsonl", "csv", "excel", "tsv", "logfmt", "logging", "loguru", "numbers", "milliseconds"]
)
def test_every_line_is_used_or_counted_in_what_is_said(tmp_path: Path, form: str) -> None:
    chance = random.Random(form)
    for _ in range(25):
        rows = [(START + timedelta(days=place), chance.randint(1, 999) / 1000) for place in range(150)]
        text = FORMS[form](rows).decode().splitlines(keepends=True)
        text[chance.randrange(3, len(text))] = chance.choice(["f1=what\n", "all done\n", "?\n", "{\n", "f1: \n"])
        found = log(tmp_path, "".join(text))
        out = sum("left out" in note or "lines without f1: 1 of" in note for note in found.notes)
        assert len(found.measurements) + out == len(rows)
