import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.core.errors import DataError
from retrain_trigger.counts.table import TableCounts
from retrain_trigger.engines.labelled import LabelledRows, Need, Reserve, opened
from retrain_trigger.engines.tallies import Answers, joint_counts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROLES = ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")
COLUMNS = {role: role for role in ROLES}
ANY = "true"


def parquet(path: Path, query: str) -> Path:
    """Write what a query returns."""
    quoted = str(path).replace("'", "''")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({query}) TO '{quoted}' (FORMAT parquet)")
    return path


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    lines = [",".join(rows[0])] + [",".join(str(value) for value in row.values()) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def as_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    source = jsonl(path.with_suffix(".source"), rows)
    return parquet(path, f"SELECT * FROM read_json('{source}', format = 'newline_delimited')")


WRITERS: dict[str, Callable[[Path, Sequence[Mapping[str, Any]]], Path]] = {
    ".parquet": as_parquet,
    ".csv": csv,
    ".jsonl": jsonl,
    ".ndjson": jsonl,
}


def some_rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Make rows, one a minute, the newest at NOW."""
    return [
        {
            "timestamp": (NOW - timedelta(minutes=number)).isoformat(),
            "id": f"customer-{number}",
            "income": number * 1.5,
            "label": number % 2,
        }
        for number in range(first, first + count)
    ]


def counted(source: Path | str, where: str = ANY, now: datetime = NOW) -> int:
    with opened(str(source), columns=COLUMNS, now=now) as rows:
        return rows.count(where)


def ids(rows: LabelledRows, where: str, folder: Path) -> set[str]:
    target = folder / "written.parquet"
    rows.write(where, target)
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT id FROM read_parquet('{target}')").fetchall()
    target.unlink()
    return {str(row[0]) for row in found}


def held(source: Path, share: float, folder: Path) -> set[str]:
    with opened(str(source), columns=COLUMNS, now=NOW) as rows:
        return ids(rows, of_share(rows, share).reserved, folder)


def of_share(rows: LabelledRows, share: float) -> LabelledRows:
    return replace(rows, reserve=Reserve(share=share))


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("early", [timedelta(0), timedelta(microseconds=1), timedelta(minutes=1)])
def test_a_row_exactly_as_old_as_the_champions_newest_decides_nothing(
    tmp_path: Path, ending: str, early: timedelta
) -> None:
    source = WRITERS[ending](tmp_path / f"rows{ending}", some_rows(10))
    newest = NOW - timedelta(minutes=4)
    with opened(str(source), columns=COLUMNS, now=NOW) as rows:
        for where in (of_share(rows, 1.0).deciding(after=newest - early), rows.newer(newest - early)):
            expected = range(5 if early else 4)
            assert ids(rows, where, tmp_path) == {f"customer-{number}" for number in expected}
        # It is trained on where the training begins or ends with it.
        assert rows.count(rows.training(since=newest)) == 5
        assert rows.count(rows.training(since=None, until=newest)) == 6


def places(source: Path) -> list[int]:
    """Count the rows held out for growing shares: the same for the same rows, whatever order they are in."""
    with opened(str(source), columns=COLUMNS, now=NOW) as rows:
        return [rows.count(of_share(rows, share / 64).reserved) for share in range(65)]


@pytest.mark.parametrize("ending", WRITERS)
def test_a_file_of_each_format_is_read(tmp_path: Path, ending: str) -> None:
    path = WRITERS[ending](tmp_path / f"rows{ending}", some_rows(10))
    with opened(str(path), columns=COLUMNS, now=NOW) as rows:
        described = rows.describe(ANY)
        assert {name: (column.type, column.missing) for name, column in described.columns.items()} == {
            "income": ("number", 0)
        }
        assert str(described.oldest) <= NOW.isoformat()
        assert replace(described, columns={}, oldest=None) == TableCounts(
            rows=10, columns={}, labels={"0": 5, "1": 5}, newest=NOW.isoformat()
        )
        assert rows.features == ("income",)
        assert rows.newest() == NOW


@pytest.mark.parametrize(
    "source", ["rows", "rows/*.jsonl", "rows/**/*.jsonl", "rows/part-?.jsonl", "rows/part-[01].jsonl"]
)
def test_a_folder_or_a_glob_is_read_as_one(tmp_path: Path, source: str) -> None:
    (tmp_path / "rows").mkdir()
    jsonl(tmp_path / "rows/part-0.jsonl", some_rows(5))
    jsonl(tmp_path / "rows/part-1.jsonl", [{**row, "new column": 1} for row in some_rows(5, 5)])
    with opened(str(tmp_path / source), columns=COLUMNS, now=NOW) as rows:
        assert rows.count(ANY) == 10
        assert rows.features == ("income", "new column")
        assert rows.describe(ANY).columns["new column"].missing == 5


@pytest.mark.parametrize("ending", WRITERS)
def test_the_columns_of_a_folder_are_those_of_all_its_files(tmp_path: Path, ending: str) -> None:
    (tmp_path / "rows").mkdir()
    more = [{**row, "new": 1, "timestamp": row.pop("timestamp")} for row in some_rows(2, 1)]
    for name, rows in (("a", some_rows(1)), ("b", more)):
        WRITERS[ending](tmp_path / f"rows/{name}{ending}", rows)
    with opened(str(tmp_path / "rows"), columns=COLUMNS, now=NOW) as known:
        described = known.describe(ANY).columns
    assert {name: column.missing for name, column in described.items()} == {"income": 0, "new": 1}


def test_a_folder_is_read_to_its_depth_without_hidden_and_foreign_files(tmp_path: Path) -> None:
    for name in ("rows/2026/02/a.jsonl", "rows/2026/03/b.jsonl", "rows/.b.jsonl.tmp", "rows/_SUCCESS", "rows/.c.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        jsonl(tmp_path / name, some_rows(3, 3 * (name[-7] == "b")))
    assert counted(tmp_path / "rows") == 6


def test_a_folder_may_have_an_ending_and_folders_that_have_one(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet/month.parquet").mkdir(parents=True)
    as_parquet(tmp_path / "rows.parquet/month.parquet/part-0.parquet", some_rows(3))
    assert counted(tmp_path / "rows.parquet") == 3


TIMES = {
    "timestamp": "TIMESTAMP '2026-03-01 10:30:00'",
    "timestamp in another zone": "TIMESTAMPTZ '2026-03-01 12:30:00+02'",
    "nanoseconds": "TIMESTAMP_NS '2026-03-01 10:30:00'",
    "milliseconds": "TIMESTAMP_MS '2026-03-01 10:30:00'",
    "text with Z": "'2026-03-01T10:30:00Z'",
    "text with an offset": "'2026-03-01T12:30:00+02:00'",
    "text without": "'2026-03-01 10:30:00'",
    "epoch": "1772361000::BIGINT",
    "epoch as a fraction": "1772361000.0::DOUBLE",
    "epoch in ms": "1772361000000::BIGINT",
    "epoch in ms as a fraction": "1772361000000.0::DOUBLE",
}


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES.keys())
def test_times_of_any_kind_are_the_same_moment(tmp_path: Path, time: str) -> None:
    path = parquet(tmp_path / "rows.parquet", f"SELECT {time} AS timestamp, 1 AS x, 1 AS label")
    half_past = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
    with opened(str(path), columns=COLUMNS, now=NOW) as rows:
        assert rows.newest() == half_past
        assert (rows.count(rows.newer(half_past - timedelta(seconds=1))), rows.count(rows.newer(half_past))) == (1, 0)
    assert counted(path, now=half_past) == 1
    assert counted(path, now=half_past - timedelta(seconds=1)) == 0


def test_a_date_is_its_beginning(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet", "SELECT DATE '2026-03-01' AS timestamp, 1 AS label")
    with opened(str(path), columns=COLUMNS, now=NOW) as rows:
        assert rows.newest() == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("time", ["'yesterday'", "NULL::TIMESTAMP", "''", "true", "17::BIGINT", "7"])
def test_a_labelled_row_without_a_readable_time_is_refused(tmp_path: Path, time: str) -> None:
    path = parquet(tmp_path / "rows.parquet", f"SELECT {time} AS timestamp, 1 AS label")
    with pytest.raises(DataError, match=r"'timestamp' has no readable time in 1 labelled rows of .*rows\.parquet"):
        counted(path)
    path = parquet(path, f"SELECT {time} AS timestamp, NULL AS label UNION ALL SELECT '2026-03-01', 1")
    assert counted(path) == 1, "a row that is not labelled yet is not there"


LABELS = {
    "integer": ("1", "1"),
    "double": ("1.0::DOUBLE", "1"),
    "decimal": ("1.00::DECIMAL(9,2)", "1"),
    "boolean": ("true", "1"),
    "false": ("false", "0"),
    "text": ("'1'", "1"),
    "zero": ("0.0::DOUBLE", "0"),
    "negative": ("-1.0::DOUBLE", "-1"),
    "ten": ("10.0::DOUBLE", "10"),
    "half": ("0.5::DOUBLE", "0.5"),
    "word": ("'churn'", "churn"),
    "version": ("'v1.0'", "v1.0"),
    "enum": ("'churn'::ENUM ('stay', 'churn')", "churn"),
}


@pytest.mark.parametrize(("value", "text"), LABELS.values(), ids=LABELS.keys())
def test_labels_that_mean_the_same_are_the_same(tmp_path: Path, value: str, text: str) -> None:
    path = parquet(tmp_path / "rows.parquet", f"SELECT TIMESTAMP '2026-03-01' AS timestamp, {value} AS label")
    with opened(str(path), columns=COLUMNS, now=NOW) as rows:
        assert rows.labels() == {text: 1}
    said = parquet(tmp_path / "said.parquet", f"SELECT '{text}' AS prediction")
    assert joint_counts(Answers(rows=path, label="label", champion=said, challenger=said)).cells == {
        (text, text, text): 1
    }


@pytest.mark.parametrize("missing", ["NULL::DOUBLE", "'nan'::DOUBLE", "'nan'::FLOAT"])
def test_a_row_whose_label_is_missing_is_not_there(tmp_path: Path, missing: str) -> None:
    query = f"SELECT TIMESTAMP '2026-03-01' AS timestamp, unnest([1.0, 0.0, {missing}]) AS label"
    with opened(str(parquet(tmp_path / "rows.parquet", query)), columns=COLUMNS, now=NOW) as rows:
        assert rows.labels() == {"0": 1, "1": 1}


def test_what_is_not_known_yet_is_not_there(tmp_path: Path) -> None:
    def row(hour: float, labelled: float | None, label: int | None = 1) -> dict[str, Any]:
        at, then = NOW + timedelta(hours=hour), None if labelled is None else NOW + timedelta(hours=labelled)
        return {"timestamp": at.isoformat(), "labelled_at": then.isoformat() if then else None, "label": label}

    there = [row(-5, -1), row(-4, 0), row(-3, None), row(0, 0)]
    not_yet = [row(1 / 60, None), row(-2, 1 / 60), row(-1, -1, None), row(1, 2)]
    path = jsonl(tmp_path / "rows.jsonl", [*there, *not_yet, {**row(-1, None), "labelled_at": "soon"}])
    assert counted(path) == len(there)
    assert counted(path, now=NOW + timedelta(hours=1)) == len(there) + 2


@pytest.mark.parametrize("ending", WRITERS)
def test_what_is_held_out_depends_on_the_id_alone(tmp_path: Path, ending: str) -> None:
    rows = some_rows(400)
    expected = held(as_parquet(tmp_path / "first.parquet", rows), 0.3, tmp_path)
    assert 80 < len(expected) < 160
    changed = [{**row, "income": 0.5, "label": 1 - row["label"]} for row in reversed(rows[:200])]
    (tmp_path / "later").mkdir()
    WRITERS[ending](tmp_path / f"later/a{ending}", changed)
    WRITERS[ending](tmp_path / f"later/b{ending}", some_rows(300, 200))
    again = held(tmp_path / "later", 0.3, tmp_path)
    assert {name for name in again if int(name.removeprefix("customer-")) < 400} == expected


@pytest.mark.parametrize(
    "identities",
    [
        pytest.param(["7", "8", "1234567890123456789"], id="numbers"),
        pytest.param(["007", "0042"], id="numbers with zeros in front"),
        pytest.param(["true", "FALSE"], id="truth"),
        pytest.param(["6F9619FF-8B86-D011-B42D-00CF4FC964FF", "6f9619ff-8b86-d011-b42d-00c04fc964ff"], id="uuids"),
    ],
)
def test_an_id_that_looks_like_something_else_is_still_the_same_id(tmp_path: Path, identities: list[str]) -> None:
    listed = ", ".join(f"'{identity}'" for identity in identities)
    source = f"SELECT TIMESTAMP '2026-03-01' AS timestamp, unnest([{listed}]) AS id, 1 AS label"
    expected = places(parquet(tmp_path / "rows.parquet", source))
    assert expected[-1] == len(identities)
    same = [{"timestamp": "2026-03-01", "id": identity, "label": 1} for identity in identities]
    assert places(csv(tmp_path / "rows.csv", same)) == expected
    assert places(jsonl(tmp_path / "rows.jsonl", same)) == expected


def test_who_is_held_out_stays_held_out_in_every_run_and_version(tmp_path: Path) -> None:
    """A change here would train models on rows that have decided; it must be no accident."""
    rows = some_rows(20)
    found = held(jsonl(tmp_path / "rows.jsonl", rows), 0.2, tmp_path)
    assert found == {f"customer-{number}" for number in (7, 9, 10, 14, 16, 17, 18, 19)}
    nameless = [{name: value for name, value in row.items() if name != "id"} for row in rows]
    assert places(jsonl(tmp_path / "rows.jsonl", nameless))[::8] == [0, 1, 6, 8, 12, 13, 16, 20, 20]


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_a_growing_share_sets_nothing_free(tmp_path_factory: pytest.TempPathFactory, one: float, other: float) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "many.parquet"
    if not path.exists():
        parquet(path, "SELECT TIMESTAMP '2026-03-01' AS timestamp, range AS id, 1 AS label FROM range(20000)")
    with opened(str(path), columns=COLUMNS, now=NOW) as rows:
        small, large = (of_share(rows, share).reserved for share in (min(one, other), max(one, other)))
        assert rows.count(f"({small}) AND NOT ({large})") == 0
        for where, share in (small, min(one, other)), (large, max(one, other)):
            deviation = (share * (1 - share) * 20000) ** 0.5
            assert abs(rows.count(where) - share * 20000) < 5 * deviation
            assert rows.count(of_share(rows, share).training(since=None)) + rows.count(where) == 20000


def test_a_row_without_an_id_goes_by_its_content_and_stays_when_its_label_changes(tmp_path: Path) -> None:
    def placed(rows: Sequence[Mapping[str, Any]]) -> list[int]:
        return places(jsonl(tmp_path / "rows.jsonl", rows))

    rows = [{name: value for name, value in row.items() if name != "id"} for row in some_rows(50)]
    before = placed(rows)
    assert 15 < before[32] < 35
    corrected = [{**row, "label": 1 - row["label"], "labelled_at": NOW.isoformat()} for row in rows]
    assert placed(corrected) == before
    assert placed([dict(reversed(row.items())) for row in rows]) == before, "the order of columns"
    assert placed([{**row, "income": row["income"] + 1} for row in rows]) != before


def test_a_row_whose_id_is_missing_is_still_a_row(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", [{**row, "id": None} for row in some_rows(50)] + some_rows(50, 50))
    with opened(str(path), columns=COLUMNS, now=NOW) as rows:
        half = of_share(rows, 0.5)
        split = rows.count(half.reserved), rows.count(half.training(since=None))
    assert sum(split) == 100


def customers(path: Path, rows: int = 600) -> Path:
    """Write rows, one an hour, of 100 customers in turn; each tenth row has no customer."""
    at = f"TIMESTAMP '{NOW:%Y-%m-%d %H:%M}' - range * INTERVAL 1 HOUR"
    customer = "if(range % 10 = 9, NULL, range % 100)"
    return parquet(
        path, f"SELECT {at} AS timestamp, range AS id, {customer} AS customer, range % 2 AS label FROM range({rows})"
    )


def by_customer(share: float = 0.2, **earlier: datetime) -> Need:
    return Need(reserve=Reserve(share=share, group="customer", earlier=earlier))


def test_a_group_is_held_out_as_a_whole_and_a_row_without_one_by_itself(tmp_path: Path) -> None:
    with opened(str(customers(tmp_path / "rows.parquet")), columns=COLUMNS, now=NOW, need=by_customer()) as rows:
        sides = f"SELECT customer, {rows.reserved} AS held, count(*) AS n FROM known GROUP BY ALL"
        found = rows.connection.execute(sides).fetchall()
    whole = [(customer, n) for customer, _, n in found if customer is not None]
    assert len(whole) == 90
    assert {n for _, n in whole} == {6 + 0}
    alone = {held: n for customer, held, n in found if customer is None}
    assert sum(alone.values()) == 60
    assert 0 < alone[True] < 30


def test_what_is_learnt_from_never_decides_with_its_group(tmp_path: Path) -> None:
    after = NOW - timedelta(hours=150)
    with opened(str(customers(tmp_path / "rows.parquet")), columns=COLUMNS, now=NOW, need=by_customer()) as rows:
        learnt, decides = rows.training(since=None, until=after), rows.unlearnt(after)
        both = f"customer IN (SELECT customer FROM known WHERE {learnt}) AND {decides}"
        assert rows.count(learnt) > 300
        assert rows.count(both) == 0
        # Each customer was there before, so only those decide that are held out, and newer rows without a customer.
        assert 0 < rows.count(decides) == rows.count(f"{rows.newer(after)} AND ({rows.reserved} OR customer IS NULL)")
        ages = rows.by_age(timedelta(hours=50))
        assert sum(ages[age] for age in range(3)) == rows.count(decides)


def test_a_new_group_decides_although_it_is_not_held_out(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "rows.jsonl",
        [{**row, "customer": f"c{place // 5}"} for place, row in enumerate(some_rows(50))],
    )
    with opened(str(path), columns=COLUMNS, now=NOW, need=by_customer(0.0)) as rows:
        # The ninth row from the end is the newest that is learnt from: its customer has newer rows, too.
        decides = rows.unlearnt(NOW - timedelta(minutes=8))
        assert ids(rows, decides, tmp_path) == {f"customer-{number}" for number in range(5)}
        assert rows.by_age(timedelta(minutes=4))[1] == 5


def test_what_was_held_out_before_by_another_group_is_never_trained_on(tmp_path: Path) -> None:
    path, until = customers(tmp_path / "rows.parquet"), NOW - timedelta(hours=300)
    with opened(str(path), columns=COLUMNS, now=NOW, need=Need(reserve=Reserve(share=0.2))) as rows:
        before = ids(rows, f"{rows.reserved} AND NOT ({rows.newer(until)})", tmp_path)
        after = ids(rows, f"{rows.reserved} AND {rows.newer(until)}", tmp_path)
    need = Need(reserve=Reserve(share=0.2, group="customer", earlier={"": until, "gone": NOW}))
    with opened(str(path), columns=COLUMNS, now=NOW, need=need) as rows:
        trained = ids(rows, rows.training(since=None), tmp_path)
    assert len(before) > 40
    assert trained.isdisjoint(before)
    assert trained & after
    back = Need(reserve=Reserve(share=0.2, earlier={"customer": NOW, "": NOW}))
    with opened(str(path), columns=COLUMNS, now=NOW, need=by_customer()) as rows:
        by_group = ids(rows, rows.reserved, tmp_path)
    with opened(str(path), columns=COLUMNS, now=NOW, need=back) as rows:
        assert ids(rows, rows.training(since=None), tmp_path).isdisjoint(by_group)


def test_a_group_that_the_rows_do_not_have_is_said(tmp_path: Path) -> None:
    path, need = jsonl(tmp_path / "rows.jsonl", some_rows(3)), by_customer()
    with (
        pytest.raises(DataError, match=r"column 'customer' \(group\) is missing .* Name it in data\.group"),
        opened(str(path), columns=COLUMNS, now=NOW, need=need),
    ):
        pass


STRANGE = {
    "timestamp": "TIMESTAMPTZ '2026-03-01 10:00:00+00'",
    "label": "true",
    "id": "42::UBIGINT",
    "a 'quoted' \"name\"": "1.5::FLOAT",
    "Grösse, in m²; \\": "'text'",
    "select": "7::TINYINT",
    "day": "DATE '2026-02-01'",
    "price": "12.30::DECIMAL(9,2)",
    "tags": "['a', 'b']",
    "nothing": "NULL::INTEGER",
    "_at": "'mine'",
    "_hash": "5",
    "_label": "'mine too'",
}


def test_training_data_keeps_names_types_and_columns(tmp_path: Path) -> None:
    columns = ", ".join(f'{value} AS "{name.replace(chr(34), chr(34) * 2)}"' for name, value in STRANGE.items())
    folder = tmp_path / 'it\'s "here" {now}'
    folder.mkdir()
    source = parquet(folder / "rows.parquet", f"SELECT {columns}")
    with opened(str(source), columns=COLUMNS, now=NOW) as rows:
        rows.write(ANY, folder / "train.parquet")
    quoted = [str(path).replace("'", "''") for path in (source, folder / "train.parquet")]
    with duckdb.connect() as connection:
        described = [connection.execute(f"DESCRIBE FROM read_parquet('{path}')").fetchall() for path in quoted]
        other = connection.execute(
            f"FROM read_parquet('{quoted[0]}') EXCEPT FROM read_parquet('{quoted[1]}')"
        ).fetchall()
        (kept,) = connection.execute(f"SELECT count(*) FROM read_parquet('{quoted[1]}')").fetchall()
    assert described[1] == described[0]
    assert [row[0] for row in described[0]] == list(STRANGE)
    assert (other, kept) == ([], (1,))


@pytest.mark.parametrize("name", ["_at", "_hash", "_label", "_row_hash"])
def test_a_column_of_any_name_is_a_feature_like_others(tmp_path: Path, name: str) -> None:
    def seen(column: str) -> tuple[int, dict[str, int], int, datetime | None]:
        path = jsonl(tmp_path / "rows.jsonl", [{**row, column: 5} for row in some_rows(100)])
        with opened(str(path), columns=COLUMNS, now=NOW) as rows:
            assert rows.features == ("income", column)
            described = rows.describe(of_share(rows, 0.3).training(since=NOW - timedelta(minutes=50)))
            return described.rows, rows.labels(), described.duplicate_rows, rows.newest()

    assert seen(name) == seen("harmless")


@pytest.mark.parametrize("folder", ["runs [v2]", "really?", "100% * 2", "~", "$HOME", "späte Daten"])
@pytest.mark.parametrize("source", ["", "/rows.jsonl"])
def test_a_path_is_taken_as_it_is(tmp_path: Path, folder: str, source: str) -> None:
    (tmp_path / folder).mkdir()
    jsonl(tmp_path / folder / "rows.jsonl", some_rows(4))
    assert counted(f"{tmp_path / folder}{source}") == 4


def test_reaches_windows_and_deciding_rows_are_cut_where_they_say(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", some_rows(61))  # one a minute, from 11:00 to 12:00
    eleven = NOW - timedelta(hours=1)
    with opened(str(path), columns=COLUMNS, now=NOW) as rows:
        half = timedelta(minutes=30)
        assert rows.count(rows.newer(eleven + half)) == 30, "newer than, not as new as"
        assert rows.count(rows.newer(None)) == 61
        assert rows.within(ANY, start=eleven, length=half) == 30, "the start belongs to a window, the end to the next"
        assert rows.within(ANY, start=eleven + half, length=half) == 30
        fifth = of_share(rows, 0.2)
        reaching = fifth.training(since=eleven + half)
        assert rows.count(reaching) + rows.count(f"{fifth.reserved} AND {rows.newer(eleven + half)}") in {30, 31}
        assert rows.count(f"({reaching}) AND {fifth.reserved}") == 0
        deciding = fifth.deciding(after=eleven + half)
        assert 0 < rows.count(deciding) < 30
        assert rows.count(f"({deciding}) AND ({fifth.training(since=None)})") == 0


def test_missing_values_and_duplicates_are_counted(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "rows.parquet",
        "SELECT TIMESTAMP '2026-03-01' AS timestamp, id, 1 AS label, x, t, x::FLOAT AS f FROM (VALUES "
        "(1, 1.0::DOUBLE, 'a'), (1, 'nan'::DOUBLE, 'a'), (2, NULL, ''), (3, 'inf'::DOUBLE, NULL), "
        "(NULL, 1, 'nan'), (NULL, 1, 'nan')) AS v(id, x, t)",
    )
    with opened(str(path), columns=COLUMNS, now=NOW) as rows:
        described = rows.describe(ANY)
    assert {name: column.missing for name, column in described.columns.items()} == {"x": 3, "t": 1, "f": 3}
    assert described.duplicate_ids == 1
    assert described.duplicate_rows == 1


def test_no_row_is_described_too(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", some_rows(3))
    with opened(str(path), columns=COLUMNS, now=NOW - timedelta(days=1)) as rows:
        assert (rows.newest(), rows.labels(), rows.describe(ANY).rows) == (None, {}, 0)
        assert rows.describe(ANY).newest is None


def test_columns_go_by_the_names_in_the_settings(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", [{"zeit": "2026-03-01", "kunde": 1, "wahr": 1, "x": 2, "id": 3}])
    named = {**COLUMNS, "timestamp": "zeit", "id": "kunde", "label": "wahr"}
    with opened(str(path), columns=named, now=NOW) as rows:
        assert rows.features == ("x", "id")
    with pytest.raises(
        DataError, match=r"column 'timestamp' \(timestamp\) is missing in .*rows\.jsonl; it has zeit, kunde"
    ):
        counted(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.parquet", b"PAR1 this is no Parquet file"),
        ("rows.jsonl", b'{"timestamp": "2026-03-01", "label": 1}\n' + b'{"timestamp": "2026-0\n' * 2),
        ("rows.csv", b"\xff\xfe\x00\x01\x02"),
        ("rows.parquet", b""),
        ("rows.jsonl", b""),
        ("rows.csv", b""),
        ("rows.xlsx", b"PK"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        counted(tmp_path / name)


def test_rows_that_cannot_be_written_are_not_taken_for_rows_that_cannot_be_read(tmp_path: Path) -> None:
    source = parquet(tmp_path / "rows.parquet", "SELECT TIMESTAMP '2026-01-01' AS timestamp, 1 AS id, 1 AS label")
    with opened(str(source), columns=COLUMNS, now=NOW) as rows, pytest.raises(FileNotFoundError) as refused:
        rows.write(ANY, tmp_path / "missing/train.parquet")
    assert refused.value.filename == str(tmp_path / "missing/train.parquet")


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("empty", "missing.parquet", "*.parquet", "no/such/folder/*.csv"):
        with pytest.raises(DataError, match=r"no rows at .*data\.labelled"):
            counted(tmp_path / source)
    jsonl(tmp_path / "empty/a.jsonl", some_rows(1))
    csv(tmp_path / "empty/b.csv", some_rows(1))
    with pytest.raises(DataError, match=r"holds \.csv, \.jsonl"):
        counted(tmp_path / "empty")


def test_joint_counts_are_how_often_label_champion_and_challenger_met(tmp_path: Path) -> None:
    holdout = parquet(tmp_path / "holdout.parquet", 'SELECT unnest([1, 1, 0, 0, 1]) AS "la\'bel"')
    said = [
        parquet(tmp_path / f"{name}'s.parquet", f"SELECT unnest({answers}) AS prediction")
        for name, answers in (("one", "['1', '0', '0', '1', '1']"), ("two", "['1', '1', '0', '0', '1']"))
    ]
    counts = joint_counts(Answers(rows=holdout, label="la'bel", champion=said[0], challenger=said[1])).cells
    assert counts == {("0", "0", "0"): 1, ("0", "1", "0"): 1, ("1", "0", "1"): 1, ("1", "1", "1"): 2}
