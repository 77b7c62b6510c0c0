"""A log that grows comes to the same counts, tick by tick, as counting all of it; and what is settled is not read again."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.counts.histograms import Bins
from retrain_trigger.engines import (
    batch,
    matching,
    parts,
    portable,
    portions,
    prediction_log,
    reading,
    sources,
    waiting,
)
from retrain_trigger.engines.counted import Counted
from retrain_trigger.engines.plan import ORIGIN, Plan

START = datetime(2026, 1, 5, tzinfo=UTC)
NAMES = ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")
HOURS = 6
"""From one row to the next."""


@pytest.fixture(autouse=True)
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut files of a few kilobytes into many parts, each read by a query of its own; what comes moves what is known."""
    monkeypatch.setattr(matching, "FEW", 1000.0)
    monkeypatch.setattr(parts, "LARGEST", 1400)
    monkeypatch.setattr(portions, "AT_ONCE", 1400)


def plan_of(folder: Path, *, kind: str = "jsonl", labels: bool = True) -> Plan:
    return Plan(
        predictions=str(folder / f"log.{kind}"),
        labels=str(folder / "labels.jsonl") if labels else None,
        columns={name: name for name in NAMES},
        window=timedelta(days=1),
        bins={
            "age": Bins.numeric([30.0], [], low=0.0, high=99.0),
            "city": Bins.categorical({"north": 2, "007": 1}),
        },
        score_edges=(0.5,),
        slices=("city",),
    )


def lines_of(kind: str, *, rows: int, labelled: bool, seed: int) -> list[bytes]:
    random = Random(seed)
    found = [b"timestamp,id,prediction,age,city" + b",label" * labelled + b"\n"] if kind == "csv" else []
    for number in range(rows):
        row: dict[str, Any] = {
            "timestamp": (START + timedelta(hours=HOURS * number)).isoformat(),
            "id": f"r{number}",
            "prediction": random.randrange(2),
            "age": random.choice([20, 35.5, None]),
            "city": random.choice(["north", "sou,th", 'a "b"\nc', "7", None]),
        }
        row |= {"label": random.randrange(2)} if labelled else {}
        if kind == "csv":
            cells = ['"' + str(cell).replace('"', '""') + '"' if cell is not None else "" for cell in row.values()]
            found.append((",".join(cells) + "\n").encode())
        else:
            if random.random() < 0.3:
                del row["age"]
            found.append((json.dumps(row) + "\n").encode())
    return found


def told(plan: Plan, counted: Counted, now: datetime) -> tuple[Any, ...]:
    """Return what a count comes to, however it was counted."""
    seen = reading.seen(plan, counted, now=now, told=lambda file, example: f"{Path(file).name}: {example}")
    aside = seen.aside
    return seen.windows, seen.newest, seen.newest_label, sorted(seen.delays.items()), aside.repeated, aside.lines


def again(plan: Plan, now: datetime, known: Counted, folder: Path) -> Counted:
    """Count as the next tick does, from what a ledger kept."""
    kept = decoded(Counted, json.loads(json.dumps(encoded(known))))
    return prediction_log.count(plan, now=now, known=kept, store=folder, keep=folder, scratch=folder)


@contextmanager
def at_once() -> Iterator[None]:
    """Count every file by one query, where it lies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portions, "AT_ONCE", 1 << 30)
        patch.setattr(parts, "QUIET", -1.0)
        yield


@given(data=st.data(), kind=st.sampled_from(["jsonl", "csv"]), apart=st.booleans(), seed=st.integers(0, 1000))
@settings(max_examples=int(os.environ.get("GROWING_LOGS", "3")), deadline=None, phases=[Phase.explicit, Phase.generate])
def test_any_order_of_ticks_comes_to_what_counting_all_comes_to(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    kind: str,
    apart: bool,  # noqa: FBT001  (drawn)
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("log")
    plan = plan_of(folder, kind=kind, labels=apart)
    log, labels = Path(plan.predictions), folder / "labels.jsonl"
    lines = lines_of(kind, rows=30, labelled=not apart, seed=seed)
    late = [
        {
            "id": f"r{number}",
            "label": data.draw(st.sampled_from([0, 1])),
            "labelled_at": str(START + timedelta(days=day)),
        }
        for number, day in data.draw(st.lists(st.tuples(st.integers(0, 32), st.integers(0, 9)), max_size=40))
    ]
    left = [b"".join(lines), "".join(json.dumps(label) + "\n" for label in late).encode()]
    log.write_bytes(lines[0] + lines[1])
    left[0] = left[0][len(lines[0] + lines[1]) :]
    labels.write_bytes(b'{"id": "r0", "label": 1, "labelled_at": "2026-01-06"}\n')
    known = Counted()
    kept = folder / "kept"
    for _ in range(data.draw(st.integers(2, 5))):
        for number, path in enumerate((log, labels)):
            length = data.draw(st.integers(0, max(1, len(left[number]))))
            if kind == "csv" and number == 0:  # whole, half a row is only a broken one: what is compared with is strict
                length = left[0].rfind(b'"\n', 0, length) + 2 if b'"\n' in left[0][:length] else 0
            with path.open("ab") as file:
                file.write(left[number][:length])
            left[number] = left[number][length:]
        now = START + timedelta(hours=data.draw(st.integers(0, 12 * 24)))
        known = again(plan, now, known, kept)
        assert told(plan, known, now) == told(plan, prediction_log.count(plan, now=now), now)
        with at_once():
            assert told(plan, known, now) == told(plan, prediction_log.count(plan, now=now), now)


class Grown:
    """A log of 40 rows, counted at its end."""

    def __init__(self, folder: Path, *, labels: bool = False) -> None:
        self.plan = plan_of(folder, labels=labels)
        self.log = Path(self.plan.predictions)
        self.lines = lines_of("jsonl", rows=60, labelled=not labels, seed=1)
        self.log.write_bytes(b"".join(self.lines[:40]))
        self.labels, self.kept = folder / "labels.jsonl", folder / "kept"
        self.label(*range(20))
        self.now = START + timedelta(hours=HOURS * 40)
        self.known = again(self.plan, self.now, Counted(), self.kept)

    def label(self, *numbers: int, label: int = 1) -> None:
        with self.labels.open("a") as file:
            file.writelines(json.dumps({"id": f"r{number}", "label": label}) + "\n" for number in numbers)

    def append(self) -> None:
        with self.log.open("ab") as file:
            file.writelines(self.lines[40:])

    def next_tick(self, monkeypatch: pytest.MonkeyPatch) -> tuple[Counted, list[tuple[str, int]]]:
        """Count again, which must be right; return also which files were read, and from which byte on."""
        now, read, spans = self.now + timedelta(days=1), [], parts.spans

        def watched(file: sources.FileState, start: int, end: int) -> Iterator[tuple[parts.Span, bytes]]:
            read.append((Path(file.path).name, start))
            return spans(file, start, end)

        with monkeypatch.context() as patch:
            patch.setattr(parts, "spans", watched)
            counted = again(self.plan, now, self.known, self.kept)
            found = list(read)
        assert told(self.plan, counted, now) == told(self.plan, prediction_log.count(self.plan, now=now), now)
        return counted, found


def test_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = Grown(tmp_path)
    size = grown.log.stat().st_size
    grown.append()
    assert grown.next_tick(monkeypatch)[1] == [("log.jsonl", size)]


def test_a_window_that_closes_has_nothing_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Grown(tmp_path).next_tick(monkeypatch)[1] == []


@pytest.mark.parametrize("how", ["rotated", "copytruncate", "rewritten", "one byte in place"])
def test_a_log_that_was_not_only_appended_to_is_counted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    grown = Grown(tmp_path)
    old = grown.log.read_bytes()
    new = b"".join(lines_of("jsonl", rows=80, labelled=True, seed=2))
    if how == "rotated":
        grown.log.rename(tmp_path / "old")
        grown.log.write_bytes(new)
    elif how == "one byte in place":
        with grown.log.open("r+b") as file:
            file.seek(old.index(b'"prediction": 1') + 14)
            file.write(b"0")
        grown.append()
    else:
        grown.log.write_bytes(new if how == "copytruncate" else old.replace(b'"id": "r3"', b'"id": "was r3"') + new)
    assert grown.next_tick(monkeypatch)[1][0] == ("log.jsonl", 0)


@pytest.mark.parametrize(("number", "label"), [(30, 1), (3, 0)])
def test_a_label_that_comes_or_is_corrected_has_no_row_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, label: int
) -> None:
    grown = Grown(tmp_path, labels=True)
    size = grown.labels.stat().st_size
    grown.label(number, label=label)
    assert grown.next_tick(monkeypatch)[1] == [("labels.jsonl", size)]


def test_a_label_in_the_place_of_one_in_the_row_is_as_new_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = Grown(tmp_path, labels=True)
    row = json.loads(grown.lines[40]) | {"label": 0, "labelled_at": str(START + timedelta(days=10, hours=1))}
    with grown.log.open("a") as file:
        file.write(json.dumps(row) + "\n")
    grown.known, _ = grown.next_tick(monkeypatch)
    with grown.labels.open("a") as file:
        file.write(json.dumps({"id": row["id"], "label": 1, "labelled_at": str(START + timedelta(days=9))}) + "\n")
    grown.next_tick(monkeypatch)


@pytest.mark.parametrize("limit", ["MOST_WORDS", "MOST_VALUES", "MOST_CELLS"])
def test_of_words_and_values_that_are_too_many_the_most_frequent_count_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(portable, limit, 3)
    grown = Grown(tmp_path, labels=True)
    for number in range(20, 40):
        grown.append() if number == 30 else grown.label(number, label=number % 7)
        grown.known, _ = grown.next_tick(monkeypatch)


def test_what_has_come_moves_what_is_known_and_little_else_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = Grown(tmp_path, labels=True)
    grown.label(3, label=0)
    grown.append()
    counted: list[int] = []
    cells = portable.cells

    def watched(ask: portable.Ask, *given: Any, **options: Any) -> Any:
        counted.extend(ask(f"SELECT count(*) FROM ({given[1]})")[0])
        return cells(ask, *given, **options)

    monkeypatch.setattr(portable, "cells", watched)
    again(grown.plan, grown.now, grown.known, grown.kept)
    # Rows without an id, of each of the parts that were read; the row of the label as it was; with what came.
    assert counted[-2:] == [1, 1 + 20]
    assert not any(counted[:-2])


@pytest.mark.parametrize("how", ["lost", "shorter", "damaged"])
def test_rows_that_were_kept_and_are_lost_are_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    grown = Grown(tmp_path, labels=True)
    grown.label(33)
    for path in (grown.kept / waiting.FOLDER).iterdir():
        content = path.read_bytes()
        path.unlink()
        if how != "lost":
            path.write_bytes(content[:-9] if how == "shorter" else b"\0" * len(content))
    assert {("log.jsonl", 0), ("labels.jsonl", 0)} <= {*grown.next_tick(monkeypatch)[1]}


def test_after_a_promotion_what_lies_before_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = Grown(tmp_path)
    size = grown.log.stat().st_size
    grown.plan = replace(grown.plan, since=grown.now, version="v2")
    grown.append()
    counted, read = grown.next_tick(monkeypatch)
    assert read == [("log.jsonl", size)]
    assert [piece.before for piece in counted.pieces] == [True, False]


def test_an_id_that_comes_again_in_its_window_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = Grown(tmp_path)
    with grown.log.open("ab") as file:
        file.write(grown.lines[39] + grown.lines[38] + grown.lines[38])
    counted, _ = grown.next_tick(monkeypatch)
    assert sum(piece.repeated for piece in counted.pieces) == 3


@pytest.mark.parametrize("number", range(12))
def test_an_id_that_comes_again_is_found_whatever_remainder_its_hash_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(waiting, "IDS_AT_ONCE", 3)
    plan = plan_of(tmp_path, kind="parquet", labels=False)
    rows = [json.loads(line) for line in lines_of("jsonl", rows=12, labelled=True, seed=1)]
    with duckdb.connect() as connection:
        for again_too in ([], [rows[number]]):
            lines = "".join(json.dumps({"age": None} | row) + "\n" for row in [*rows, *again_too])
            (tmp_path / "rows.jsonl").write_text(lines)
            connection.execute(f"COPY (FROM '{tmp_path}/rows.jsonl') TO '{plan.predictions}' (FORMAT parquet)")
            counted = prediction_log.count(plan, now=START + timedelta(days=4), store=tmp_path, keep=tmp_path)
            assert [piece.repeated for piece in counted.pieces] == [len(again_too)]
            assert sum(piece.tally.rows for piece in counted.pieces) == 12
            assert kept_ids(tmp_path, counted) == (12, 12)


def kept_ids(folder: Path, counted: Counted) -> tuple[int, int]:
    """Return how many ids are kept for a later tick, and how many different ones."""
    paths = [str(folder / waiting.FOLDER / each.name) for each in counted.rows]
    with duckdb.connect() as connection:
        (found,) = connection.execute("SELECT count(id), count(DISTINCT id) FROM read_parquet(?)", [paths]).fetchall()
    return found


def test_ids_are_kept_for_a_week_only_and_repeated_ones_are_found_before_it(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, labels=False)
    lines = lines_of("jsonl", rows=80, labelled=True, seed=1)
    Path(plan.predictions).write_bytes(b"".join([*lines, lines[2]]))
    with at_once():
        counted = prediction_log.count(plan, now=START + timedelta(days=20), store=tmp_path, keep=tmp_path)
    assert sum(piece.repeated for piece in counted.pieces) == 1
    assert kept_ids(tmp_path, counted) == (7 * 24 // HOURS, 7 * 24 // HOURS)
    assert {path.name for path in (tmp_path / waiting.FOLDER).iterdir()} == {each.name for each in counted.rows}


def test_a_label_whose_time_cannot_be_read_never_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = Grown(tmp_path, labels=True)
    with grown.labels.open("a") as file:
        file.write(json.dumps({"id": "r25", "label": 1, "labelled_at": "soon"}) + "\n")
        file.write(json.dumps({"id": "r26", "label": 1, "labelled_at": str(START)}) + "\n")
        file.write(json.dumps({"id": "r27", "label": 1, "labelled_at": None}) + "\n")
    counted, _ = grown.next_tick(monkeypatch)
    windows, *_ = told(grown.plan, counted, grown.now + timedelta(days=1))
    assert sum(window.labelled for window in windows) == 20 + 2


def settled(tmp_path: Path, *, days: int) -> tuple[Grown, Counted, datetime]:
    """Return a log whose rows of ten days all have their label, counted so many days after."""
    tmp_path.mkdir(exist_ok=True)
    grown = Grown(tmp_path, labels=True)
    grown.label(*range(20, 40))
    now = grown.now + timedelta(days=days)
    return grown, again(grown.plan, now, grown.known, grown.kept), now


def test_a_window_is_settled_when_its_labels_have_come_and_the_horizon_has_passed(tmp_path: Path) -> None:
    _, young, _ = settled(tmp_path / "young", days=15)
    _, old, now = settled(tmp_path / "old", days=60)
    assert young.settled_until is None
    assert old.settled_until == (START + timedelta(days=10) - ORIGIN).days
    assert not any(tally.rows for tally in old.matched.values())
    (tmp_path / "bare").mkdir()
    grown = Grown(tmp_path / "bare", labels=True)
    bare = again(grown.plan, now, grown.known, grown.kept)
    assert bare.settled_until == (START + timedelta(days=5) - ORIGIN).days, "a window without labels is not settled"


def test_what_is_settled_counts_on_and_a_label_that_comes_later_is_counted_as_such(tmp_path: Path) -> None:
    grown, old, now = settled(tmp_path, days=60)
    assert told(grown.plan, old, now) == told(grown.plan, prediction_log.count(grown.plan, now=now), now)
    grown.label(3, label=0)
    later = again(grown.plan, now, old, grown.kept)
    assert told(grown.plan, later, now)[0] == told(grown.plan, old, now)[0]
    assert (old.after, later.after) == (0, 1)
    longer = replace(grown.plan, horizon=timedelta(days=365))
    assert told(longer, again(longer, now, later, grown.kept), now)[0] != told(grown.plan, old, now)[0]


def test_rows_of_a_settled_window_that_come_later_are_counted(tmp_path: Path) -> None:
    grown, old, now = settled(tmp_path, days=60)
    row = json.loads(grown.lines[3])
    with grown.log.open("a") as file:
        file.write(json.dumps({**row, "id": "late"}) + "\n")
    with grown.labels.open("a") as file:
        file.write('{"id": "late", "label": 1}\n')
    found = again(grown.plan, now, old, grown.kept)
    assert told(grown.plan, found, now) == told(grown.plan, prediction_log.count(grown.plan, now=now), now)
    assert again(grown.plan, now, found, grown.kept) == found


def test_labels_are_not_read_again_after_a_promotion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = Grown(tmp_path, labels=True)
    grown.plan = replace(grown.plan, since=grown.now, version="v2")
    assert grown.next_tick(monkeypatch)[1] == []


def test_a_label_that_comes_late_counts_also_after_files_were_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MOST_FILES", 2)
    grown = Grown(tmp_path, labels=True)
    for number in range(20, 26):
        grown.label(number)
        grown.known = again(grown.plan, grown.now, grown.known, grown.kept)
    grown.label(3, label=0)
    grown.next_tick(monkeypatch)


def test_rows_are_counted_again_when_the_file_that_had_them_first_is_gone(tmp_path: Path) -> None:
    grown = Grown(tmp_path)
    plan = replace(grown.plan, predictions=str(tmp_path / "log*.jsonl"))
    now = grown.now + timedelta(days=1)
    known = again(plan, now, Counted(), grown.kept)
    (tmp_path / "log-2.jsonl").write_bytes(b"".join(grown.lines[20:60]))
    known = again(plan, now, known, grown.kept)
    assert sum(piece.repeated for piece in known.pieces) == 20
    grown.log.unlink()
    found = again(plan, now, known, grown.kept)
    assert told(plan, found, now) == told(plan, prediction_log.count(plan, now=now), now)
    assert sum(piece.tally.rows for piece in found.pieces) == 40


def test_half_a_last_label_is_read_again_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = Grown(tmp_path)
    grown.log.write_bytes(b"".join(lines_of("jsonl", rows=40, labelled=False, seed=1)))
    labels = tmp_path / "labels.csv"
    labels.write_text("label,id\n1,r30\n0,r1")
    grown.plan = replace(grown.plan, labels=str(labels))
    grown.known = again(grown.plan, grown.now, Counted(), grown.kept)
    with labels.open("a") as file:
        file.write("2\n")
    grown.next_tick(monkeypatch)


def test_a_line_without_a_column_harms_no_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = Grown(tmp_path)
    with grown.log.open("a") as file:
        file.write('{"event": "restart"}\n')
    grown.next_tick(monkeypatch)


def test_rows_of_so_many_models_that_their_names_are_not_kept_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST_MODELS", 1)
    grown = Grown(tmp_path)
    rows = [json.loads(line) | {"model": f"v{number % 3}"} for number, line in enumerate(grown.lines[:40])]
    grown.log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    grown.known = again(grown.plan, grown.now, Counted(), grown.kept)
    grown.plan = replace(grown.plan, since=grown.now, version="v2")
    assert ("log.jsonl", 0) in grown.next_tick(monkeypatch)[1]
