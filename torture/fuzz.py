"""Mutated lines, logs, settings and pointers: what is read is a value that may be used, or a refusal in plain words.

Run as `python torture/fuzz.py [--number LINES] [--seed S] [--processes P]`; exits with 1 where anything went wrong.
"""

import argparse
import io
import math
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from retrain_trigger.config import load
from retrain_trigger.core.errors import CannotJudgeError, PromotionError, UsageError
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.logs import metrics_log
from retrain_trigger.logs.formats import Format, recognised
from retrain_trigger.logs.readings import reading
from retrain_trigger.logs.record import Wanted, draft, measurement, metric_names
from retrain_trigger.store.registry import Registry

BLOCK = 5_000
"""Lines that one task reads."""

SLOW = 2.0
"""Seconds that one line or one file may take at most, on a machine that has other work as well."""

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = metric_names("f1")

LOGS = (
    (
        '{"timestamp": "2026-01-05T03:15:00Z", "f1": 0.91, "n": 480, "model": "20260105T031500Z-ab12cd"}',
        '{"ts": 1767323045, "metrics": {"f1": 0.82, "n": 500}, "drift": {"age": 0.02, "income": 0.4}}',
        '{"time": 1767323045123, "f1": null, "tp": 90, "fp": 10, "fn": 12, "tn": 388, "drift": 0.1}',
    ),
    (
        "timestamp,f1,n,model,drift.age,drift.income",
        "2026-01-05,0.91,480,v1,0.02,0.4",
        '2026-01-06,"0.9",481,"v,2",,nan',
    ),
    ("date;F1-Score;tp;fp;fn;tn", "2026-01-05;0.91;90;10;12;388", "2026-01-06;;90;10;12;388"),
    ("2026-01-05 0.91", "2026-01-06 0.90", "[2026-01-07T01:02:03] 0.89"),
    ("0.91", "0.90", "nan"),
    (
        "2026-01-05 03:15:00,123 INFO eval: f1=0.91 n=480 model=v1",
        "2026-01-06T03:15:00Z [job] F1 score: 0.90, drift.age=0.02 # a note",
        "level=info ts=1767323045 f1=0.82 msg=\"all 'well'\" tp=90 fp=10 fn=12 tn=388",
    ),
)
"""Lines of every format that a metrics log may have."""

TOKENS = (
    *("NaN", "-Infinity", "1e999", "-1e-999", "-0", "0x10", "1_000", "١٢", "²", "9" * 400, "9" * 5000, "1e308", "0." + "1" * 999),
    *("null", "true", "{", "}", "[", "]", "[" * 600, "{" * 600, '{"f1":' * 300, ",", ";", "\t", "=", ":", "#", " #", "'", '"', '""', "\\"),
    *('"f1":', '"f1": 1,', '"drift": {', '"timestamp": "', "f1=", "f1: ", "drift.x=", "n=-1", "tp=1e400", "model=", "metrics."),
    *("9999-12-31", "0001-01-01", "1969-12-31T23:59:59Z", "2026-03-29T02:30:00", "2026-13-45", "24:00:00", "+99:99", "-00:00", "1e10"),
    *("\x00", "\x1b[31m", "\u202e", "\ufeff", "\u2028", "\x85", "\x0b", "\x7f", "\\ud800", "\\u0000", "é", "\U0010ffff", " " * 500),
)  # fmt: skip
"""What is put into lines: odd numbers, brackets, quotes, times, and characters that no terminal should see."""


def run(*, number: int = 10_000_000, seed: int = 7, processes: int | None = None) -> tuple[int, list[str]]:
    """Read `number` mutated lines, a log for each hundred of them, and settings and pointers; return how many, and what went wrong."""
    blocks = [(seed * 1_000_003 + block, min(BLOCK, number - block * BLOCK)) for block in range(-(-number // BLOCK))]
    count, violations = 0, []
    with multiprocessing.get_context("spawn").Pool(processes or multiprocessing.cpu_count()) as pool:
        for lines, wrong in pool.imap_unordered(block, blocks):
            count += lines
            violations += wrong
    return count, violations


def line_violations(form: Format, changed: str) -> list[str]:
    """Read one changed line of a log of this form; return what was not as it must be."""
    return _timed(repr(changed)[:300], lambda: _measured(form, changed))


def log_violations(content: bytes) -> list[str]:
    """Read a whole log; return what was not as it must be."""

    def read() -> Iterator[str]:
        try:
            log = metrics_log.read([io.BytesIO(content)], wanted=Wanted("f1"), now=NOW)
        except CannotJudgeError as error:
            yield from _unprintable(str(error))
            return
        for found in log.measurements:
            yield from _impossible(found)
        for note in log.notes:
            yield from _unprintable(note)

    return _timed(repr(content)[:300], read)


def settings_violations(folder: Path, text: str) -> list[str]:
    """Read a config.yaml; return what was not as it must be."""
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")

    def read() -> Iterator[str]:
        try:
            settings = load.load(path)
        except UsageError as error:
            if not str(error).startswith(str(path)):
                yield f"a mistake without its place: {error}"
            yield from _unprintable(str(error).replace("\n", ""))
            return
        if not math.isfinite(settings.performance_threshold) or not math.isfinite(settings.drift_threshold):
            yield "a threshold that is not finite"

    return _timed(repr(text)[:300], read)


def pointer_violations(folder: Path, text: str) -> list[str]:
    """Read a pointer; return what was not as it must be."""
    path = folder / "champion.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")

    def read() -> Iterator[str]:
        try:
            pointer = Registry(folder, path).champion()
        except PromotionError:
            return
        if pointer is not None and (folder / pointer.path).resolve().parent.parent != folder.resolve():
            yield f"a pointer that leads elsewhere: {pointer.path}"

    return _timed(repr(text)[:300], read)


def mutated(random: random.Random, text: str) -> str:
    """Change a text in one to four places: a token put in, a piece taken out, doubled, or moved."""
    for _ in range(random.randrange(1, 5)):
        start = random.randrange(len(text) + 1)
        end = min(len(text), start + random.randrange(1, 12))
        match random.randrange(6):
            case 0 | 1:
                text = text[:start] + random.choice(TOKENS) + text[start:]
            case 2:
                text = text[:start] + random.choice(TOKENS) + text[end:]
            case 3:
                text = text[:start] + text[end:]
            case 4:
                text = text[:end] + text[start:end] * random.choice((1, 1, 2, 50)) + text[end:]
            case 5:
                text = text[:start] + chr(random.choice((random.randrange(128), random.randrange(0xD800)))) + text[end:]
    return text


def block(task: tuple[int, int]) -> tuple[int, list[str]]:
    """Read so many lines, from a seed; return how many, and what went wrong."""
    seed, number = task
    chance = random.Random(seed)
    found: list[str] = []
    logs = [(lines, recognised(lines, NAMES)) for lines in LOGS]
    for _ in range(number):
        lines, form = chance.choice(logs)
        found += line_violations(form, mutated(chance, chance.choice(lines)))
    for _ in range(number // 100):
        lines = [mutated(chance, line) if chance.random() < 0.1 else line for line in chance.choice(LOGS) * 12]
        found += log_violations(_bytes(chance, "\n".join(lines)))
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(number // 500):
            found += settings_violations(Path(folder), mutated(chance, SETTINGS))
            found += pointer_violations(Path(folder), mutated(chance, _POINTER))
    return number, found


def _bytes(chance: random.Random, text: str) -> bytes:
    content = bytearray(text.encode(errors="surrogatepass"))
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(content) + 1)
        content[place:place] = chance.choice(
            (b"\0" * 64, b"\xff\xfe", b"\r\n", b"\r", b"\x80", b"\xed\xa0\x80", b"\n\n")
        )
    return bytes(content[: chance.randrange(len(content))] if chance.random() < 0.2 else content)


def _measured(form: Format, line: str) -> Iterator[str]:
    try:
        drafts = [draft(record, Wanted("f1"), number=1, end=1, file="log") for record in form.parse(line)]
        read = reading(None, None)
        for each in drafts:
            if each is not None:
                read.learn("log:1", each.numbers, each.time)
        yield from _unprintable(read.doubt() or "")
        found = [measurement(each, read, where="log:1") for each in drafts if each is not None]
    except ValueError as error:
        if type(error).__module__ == "builtins" and type(error) is not ValueError:
            yield f"{type(error).__name__} instead of words: {error}"
        yield from _unprintable(str(error))
        return
    for one in found:
        yield from _impossible(one)


def _impossible(found: Measurement) -> Iterator[str]:
    numbers = [found.value, *found.drift.values()]
    if any(number is not None and not math.isfinite(number) for number in numbers):
        yield f"a number that is not finite: {found}"
    if any(count < 0 for count in (found.rows or 0, *(found.counts or ()))):
        yield f"a count below 0: {found}"
    if found.at is not None and (found.at.utcoffset() is None or not 1970 <= found.at.year <= 2286):
        yield f"a time that is none: {found}"
    if not (found.model or "").isprintable() or not "".join(found.drift).isprintable():
        yield f"a name that no terminal should see: {found}"


def _unprintable(text: str) -> Iterator[str]:
    if not text.isprintable():
        yield f"a message that no terminal should see: {text!r}"


def _timed(what: str, check: Callable[[], Iterator[str]]) -> list[str]:
    start = time.monotonic()
    try:
        found = list(check())
    except Exception as error:  # noqa: BLE001  (the one thing that must never happen)
        found = [f"{type(error).__name__}: {error}"]
    if (took := time.monotonic() - start) > SLOW:
        found.append(f"it took {took:.1f} s")
    return [f"{what}: {each}" for each in found]


SETTINGS = """\
performance_threshold: 0.85
drift_threshold: 0.20
metric: f1
positive: null
logs: {metrics: logs/metrics.jsonl, predictions: null, columns: {id: id, label: "churned"}}
trigger:
  window: 1d
  min_rows: 200
  label_coverage: 80%
  patience: 2 of 3
  budget: 4 per 30d
  slices: [region, plan]
data:
  windows: [7d, 30d, all]
  holdout: 20%
train: {command: make train-model, timeout: 2h, output: null}
promotion: {margin: 0.02, certainty: 95%, shadow: {rows: 5000, hours: 24}}
state: .retrain-check
"""
_POINTER = (
    '{"schema": 1, "generation": 7, "version": "20260305T061500Z-8d8043", '
    '"path": "20260305T061500Z-8d8043/model.joblib", "sha256": "42ae", "previous": null, '
    '"promoted_at": "2026-03-05T06:15:00Z", "run": "20260305T061500Z-8d8043"}'
)


def main() -> None:
    """Read them all and say what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int)
    asked = parser.parse_args()
    start = time.monotonic()
    count, violations = run(number=asked.number, seed=asked.seed, processes=asked.processes)
    print("\n".join(violations[:50]))
    print(f"{count:,} fuzzed lines, {len(violations)} violations, {time.monotonic() - start:.0f} s")
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
