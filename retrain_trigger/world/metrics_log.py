"""Any metrics log, read into measurements: one line is one measurement of one window."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from retrain_trigger.errors import CannotJudgeError
from retrain_trigger.measurements import Mark, Measurement
from retrain_trigger.world.log_formats import Format, recognised
from retrain_trigger.world.log_record import measurement, metric_names, other_names

LONGEST_LINE = 1 << 20
"""Bytes; a longer line is a bad line and is never held in memory."""

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
    everything read. `newest` is the newest time in the log, or the file's own where lines have none; None where
    neither is known. `latest` is the newest time of any line, also one later than now. `notes` are sentences about lines
    that were left out.
    """

    measurements: tuple[Measurement, ...]
    mark: Mark
    newest: datetime | None
    notes: tuple[str, ...]
    latest: datetime | None = None


def read(sources: Sequence[Path | BinaryIO], *, metric: str, now: datetime | None, final: bool = False) -> MetricsLog:
    """Read metrics logs of any of the FORMATS.

    `now` leaves out lines dated after it; None keeps all. A file may be growing, so a last line that may be half
    written is not read; `final` says that nothing follows and that it counts (a stream is always final). Raises
    CannotJudgeError where a file is missing, unreadable or has too many bad lines, or no line of any has the metric.

    `Measurement.file` is made of device, inode and the first record: a renamed log stays the same, the one begun in its
    place is new, and so is one emptied in place. Only where that begins with the very same record is it taken for the old.
    """
    names = metric_names(metric)
    logs: list[_Log] = []
    for source in sources:
        log = _read_one(source, names, final=final)
        if log.place is None or log.place not in {other.place for other in logs}:
            logs.append(log)
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
    mark = Mark(at=newest, ends={log.identity: log.end for log in logs if log.identity})
    return MetricsLog(
        measurements=tuple(_in_order(_last_ones(measurements))),
        mark=mark,
        newest=_newest(newest, logs, now),
        latest=latest,
        notes=tuple(notes),
    )


@dataclass(slots=True)
class _Log:
    """What has been read of one file."""

    name: str
    place: tuple[int, int] | None = None  # device and inode; None for a stream
    modified: datetime | None = None
    identity: str = ""
    end: int = 0
    lines: int = 0
    measurements: list[Measurement] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    bad_lines: int = 0
    only_drift: int = 0
    names: set[str] = field(default_factory=set)

    def identify(self, text: str) -> None:
        """Name the file by its place and the first record in it, which stays when the file grows."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.identity = f"{self.place[0]}:{self.place[1]}:{digest}" if self.place else self.name

    def refuse(self, line: int, why: str) -> None:
        """Count a bad line, and keep the first ones for the notes."""
        self.bad_lines += 1
        if len(self.bad) < BAD_LINES_NAMED:
            self.bad.append(f"{self.name}:{line}: {why}")

    def notes(self, metric: str) -> list[str]:
        """Say which lines were left out."""
        notes = [f"{each}; the line is left out" for each in self.bad]
        if self.bad_lines > len(self.bad):
            notes.append(f"{self.name}: and {self.bad_lines - len(self.bad)} more bad lines")
        if self.only_drift:
            notes.append(f"{self.name}: drift without {metric} is left out (lines: {self.only_drift})")
        if not self.lines:
            notes.append(f"{self.name} has no lines")
        return notes


class _Line(NamedTuple):
    number: int
    text: str
    why_bad: str
    end: int
    whole: bool


def _read_one(source: Path | BinaryIO, names: tuple[str, ...], *, final: bool) -> _Log:
    log = _Log(_shown(source) if isinstance(source, Path) else "stdin")
    try:
        log = _undisturbed(source, names, log.name, final=final)
    except IsADirectoryError:
        raise CannotJudgeError(f"{log.name} is a folder; name a file in it") from None
    except FileNotFoundError:
        raise CannotJudgeError(f"{log.name} does not exist; write one measurement per line there") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CannotJudgeError(f"{log.name} cannot be read ({why}); check the file and its permissions") from None
    if log.bad_lines > max(1, BAD_SHARE * log.lines) or (log.lines and log.bad_lines == log.lines):
        raise CannotJudgeError(
            f"{log.bad[0]}. {log.bad_lines} of {log.lines} lines of {log.name} are bad, at most "
            f"{BAD_SHARE:.0%} may be; correct or remove them"
        )
    return log


def _undisturbed(source: Path | BinaryIO, names: tuple[str, ...], name: str, *, final: bool) -> _Log:
    """Read a file, and again where it was emptied in place meanwhile. A renamed one is read to its end all the same."""
    for _ in range(TRIES):
        log = _Log(name)
        with _opened(source) as stream:
            regular = _describe(log, stream, source)
            first = os.pread(stream.fileno(), _FIRST, 0) if regular else b""
            _read_lines(log, stream, names, final=final or not regular)
            if not regular or _goes_on(stream, first):
                return log
    raise CannotJudgeError(
        f"{name} was emptied while it was read, {TRIES} times; nothing is judged on half of it, and a later run reads "
        f"it again"
    )


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
    log.place = (about.st_dev, about.st_ino)
    log.modified = datetime.fromtimestamp(about.st_mtime, UTC)
    return True


def _read_lines(log: _Log, stream: BinaryIO, names: tuple[str, ...], *, final: bool) -> None:
    lines = _usable(_pieces(stream), log.name)
    opening = list(islice(lines, OPENING_LINES))
    form = recognised(
        [line.text for line in opening if not line.why_bad and (line.whole or final or len(opening) == 1)], names
    )
    for line in chain(opening, lines):
        half = not line.whole and not final and line.why_bad != _TOO_LONG  # that one is bad however it ends
        if half and not (form.closes and _is_complete(line, form)):
            return
        log.lines += 1
        log.end = line.end
        try:
            _take(log, line, form, names)
        except ValueError as error:
            log.refuse(line.number, str(error))


def _is_complete(line: _Line, form: Format) -> bool:
    try:
        return not line.why_bad and form.parse(line.text) is not None
    except ValueError:
        return False


def _take(log: _Log, line: _Line, form: Format, names: tuple[str, ...]) -> None:
    if line.why_bad:
        raise ValueError(line.why_bad)
    record = form.parse(line.text)
    if record is None:
        return
    if not log.identity:
        log.identify(line.text)
    where = f"{log.name}:{line.number}"
    found = measurement(record, names=names, number=form.number, where=where, file=log.identity, end=line.end)
    if found is not None:
        log.measurements.append(found)
        return
    if not log.measurements and len(log.names) < OPENING_LINES:
        log.names.update(record)
    log.only_drift += any(name.startswith("drift") for name in record)


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
        if start and not start.startswith("#"):
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
    others = [name for name in other_names(set().union(*(log.names for log in logs))) if name.isprintable()]
    has = f"it has {', '.join(others[:OPENING_LINES])}; set `metric` to one of these" if others else ""
    return f"no line of {shown} has {metric}; {has or f'write lines such as {metric}=0.82'}"


def _future(measurements: list[Measurement], count: int, now: datetime) -> list[str]:
    if not count:
        return []
    first = next(each for each in measurements if each.at is not None and each.at > now)
    lines = "1 line is" if count == 1 else f"{count} lines are"
    return [f"{first.where}: {lines} dated after now ({now:%Y-%m-%dT%H:%M:%S%z}) and left out"]


def _last_ones(measurements: list[Measurement]) -> list[Measurement]:
    last = {(each.at, each.model): index for index, each in enumerate(measurements)}
    return [each for index, each in enumerate(measurements) if each.at is None or last[each.at, each.model] == index]


def _in_order(measurements: list[Measurement]) -> list[Measurement]:
    keyed: list[tuple[datetime, Measurement]] = []
    file, time = "", _BEGINNING
    for each in measurements:
        time = each.at or (time if each.file == file else _BEGINNING)
        file = each.file
        keyed.append((time, each))
    keyed.sort(key=lambda pair: pair[0])
    return [each for _, each in keyed]


def _latest(measurements: list[Measurement]) -> datetime | None:
    return max((each.at for each in measurements if each.at is not None), default=None)


def _newest(newest: datetime | None, logs: list[_Log], now: datetime | None) -> datetime | None:
    ages = [log.modified for log in logs if log.modified and any(each.at is None for each in log.measurements)]
    times = [min(age, now) if now is not None else age for age in ages]
    return max([*times, *([newest] if newest else [])], default=None)


_TOO_LONG = f"longer than {LONGEST_LINE} bytes"
_FIRST = 4096
_BEGINNING = datetime.min.replace(tzinfo=UTC)
_NOT_TEXT = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\x1f\x8b": "compressed",
    b"PK\x03\x04": "compressed",
    b"PAR1": "Parquet",
}
