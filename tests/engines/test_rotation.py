"""Logs that are rotated, emptied, replaced or removed while they are read: told as a whole or not at all, never by halves."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Self

import duckdb
import pytest

from retrain_trigger.core.errors import CannotJudgeError, DataError
from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.engines import labelled, parts, past, prediction_log, shadow_log
from retrain_trigger.engines.counted import Counted
from retrain_trigger.engines.plan import ORIGIN, Plan
from retrain_trigger.logs import metrics_log
from retrain_trigger.logs.record import Wanted

OLD, NEW = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC)
NOW = datetime(2026, 2, 1, tzinfo=UTC)
NAMES = ("timestamp", "id", "prediction", "score", "label", "labelled_at", "model", "exposed")
COLUMNS = {name: name for name in NAMES}
ROWS = 150
Change = Callable[[], None]


@pytest.fixture(autouse=True)
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut files of a few kilobytes into many parts."""
    monkeypatch.setattr(parts, "LARGEST", 1400)


def rows(since: datetime, *, count: int = ROWS, kind: str = "jsonl") -> bytes:
    found = [
        {"timestamp": str(since + timedelta(hours=hour)), "id": f"r{hour}", "prediction": 1, "label": 1}
        for hour in range(count)
    ]
    if kind == "csv":
        return b"timestamp,id,prediction,label\n" + b"".join(
            ",".join(map(str, row.values())).encode() + b"\n" for row in found
        )
    return b"".join(json.dumps(row).encode() + b"\n" for row in found)


def days(counted: Counted) -> dict[str, int]:
    """Return how many rows each day has."""
    found: dict[str, int] = {}
    for tally in (*(piece.tally for piece in counted.pieces), *counted.matched.values()):
        for (window, *_), n in tally.cells.items():
            day = str((ORIGIN + timedelta(days=window or 0)).date())
            found[day] = found.get(day, 0) + n
    return found


def count(source: Path, known: Counted | None = None) -> Counted:
    kept = decoded(Counted, json.loads(json.dumps(encoded(known or Counted()))))
    return prediction_log.count(plan_of(source), now=NOW, known=kept)


def plan_of(source: Path, labels: Path | None = None) -> Plan:
    return Plan(
        predictions=str(source),
        labels=str(labels) if labels else None,
        columns=COLUMNS,
        window=timedelta(days=1),
        bins={},
        score_edges=(),
    )


@contextmanager
def at_read(number: int, change: Change, *, every: bool = False) -> Iterator[None]:
    """Change something on the disk just after the so-and-so-many-th read of a file (`every`: each one after it, too)."""
    reads, pread = 0, os.pread

    def watched(descriptor: int, length: int, offset: int) -> bytes:
        nonlocal reads
        reads += 1
        found = pread(descriptor, length, offset)
        if reads == number or (every and reads > number):
            change()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", watched)
        yield
    assert reads >= number, "nothing was changed"


def change_of(how: str, log: Path) -> Change:
    changes = iter(range(1000))

    def change() -> None:
        count = (2 * ROWS if "longer" in how else ROWS // 2) - next(changes)
        new = rows(NEW, count=count, kind=log.suffix[1:])
        if how.startswith("rotated"):
            log.rename(log.with_suffix(".1"))
            log.write_bytes(new)
        elif how.startswith("emptied"):
            with log.open("r+b") as file:
                file.truncate(0)
                file.write(new)
        else:
            log.with_suffix(".new").write_bytes(new)
            log.with_suffix(".new").replace(log)

    return change


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize("how", ["rotated", "emptied", "emptied, longer", "replaced", "replaced, longer"])
@pytest.mark.parametrize("read", [1, 2, 4])
def test_a_log_that_changes_while_it_is_counted_is_counted_as_it_is_then(
    tmp_path: Path, how: str, kind: str, read: int
) -> None:
    log = tmp_path / f"log.{kind}"
    log.write_bytes(rows(OLD, kind=kind))
    with at_read(read, change_of(how, log)):
        pieces = count(log)
    assert days(pieces) == days(count(log)), "some rows are of before, and some of after"
    assert days(count(log, known=pieces)) == days(count(log)), "what was half read was kept"
    assert min(days(pieces)) > "2026-01-10"


@pytest.mark.parametrize("read", [1, 3, 5])
def test_what_was_known_of_a_log_that_changes_is_not_kept_beside_what_is_new(tmp_path: Path, read: int) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(rows(OLD))
    known = count(log)
    with log.open("ab") as file:
        file.write(rows(OLD + timedelta(days=3)))
    with at_read(read, change_of("emptied, longer", log)):
        pieces = count(log, known=known)
    assert days(pieces) == days(count(log))


def test_a_log_that_never_holds_still_is_not_counted_and_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(rows(OLD))
    with (
        at_read(2, change_of("rotated", log), every=True),
        pytest.raises(
            CannotJudgeError, match=r"log\.jsonl was rotated, emptied or replaced while it was read, 3 times"
        ),
    ):
        count(log)


def test_a_log_that_only_grows_is_read_once(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(rows(OLD))

    def grow() -> None:
        with log.open("ab") as file:
            file.write(rows(NEW, count=1))

    with at_read(1, grow, every=True):
        pieces = count(log)
    assert sum(days(pieces).values()) >= ROWS
    assert days(count(log, known=pieces)) == days(count(log))


@pytest.mark.parametrize("read", [1, 3])
def test_a_file_that_goes_from_a_folder_is_not_missed(tmp_path: Path, read: int) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jsonl").write_bytes(rows(OLD + timedelta(days=4 * number)))
    with at_read(read, (tmp_path / "2.jsonl").unlink):
        pieces = count(tmp_path)
    assert sum(days(pieces).values()) == 2 * ROWS


@pytest.mark.parametrize("read", [1, 2, 3])
def test_a_file_that_gets_another_name_in_its_folder_is_counted_once(tmp_path: Path, read: int) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(rows(OLD))

    def rotate() -> None:
        log.rename(tmp_path / "log-1.jsonl")
        log.write_bytes(rows(NEW, count=5))

    with at_read(read, rotate):
        pieces = count(tmp_path)
    assert sum(days(pieces).values()) == ROWS + 5


def test_a_name_that_is_gone_before_it_is_looked_at_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        (tmp_path / f"{number}.jsonl").write_bytes(rows(OLD))
    stat, looks = Path.stat, 0

    def watched(path: Path, **how: Any) -> os.stat_result:
        nonlocal looks
        looks += path.name == "1.jsonl"
        if looks == 2:  # the first one asks whether it is a file
            (tmp_path / "1.jsonl").unlink(missing_ok=True)
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", watched)
    assert sum(days(count(tmp_path)).values()) == ROWS


def test_labels_that_are_replaced_while_they_are_read_are_joined_as_they_are_then(tmp_path: Path) -> None:
    log, labels = tmp_path / "log.jsonl", tmp_path / "labels.jsonl"
    log.write_bytes(rows(OLD).replace(b', "label": 1', b""))
    labels.write_bytes(b"".join(b'{"id": "r%d", "label": 1}\n' % number for number in range(ROWS)))
    new = b"".join(b'{"id": "r%d", "label": 0}\n' % number for number in range(2 * ROWS))

    def replace() -> None:
        (tmp_path / "labels.new").write_bytes(new)
        (tmp_path / "labels.new").replace(labels)

    with at_read(3, replace):
        pieces = prediction_log.count(plan_of(log, labels), now=NOW)
    found = [cell for tally in pieces.matched.values() for cell in tally.cells]
    assert {label for _, _, _, label, *_ in found} == {"0"}


def test_a_replay_is_of_one_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(rows(OLD))
    with at_read(1, change_of("emptied", log)), past.replaying(plan_of(log), until=NOW) as known:
        assert min(known.ends()) > NEW


def test_shadow_answers_and_labelled_rows_are_of_one_file(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    old = rows(OLD).replace(b'"prediction": 1', b'"prediction": 1, "shadow_prediction": 1')
    log.write_bytes(old)
    about: dict[str, Any] = {"labels": None, "columns": COLUMNS, "now": NOW}
    with at_read(1, change_of("replaced", log)):
        found = shadow_log.joint_counts(str(log), shadow_log.Pair(since=OLD, champion=["a"], challenger="b"), **about)
    assert not found.rows, "the new file has no answers of a shadow"
    log.write_bytes(old)
    with at_read(1, change_of("replaced", log)), labelled.opened(str(log), **about) as known:
        assert known.span("true").oldest == NEW


def test_parquet_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    for name, since in (("log", OLD), ("new", NEW)):
        (tmp_path / f"{name}.jsonl").write_bytes(rows(since))
        duckdb.sql(f"COPY (FROM '{tmp_path / name}.jsonl') TO '{tmp_path / name}.parquet' (FORMAT parquet)")
        (tmp_path / f"{name}.jsonl").unlink()
    (tmp_path / "labels.jsonl").write_bytes(b'{"id": "r1", "label": 0}\n')
    (tmp_path / "new.parquet").rename(tmp_path / "new")

    def replace() -> None:
        (tmp_path / "new").replace(tmp_path / "log.parquet")

    with at_read(1, replace):
        pieces = prediction_log.count(plan_of(tmp_path / "log.parquet", tmp_path / "labels.jsonl"), now=NOW)
    assert [piece.file.inode[1] for piece in pieces.pieces] == [(tmp_path / "log.parquet").stat().st_ino]
    assert min(days(pieces)) > "2026-01-10"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_log_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(rows(OLD))
    log.chmod(0)
    with pytest.raises(CannotJudgeError, match=r"log.jsonl cannot be read \(Permission denied\)"):
        count(log)


def test_a_folder_that_was_emptied_has_no_rows(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(rows(OLD))
    with at_read(2, log.unlink), pytest.raises(CannotJudgeError, match="there are no rows at"):
        count(log)
    with pytest.raises(DataError, match="there are no rows at"), labelled.opened(str(log), columns=COLUMNS, now=NOW):
        pass


class Watched:
    """A file that something happens to just before a line of it is read."""

    def __init__(self, stream: BinaryIO, number: int, change: Change) -> None:
        self._stream, self._left, self._change = stream, number, change

    def readline(self, size: int) -> bytes:
        self._left -= 1
        if not self._left:
            self._change()
        return self._stream.readline(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        self._stream.close()


@contextmanager
def at_line(number: int, change: Change, *, every: bool = False) -> Iterator[None]:
    """Change something on the disk just before a line of a file is read; `every`: whenever it is opened again, too."""
    path_open, opened = Path.open, 0

    def watched(path: Path, mode: str = "r") -> Any:
        nonlocal opened
        stream: Any = path_open(path, mode)
        if mode != "rb":
            return stream
        opened += 1
        return Watched(stream, number, change) if opened == 1 or every else stream

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", watched)
        yield


def measurements(since: datetime, value: float, count: int) -> bytes:
    return b"".join(
        json.dumps({"timestamp": str(since + timedelta(days=day)), "f1": value, "n": 500}).encode() + b"\n"
        for day in range(count)
    )


LONG = 400
"""Lines, more than are buffered at once."""


@pytest.mark.parametrize("line", [1, 2, 30, 200, LONG])
@pytest.mark.parametrize("lines", [0, 20, LONG, 3 * LONG])
def test_a_metrics_log_that_is_emptied_while_it_is_read_is_read_as_it_is_then(
    tmp_path: Path, line: int, lines: int
) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(measurements(OLD, 0.9, LONG))

    def empty() -> None:
        with log.open("r+b") as file:
            file.truncate(0)
            file.write(measurements(NEW, 0.7, lines))

    with at_line(line, empty):
        if not lines:
            with pytest.raises(CannotJudgeError, match="no whole line yet"):
                metrics_log.read([log], wanted=Wanted("f1"), now=None)
            return
        found = metrics_log.read([log], wanted=Wanted("f1"), now=None)
    assert [each.value for each in found.measurements] == [0.7] * lines


def test_a_metrics_log_that_is_renamed_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(measurements(OLD, 0.9, LONG))

    def rotate() -> None:
        log.rename(tmp_path / "metrics.jsonl.1")
        log.write_bytes(measurements(NEW, 0.7, 1))

    with at_line(30, rotate):
        found = metrics_log.read([log], wanted=Wanted("f1"), now=None)
    assert [each.value for each in found.measurements] == [0.9] * LONG


def test_a_metrics_log_that_never_holds_still_is_not_judged(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(measurements(OLD, 0.9, LONG))
    values = iter([0.8, 0.7, 0.6])

    def rewrite() -> None:
        log.write_bytes(measurements(OLD, next(values), LONG))

    with (
        at_line(30, rewrite, every=True),
        pytest.raises(CannotJudgeError, match=r"metrics\.jsonl was emptied while it was read, 3 times"),
    ):
        metrics_log.read([log], wanted=Wanted("f1"), now=None)


ROTATOR = """
import os, random, sys, time
from pathlib import Path
log, lines = Path(sys.argv[1]), sys.argv[2]
random = random.Random(7)
for generation in range(1_000_000):
    if generation:
        if random.random() < 0.5:
            log.rename(log.with_suffix(".1"))
        else:
            os.truncate(log, 0)
    for _ in range(4):
        with log.open("a") as file:
            file.write("".join(lines % {"day": 1 + generation % 28, "n": n} + "\\n" for n in range(900)))
        time.sleep(random.choice([0.001, 0.01, 0.05]))
"""


@contextmanager
def rotated_without_end(log: Path, line: str) -> Iterator[None]:
    """Let another process write the log, rotate it and empty it in place, again and again."""
    with subprocess.Popen([sys.executable, "-c", ROTATOR, str(log), line]) as process:
        try:
            while not log.exists():
                time.sleep(0.01)
            yield
        finally:
            process.kill()


NOT_THERE = ("while it was read", "no rows at", "no whole line", "does not exist")
"""What may be said of a log that is rotated: there is a moment without a file, and one of an empty file."""


def tried(read: Callable[[], set[Any]], *, times: int) -> list[set[Any]]:
    """Read so many times, and on until one came through: how long that takes depends on what else runs."""
    found: list[set[Any]] = []
    tries, until = 0, time.monotonic() + 120
    while tries < times or not (found or time.monotonic() > until):
        tries += 1
        try:
            found.append(read())
        except CannotJudgeError as error:
            assert any(why in str(error) for why in NOT_THERE), error  # noqa: PT017
    return found


def test_a_prediction_log_that_is_rotated_without_end_is_of_one_day_whenever_it_is_counted(tmp_path: Path) -> None:
    line = '{"timestamp": "2026-01-%(day)02dT01:00:00", "id": "r%(n)d", "prediction": 1, "label": 1}'
    log = tmp_path / "log.jsonl"
    known = Counted()

    def read() -> set[Any]:
        nonlocal known
        known = count(log, known=known)
        return set(days(known))

    with pytest.MonkeyPatch.context() as patch, rotated_without_end(log, line):
        patch.setattr(parts, "LARGEST", 50_000)
        found = tried(read, times=10)
    assert found
    assert all(len(each) <= 1 for each in found)


def test_a_metrics_log_that_is_rotated_without_end_is_of_one_day_whenever_it_is_read(tmp_path: Path) -> None:
    line = '{"timestamp": "2026-01-%(day)02dT01:00:00.%(n)03d", "f1": 0.9}'
    log = tmp_path / "metrics.jsonl"

    def read() -> set[Any]:
        return {each.at.day for each in metrics_log.read([log], wanted=Wanted("f1"), now=None).measurements if each.at}

    with rotated_without_end(log, line):
        found = tried(read, times=80)
    assert found
    assert all(len(each) == 1 for each in found)
