"""The same text, the same counts: DuckDB, a real PostgreSQL and a real Spark count rows made to hurt, and so does plain Python."""

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from counting_engines import ENGINES, Engine, Row, in_duckdb

from retrain_trigger.counts.histograms import Bins
from retrain_trigger.counts.tally import Cell, Column, Part, Tally, Where
from retrain_trigger.counts.words import word
from retrain_trigger.engines import portable
from retrain_trigger.engines.plan import Plan, micros, moment
from retrain_trigger.engines.portable import Rows

pytestmark = pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR")

START = datetime(2026, 1, 5, tzinfo=UTC)
NOW = START + timedelta(days=4)
MICROSECOND = timedelta(microseconds=1)
COMPOSED, DECOMPOSED = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
QUOTED = "O'Brien"
NUMBERS: tuple[float | None, ...] = (
    0.0,
    -0.0,
    5.5,
    math.nextafter(5.5, 9),
    12.25,
    25.0,
    61.7,
    1e308,
    math.nan,
    math.inf,
    -math.inf,
    None,
    5e-324,
    0.1,
    0.10000000149011612,
    -3.0,
)
TEXTS = (
    "north",
    "North",
    "stra\N{LATIN SMALL LETTER SHARP S}e",
    QUOTED,
    'a"b',
    "a`b",
    "",
    "back\\slash",
    "new\nline",
    COMPOSED,
    DECOMPOSED,
    "NULL",
    "100%",
    None,
    " ",
    "x" * 300,
)
WORDS = ("yes", "Yes", "no", "1", "1.0", "true", "True", "nan", "", " no ", None, QUOTED, COMPOSED, DECOMPOSED)
MIDNIGHT = START + timedelta(days=1)
TIMES = (
    START,
    MIDNIGHT - MICROSECOND,
    MIDNIGHT,
    MIDNIGHT + MICROSECOND,
    START + timedelta(days=3) - MICROSECOND,
    START - MICROSECOND,
    NOW - timedelta(hours=1),
    None,
)
COLUMNS = {
    "timestamp": "time",
    "id": "text",
    "user": "text",
    "case": "text",
    "end": "time",
    "from": "text",
    "score": "double",
    "exposed": "boolean",
    'amount "EUR" `net`': "double",
    "Age": "double",
    "age": "double",
    "order": "text",
    COMPOSED: "text",
    DECOMPOSED: "text",
}
"""Columns with the names that people give them: quotes, capitals, accents, words of SQL."""

ROLES = {
    "said": "user",
    "truth": "case",
    "labelled": "end",
    "id": "id",
    "model": "from",
    "score": "score",
    "exposed": "exposed",
}
SEEDS, ROWS, LABELLED = range(3), 400, 300
LABELS = {"id": "text", "label": "text", "came": "time", "nth": "whole"}
TEXT_BINS = Bins.categorical({text: n for n, text in enumerate(TEXTS, 1) if text is not None and len(text) < 99})
BINS = {
    'amount "EUR" `net`': Bins.numeric([5.5, 12.25, 61.7], [0.0, 25.0], low=-3.0, high=1e308),
    "Age": Bins.numeric([0.1, 40.0], [0.1], low=0.0, high=99.0),
    "age": Bins.numeric([5e-324, 12.25], [], low=0.0, high=99.0),
    "order": TEXT_BINS,
    COMPOSED: TEXT_BINS,
    DECOMPOSED: Bins.categorical({COMPOSED: 2, "": 1}),
}
PLAN = Plan(
    predictions="",
    labels=None,
    columns={},
    window=timedelta(days=1),
    bins=BINS,
    score_edges=(0.1, 0.25, 0.5),
    since=START,
    version="v2",
    known_as=QUOTED,
    slices=("order", COMPOSED),
)

MISTAKES: dict[str, dict[str, list[Any]]] = {
    "duckdb": {
        "text": [lambda value: "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"],
        "double": ["REAL"],
        "micros": ["epoch_ms({}) * 1000", "epoch_us(CAST({} AS TIMESTAMP))"],
        "ordered": ["LOWER({})"],
    },
    "postgres": {
        "text": [lambda value: "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"],
        "double": ["NUMERIC(30, 3)"],
        "micros": [
            "CAST(EXTRACT(EPOCH FROM {}) AS BIGINT) * 1000000",
            "CAST(EXTRACT(EPOCH FROM CAST({} AS TIMESTAMP)) * 1000000 AS BIGINT)",
        ],
        "ordered": ["LOWER({})"],
    },
    "spark": {
        "text": [lambda value: "'" + value.replace("'", "\\'") + "'"],
        "double": ["FLOAT"],
        "micros": ["unix_seconds({}) * 1000000", "unix_micros(to_utc_timestamp({}, 'Pacific/Apia'))"],
        "ordered": ["LOWER({})"],
    },
}
"""Atoms that an engine runs, and that count otherwise."""


def rows_of(number: int, seed: int) -> list[Row]:
    random = Random(seed)
    values: dict[str, Callable[[], Any]] = {
        "timestamp": lambda: random.choice(TIMES),
        "id": lambda: random.choice([f"{random.choice('rR')}{random.randrange(number // 2)}", None]),
        "user": lambda: random.choice(WORDS),
        "case": lambda: random.choice(WORDS),
        "end": lambda: random.choice([None, START, NOW, NOW + MICROSECOND]),
        "from": lambda: random.choice([None, "v1", "v2", "V2", QUOTED]),
        "exposed": lambda: random.choice([None, True, False]),
    }
    kinds = {"double": lambda: random.choice(NUMBERS), "text": lambda: random.choice(TEXTS)}
    return [tuple((values.get(name) or kinds[kind])() for name, kind in COLUMNS.items()) for _ in range(number)]


def labels_of(number: int, seed: int) -> list[Row]:
    random = Random(seed)
    came = [None, START, START + timedelta(days=1), NOW, NOW + timedelta(days=1)]
    return [(f"r{random.randrange(number)}", random.choice(WORDS), random.choice(came), n) for n in range(number)]


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.spark) if name == "spark" else name for name in ENGINES],
)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with ENGINES[request.param](tmp_path_factory.mktemp(request.param)) as engine:
        yield engine


@pytest.fixture(scope="session")
def duck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with in_duckdb(tmp_path_factory.mktemp("beside")) as engine:
        yield engine


def counted(engine: Engine, plan: Plan, *, labels: bool) -> Tally:
    """Count the table as the plan asks."""
    rows = Rows(
        relation="log",
        at=engine.column("timestamp"),
        roles={role: engine.column(name) for role, name in ROLES.items()},
        features={name: engine.column(name) for name in plan.bins},
        slices={name: engine.column(name) for name in plan.slices},
    )
    atoms = engine.atoms
    placed = portable.once(atoms, portable.placed(atoms, plan, rows))
    truth = f"(SELECT id, label, {atoms.micros.format('came')} AS labelled_us, nth FROM truth)"
    known = portable.known(placed, truth if labels else None, now=NOW)
    return portable.tallies(engine.ask, atoms, known, places=known, bins=plan.bins, slices=plan.slices)[""]


def fill(engine: Engine, rows: list[Row], labels: list[Row]) -> None:
    engine.fill("log", COLUMNS, rows)
    engine.fill("truth", LABELS, labels)


def by_hand(plan: Plan, rows: list[Row], labels: list[Row]) -> Tally:
    """Count row by row what `counted` asks an engine for."""
    newest: dict[str, tuple[tuple[int, int], Row]] = {}
    for label in labels:
        came = 0 if label[2] is None else micros(label[2])
        if label[1] is not None and came <= micros(NOW):
            order = (came, label[3])
            if label[0] not in newest or order > newest[label[0]][0]:
                newest[label[0]] = order, label
    scores = Bins.numeric(plan.score_edges, (), low=None, high=None)
    cells, slices = Counter[Cell](), Counter[Part]()
    histograms: dict[Column, list[int]] = {}
    rows_until: dict[Where, int] = {}
    labels_until: dict[Where, int] = {}
    for row in once([dict(zip(COLUMNS, row, strict=True)) for row in rows], plan):
        at, model, key = row["timestamp"], row["from"], row["id"]
        if plan.since is not None and at is not None and at < plan.since and model not in {"v2", QUOTED}:
            continue
        here = (None if at is None else plan.number(at), model)
        come = row["end"] is None or row["end"] <= NOW
        truth, came = (newest[key][1][1:3]) if key in newest else (row["case"], row["end"]) if come else (None, None)
        said, place = word(row["user"]), scores.index(row["score"])
        cells[*here, said, word(truth), None if place == scores.size - 1 else place, row["exposed"]] += 1
        for name, bins in plan.bins.items():
            histograms.setdefault((*here, name), [0] * bins.size)[bins.index(row[name])] += 1
        for name in plan.slices if truth is not None else ():
            slices[*here, name, row[name], said, word(truth)] += 1
        for until, time in ((rows_until, at), (labels_until, None if truth is None else came)):
            if time is not None:
                until[here] = max(micros(time), until.get(here, micros(time)))
    counts = {key: tuple(each) for key, each in histograms.items()}
    return Tally(cells=cells, slices=slices, histograms=counts, rows_until=rows_until, labels_until=labels_until)


def once(rows: list[dict[str, Any]], plan: Plan) -> Iterator[dict[str, Any]]:
    """Leave out rows whose id is in their window already."""
    seen: set[Any] = set()
    for row in sorted(rows, key=lambda row: (row["timestamp"] or START, row["user"] or "", row["case"] or "")):
        at, key = row["timestamp"], row["id"]
        if key is None or at is None or (key, plan.number(at), row["from"]) not in seen:
            yield row
        if key is not None and at is not None:
            seen.add((key, plan.number(at), row["from"]))


@pytest.mark.parametrize("seed", SEEDS)
def test_each_engine_counts_as_plain_python_does(engine: Engine, seed: int) -> None:
    rows, labels = rows_of(ROWS, seed), labels_of(LABELLED, seed)
    fill(engine, rows, labels)
    for since in (START, None):
        plan = replace(PLAN, since=since)
        assert counted(engine, plan, labels=False) == by_hand(plan, rows, [])
        assert counted(engine, plan, labels=True) == by_hand(plan, rows, labels)


def test_of_too_many_words_and_slices_each_engine_counts_the_same(
    engine: Engine, duck: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (engine, duck):
        fill(each, rows_of(60, 1), labels_of(60, 1))
    for most in (3, 5, 7, 10):
        monkeypatch.setattr(portable, "MOST_WORDS", most)
        monkeypatch.setattr(portable, "MOST_VALUES", most)
        assert counted(engine, PLAN, labels=True) == counted(duck, PLAN, labels=True)


def test_however_many_cells_are_taken_at_once_the_counts_are_the_same(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, labels = rows_of(ROWS, SEEDS[0]), labels_of(LABELLED, SEEDS[0])
    fill(engine, rows, labels)
    whole = counted(engine, PLAN, labels=True)
    monkeypatch.setattr(portable, "MOST_CELLS", 3)
    assert counted(engine, PLAN, labels=True) == whole == by_hand(PLAN, rows, labels)


@pytest.mark.parametrize("atom", ["text", "double", "micros", "ordered"])
def test_a_wrong_atom_is_noticed(engine: Engine, atom: str) -> None:
    """Mistakes for which no engine gives an error."""
    rows, truth = rows_of(ROWS, SEEDS[0]), labels_of(LABELLED, SEEDS[0])
    fill(engine, rows, truth)
    for mistake in MISTAKES[engine.name][atom]:
        wrong = replace(engine, atoms=replace(engine.atoms, **{atom: mistake}))
        assert counted(wrong, PLAN, labels=True) != by_hand(PLAN, rows, truth), mistake


def test_a_session_has_a_time_zone_of_its_own(engine: Engine) -> None:
    assert engine.ask(f"SELECT {engine.zone}")[0][0] in {"Asia/Kolkata", "America/New_York", "Pacific/Apia"}


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_hurt(seed: int) -> None:
    rows, labels = rows_of(ROWS, seed), labels_of(LABELLED, seed)
    by_name = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    for name, kind in COLUMNS.items():
        values = {repr(value) for value in by_name[name]}
        assert "None" in values, name
        if kind == "double":
            assert {"nan", "inf", "-inf", "0.0", "-0.0", "5e-324"} <= values, name
        if kind == "text" and name not in {"id", "from"}:
            assert {"''", '"O\'Brien"', repr(COMPOSED), repr(DECOMPOSED)} <= values, name
    assert {unicodedata.normalize("NFC", name) for name in (COMPOSED, DECOMPOSED)} == {COMPOSED}
    assert {MIDNIGHT + n * MICROSECOND for n in (-1, 0, 1)} <= {*by_name["timestamp"]}
    assert {NOW, NOW + MICROSECOND} <= {*by_name["end"]}
    for one, two in (("Yes", "yes"), ("True", "true"), ("1", "1.0"), ("no", " no ")):
        assert {one, two} <= {*by_name["user"]} & {*by_name["case"]}
    assert {"north", "North", 'a"b', "a`b", "back\\slash", "new\nline"} <= {*by_name["order"]}
    assert {"v2", "V2", QUOTED} <= {*by_name["from"]}
    ids = [key for key in by_name["id"] if key is not None]
    assert len({*ids}) < len(ids), "some count once"
    assert len({key.lower() for key in ids}) < len({*ids}), "some differ in case only"
    corrected = Counter(key for key, label, came, _ in labels if label is not None and (came or START) <= NOW)
    assert [key for key, times in corrected.items() if times > 1 and key in ids], "some labels are corrected"
    assert [key for key, _, came, _ in labels if came is not None and came > NOW and key in ids], "and some are late"


def test_a_microsecond_before_midnight_is_of_the_day_before() -> None:
    edge = PLAN.start(20500)
    for window in (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)):
        plan = replace(PLAN, window=window)
        start = plan.start(plan.number(edge))
        assert plan.number(start) == plan.number(start - timedelta(microseconds=1)) + 1
        assert moment(micros(start)) == start
