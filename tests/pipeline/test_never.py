"""Settings under which nothing can ever act are a mistake (exit 2) that names the key and a value that works."""

import json
from datetime import timedelta
from typing import Any

import duckdb
from projects import BREAK, Project, day


def test_min_rows_above_what_five_windows_have_is_a_mistake_and_its_value_works(champion: Project) -> None:
    champion.write("logs/metrics.jsonl", "")
    champion.log(*[0.7] * 4, n=90)
    assert "fewer than trigger.min_rows 200" in champion.run(day=4, code=3).stdout
    champion.log(0.7, since=day(4), n=80)
    said = champion.run(day=5, code=2).stderr
    assert (
        "trigger.min_rows is 200, and none of 5 windows had more than 90 labelled rows: nothing can ever be judged"
        in said
    )
    assert "Write trigger.min_rows: 80" in said
    assert "trigger.min_rows is 200" in champion.retrain_check("status", "--now", day(5).isoformat(), code=None).stdout
    champion.write("config.yaml", (champion.folder / "config.yaml").read_text() + "trigger: {min_rows: 80}\n")
    champion.trains("new")
    assert champion.run(day=5).stdout.startswith("promoted: ")


def test_label_coverage_above_what_windows_reached_whose_labels_had_time_is_a_mistake(champion: Project) -> None:
    settings = (champion.folder / "config.yaml").read_text()
    champion.write("config.yaml", settings + "logs: {predictions: p.jsonl}\n")
    (champion.folder / "logs/metrics.jsonl").unlink()
    rows: list[dict[str, Any]] = []
    for number in range(12 * 240):
        at = BREAK + timedelta(minutes=6 * number)
        label = {"label": number % 2} if number % 5 < 3 else {}
        rows.append({"timestamp": at.isoformat(), "id": f"p{number}", "prediction": 1, **label})
    champion.write("p.jsonl", "".join(json.dumps(row) + "\n" for row in rows if row["timestamp"] < day(7).isoformat()))
    assert "windows wait for labels" in champion.run(day=7, code=3).stdout
    champion.write("p.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    said = champion.run(day=11, code=2).stderr
    assert "trigger.label_coverage is 80%, and none of " in said
    assert "has labels for more than 60% of its rows" in said
    assert "Write trigger.label_coverage: 60%" in said
    champion.write("config.yaml", (champion.folder / "config.yaml").read_text() + "trigger: {label_coverage: 60%}\n")
    assert "f1 0.6" in champion.run("--dry-run", day=11).stdout


def test_deciding_windows_that_leave_nothing_to_train_on_are_a_mistake(champion: Project) -> None:
    settings = (champion.folder / "config.yaml").read_text()
    champion.write("config.yaml", settings.replace("decide_on: holdout, min_rows: 200", "windows: 5"))
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE good AS FROM '{champion.folder / 'labelled.parquet'}'")
        recent = f"SELECT * FROM good WHERE timestamp::TIMESTAMPTZ > '{BREAK.isoformat()}'"
        connection.execute(f"COPY ({recent}) TO '{champion.folder / 'labelled.parquet'}' (FORMAT parquet)")
    champion.log(0.7, 0.7, since=day(3))
    said = champion.run(day=5, code=2).stderr
    assert "promotion.windows is 5 and promotion.min_rows 100, so the newest 5 windows decide" in said
    champion.write("config.yaml", settings.replace("decide_on: holdout, min_rows: 200", ""))
    champion.trains("new")
    assert champion.run(day=5.1).stdout.startswith("promoted: ")
