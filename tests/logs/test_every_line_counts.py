"""Every line of a metrics log and every row of a prediction log that is read is used, or counted in what is said."""

import gzip
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from engines.test_unusable_rows import SETTINGS, rows_of, write_log
from projects import START, Project, day

from retrain_trigger.config import load as settings
from retrain_trigger.core.errors import CannotJudgeError
from retrain_trigger.judge import memory
from retrain_trigger.logs import metrics_log
from retrain_trigger.logs.metrics_log import MetricsLog
from retrain_trigger.pipeline import evaluate
from retrain_trigger.pipeline.tick import asked

Line = tuple[datetime, float]
"""What a clean line of a metrics log says: when, and F1."""

SAID = {
    "bad": r"the line is left out$",
    "more bad": r"and (\d+) more bad lines$",
    "without": r"lines without f1: (\d+) of \d+$",
    "only drift": r"drift without f1 is left out \(lines: (\d+)\)$",
}


def said_of(notes: Sequence[str]) -> int:
    """Add up the lines that the notes tell of."""
    total = 0
    for note in notes:
        for pattern in SAID.values():
            if (found := re.search(pattern, note)) is not None:
                total += int(found.group(1)) if found.groups() else 1
    return total


def _jsonl(random: Random, at: datetime) -> str:
    stamp = at.isoformat()
    return random.choice(
        [
            json.dumps({"timestamp": stamp, "loss": 0.3}),
            json.dumps({"timestamp": stamp, "f1": None}),
            json.dumps({"timestamp": stamp, "f1": "oops"}),
            json.dumps({"timestamp": "yesterday", "f1": 0.9}),
            json.dumps({"timestamp": stamp, "f1": [0.9, 0.8]}),
            json.dumps({"timestamp": stamp, "drift": 0.1}),
            f'{{"timestamp": "{stamp}", "f1": ',
            "all done",
            json.dumps([stamp]),
        ]
    )


def _csv(random: Random, at: datetime) -> str:
    stamp = at.isoformat()
    return random.choice([f"{stamp},oops", f"{stamp},", f"{stamp},0.9,0.8,0.7", "yesterday,0.9", "all done"])


def _words(random: Random, at: datetime) -> str:
    opening = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return random.choice(
        [
            f"{opening} f1=oops",
            f"{opening} evaluation begins",
            f"{opening} loss=0.3",
            f"{opening} best f1=0.99",
            f"{opening} f1=",
            "Traceback (most recent call last):",
        ]
    )


def _number(random: Random, _at: datetime) -> str:
    return random.choice(["oops", "0.9 0.8 0.7 0.6", "-"])


def _object(random: Random, at: datetime) -> str:
    values: dict[str, object] = random.choice(
        [{"loss": 0.3}, {"f1": None}, {"f1": "oops"}, {"f1": [0.9, 0.8]}, {"drift": 0.1}]
    )
    return json.dumps({"timestamp": at.isoformat(), **values}, indent=1)


def _mlflow(random: Random, at: datetime) -> str:
    return random.choice([f"{at.timestamp():.0f}000 oops 3", "all done", f"{at.timestamp():.0f}000 0.9 3 4 5"])


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a log is written: a clean line, a dirty one, and what all of them are put in."""

    clean: Callable[[Line], str]
    dirty: Callable[[Random, datetime], str]
    header: str = ""
    whole: Callable[[list[str]], bytes] = lambda lines: "\n".join([*lines, ""]).encode()


def _clean_json(line: Line) -> str:
    return json.dumps({"timestamp": line[0].isoformat(), "f1": line[1]})


FORMS: Mapping[str, Form] = {
    "jsonl": Form(clean=_clean_json, dirty=_jsonl),
    "gz": Form(clean=_clean_json, dirty=_jsonl, whole=lambda lines: gzip.compress("\n".join([*lines, ""]).encode())),
    "array": Form(
        clean=_clean_json, dirty=_object, whole=lambda lines: f"[{','.join(filter(str.strip, lines))}]".encode()
    ),
    "documents": Form(clean=lambda line: json.dumps(json.loads(_clean_json(line)), indent=2), dirty=_object),
    "csv": Form(header="timestamp,f1", clean=lambda line: f"{line[0].isoformat()},{line[1]}", dirty=_csv),
    "tsv": Form(
        header="timestamp\tf1",
        clean=lambda line: f"{line[0].isoformat()}\t{line[1]}",
        dirty=lambda random, at: _csv(random, at).replace(",", "\t"),
    ),
    "logfmt": Form(clean=lambda line: f"ts={line[0]:%Y-%m-%dT%H:%M:%SZ} level=info f1={line[1]}", dirty=_words),
    "python": Form(clean=lambda line: f"{line[0]:%Y-%m-%d %H:%M:%S},000 INFO monitor: f1={line[1]}", dirty=_words),
    "text": Form(clean=lambda line: f"{line[0]:%Y-%m-%dT%H:%M:%SZ} f1 = {line[1]}", dirty=_words),
    "mlflow": Form(clean=lambda line: f"{line[0].timestamp():.0f}000 {line[1]} 7", dirty=_mlflow),
    "numbers": Form(clean=lambda line: f"{line[1]}", dirty=_number),
}
LOGS = 95
"""So many of each form."""


def read(form: Form, random: Random, folder: Path) -> tuple[MetricsLog, int, int]:
    """Read a log with dirt in it; return it, and how many of its lines are clean and how many dirty."""
    clean, dirty = random.randint(2, 260), random.choice([0, 1, 1, 2, 3])
    lines = [form.clean((START + timedelta(days=day), round(random.uniform(0.1, 0.99), 3))) for day in range(clean)]
    for _ in range(dirty):
        day = random.randint(2, len(lines))
        lines.insert(day, form.dirty(random, START + timedelta(days=day, hours=1)))
    for _ in range(random.choice([0, 0, 2])):
        lines.insert(random.randint(2, len(lines)), random.choice(["", "   ", form.header]))
    path = folder / "f1"
    path.write_bytes(form.whole([form.header, *lines] if form.header else lines))
    wanted = settings.defaults(["performance_threshold=0.85", "drift_threshold=0.2"]).wanted
    return metrics_log.read([path], wanted=wanted, now=None, final=True), clean, dirty


@pytest.mark.parametrize("form", FORMS)
def test_every_line_is_a_measurement_or_counted_in_what_is_said(form: str, tmp_path: Path) -> None:
    found = 0
    for seed in range(LOGS):
        try:
            log, clean, dirty = read(FORMS[form], Random(f"{form} {seed}"), tmp_path)
        except CannotJudgeError as error:
            assert re.search(r"\d+ of \d+ lines of \S+ are bad", str(error)), (seed, error)  # noqa: PT017  (one of many)
            continue
        found += 1
        assert (len(log.measurements), said_of(log.notes)) == (clean, dirty), (seed, log.notes)
    assert found > LOGS // 2


ROW_FORMS = ("csv", "jsonl", "parquet")
ROW_LOGS = 8
"""So many of each form."""
DAYS = 3


def written_rows(random: Random, form: str) -> tuple[list[dict[str, object]], int]:
    """Draw the rows of some days since the adoption, and say how many of them can be used."""
    rows = [row for number in range(DAYS) for row in rows_of(number, rows=random.choice([60, 100, 240]))]
    model, clean = random.random() < 0.5, len(rows)
    spoilt = random.sample(range(len(rows)), random.randint(0, 12))
    for row in rows:
        row.update({"model": "production"} if model else {})
    for place in spoilt:
        kinds: list[dict[str, object]] = [
            {"prediction": None},
            {"timestamp": "31-31-2026"},
            {"timestamp": None},
            {"prediction": "nan"},
        ]
        kinds += [{"label": "x"}] if form == "csv" else []
        kinds += [{"model": "somebody"}, {"model": "else"}] if model else []
        kinds += [{"timestamp": f"{day(DAYS + random.randint(1, 9)):%Y-%m-%dT%H:%M:%S}"}]
        rows[place] |= random.choice(kinds)
    return rows, clean - len(spoilt)


def told_rows(notes: Sequence[str]) -> int:
    """Add up the rows and lines of prediction logs that the notes tell of."""
    found = [re.match(r"([\d,]+) (row|line)s? of ", note) for note in notes]
    return sum(int(each.group(1).replace(",", "")) for each in found if each)


def read_rows(project: Project, form: str, seed: int) -> tuple[int, int, int, int]:
    """Read a log; return how many rows were used and how many told, and how many should have been."""
    random = Random(f"{form} {seed}")
    rows, clean = written_rows(random, form)
    name = f"log{seed}.{form}"
    write_log(project, name, rows)
    lines = random.choice([0, 0, 3]) if form == "jsonl" else 0
    with (project.folder / name).open("a") as file:
        file.writelines(random.choice(["oops\n", '{"a": \n']) for _ in range(lines))
    config = settings.load(project.folder / "config.yaml", [f"logs.predictions={name}", "trigger.max_unusable=90%"])
    with asked(config, now=day(DAYS + 0.1), say=print) as tick:
        reading = evaluate.read(tick)
    used = sum(window.rows for window in memory.answered_for(reading.observed.windows or (), tick.past))
    return used, told_rows(reading.notes), clean, len(rows) - clean + lines


@pytest.mark.parametrize("form", ROW_FORMS)
def test_every_row_is_in_a_window_or_counted_in_what_is_said(form: str, simple: Project) -> None:
    simple.write("config.yaml", SETTINGS.format(log=f"log0.{form}", more="", trigger=""))
    simple.run("--bootstrap", "--adopt", "production.model", "--known-as", "production", day=0)
    for seed in range(ROW_LOGS):
        try:
            used, told, clean, dirty = read_rows(simple, form, seed)
        except CannotJudgeError as error:
            assert re.search(r"3 of \d+ lines are not JSON objects", str(error)), (seed, error)  # noqa: PT017  (one of many)
            continue
        assert (used, told) == (clean, dirty), seed
