"""A log that grows comes to the same counts, tick by tick, as counting all of it; and what is settled is not read again."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.counts.windows import WindowCounts, merged
from retrain_trigger.world import parts, prediction_log, tally
from retrain_trigger.world.prediction_log import Pieces

START = datetime(2026, 1, 5, tzinfo=UTC)
NAMES = ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")
HOURS = 6
"""From one row to the next."""


@pytest.fixture(autouse=True)
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut files of a few kilobytes into many parts."""
    monkeypatch.setattr(parts, "LARGEST", 1400)
    monkeypatch.setattr(parts, "SMALL", 500)


def plan_of(folder: Path, *, kind: str = "jsonl", labels: bool = True) -> tally.Plan:
    return tally.Plan(
        predictions=str(folder / f"log.{kind}"),
        labels=str(folder / "labels.jsonl") if labels else None,
        columns={name: name for name in NAMES},
        window=timedelta(days=1),
        bins={"age": {"bounds": [[30.0, True]], "size": 3}, "city": {"values": ["north", "007"], "size": 4}},
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


def told(pieces: Mapping[str, Mapping[str, Any]]) -> tuple[Any, ...]:
    windows = merged(WindowCounts.from_json(window) for piece in pieces.values() for window in piece["windows"])
    ends = [max((piece[end] or "" for piece in pieces.values()), default="") for end in ("newest", "newest_label")]
    return windows, *ends


def again(plan: tally.Plan, now: datetime, known: Pieces) -> Pieces:
    """Count as the next tick does, from what a ledger kept."""
    return prediction_log.count(plan, now=now, known=json.loads(json.dumps(known)))


@contextmanager
def at_once() -> Iterator[None]:
    """Count every file in one part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "LARGEST", 1 << 30)
        yield


@given(data=st.data(), kind=st.sampled_from(["jsonl", "csv"]), apart=st.booleans(), seed=st.integers(0, 1000))
@settings(max_examples=int(os.environ.get("GROWING_LOGS", "3")), deadline=None)
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
    known: Pieces = {}
    for _ in range(data.draw(st.integers(2, 5))):
        for number, path in enumerate((log, labels)):
            length = data.draw(st.integers(0, max(1, len(left[number]))))
            if kind == "csv" and number == 0:  # whole, half a row is only a broken one: what is compared with is strict
                length = left[0].rfind(b'"\n', 0, length) + 2 if b'"\n' in left[0][:length] else 0
            with path.open("ab") as file:
                file.write(left[number][:length])
            left[number] = left[number][length:]
        now = START + timedelta(hours=data.draw(st.integers(0, 12 * 24)))
        known = again(plan, now, known)
        assert told(known) == told(prediction_log.count(plan, now=now, known={}))
        with at_once():
            assert told(known) == told(prediction_log.count(plan, now=now, known={}))


class Grown:
    """A log of 40 rows, counted at its end."""

    def __init__(self, folder: Path, *, labels: bool = False) -> None:
        self.plan = plan_of(folder, labels=labels)
        self.log = Path(self.plan.predictions)
        self.lines = lines_of("jsonl", rows=60, labelled=not labels, seed=1)
        self.log.write_bytes(b"".join(self.lines[:40]))
        self.labels = folder / "labels.jsonl"
        self.label(*range(20))
        self.now = START + timedelta(hours=HOURS * 40)
        self.known = prediction_log.count(self.plan, now=self.now, known={})

    def label(self, *numbers: int, label: int = 1) -> None:
        with self.labels.open("a") as file:
            file.writelines(json.dumps({"id": f"r{number}", "label": label}) + "\n" for number in numbers)

    def append(self) -> None:
        with self.log.open("ab") as file:
            file.writelines(self.lines[40:])

    def next_tick(self) -> int:
        """Count again, which must be right; return from which byte on something was counted."""
        pieces = again(self.plan, self.now + timedelta(days=1), self.known)
        assert told(pieces) == told(prediction_log.count(self.plan, now=self.now + timedelta(days=1), known={}))
        fresh = [piece["span"][0] for piece in pieces.values() if piece["now"] != self.now.isoformat()]
        return min(fresh, default=self.log.stat().st_size)


def test_only_what_is_new_or_open_is_counted(tmp_path: Path) -> None:
    grown = Grown(tmp_path)
    size = grown.log.stat().st_size
    grown.append()
    assert size - 2000 < grown.next_tick() <= size


@pytest.mark.parametrize("how", ["rotated", "copytruncate", "rewritten", "one byte in place"])
def test_a_log_that_was_not_only_appended_to_is_counted_anew(tmp_path: Path, how: str) -> None:
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
    assert grown.next_tick() == 0


def test_a_label_has_only_the_part_counted_again_that_its_row_is_in(tmp_path: Path) -> None:
    grown = Grown(tmp_path, labels=True)
    grown.label(30)
    place = grown.log.read_bytes().index(b'"id": "r30"')
    assert place - 1600 < grown.next_tick() <= place


def test_a_corrected_label_has_everything_counted_again(tmp_path: Path) -> None:
    grown = Grown(tmp_path, labels=True)
    grown.label(3, label=0)
    assert grown.next_tick() == 0


def test_columns_that_change_their_type_on_the_way_are_read_as_a_whole(tmp_path: Path) -> None:
    grown = Grown(tmp_path)
    with grown.log.open("a") as file:
        file.write(json.dumps({"timestamp": str(START), "prediction": 1, "label": 1, "city": 7}) + "\n")
    grown.next_tick()
    grown.known = again(grown.plan, grown.now, grown.known)
    assert [piece["mixed"] for piece in grown.known.values()] == [True]
    grown.append()
    assert grown.next_tick() == 0


def test_a_label_whose_time_cannot_be_read_never_arrives(tmp_path: Path) -> None:
    grown = Grown(tmp_path, labels=True)
    with grown.labels.open("a") as file:
        file.write(json.dumps({"id": "r25", "label": 1, "labelled_at": "soon"}) + "\n")
        file.write(json.dumps({"id": "r26", "label": 1, "labelled_at": str(START)}) + "\n")
        file.write(json.dumps({"id": "r27", "label": 1, "labelled_at": None}) + "\n")
    grown.next_tick()
    windows, *_ = told(again(grown.plan, grown.now, grown.known))
    assert sum(window.labelled for window in windows) == 20 + 2
