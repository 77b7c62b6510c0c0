"""Prediction logs and late labels, counted per window by DuckDB: rows stay here, counts leave."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count as count_from
from pathlib import Path
from typing import Any

import duckdb

from retrain_trigger.counts.histograms import Bins
from retrain_trigger.counts.tally import Tally, Where
from retrain_trigger.counts.vocabulary import agreed
from retrain_trigger.counts.windows import Spoilt
from retrain_trigger.counts.words import word
from retrain_trigger.engines import database, parts, portable, sources, spelled, tables, times
from retrain_trigger.engines.counted import Counted, Example, Piece, Truth
from retrain_trigger.engines.parts import Span
from retrain_trigger.engines.plan import Plan, micros, moment
from retrain_trigger.engines.portable import DUCKDB, File
from retrain_trigger.engines.rotation import undisturbed
from retrain_trigger.engines.sources import FileState
from retrain_trigger.engines.spelled import Group, Readable
from retrain_trigger.engines.sql import text
from retrain_trigger.engines.waiting import Waiting
from retrain_trigger.errors import CannotJudgeError, DataError
from retrain_trigger.world import files

AT_ONCE = 128 << 20
"""Bytes of text that one query counts: what it needs of them is held in memory."""

LONGEST_EXAMPLE = 60
"""Characters of a value that are kept to be shown."""


def count(
    plan: Plan,
    *,
    now: datetime,
    known: Counted | None = None,
    store: Path | None = None,
    keep: Path | None = None,
    scratch: Path | None = None,
) -> Counted:
    """Count a log as known at `now`; of what is `known`, only what has come since, and what was written anew.

    A file that only grew is read from where it was read to. Rows that wait for labels from other files lie in `store`,
    and what is new of them goes to `keep`, into the folder `waiting.FOLDER`; parts of text are copied to `scratch` to
    be read. None: into a folder that is removed at the end. The counts are those of counting everything. Raises CannotJudgeError if a file cannot be read, does not
    hold still while it is read (see `undisturbed`), or lacks a column.
    """

    def counted(log: Sequence[FileState], labels: Sequence[FileState]) -> Counted:
        with database.connected() as connection, ExitStack() as stack:
            own = scratch or Path(stack.enter_context(parts.folder()))

            def anew(before: Counted) -> Counted:
                waiting = Waiting(connection, plan, store or own, keep or own)
                return Counting(connection, plan, now, before, waiting, scratch=own).of(log, labels)

            try:
                return anew(known or Counted())
            except (duckdb.Error, DataError):
                if known is None or not (known.rows or known.labels):
                    raise
            # What was kept may be damaged, or have been put together by a run meanwhile: all of it can be counted again.
            return anew(Counted())

    try:
        return undisturbed({"logs.predictions": plan.predictions, "logs.labels": plan.labels}, counted)
    except (duckdb.Error, DataError) as error:
        raise CannotJudgeError(f"{plan.predictions} cannot be counted: {database.told(error)}") from error


@dataclass(frozen=True, slots=True)
class _Part:
    """Lines of a file that one query reads, the bytes from `start` to `end`, and the piece they belong to."""

    lines: Readable
    file: FileState
    key: str
    start: int
    end: int
    closed: bool = True


class Counting:
    """One count of a log: what is known of it, and what has come since."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        plan: Plan,
        now: datetime,
        known: Counted,
        waiting: Waiting,
        *,
        scratch: Path,
    ) -> None:
        self.now = now
        self._connection, self._plan, self._now, self._scratch = connection, plan, now, scratch
        self._digest, self._waiting = plan.digest(), waiting
        self._waits = waiting.everything or plan.labels is not None
        waiting.rows, waiting.labels = [*known.rows], [*known.labels]
        back = _labels_until(known) > micros(now)
        if back or known.source != plan.truth() or not waiting.is_whole():
            waiting.labels, known = [], replace(known, truth=(), plan="")
        if known.plan != self._digest:
            waiting.rows = []
            known = replace(
                known, plan="", matched={}, settled={}, settled_until=None, delays=() if back else known.delays
            )
        self._known = known
        self._index: dict[str, list[Piece]] = {}
        for piece in known.pieces:
            self._index.setdefault(piece.file.path, []).append(piece)
        self._keys = count_from(max((int(piece.key) for piece in known.pieces), default=0) + 1)

    def of(self, log: Sequence[FileState], labels: Sequence[FileState]) -> Counted:
        """Count the files of a log, and take in what is new of files of labels."""
        copies = _copies(log)
        held = {file.path: self._held(file) for file in log if file.path not in copies}
        if {piece.key for piece in self._known.pieces} - {piece.key for pieces in held.values() for piece in pieces}:
            # What repeated a row of a piece that is gone is now the only one there: it is counted again.
            held = {path: [] if any(piece.repeated for piece in pieces) else pieces for path, pieces in held.items()}
        found = {piece.key: piece for pieces in held.values() for piece in pieces}
        fresh = [file for file in log if file.path in held and file.size > _end(held[file.path])]
        for batch in self._batches([(file, held[file.path]) for file in fresh]):
            for piece in self._counted(batch, found.keys()):
                found[piece.key] = _together(found[piece.key], piece, self._plan) if piece.key in found else piece
        pieces = tuple(sorted(found.values(), key=lambda piece: (piece.file.path, piece.start)))
        _check_lines(pieces)
        counted = Counted(plan=self._digest, pieces=pieces, copies=copies, source=self._plan.truth())
        if self._waits:
            counted = self._with_labels(counted, labels, changed=bool(fresh))
        self._waiting.put_together([piece.key for piece in pieces], _keys(counted.truth), now=self._now)
        return replace(counted, rows=tuple(self._waiting.rows), labels=tuple(self._waiting.labels))

    def _held(self, file: FileState) -> list[Piece]:
        """Return the pieces of a file that need not be counted again, in order."""
        pieces = self._index.get(file.path, [])
        same = bool(pieces) and pieces[0].file == file
        marks = [(Span(piece.start, piece.end), piece.mark) for piece in pieces if piece.closed]
        if not same and not (pieces and parts.goes_on(pieces[0].file, file, marks)):
            return []
        held: list[Piece] = []
        for piece in pieces:
            if self._known.plan == self._digest and not piece.late and (same or piece.closed):
                held.append(replace(piece, file=file))
            elif piece.closed and self._is_before(piece):
                held.append(_passed_over(piece, file))
            else:
                break
        return held

    def _is_before(self, piece: Piece) -> bool:
        """Say whether all rows are from before the champion; then they need not be counted."""
        plan = self._plan
        if plan.since is None or piece.last is None or piece.timeless or piece.last >= micros(plan.since):
            return False
        if plan.earlier is not None and piece.last >= micros(plan.earlier[0]):
            return False
        return not {plan.version, plan.known_as, ANY} & set(piece.models)

    def _batches(self, fresh: Sequence[tuple[FileState, Sequence[Piece]]]) -> Iterator[list[_Part]]:
        """Yield what is to be read in portions; parts of files that may be growing are copied for as long as one takes."""
        batch: list[_Part] = []
        size = 0
        with ExitStack() as stack:
            folder = Path(stack.enter_context(parts.folder(self._scratch)))
            for part in (part for file, held in fresh for part in self._parts(file, held, folder)):
                batch.append(part)
                size += 0 if part.lines.kind == "parquet" else part.end - part.start
                if size >= AT_ONCE:
                    yield batch
                    for done in batch:
                        if done.lines.path != done.lines.file:
                            files.remove(Path(done.lines.path))
                    batch, size = [], 0
            if batch:
                yield batch

    def _parts(self, file: FileState, held: Sequence[Piece], folder: Path) -> Iterator[_Part]:
        """Yield the parts of a file that are to be read."""
        start = _end(held)
        goes_on = bool(held) and not held[-1].before
        key = held[-1].key if goes_on else str(next(self._keys))
        if not parts.grows(file) or (start == 0 and parts.is_quiet(file)):
            yield _Part(Readable(file.path, file.path), file, key, 0, file.size)
            return
        for span, data in parts.spans(file, start, file.size):
            path = parts.copied(file, span, data, folder)
            own = key if span.closed else str(next(self._keys))
            yield _Part(Readable(file.path, str(path)), file, own, span.start, span.end, span.closed)

    def _counted(self, batch: Sequence[_Part], live: Collection[str]) -> Iterator[Piece]:
        """Count the parts of a batch: those that are spelled alike by the same queries."""
        by_path = {part.lines.path: part for part in batch}
        try:
            for group in spelled.groups(self._connection, [part.lines for part in batch], self._plan):
                own = [by_path[each.path] for each in group.files]
                reading = _Reading(self._connection, self._plan, self._now, group, own, self._waiting, self._own_key)
                yield from list(reading.pieces(live))
        except (duckdb.Error, DataError) as error:
            raise DataError(_named(database.told(error), batch)) from error

    def _own_key(self, part: _Part, first: int | None) -> str:
        """Return the key of the piece that a part belongs to: one of its own if it reaches back into settled windows."""
        until = self._known.settled_until
        if until is None or first is None or part.key not in self._known.settled:
            return part.key
        return part.key if first >= micros(self._plan.start(until)) else str(next(self._keys))

    def _with_labels(self, counted: Counted, labels: Sequence[FileState], *, changed: bool) -> Counted:
        """Take in what is new of the files of labels, and count the rows that are kept with the labels known now."""
        truth, fresh = self._labels(labels)
        keys, sources = [piece.key for piece in counted.pieces], _keys(truth)
        same = not (changed or fresh or self._known.late) and keys == [piece.key for piece in self._known.pieces]
        if same and sources == _keys(self._known.truth):
            kept = self._known
            return self._with_settled(
                replace(
                    counted,
                    truth=truth,
                    matched=kept.matched,
                    settled=kept.settled,
                    settled_until=kept.settled_until,
                    after=kept.after,
                    late=kept.late,
                    delays=kept.delays,
                    strangers=kept.strangers,
                )
            )
        known_labels = self._waiting.known_labels(sources)
        if self._waiting.known_rows(keys) is None:
            return replace(counted, truth=truth)
        settled = {key: tally for key, tally in self._known.settled.items() if key in keys}
        counted = replace(
            counted,
            truth=truth,
            settled=settled,
            settled_until=self._known.settled_until,
            after=self._known.after + self._after(counted, sources),
        )
        relation = self.matched(counted, self._now)
        self._connection.execute(f"CREATE OR REPLACE TEMP VIEW matched AS {relation}")
        tallies = portable.cells(self.ask, DUCKDB, "SELECT * FROM matched", slices=self._plan.slices)
        hours = _HOURS.format(us="label_us")
        delays = self.ask(
            f"SELECT {hours}, count(*) FROM matched WHERE label IS NOT NULL AND label_us IS NOT NULL GROUP BY ALL"
        )
        counted = replace(
            counted,
            matched={str(key): tally for key, tally in tallies.items()},
            late=self._late(known_labels),
            delays=tuple(sorted(delays)) or self._known.delays,
        )
        if not any(_has_label(tally) for tally in (*settled.values(), *tallies.values())):
            counted = replace(counted, strangers=self._strangers(counted, known_labels))
        return self._with_settled(counted)

    def matched(self, counted: Counted, now: datetime) -> str:
        """Return a query for the rows that are kept, with the labels known at `now`; settled windows are left out."""
        rows = self._waiting.known_rows(piece.key for piece in counted.pieces)
        labels = self._waiting.known_labels(_keys(counted.truth))
        if rows is not None and counted.settled_until is not None:
            rows = f"(SELECT * FROM {rows} WHERE NOT ({_is_settled(counted)}))"
            labels = labels and f"(SELECT l.* FROM {labels} AS l SEMI JOIN {rows} AS w ON l.id = w.id)"
        return portable.known(f"SELECT * FROM {rows or _NO_ROWS}", labels, now=now)

    def _after(self, counted: Counted, sources: Sequence[str]) -> int:
        """Count the labels that are new and of rows of windows that are settled."""
        settled = self._known.settled_until
        fresh = self._waiting.new_labels(sources, len(self._known.labels))
        rows = self._waiting.known_rows(piece.key for piece in counted.pieces)
        if settled is None or fresh is None or rows is None:
            return 0
        older = f"SELECT id FROM {rows} WHERE w < {settled}"
        return int(self.ask(f"SELECT count(*) FROM {fresh} AS l SEMI JOIN ({older}) AS r ON l.id = r.id")[0][0])

    def _with_settled(self, counted: Counted) -> Counted:
        """Settle the windows, from the oldest on, whose labels have come and for which no more are waited."""
        if self._waiting.everything:
            return counted
        horizon = self._plan.horizon or max(_LEAST_HORIZON, 2 * timedelta(hours=_most(counted.delays)))
        rows, labelled = Counter[int](), Counter[int]()
        for tally in counted.matched.values():
            for (window, _, _, label, *_), n in tally.cells.items():
                if window is not None:
                    rows[window] += n
                    labelled[window] += n * (label is not None)
        until = counted.settled_until
        for window in sorted(each for each in rows if until is None or each >= until):
            over = self._plan.start(window + 1) + horizon <= self._now
            if not over or labelled[window] < self._plan.coverage * rows[window]:
                break
            until = window + 1
        if until == counted.settled_until or until is None:
            return counted
        matched, settled = {}, {}
        for key in {*counted.matched, *counted.settled}:
            tally = counted.matched.get(key, Tally())
            matched[key] = tally.only(lambda window: not _is_before(window, until))
            settled[key] = counted.settled.get(key, Tally()) + tally.only(lambda window: _is_before(window, until))
        return replace(counted, matched=matched, settled=settled, settled_until=until)

    def _labels(self, labels: Sequence[FileState]) -> tuple[tuple[Truth, ...], bool]:
        """Read what is new of the files of labels; return how far they are read, and whether anything was new."""
        known = {each.file.path: each for each in self._known.truth}
        truth: list[Truth] = []
        keys = count_from(max((int(each.key) for each in self._known.truth), default=0) + 1)
        fresh: list[tuple[str, Readable]] = []
        with ExitStack() as stack:
            folder = Path(stack.enter_context(parts.folder(self._scratch)))
            for file in labels:
                before = known.get(file.path)
                if before and not parts.goes_on(before.file, file, [(Span(0, before.end), before.mark)]):
                    before = None
                start, key = (before.end, before.key) if before else (0, str(next(keys)))
                end, tail = start, before.tail if before and before.file == file else ""
                if not tail:
                    for lines, upto in self._new_lines(file, start, folder):
                        tail = f"{key} from {upto}" if upto == end and lines.path != file.path else ""
                        fresh.append((tail or key, lines))
                        end = max(end, upto)
                mark = parts.fingerprint(file.path, Span(0, end)) if parts.grows(file) else ""
                truth.append(Truth(key=key, file=file, end=end, mark=mark, tail=tail))
            if fresh:
                try:
                    self._waiting.add_labels(fresh, "logs.labels")
                except duckdb.Error as error:
                    raise DataError(
                        f"logs.labels {self._plan.labels} cannot be read: {database.told(error)}"
                    ) from error
        return tuple(truth), bool(fresh)

    def _new_lines(self, file: FileState, start: int, folder: Path) -> Iterator[tuple[Readable, int]]:
        if file.size <= start:
            return
        if not parts.grows(file) or (start == 0 and parts.is_quiet(file)):
            yield Readable(file.path, file.path), file.size
            return
        for span, data in parts.spans(file, start, file.size):
            # A last line without an end is read again when it has one, and is kept under a key of its own until then.
            yield (
                Readable(file.path, str(parts.copied(file, span, data, folder))),
                span.end if span.closed else span.start,
            )

    def _late(self, labels: str | None) -> int:
        """Count the labels that have not come yet: a file that was written by a later clock has them."""
        if labels is None:
            return 0
        late = f"labelled_us > {micros(self._now)} AND labelled_us < {_NEVER}"
        return int(self.ask(f"SELECT count(*) FROM {labels} WHERE {late}")[0][0])

    def _strangers(self, counted: Counted, labels: str | None) -> tuple[str, str] | None:
        """Return an id of the labels and one of the rows, if there are labels and none is of a row."""
        rows = self._waiting.known_rows(piece.key for piece in counted.pieces)
        own = next((piece.some_id for piece in counted.pieces if piece.some_id is not None), None)
        if labels is None or rows is None or own is None:
            return None
        (found, matched) = self.ask(
            f"SELECT min(name), (SELECT count(*) FROM (SELECT id FROM {labels} INTERSECT SELECT id FROM {rows})) FROM {labels}"
        )[0]
        return None if found is None or matched else (found, own)

    def ask(self, query: str) -> list[Any]:
        """Run a query."""
        return self._connection.execute(query).fetchall()


@dataclass(frozen=True, slots=True)
class _Reading:
    """The parts of a log that are spelled alike, as they are counted."""

    connection: duckdb.DuckDBPyConnection
    plan: Plan
    now: datetime
    group: Group
    parts: Sequence[_Part]
    waiting: Waiting
    key_of: Callable[[_Part, int | None], str]

    def pieces(self, live: Iterable[str]) -> Iterator[Piece]:
        """Count each part; `live` are the keys of the pieces whose rows are counted already."""
        self._check_columns()
        rows = self.group.rows(self.plan)
        kind = "VIEW" if self.group.kind == "parquet" else "TABLE"
        self._execute(f"CREATE OR REPLACE TEMP {kind} spelled AS {portable.placed(DUCKDB, self.plan, rows)}")
        rejected = self._rejected()
        ends = {file: _Ends(*found) for file, *found in self.ask(_ENDS.format(now=micros(self.now), never=_NEVER))}
        repeated = self._once(live, with_ids="id" in rows.roles)
        tallies = self._tallies({name: self.plan.bins[name] for name in rows.features})
        models = self._models() if "model" in rows.roles else {}
        delays = self._delays() if "labelled" in rows.roles else {}
        parted = [
            replace(part, key=self.key_of(part, ends[n].first if n in ends else None))
            for n, part in enumerate(self.parts)
        ]
        for number, part in enumerate(parted):
            found, tally = ends.get(number, _Ends()), tallies.get(number, Tally())
            bad = rejected.get(part.lines.path, [])
            self._check_found(part, found)
            piece = Piece(
                key=part.key,
                file=part.file,
                start=part.start,
                end=part.end,
                mark=_mark(part),
                closed=part.closed,
                tally=tally,
                absent=self._absent(part, tally),
                first=found.first,
                last=found.last,
                models=models.get(number, ()),
                lines=found.lines + len(bad),
                bad=found.blank + len(bad),
                repeated=repeated.get(number, 0),
                late=found.late,
                labelled=found.labels > 0 or self.group.holds(self.plan.columns["label"]),
                delays=delays.get(number, ()),
                some_id=found.some_id,
                nested=tuple(self.group.inner.items()),
            )
            yield (
                _Spoilt(self, part, bad).added(piece)
                if found.timed < found.rows or _is_spoilt(piece, self.plan)
                else piece
            )
        if "id" in rows.roles or self.waiting.everything:
            self.waiting.add_rows(self._keyed(parted), now=self.now)

    def _once(self, live: Iterable[str], *, with_ids: bool) -> dict[int, int]:
        """Make `placed`: each id once in a window. Return how many rows are left out, by the number of the part."""
        query, again = "SELECT * FROM spelled WHERE NOT blank", 0
        if with_ids:
            rows, ids = self.ask("SELECT count(id), count(DISTINCT id) FROM spelled WHERE own")[0]
            query, again = (portable.once(DUCKDB, query), rows - ids) if rows != ids else (query, 0)
            known = self.waiting.known_rows(live)
            if known is not None:
                same = "s.id = hash(r.id) AND s.w = r.w AND s.model IS NOT DISTINCT FROM r.model"
                found = self.ask(f"SELECT count(*) FROM ({query}) AS r SEMI JOIN {known} AS s ON {same}")[0][0]
                query = f"SELECT r.* FROM ({query}) AS r ANTI JOIN {known} AS s ON {same}" if found else query
                again += found
        # Rows that are counted once each are found once, and not by each query anew.
        self._execute("DROP VIEW IF EXISTS placed")
        self._execute("DROP TABLE IF EXISTS once")
        if not again:
            self._execute(f"CREATE TEMP VIEW placed AS {query}")
            return {}
        self._execute(f"CREATE TEMP TABLE once AS {query}")
        self._execute("CREATE TEMP VIEW placed AS SELECT * FROM once")
        counted = dict(self.ask("SELECT file, count(*) FROM placed GROUP BY file"))
        every = self.ask("SELECT file, count(*) FROM spelled WHERE NOT blank GROUP BY file")
        return {file: n - counted.get(file, 0) for file, n in every}

    def _tallies(self, bins: Mapping[str, Bins]) -> dict[File, Tally]:
        """Count the placed rows, by the number of their part; with labels from other files, only those that have no id by their words."""
        timed = "SELECT * FROM placed WHERE w IS NOT NULL"
        if not (self.waiting.everything or self.plan.labels):
            relation = portable.known(timed, None, now=self.now)
            return portable.tallies(self.ask, DUCKDB, relation, bins=bins, slices=self.plan.slices)
        alone = portable.known(f"{timed} AND id IS NULL AND NOT {self.waiting.everything}", None, now=self.now)
        found = portable.cells(self.ask, DUCKDB, alone, slices=self.plan.slices)
        for path, each in portable.histograms(self.ask, DUCKDB, timed, bins).items():
            found[path] = replace(found.get(path, Tally()), histograms=each)
        return found

    def _keyed(self, own: Sequence[_Part]) -> str:
        """Return SQL for the placed rows with the key of their piece in the place of the path, and a hash for the id."""
        keys = ", ".join(text(part.key) for part in own)
        replaced = f"[{keys}][p.file + 1] AS file, CASE WHEN p.id IS NOT NULL THEN hash(p.id) END AS id"
        return f"(SELECT p.* REPLACE ({replaced}) FROM placed AS p)"

    def _models(self) -> dict[int, tuple[str, ...]]:
        """Return the names of models by the number of the part; of more than MOST_MODELS none is kept, for they may be anything."""
        found: dict[int, list[str]] = {}
        for path, model in self.ask("SELECT DISTINCT file, model FROM placed WHERE model IS NOT NULL ORDER BY 1, 2"):
            found.setdefault(path, []).append(model)
        return {path: tuple(names) if len(names) <= MOST_MODELS else (ANY,) for path, names in found.items()}

    def _delays(self) -> dict[int, tuple[tuple[float, int], ...]]:
        found: dict[int, list[tuple[float, int]]] = {}
        where = f"labelled_us <= {micros(self.now)} AND truth IS NOT NULL AND us IS NOT NULL"
        query = f"SELECT file, {_HOURS.format(us='labelled_us')}, count(*) FROM placed WHERE {where} GROUP BY ALL"
        for path, hours, rows in self.ask(query):
            found.setdefault(path, []).append((hours, rows))
        return {path: tuple(sorted(each)) for path, each in found.items()}

    def _absent(self, part: _Part, tally: Tally) -> tuple[str, ...]:
        """Return the watched columns that no line of JSON has."""
        if self.group.kind != "json":
            return ()
        given = {name for (_, _, name), counts in tally.histograms.items() if sum(counts[:-1])}
        absent = {name for _, _, name in tally.histograms} - given
        return tuple(
            sorted(
                name for name in absent if not self.group.mentions(self.plan.columns.get(name, name), part.lines.path)
            )
        )

    def _check_columns(self) -> None:
        for role in ("timestamp", "prediction", *(("id",) if self.plan.labels else ())):
            if not self.group.has(self.plan.columns[role]):
                path = self.parts[0].file.path
                raise DataError(f"{path}: {tables.missing(self.plan.columns, role, self.group.types)}")

    def _check_found(self, part: _Part, found: "_Ends") -> None:
        """Raise DataError if no line of JSON has a column that must be there."""
        if self.group.kind != "json" or not found.lines or part.start:
            return
        if found.blank == found.lines > 1:
            tables.check_lines(part.file.path, found.blank, found.lines)
        seen = spelled.keys(part.lines.path)
        for role, rows in (("timestamp", found.timed), ("prediction", found.answered)):
            if not rows and self.plan.columns[role] not in seen:
                raise DataError(f"{part.file.path}: {tables.missing(self.plan.columns, role, seen)}")

    def _rejected(self) -> dict[str, list[int]]:
        """Return the lines of CSV that are no rows, by path, counted from 1."""
        if self.group.kind != "csv":
            return {}
        found: dict[str, list[int]] = {}
        for path, line in self.ask(_REJECTED):
            found.setdefault(path, []).append(line)
        self._execute("DELETE FROM reject_errors")
        self._execute("DELETE FROM reject_scans")
        return found

    def ask(self, query: str) -> list[Any]:
        """Run a query."""
        return self.connection.execute(query).fetchall()

    def _execute(self, statement: str) -> None:
        self.connection.execute(statement)


@dataclass(frozen=True, slots=True)
class _Ends:
    """What a part comes to as a whole: its lines, those that are no rows, and of the others how many have what."""

    lines: int = 0
    blank: int = 0
    first: int | None = None
    last: int | None = None
    timed: int = 0
    answered: int = 0
    late: int = 0
    labels: int = 0
    some_id: str | None = None

    @property
    def rows(self) -> int:
        """Number of lines that are rows."""
        return self.lines - self.blank


@dataclass(frozen=True, slots=True)
class _Spoilt:
    """The rows of one part that cannot be used: read once more, in their order."""

    reading: _Reading
    part: _Part
    rejected: Sequence[int]

    def added(self, piece: Piece) -> Piece:
        """Return the piece with the rows that have no readable time, and an example of each kind."""
        plan, group = self.reading.plan, replace(self.reading.group, files=(self.part.lines,))
        rows, time = group.rows(plan), plan.columns["timestamp"]
        rows = replace(rows, relation=group.numbered(), more={**rows.more, "nth": "nth", "seen": group.text_of(time)})
        placed = f"SELECT * FROM ({portable.placed(DUCKDB, plan, rows)}) WHERE NOT blank"
        self.reading.connection.execute(f"CREATE OR REPLACE TEMP TABLE numbered AS {placed}")
        timeless, examples = self._timeless()
        examples |= self._odd(piece.tally)
        return replace(piece, timeless=timeless, examples=self._told(examples))

    def _timeless(self) -> tuple[dict[Where, int], dict[Spoilt, tuple[int, str, str]]]:
        """Count the rows without a time in the window of the nearest before them that has one, else after them."""
        before, after = "ROWS UNBOUNDED PRECEDING", "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING"
        near = (
            f"coalesce(last_value(us IGNORE NULLS) OVER (ORDER BY nth {before}), "
            f"first_value(us IGNORE NULLS) OVER (ORDER BY nth {after}))"
        )
        filled = f"SELECT nth, model, seen, us AS own_us, {near} AS us FROM numbered"
        placed = portable.windows(DUCKDB, self.reading.plan, f"({filled})")
        query = (
            f"SELECT w, model, count(*), min(nth), arg_min(coalesce(seen, ''), nth) FROM ({placed}) "
            "WHERE own_us IS NULL AND own GROUP BY ALL"
        )
        counts: dict[Where, int] = {}
        examples: dict[Spoilt, tuple[int, str, str]] = {}
        for window, model, count, nth, seen in self.reading.ask(query):
            counts[window, model] = count
            examples[window, model, "time"] = (nth, "timestamp", seen)
        return counts, examples

    def _odd(self, tally: Tally) -> dict[Spoilt, tuple[int, str, str]]:
        """Find the first row of each kind that has no prediction, or words that are no classes."""
        plan = self.reading.plan
        vocabulary = agreed(*tally.words, plan.classes)
        found: dict[Spoilt, tuple[int, str, str]] = {}
        query = (
            "SELECT w, model, said, truth, min(nth) FROM numbered WHERE w IS NOT NULL AND own GROUP BY ALL ORDER BY 5"
        )
        for window, model, said, truth, nth in self.reading.ask(query):
            answer, label = vocabulary.read(word(said)), vocabulary.read(word(truth))
            if answer is None or answer in vocabulary.odd:
                why = "prediction" if answer is None else "class"
                found.setdefault((window, model, why), (nth, "prediction", said or ""))
            elif label in vocabulary.odd:
                found.setdefault((window, model, "label"), (nth, "label", truth or ""))
        return found

    def _told(self, found: Mapping[Spoilt, tuple[int, str, str]]) -> dict[Spoilt, Example]:
        """Say in which lines of text the rows stand."""
        columns, places = self.reading.plan.columns, {nth for nth, _, _ in found.values()}
        lines = self._lines(places) if self.reading.group.kind != "parquet" else {}
        return {
            key: Example(place=nth, line=lines.get(nth), column=columns[role], value=value[:LONGEST_EXAMPLE])
            for key, (nth, role, value) in found.items()
        }

    def _lines(self, places: Collection[int]) -> dict[int, int]:
        """Return the line, from 1, in which each row stands: of CSV, the header comes first."""
        quoted = self.reading.group.kind == "csv"
        rejected = {line - 1 for line in self.rejected}
        with sources.opened(self.part.lines.path) as file:
            found = parts.places(file, {place + quoted for place in places}, quoted=quoted, rejected=rejected)
        first = parts.line_number(self.part.file, self.part.start) if self.part.start else 1
        first -= quoted and self.part.start > 0  # the copy of a part begins with the header
        return {place: first + found.get(place + quoted, 0) for place in places}


def _is_spoilt(piece: Piece, plan: Plan) -> bool:
    """Say whether a row cannot be used."""
    vocabulary = agreed(*piece.tally.words, plan.classes)
    return any(
        vocabulary.read(said) is None or vocabulary.odd & {vocabulary.read(said), vocabulary.read(label)}
        for _, _, said, label, *_ in piece.tally.cells
    )


def _keys(truth: Sequence[Truth]) -> list[str]:
    """Return the keys of all labels that are read of files, also those of last lines without an end."""
    return [key for each in truth for key in (each.key, each.tail) if key]


def _is_settled(counted: Counted) -> str:
    """Return the SQL condition for rows of settled windows; rows of a file that came later are none."""
    keys = ", ".join(text(key) for key in counted.settled)
    return f"w < {counted.settled_until} AND file IN ({keys})" if keys else "false"


def _most(delays: Sequence[tuple[float, int]]) -> float:
    """Return the hours that 99 % of labels take at most; 0 if that is not known."""
    needed = 0.99 * sum(labels for _, labels in delays)
    for hours, labels in delays:
        needed -= labels
        if needed <= 0:
            return hours
    return 0.0


def _is_before(window: int | None, other: int) -> bool:
    return window is not None and window < other


def _has_label(tally: Tally) -> bool:
    return any(cell[3] is not None for cell in tally.cells)


def _labels_until(counted: Counted) -> int:
    """Return when the newest label came that was counted: an earlier moment knows less."""
    tallies = (*(piece.tally for piece in counted.pieces), *counted.matched.values(), *counted.settled.values())
    return max((at for tally in tallies for at in tally.labels_until.values()), default=0)


def _named(sentence: str, batch: Sequence[_Part]) -> str:
    """Return a sentence with the names of files in the place of those of their copies."""
    for part in batch:
        sentence = sentence.replace(part.lines.path, part.file.path)
    return sentence


def _end(held: Sequence[Piece]) -> int:
    return held[-1].end if held else 0


def _mark(part: _Part) -> str:
    return parts.fingerprint(part.file.path, Span(part.start, part.end)) if parts.grows(part.file) else ""


def _together(one: Piece, two: Piece, plan: Plan) -> Piece:
    """Return two pieces of a file, the second of which follows the first, as one."""
    span = Span(one.start, two.end)
    times = (
        [at for at in (one.first, two.first) if at is not None],
        [at for at in (one.last, two.last) if at is not None],
    )
    delays = Counter(dict(one.delays))
    delays.update(dict(two.delays))
    timeless = Counter(one.timeless)
    nearest = None if one.last is None else plan.number(moment(one.last))
    for (window, model), rows in two.timeless.items():
        timeless[nearest if window is None else window, model] += rows
    return replace(
        two,
        start=one.start,
        mark=parts.fingerprint(two.file.path, span),
        tally=one.tally + two.tally,
        first=min(times[0], default=None),
        last=max(times[1], default=None),
        models=tuple(sorted({*one.models, *two.models})),
        lines=one.lines + two.lines,
        bad=one.bad + two.bad,
        repeated=one.repeated + two.repeated,
        late=one.late + two.late,
        labelled=one.labelled or two.labelled,
        timeless=dict(timeless),
        examples={**two.examples, **one.examples},
        absent=_absent_in_both(one, two),
        some_id=one.some_id if two.some_id is None else two.some_id,
        nested=tuple(sorted({*one.nested, *two.nested})),
        delays=tuple(sorted(delays.items())),
    )


def _absent_in_both(one: Piece, two: Piece) -> tuple[str, ...]:
    """Return the columns that neither piece has; one without rows says nothing."""
    if not one.tally.histograms or not two.tally.histograms:
        return two.absent if two.tally.histograms else one.absent
    return tuple(sorted({*one.absent} & {*two.absent}))


def _passed_over(piece: Piece, file: FileState) -> Piece:
    """Return a piece of which no row is counted."""
    return replace(
        piece, file=file, before=True, tally=Tally(), repeated=0, late=0, timeless={}, examples={}, delays=piece.delays
    )


def _copies(log: Sequence[FileState]) -> dict[str, str]:
    """Return the files that are others once more, by another name or as a copy, with these; the first counts."""
    found: dict[str, str] = {}
    inodes: dict[tuple[int, int], str] = {}
    sizes: dict[tuple[int, str], str] = {}
    alike = Counter(file.size for file in log)
    for file in log:
        first = inodes.setdefault(file.inode, file.path)
        if first == file.path and file.size and alike[file.size] > 1:
            first = sizes.setdefault((file.size, files.sha256(Path(file.path))), file.path)
        if first != file.path:
            found[file.path] = first
    return found


def _check_lines(pieces: Iterable[Piece]) -> None:
    """Raise DataError if too many lines of a file are no rows."""
    files: dict[str, tuple[int, int]] = {}
    for piece in pieces:
        bad, lines = files.get(piece.file.path, (0, 0))
        files[piece.file.path] = bad + piece.bad, lines + piece.lines
    for path, (bad, lines) in files.items():
        tables.check_lines(path, bad, lines, csv=sources.kind(path) == "csv")


_NO_ROWS = "(SELECT NULL::VARCHAR AS file, 0::BIGINT AS us, 0::BIGINT AS labelled_us, 0::BIGINT AS w, true AS own, NULL::VARCHAR AS said, NULL::VARCHAR AS truth, NULL::VARCHAR AS model, NULL::BOOLEAN AS exposed, NULL::INTEGER AS place, NULL::UBIGINT AS id WHERE false)"

_LEAST_HORIZON = timedelta(days=30)

MOST_MODELS = 100
"""Names of models of a file that are kept."""

ANY = "*"
"""Stands for any name of a model."""

_NEVER = micros(times.NEVER)
_HOURS = "round(greatest(({us} - us) / 3600e6, 0.01) / pow(10, floor(log10(greatest(({us} - us) / 3600e6, 0.01))) - 1)) * pow(10, floor(log10(greatest(({us} - us) / 3600e6, 0.01))) - 1)"
"""As SQL: the hours from a prediction to its label, to two digits."""

_ENDS = (
    "SELECT file, count(*), count(*) FILTER (blank), min(us), max(us), count(us), count(said), "
    "count(*) FILTER (truth IS NOT NULL AND labelled_us > {now} AND labelled_us < {never}), count(truth), min(id) "
    "FROM spelled GROUP BY file"
)
_REJECTED = (
    "SELECT DISTINCT s.file_path, e.line FROM reject_errors AS e JOIN reject_scans AS s "
    "ON e.scan_id = s.scan_id AND e.file_id = s.file_id ORDER BY 1, 2"
)
