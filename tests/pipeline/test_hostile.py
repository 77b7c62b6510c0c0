"""What comes from outside and means no good: fuzzed text, files with odd names, models with odd answers; and a slice of the zoos."""

import json
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.core.errors import CannotJudgeError, DataError, PromotionError
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.engines import labelled, prediction_log, reading, sources
from retrain_trigger.engines.plan import Plan
from retrain_trigger.logs.formats import recognised
from retrain_trigger.process.scoring import answers
from retrain_trigger.store.registry import Registry

NOW = datetime(2026, 2, 1, tzinfo=UTC)
COLUMNS = {
    role: role for role in ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")
}


@pytest.fixture(scope="module")
def torture() -> Any:
    folder = str(Path(__file__).parents[2] / "torture")
    sys.path.append(folder)

    def script(name: str) -> ModuleType:
        return __import__(name)

    yield script
    sys.path.remove(folder)


def test_a_slice_of_the_fuzzed_lines(torture: Any) -> None:
    assert torture("fuzz").block((11, 1500)) == (1500, [])


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_a_log_or_are_refused(torture: Any, content: bytes) -> None:
    assert torture("fuzz").log_violations(content) == []


@settings(max_examples=150, deadline=None)
@given(line=st.text(max_size=200), log=st.integers(0, 5))
def test_any_line_is_read_or_refused(torture: Any, line: str, log: int) -> None:
    fuzz = torture("fuzz")
    assert fuzz.line_violations(recognised(fuzz.LOGS[log], fuzz.NAMES), line) == []


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 40))
def test_any_settings_are_read_or_refused_with_their_place(torture: Any, seed: int, tmp_path_factory: Any) -> None:
    fuzz = torture("fuzz")
    changed = fuzz.mutated(random.Random(seed), fuzz.SETTINGS)
    assert fuzz.settings_violations(tmp_path_factory.getbasetemp(), changed) == []


def test_a_slice_of_the_zoo_of_models(torture: Any) -> None:
    assert torture("models").run(names=["asks_for_the_label"]) == (1, [])


def test_a_slice_of_the_zoo_of_trainers(torture: Any) -> None:
    assert torture("trainers").run(names=["edits_the_pointer"]) == (1, [])


def test_a_line_without_end_takes_little_memory_and_is_named(tmp_path: Path) -> None:
    log = tmp_path / "metrics.log"
    with log.open("wb") as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))
    script = (
        "import re, sys\nfrom pathlib import Path\nfrom retrain_trigger.core.errors import CannotJudgeError\n"
        "from retrain_trigger.logs import metrics_log\nfrom retrain_trigger.logs.record import Wanted\n"
        "try:\n    metrics_log.read([Path(sys.argv[1])], wanted=Wanted('f1'), now=None)\n"
        "except CannotJudgeError as error:\n    print(error)\n"
        "print(re.search('VmHWM: *\\t *([0-9]+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(log)], capture_output=True, text=True, check=True)
    said, memory = done.stdout.splitlines()
    assert "metrics.log:1: longer than 1048576 bytes" in said
    assert int(memory) * 1024 < 100 << 20


def test_a_line_without_end_takes_little_memory_in_every_kind_of_file(torture: Any) -> None:
    assert torture("long_line").run(megabytes=150) == (22, [])


def test_a_quotation_mark_that_is_never_closed_is_named_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    row = "2026-01-05,a,1,1\n"
    log.write_text("timestamp,id,prediction,label\n" + row * 300 + '2026-01-06,"q,1,1\n' + row * 1_500_000)
    began = time.monotonic()
    with pytest.raises(CannotJudgeError, match=r"log\.csv:302: longer than 16 MB, or a quotation mark is not closed"):
        windows(log)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.jsonl", '{"timestamp": "2026-01-05", "prediction": 1, "prediction": 0, "label": 1, "label": 0}\n'),
        ("log.csv", "timestamp,prediction,prediction,label,label\n2026-01-05,1,0,1,0\n"),
    ],
)
def test_of_a_name_that_stands_twice_the_first_counts(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert windows(tmp_path / name) == [("2026-01-05T00:00:00+00:00", [["1", "1", 1]])]


@pytest.mark.parametrize("padding", [1, 5_000, 20 << 20])
@pytest.mark.parametrize("before", [True, False])
def test_nuls_of_a_log_that_was_emptied_in_place_are_no_rows(tmp_path: Path, *, before: bool, padding: int) -> None:
    log = tmp_path / "log.jsonl"
    rows = [f'{{"timestamp": "2026-01-05", "id": "{n}", "prediction": 1, "label": 1}}\n'.encode() for n in range(18)]
    log.write_bytes(b"".join(rows[:9]) * before + b"\0" * padding + b"".join(rows[9:]))
    assert sum(cells[0][2] for _, cells in windows(log)) == 9 + 9 * before


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (
            "log.csv",
            b"\0" * 5000 + b"2026-01-05,a,1,1\n",
            "it begins with NUL bytes, not with the names of its columns",
        ),
        ("log.csv", "timestamp,id,prediction,label\n2026-01-05,a,1,1\n".encode("utf-16"), "it is UTF-16"),
        ("log.jsonl", b"[1, 2]\n", "a line of it is JSON but no object"),
        (
            "log.jsonl",
            b'{"a": ' * 200 + b"1" + b"}" * 200 + b"\n",
            r"log\.jsonl: column 'timestamp' \(timestamp\) is missing",
        ),
    ],
    ids=["NUL bytes", "UTF-16", "a list", "nested"],
)
def test_what_is_no_log_of_rows_says_why(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    log = tmp_path / name
    log.write_bytes(content)
    with pytest.raises(CannotJudgeError, match=why):
        windows(log)


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("labels.csv", "r1,"),
        ("labels.csv", "r1\n"),
        ("labels.csv", "r1,0,x,y,z\n"),
        ("labels.jsonl", '{"id": ' + "[" * 200 + "]" * 200 + "}\n"),
        ("labels.jsonl", "[1]\n"),
    ],
)
def test_one_odd_line_of_labels_harms_that_line(tmp_path: Path, name: str, odd: str) -> None:
    labels, log = tmp_path / name, tmp_path / "log.jsonl"
    log.write_text('{"timestamp": "2026-01-05", "id": "r1", "prediction": 1}\n')
    rows = "id,label,region\n" + "r1,1,x\n" * 300 if name == "labels.csv" else '{"id": "r1", "label": 1}\n' * 300
    labels.write_text(rows + odd)
    assert windows(log, labels=str(labels)) == [("2026-01-05T00:00:00+00:00", [["1", "1", 1]])]


@pytest.mark.parametrize("name", ["a*", "b?", "c[1]", "d'", "e\n", "{f,g}"])
def test_a_file_name_means_that_file(tmp_path: Path, name: str) -> None:
    rows = [
        {"timestamp": f"2026-01-05T0{hour}:00:00", "id": f"r{hour}", "prediction": 1, "label": 1} for hour in range(5)
    ]
    for each in (name, "abc", "c1", "b1", "f"):
        (tmp_path / f"{each}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with labelled.opened(str(tmp_path / f"{name}.jsonl"), columns=COLUMNS, now=NOW) as found:
        assert found.labels() == {"1": 5}


def test_a_file_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows\udcff.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="name is not UTF-8"):
        sources.files_of(str(tmp_path), key="data.labelled")


@pytest.mark.parametrize(
    "odd", ['"9999-12-31"', '"0001-01-01"', '"infinity"', '"290000-01-01"', "1e300", "null", '"soon"']
)
def test_a_time_that_is_none_makes_no_window(tmp_path: Path, odd: str) -> None:
    log = tmp_path / "log.jsonl"
    good = '{"timestamp": "2026-01-05T01:00:00", "id": "a", "prediction": 1, "label": 1}\n'
    log.write_text(good + f'{{"timestamp": {odd}, "id": "b", "prediction": 0, "label": 1}}\n')
    assert windows(log) == [("2026-01-05T00:00:00+00:00", [["1", "1", 1]])]


@pytest.mark.parametrize("odd", ["NaN", "Infinity", "-Infinity", "1" + "0" * 400])
def test_a_number_that_is_not_finite_is_no_label(tmp_path: Path, odd: str) -> None:
    log = tmp_path / "log.jsonl"
    good = '{"timestamp": "2026-01-05T01:00:00", "id": "a", "prediction": 1, "label": 1}\n'
    log.write_text(good + f'{{"timestamp": "2026-01-05T01:00:00", "id": "b", "prediction": {odd}, "label": 1}}\n')
    assert windows(log) == [("2026-01-05T00:00:00+00:00", [["1", "1", 1]])]


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ('2026-01-06,"q,1,1\n' + 101 * "2026-01-06,r,1,1\n", "log.csv:302: a quotation mark is not closed"),
        ("2026-01-06," + "x" * (17 << 20), "log.csv:302: longer than 16 MB"),
    ],
)
def test_a_broken_table_is_refused_in_its_own_words(tmp_path: Path, end: str, why: str) -> None:
    log = tmp_path / "log.csv"
    log.write_text("timestamp,id,prediction,label\n" + "2026-01-05,a,1,1\n" * 300 + end)
    with pytest.raises(CannotJudgeError, match=why):
        windows(log)


@pytest.mark.parametrize(
    "odd", ["2026-01-05,q\n", "2026-01-05,q,1,1,1,1\n", "2026-01-05," + "x" * 5_000_000 + ",1,1\n"]
)
def test_one_odd_line_of_a_table_harms_that_line(tmp_path: Path, odd: str) -> None:
    log = tmp_path / "log.csv"
    log.write_text("timestamp,id,prediction,label\n" + "2026-01-05,,1,1\n" * 300 + odd + "2026-01-05,,1,1\n")
    assert windows(log) == [("2026-01-05T00:00:00+00:00", [["1", "1", 301]])]


@pytest.mark.parametrize("half", ["2026-01-06,q", '2026-01-06,"q\nr'])
def test_a_line_of_a_table_that_is_still_written_waits(tmp_path: Path, half: str) -> None:
    log = tmp_path / "log.csv"
    log.write_text("timestamp,id,prediction,label\n" + "2026-01-05,,1,1\n" * 300 + half)
    assert windows(log) == [("2026-01-05T00:00:00+00:00", [["1", "1", 300]])]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": "../../etc"}, "not the name of a version"),
        ({"version": "/etc"}, "not the name of a version"),
        ({"version": ".staging-x"}, "not the name of a version"),
        ({"path": "../../etc/model.joblib"}, "is not that of"),
        ({"path": "/etc/model.joblib"}, "is not that of"),
        ({"path": "v2/model.joblib"}, "is not that of"),
    ],
)
def test_a_pointer_that_leads_elsewhere_is_not_followed(tmp_path: Path, change: dict[str, str], why: str) -> None:
    written = {"generation": 1, "version": "v1", "path": "v1/model.joblib", "sha256": "ab", "previous": None}
    written |= {"promoted_at": "2026-01-05T00:00:00Z", "run": "r"} | change
    (tmp_path / "champion.json").write_bytes(Pointer(**written).encoded())  # type: ignore[arg-type]
    with pytest.raises(PromotionError, match=why):
        Registry(tmp_path, tmp_path / "champion.json").champion()


def test_a_version_that_is_a_link_is_none(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/card.json").write_text("{}")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/v1").symlink_to("../elsewhere")
    assert Registry(tmp_path / "models", tmp_path / "champion.json").versions() == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("0101", "one str"),
        (b"0101", "one bytes"),
        ({1, 2, 3, 4}, "one set"),
        (dict.fromkeys(range(4)), "one dict"),
        (iter([1, 2, 3, 4]), "one list_iterator"),
        (np.array(1), "shape"),
        (np.ones((4, 2)), "shape"),
        (np.ones((1, 4)), "shape"),
        (pd.DataFrame({"a": [1] * 4, "b": [1] * 4}), "shape"),
        ([1, 2, 3], "3 predictions for 4 rows"),
    ],
)
def test_what_is_not_one_value_for_each_row_is_no_answer(said: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        answers.listed(said, rows=4)


@pytest.mark.parametrize(
    "said", [[1, 0, 1, 1], (1, 0, 1, 1), np.array([1, 0, 1, 1]), pd.Series([1, 0, 1, 1], index=[3, 2, 1, 0])]
)
@pytest.mark.parametrize(
    "wrap",
    [lambda said: said, lambda said: np.asarray(said).reshape(-1, 1), lambda said: pd.DataFrame({"x": list(said)})],
)
def test_one_value_for_each_row_is_an_answer_however_it_is_held(said: Any, wrap: Any) -> None:
    assert answers.labels(answers.listed(wrap(said), rows=4)) == ["1", "0", "1", "1"]


@pytest.mark.parametrize("value", [None, float("nan"), np.float64("inf"), object(), [1], b"1", "x" * 5000])
def test_what_is_no_label_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="predicts"):
        answers.label(value)


def windows(log: Path, labels: str | None = None) -> list[tuple[str, list[list[Any]]]]:
    plan = Plan(predictions=str(log), labels=labels, columns=COLUMNS, window=timedelta(days=1), bins={}, score_edges=())
    seen = reading.seen(plan, prediction_log.count(plan, now=NOW), now=NOW, told=lambda *_: "")
    return [
        (window.start.isoformat(), [[*cell, n] for cell, n in sorted(window.confusion.cells.items())])
        for window in seen.windows
    ]
