"""Any metrics log, read into measurements: one line is one measurement of one window."""

import gzip
import hashlib
import json
import os
import re
import stat
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from retrain_trigger.core.errors import CannotJudgeError
from retrain_trigger.core.measurements import Mark, Measurement
from retrain_trigger.logs.formats import Format, is_document, recognised
from retrain_trigger.logs.readings import Reading, is_number, reading
from retrain_trigger.logs.record import (
    Draft,
    Record,
    Wanted,
    draft,
    measurement,
    metric_names,
    other_names,
    part_of_its_name,
)

LONGEST_LINE = 1 << 20
"""Bytes; a longer line is a bad line and is never held in memory."""

LONGEST_DOCUMENT = 8 << 20
"""Characters; a longer JSON document is refused: it is held in memory."""

OPENING_LINES = 20
"""So many lines decide the format."""

BAD_SHARE = 0.01
"""A file with a larger share of bad lines is refused; a single bad line never is where others are good."""

TRIES = 3
"""Times that a file is read which is emptied meanwhile."""

BAD_LINES_NAMED = 5
"""Bad lines that get a note of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsLog:
    """What metrics logs hold.

    `measurements` are in order of time; of those with the same time and model only the last is there, and none is
    later than now. A line without a time stands after the line that it follows in its file. `mark` is the end of
    everything read. `newest` is the newest time in the log, or the file's own where lines have none; None if
    neither is known. `latest` is the newest time of any line, also one later than now. `notes` are sentences about lines
    that were left out.
    """

    measurements: tuple[Measurement, ...]
    mark: Mark
    newest: datetime | None
    notes: tuple[str, ...]
    latest: datetime | None = None


def read(
    sources: Sequence[Path | BinaryIO], *, wanted: Wanted, now: datetime | None, final: bool = False
) -> MetricsLog:
    """Read metrics logs of any of the FORMATS, JSON documents over several lines, and those of them that gzip packed.

    `now` leaves out lines dated after it; None keeps all. A file may be growing, so a last line that may be half
    written is not read; `final` says that nothing follows and that it counts (a stream is always final). Raises
    CannotJudgeError if a file is missing, unreadable or has too many bad lines, where its numbers or dates can be
    read in two ways, or where no line of any has the metric.

    `Measurement.file` is made of device, inode and the first record: a renamed log stays the same, the one begun in its
    place is new, and so is one emptied in place. Only where that begins with the very same record is it taken for the
    old. A JSON document is written anew each time, so there each record is known by its own text.
    """
    logs: list[_Log] = []
    for source in sources:
        log = _read_one(source, wanted, final=final)
        if log.place is None or log.place not in {other.place for other in logs}:
            logs.append(log)
    metric = wanted.metric
    if not any(log.measurements for log in logs):
        raise CannotJudgeError(_nothing_measured(logs, metric))
    notes = [note for log in logs for note in log.notes(metric)]
    measurements = [each for log in logs for each in log.measurements]
    latest = _latest(measurements)
    if now is not None:
        early = [each for each in measurements if each.at is None or each.at <= now]
        notes += _future(measurements, len(measurements) - len(early), now)
        measurements = early
    newest = _latest(measurements)
    kept = _last_ones(measurements)
    notes += _replaced(measurements, kept)
    return MetricsLog(
        measurements=tuple(_in_order(kept)),
        mark=Mark(at=newest, ends={file: end for log in logs for file, end in log.ends().items()}),
        newest=_newest(newest, logs, now),
        notes=tuple(notes),
        latest=latest,
    )


def _latest(measurements: list[Measurement]) -> datetime | None:
    return max((each.at for each in measurements if each.at is not None), default=None)


@dataclass(slots=True)
class _Log:
    """What has been read of one file."""

    name: str
    reading: Reading
    path: Path | None = None
    place: tuple[int, int] | None = None  # device and inode; None for a stream
    modified: datetime | None = None
    identity: str = ""
    end: int = 0
    lines: int = 0
    document: bool = False
    alike: Counter[str] = field(default_factory=Counter)
    drafts: list[Draft] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)
    bad_lines: int = 0
    passed: int = 0
    only_drift: int = 0
    names: set[str] = field(default_factory=set)
    no_drift: set[str] = field(default_factory=set)
    how: str = ""

    def identify(self, text: str) -> None:
        """Name the file by its place and the first record in it, which stays when the file grows."""
        self.identity = f"{self.place[0]}:{self.place[1]}:{_digest(text)}" if self.place else self.name

    def of_record(self, record: Record) -> str:
        """Name a record of a document by itself and how often it stands there: a document has no order of writing."""
        own = _digest(json.dumps(record, default=str))
        self.alike[own] += 1
        return f"{_digest(str(self.path.absolute())) if self.path else self.name}:{own}:{self.alike[own]}"

    def ends(self) -> dict[str, int]:
        """Return how far each thing that a measurement of this log may be of has been read."""
        if not self.document:
            return {self.identity: self.end} if self.identity else {}
        found = {each.file: each.end for each in self.measurements if each.at is None}
        return found | {file.partition("@")[0]: end for file, end in found.items()}

    def where(self, line: int) -> str:
        """Name a line for a message."""
        return f"{self.name}:{line}"

    def refuse(self, line: int, why: str) -> None:
        """Count a bad line, and keep the first ones for the notes."""
        self.bad_lines += 1
        self.bad = sorted([*self.bad, (line, why)])[:BAD_LINES_NAMED]

    def first_bad(self) -> str:
        """Name the first bad line."""
        line, why = next(iter(self.bad))
        return f"{self.where(line)}: {why}"

    def notes(self, metric: str) -> list[str]:
        """Say how the log was read if that is not the plain way, and which lines were left out."""
        how = [each for each in (*self.reading.in_words(), self.how) if each]
        notes = [f"{self.name}: read with {', '.join(how)}"] if how else []
        notes += [f"{self.where(line)}: {why}; the line is left out" for line, why in self.bad]
        if self.bad_lines > len(self.bad):
            notes.append(f"{self.name}: and {self.bad_lines - len(self.bad)} more bad lines")
        if self.only_drift:
            notes.append(f"{self.name}: drift without {metric} is left out (lines: {self.only_drift})")
        if self.passed > self.only_drift:
            notes.append(f"{self.name}: lines without {metric}: {self.passed - self.only_drift} of {self.lines}")
        if self.no_drift:
            shown = min(self.no_drift)
            notes.append(f"{self.name}: {shown} is not read as drift; name it drift.{shown[len('drift_') :]} if it is")
        if not self.lines:
            notes.append(f"{self.name} has no lines")
        return notes


class _Line(NamedTuple):
    number: int
    text: str
    why_bad: str
    end: int
    whole: bool


def _read_one(source: Path | BinaryIO, wanted: Wanted, *, final: bool) -> _Log:
    name = _shown(source) if isinstance(source, Path) else "stdin"
    try:
        log = _undisturbed(source, wanted, name, final=final)
    except IsADirectoryError:
        raise CannotJudgeError(f"{name} is a folder; name a file in it") from None
    except FileNotFoundError:
        raise CannotJudgeError(f"{name} does not exist; write one measurement per line there") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise CannotJudgeError(f"{name} is compressed and damaged or not whole; write it again, or unpack it") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CannotJudgeError(f"{name} cannot be read ({why}); check the file and its permissions") from None
    _interpret(log)
    if log.bad_lines > max(1, BAD_SHARE * log.lines) or (log.lines and log.bad_lines == log.lines):
        raise CannotJudgeError(
            f"{log.first_bad()}. {log.bad_lines} of {log.lines} lines of {name} are bad, at most "
            f"{BAD_SHARE:.0%} may be; correct or remove them"
        )
    return log


def _interpret(log: _Log) -> None:
    """Make measurements of the drafts: first find how the log is written, then read it so."""
    for each in log.drafts:
        log.reading.learn(log.where(each.number), each.numbers, each.time)
    doubt = log.reading.doubt()
    if doubt is not None:
        raise CannotJudgeError(doubt)
    bad: set[int] = set()
    for each in log.drafts:
        try:
            log.measurements.append(measurement(each, log.reading, where=log.where(each.number)))
        except ValueError as error:
            if each.number not in bad or log.document:  # a line counts once, however many records it holds
                log.refuse(each.number, str(error))
            bad.add(each.number)


def _undisturbed(source: Path | BinaryIO, wanted: Wanted, name: str, *, final: bool) -> _Log:
    """Read a file, and again where it was emptied in place meanwhile. A renamed one is read to its end all the same."""
    for _ in range(TRIES):
        log = _Log(name, reading(wanted.decimal, wanted.date_format))
        with _opened(source) as stream:
            regular = _describe(log, stream, source)
            first = os.pread(stream.fileno(), _FIRST, 0) if regular else b""
            _read_lines(log, _unpacked(stream), wanted, final=final or not regular)
            if not regular or _goes_on(stream, first):
                return log
    raise CannotJudgeError(
        f"{name} was emptied while it was read, {TRIES} times; nothing is judged on half of it, and a later run reads "
        f"it again"
    )


def _unpacked(stream: BinaryIO) -> BinaryIO:
    """Return the stream, unpacked where gzip packed it."""
    peek = getattr(stream, "peek", None)
    if peek is not None:
        packed = peek(len(_GZIP))[: len(_GZIP)] == _GZIP
    else:
        packed = stream.read(len(_GZIP)) == _GZIP
        stream.seek(0)
    return cast("BinaryIO", gzip.GzipFile(fileobj=stream)) if packed else stream


def _goes_on(stream: BinaryIO, first: bytes) -> bool:
    """Say whether a file still begins as it did, and has all that was read of it."""
    size = os.fstat(stream.fileno()).st_size
    return size >= stream.tell() and os.pread(stream.fileno(), len(first), 0) == first


def _shown(path: Path) -> str:
    return str(path).encode(errors="backslashreplace").decode()


def _opened(source: Path | BinaryIO) -> AbstractContextManager[BinaryIO]:
    return source.open("rb") if isinstance(source, Path) else nullcontext(source)


def _describe(log: _Log, stream: BinaryIO, source: Path | BinaryIO) -> bool:
    """Note place and age of a regular file; return False for anything else."""
    if not isinstance(source, Path):
        return False
    about = os.fstat(stream.fileno())
    if not stat.S_ISREG(about.st_mode):
        return False
    log.path = source
    log.place = (about.st_dev, about.st_ino)
    log.modified = datetime.fromtimestamp(about.st_mtime, UTC)
    return True


def _read_lines(log: _Log, stream: BinaryIO, wanted: Wanted, *, final: bool) -> None:
    lines = _usable(_pieces(stream), log.name)
    opening = list(islice(lines, OPENING_LINES))
    texts = [line.text for line in opening if not line.why_bad and (line.whole or final or len(opening) == 1)]
    if is_document(texts):
        lines, final = _records_of_document(log, chain(opening, lines)), True
        opening = list(islice(lines, OPENING_LINES))
        texts = [line.text for line in opening]
    form = recognised(texts, metric_names(wanted.metric), _metric_of_path(log.path))
    log.how = form.note
    for line in chain(opening, lines):
        half = not line.whole and not final and line.why_bad != _TOO_LONG  # that one is bad however it ends
        if half and not (form.closes and _is_complete(line, form)):
            return
        log.lines += 1
        log.end = line.end
        try:
            _take(log, line, form, wanted)
        except ValueError as error:
            log.refuse(line.number, str(error))
    if log.document and len(log.drafts) == 1 and log.modified is not None:
        # Written anew with the same value, it is another measurement.
        (only,) = log.drafts
        log.drafts = [only._replace(file=f"{only.file}@{log.modified.timestamp()}")]


def _metric_of_path(path: Path | None) -> str:
    """Return the metric that a file is named for, as MLflow names them: below a folder `metrics`, or by its name."""
    if path is None:
        return ""
    parts = path.absolute().parts[:-1]
    below = parts[len(parts) - parts[::-1].index("metrics") :] if "metrics" in parts else ()
    return "/".join([*below, re.sub(r"(\.(gz|txt|log|csv|tsv))+$", "", path.name)])


def _records_of_document(log: _Log, lines: Iterator["_Line"]) -> Iterator["_Line"]:
    """Yield each object of a JSON document, or of several in a row, as if it stood on a line of its own."""
    held = list(_up_to_longest(lines, log.name))
    text = "\n".join(line.text for line in held)
    starts = list(accumulate((len(line.text) + 1 for line in held), initial=0))
    log.document = True

    def line_at(place: int) -> int:
        return min(bisect_right(starts, place) - 1, len(held) - 1)

    for start, end in _objects(text, lambda place: log.where(held[line_at(place)].number)):
        yield _Line(held[line_at(start)].number, text[start:end], "", 1, whole=True)  # its place may change


def _up_to_longest(lines: Iterator["_Line"], name: str) -> Iterator["_Line"]:
    size = 0
    for line in lines:
        size += len(line.text) + 1
        if line.why_bad:
            raise CannotJudgeError(f"{name}:{line.number}: {line.why_bad}; nothing of this JSON document is read")
        if size > LONGEST_DOCUMENT:
            raise CannotJudgeError(
                f"{name} is a JSON document longer than {LONGEST_DOCUMENT >> 20} MB; write one JSON object per line"
            )
        yield line


def _objects(text: str, where: Callable[[int], str]) -> Iterator[tuple[int, int]]:
    """Yield where each object begins and ends, of an array or of several documents in a row."""
    place, depth = _after_space(text, 0), 0
    while place < len(text):
        if text[place] in "[],":
            depth += {"[": 1, "]": -1, ",": 0}[text[place]]
            end = place + 1
        else:
            try:
                end = _DECODE(text, place)[1]
            except (ValueError, RecursionError) as error:
                at = getattr(error, "pos", place)
                raise CannotJudgeError(_not_whole(where(min(at, len(text) - 1)))) from None
            yield place, end
        place = _after_space(text, end)
    if depth:
        raise CannotJudgeError(_not_whole(where(len(text) - 1)))


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _not_whole(where: str) -> str:
    return f"{where}: the JSON is not whole or not valid here; if it is still being written, a later run reads it"


def _is_complete(line: "_Line", form: Format) -> bool:
    try:
        return not line.why_bad and bool(form.parse(line.text))
    except ValueError:
        return False


def _take(log: _Log, line: "_Line", form: Format, wanted: Wanted) -> None:
    if line.why_bad:
        raise ValueError(line.why_bad)
    if form.header(line.text):  # the first, and again where files were joined
        return
    records = form.parse(line.text)
    if not log.identity and records:
        log.identify(line.text)
    found = []
    for record in records:
        file = log.of_record(record) if log.document else log.identity
        each = draft(record, wanted, number=line.number, end=line.end, file=file)
        found += [each] if each is not None else []
    log.drafts += found
    for record in records:
        log.no_drift.update(_drift_of_old(record) if len(log.no_drift) < OPENING_LINES else ())
    if found:
        return
    log.passed += 1
    for record in records:
        if len(log.names) < OPENING_LINES:
            log.names.update(record)
    log.only_drift += any(name == "drift" or name.startswith("drift.") for record in records for name in record)


def _drift_of_old(record: Record) -> Iterator[str]:
    """Yield columns that are named as the drift of a feature once was."""
    for name, value in record.items():
        if name.startswith("drift_") and not part_of_its_name(name) and name.isprintable() and is_number(value):
            yield name


def _usable(pieces: Iterator[tuple[bytes | None, int, bool]], name: str) -> Iterator[_Line]:
    """Decode lines; those that are blank or begin with # are skipped."""
    for number, (piece, end, whole) in enumerate(pieces, start=1):
        if piece is None:
            yield _Line(number, "", _TOO_LONG, end, whole)
            continue
        if number == 1:
            _check_text(piece, name)
            piece = piece.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901  (the byte order mark)
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            yield _Line(number, "", "not UTF-8", end, whole)
            continue
        start = text.lstrip()
        if start and not start.startswith("#") and not (number == 1 and _EXCEL.fullmatch(start)):
            yield _Line(number, text, "", end, whole)


def _check_text(piece: bytes, name: str) -> None:
    for magic, what in _NOT_TEXT.items():
        if piece.startswith(magic):
            raise CannotJudgeError(f"{name} is {what}; a metrics log is UTF-8 text, one measurement per line")


def _pieces(stream: BinaryIO) -> Iterator[tuple[bytes | None, int, bool]]:
    """Yield each line without its end (None: too long), the offset where its text ends, and whether it is whole.

    The newline is not counted, so a line that still lacks it has the same end when it gets it.
    """
    offset = 0
    while piece := stream.readline(LONGEST_LINE):
        offset += len(piece)
        text: bytes | None = piece
        while not piece.endswith(b"\n") and (piece := stream.readline(LONGEST_LINE)):
            offset += len(piece)
            # A log emptied while a program writes at its old offset begins with NULs, perhaps many.
            held = b"" if text is None else text.strip(b"\0")
            text = held + piece if text is not None and len(held) + len(piece) <= LONGEST_LINE else None
        bare = None if text is None else text.rstrip(b"\r\n")
        end = offset if text is None or bare is None else offset - len(text) + len(bare)
        yield None if bare is None else bare.strip(b"\0"), end, piece.endswith(b"\n")


def _nothing_measured(logs: list[_Log], metric: str) -> str:
    shown = ", ".join(log.name for log in logs) or "the list of logs"
    if not any(log.lines for log in logs):
        return f"{shown}: no whole line yet; write one measurement per line there"
    bad = "".join(f"; {log.first_bad()}" for log in logs if log.bad)
    names = other_names(set().union(*(log.names for log in logs)))
    others = [name for name in names if name.isprintable()][:OPENING_LINES]
    has = f"it has {', '.join(others)}; set `metric` to one of these" if others else ""
    return f"no line of {shown} has {metric}; {has or f'write lines such as {metric}=0.82'}{bad}"


def _future(measurements: list[Measurement], count: int, now: datetime) -> list[str]:
    if not count:
        return []
    first = next(each for each in measurements if each.at is not None and each.at > now)
    lines = "1 line is" if count == 1 else f"{count} lines are"
    return [f"{first.where}: {lines} dated after now ({now:%Y-%m-%dT%H:%M:%S%z}) and left out"]


def _last_ones(measurements: list[Measurement]) -> list[Measurement]:
    last = {(each.at, each.model): index for index, each in enumerate(measurements)}
    return [each for index, each in enumerate(measurements) if each.at is None or last[each.at, each.model] == index]


def _replaced(measurements: list[Measurement], kept: list[Measurement]) -> list[str]:
    count = len(measurements) - len(kept)
    if not count:
        return []
    lines = "1 line is" if count == 1 else f"{count} lines are"
    left = Counter(each.where for each in measurements)
    left.subtract(each.where for each in kept)
    first = next(where for where, times in left.items() if times)
    return [f"{first}: {lines} left out for a later one of the same time and model"]


def _in_order(measurements: list[Measurement]) -> list[Measurement]:
    keyed: list[tuple[datetime, Measurement]] = []
    file, time = "", _BEGINNING
    for each in measurements:
        time = each.at or (time if each.where.rpartition(":")[0] == file else _BEGINNING)
        file = each.where.rpartition(":")[0]
        keyed.append((time, each))
    keyed.sort(key=lambda pair: pair[0])
    return [each for _, each in keyed]


def _newest(newest: datetime | None, logs: list[_Log], now: datetime | None) -> datetime | None:
    ages = [log.modified for log in logs if log.modified and any(each.at is None for each in log.measurements)]
    times = [min(age, now) if now is not None else age for age in ages]
    return max([*times, *([newest] if newest else [])], default=None)


_GZIP = b"\x1f\x8b"
_EXCEL = re.compile(r"sep=.\s*")
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODE = json.JSONDecoder().raw_decode
_TOO_LONG = f"longer than {LONGEST_LINE} bytes"
_FIRST = 4096
_BEGINNING = datetime.min.replace(tzinfo=UTC)
_NOT_TEXT = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK\x03\x04": "compressed",
    b"PAR1": "Parquet",
}
