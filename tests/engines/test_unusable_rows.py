"""Rows of prediction logs that cannot be used: counted, told with an example, and a stop where they are many."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from projects import Project, day

SETTINGS = "performance_threshold: 0.85\ndrift_threshold: 0.20\npositive: 1\nlogs: {{predictions: {log}{more}}}\ntrigger: {{min_rows: 50{trigger}}}\n"
ROWS = 240
Row = dict[str, Any]


def rows_of(number: int, *, rows: int = ROWS) -> list[Row]:
    """Make the rows of one day: every tenth prediction is wrong."""
    made = []
    for place in range(rows):
        label = place % 2
        said = 1 - label if place % 10 == 0 else label
        at = day(number) + timedelta(days=place / rows)
        made.append({"timestamp": at.strftime("%Y-%m-%dT%H:%M:%S"), "id": f"{number}-{place}", "a": place % 7})
        made[-1] |= {"prediction": said, "label": label}
    return made


def write_log(project: Project, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows in the form that the name of the file says."""
    path = project.write_folder(name)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".csv":
        cells = [[*rows[0]], *([("" if cell is None else str(cell)) for cell in row.values()] for row in rows)]
        lines = "".join(",".join(row) + "\n" for row in cells)
    path.write_text(lines)
    if path.suffix == ".parquet":
        source = path.rename(path.with_suffix(".rows"))
        with duckdb.connect() as connection:
            connection.execute(f"COPY (SELECT * FROM read_json('{source}')) TO '{path}' (FORMAT parquet)")
        source.unlink()


@pytest.fixture
def adopted(simple: Project) -> Callable[..., Project]:
    """Return a function that adopts a model on the day of the break, under the given settings."""

    def adopt(log: str = "log.csv", *, more: str = "", trigger: str = "") -> Project:
        simple.write("config.yaml", SETTINGS.format(log=log, more=more, trigger=trigger))
        simple.run("--bootstrap", "--adopt", "production.model", day=0)
        return simple

    return adopt


def judged(project: Project, *, at: float, code: int = 0) -> dict[str, Any]:
    """Return what `run` says at a time, as JSON; nothing is trained."""
    found: dict[str, Any] = json.loads(project.run("--dry-run", "--format", "json", day=at, code=code).stdout)
    return found


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("prediction", None, "have no prediction"),
        ("prediction", "nan", "have no prediction"),
        ("timestamp", None, "have no readable time"),
        ("timestamp", "31-31-2026", "have no readable time"),
    ],
)
def test_a_window_of_which_too_much_cannot_be_used_is_unknown(
    adopted: Callable[..., Project], kind: str, column: str, value: str | None, words: str
) -> None:
    project, rows = adopted(f"log.{kind}"), rows_of(0)
    for row in rows[72:]:
        row[column] = value
    write_log(project, f"log.{kind}", rows)
    found = judged(project, at=1.2, code=3)
    place = {"csv": "log.csv:74: ", "jsonl": "log.jsonl:73: ", "parquet": "row 73 of log.parquet: "}[kind]
    seen = "empty" if value is None else f'"{value}"'
    assert (
        f"70% of 240 rows in logs.predictions cannot be used, trigger.max_unusable is 20%: 168 {words}"
        in found["because"]
    )
    assert f"({place}{column} is {seen})" in found["because"]
    status = project.retrain_check("status", "--now", day(1.2).isoformat(), code=None).stdout
    assert f"168 {words}" in status


def test_a_few_are_told_and_do_not_stop(adopted: Callable[..., Project]) -> None:
    project, rows = adopted(), rows_of(0)
    rows[5]["prediction"] = None
    rows[7]["timestamp"] = "soon"
    write_log(project, "log.csv", rows)
    done = project.run(day=1.2)
    assert done.stdout.startswith("healthy: f1 0.9")
    told = "2 rows of 240 in logs.predictions cannot be used: 1 has no prediction, 1 has no readable time (log.csv:7: "
    assert told in done.stderr
    assert "logs.date_format" in done.stderr


def test_the_limit_is_of_the_window_and_can_be_set(adopted: Callable[..., Project]) -> None:
    project, rows = adopted(trigger=", max_unusable: 75%"), rows_of(0)
    for row in rows[60:]:  # just 75 %
        row["prediction"] = None
    write_log(project, "log.csv", rows)
    assert judged(project, at=1.2)["outcome"] == "healthy"


def test_an_earlier_window_is_left_out_and_the_newest_judged(adopted: Callable[..., Project]) -> None:
    project, small = adopted(), rows_of(0, rows=10)
    for row in small[:9]:
        row["prediction"] = ""
    write_log(project, "log.csv", [*small, *rows_of(1)])
    assert "90% of 10 rows" in judged(project, at=1.2, code=3)["because"]
    found = judged(project, at=2.2)
    assert found["outcome"] == "healthy"
    assert any("1 window with more than trigger.max_unusable 20% of them not judged" in note for note in found["notes"])


def test_times_that_nobody_can_read_in_the_whole_log_are_no_wait(adopted: Callable[..., Project]) -> None:
    project = adopted()
    write_log(project, "log.csv", [{**row, "timestamp": "03/04/2026"} for row in rows_of(0)])
    found = judged(project, at=1.2, code=3)
    assert "100% of 240 rows" in found["because"]
    assert 'log.csv:2: timestamp is "03/04/2026"' in found["because"]
    assert "logs.date_format" in found["because"]
    text = (project.folder / "config.yaml").read_text().replace("log.csv", 'log.csv, date_format: "%m/%d/%Y"')
    project.write("config.yaml", text)
    assert "have a time after the present window" in str(judged(project, at=1.2)["notes"])


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_numbers_since_1970_are_read_in_every_unit(adopted: Callable[..., Project], unit: int) -> None:
    project, rows = adopted(), rows_of(0)
    for place, row in enumerate(rows):
        row["timestamp"] = int((day(0) + timedelta(minutes=6 * place)).timestamp()) * unit
    write_log(project, "log.csv", rows)
    assert judged(project, at=1.2)["findings"][0]["evidence"]["latest"] == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_dates_with_one_reading_are_read(adopted: Callable[..., Project], form: str, kind: str) -> None:
    project, rows = adopted(f"log.{kind}"), rows_of(0)
    for place, row in enumerate(rows):
        row["timestamp"] = (day(0) + timedelta(minutes=6 * place)).strftime(form)
    write_log(project, f"log.{kind}", rows)
    assert judged(project, at=1.2)["findings"][0]["evidence"]["at"].startswith(day(0).strftime("%Y-%m-%d"))


def test_a_newest_window_without_a_positive_has_no_f1_and_says_so(adopted: Callable[..., Project]) -> None:
    project = adopted()
    write_log(project, "log.csv", [*rows_of(0), *({**row, "prediction": 0, "label": 0} for row in rows_of(1))])
    found = judged(project, at=2.2)
    first, second = (f"window {day(number):%Y-%m-%d %H:%M}Z" for number in (0, 1))
    assert "f1 0.91 is at or above performance_threshold" in found["because"]
    assert f"240 labelled rows, {first}; {second} has no f1: no row is positive" in found["because"]
    text = (project.folder / "config.yaml").read_text().replace("min_rows", "evidence: point, min_rows")
    project.write("config.yaml", text)
    because = judged(project, at=2.2, code=3)["because"]
    assert because.startswith("f1 is not defined: no row is positive by its label or by its prediction")
    assert second in because


def test_rows_of_another_model_are_told_apart_by_name(adopted: Callable[..., Project]) -> None:
    project = adopted()
    version = project.pointer["version"]
    own = [{**row, "model": version} for row in rows_of(0)]
    others = [{**row, "model": "candidate", "prediction": 1 - row["label"]} for row in rows_of(0)]
    write_log(project, "log.csv", [row for pair in zip(own, others, strict=True) for row in pair])
    found = judged(project, at=1.2)
    assert found["outcome"] == "healthy"
    assert (
        "240 rows of logs.predictions are of other models than the champion and are not judged: candidate (240)"
        in str(found["notes"])
    )


def test_labels_files_may_have_names_of_their_own(adopted: Callable[..., Project]) -> None:
    project = adopted(more=", labels: labels.csv")
    rows = rows_of(0)
    write_log(project, "labels.csv", [{"customer": row["id"], "churned": row["label"]} for row in rows])
    write_log(project, "log.csv", [{name: row[name] for name in row if name != "label"} for row in rows])
    said = project.run(day=1.2, code=3).stderr
    assert "column 'id' (id) is missing in logs.labels; it has customer, churned" in said
    assert "Name it in logs.label_columns.id" in said
    text = (project.folder / "config.yaml").read_text()
    project.write(
        "config.yaml", text.replace("labels.csv", "labels.csv, label_columns: {id: customer, label: churned}")
    )
    assert judged(project, at=1.2)["findings"][0]["evidence"]["latest"] == pytest.approx(0.9, abs=0.01)
    with (project.folder / "labels.csv").open("a") as file:
        file.writelines(f"{row['id']},{row['label']}\n" for row in rows_of(1))
    with (project.folder / "log.csv").open("a") as file:
        file.writelines(f"{row['timestamp']},{row['id']},{row['a']},{row['prediction']}\n" for row in rows_of(1))
    project.run(day=1.2)
    assert day(1).strftime("%Y-%m-%d") in project.run(day=2.2).stdout


def test_a_column_that_is_missing_is_named_with_its_key(adopted: Callable[..., Project]) -> None:
    project = adopted()
    write_log(project, "log.csv", [{"when": row["timestamp"], "prediction": 1} for row in rows_of(0)])
    assert "Name it in logs.columns.timestamp" in project.run(day=1.2, code=3).stderr


def test_nothing_is_written_where_nobody_asked(adopted: Callable[..., Project], tmp_path: Path) -> None:
    project = adopted()
    write_log(project, "log.csv", rows_of(0))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    project.retrain_check("status", code=None, TMPDIR=str(temporary))
    assert not list(temporary.iterdir())
