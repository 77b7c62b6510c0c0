"""One count of a log: what is known of it is kept, what has come since is counted, and labels are taken in."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.engines import formats, growth, late_labels, matching, parts
from retrain_trigger.engines.batch import Batch
from retrain_trigger.engines.counted import Counted, Piece
from retrain_trigger.engines.database import told
from retrain_trigger.engines.plan import micros
from retrain_trigger.engines.portions import Portion, batches, portions
from retrain_trigger.engines.sources import FileState
from retrain_trigger.engines.waiting import Waiting


class Counting:
    """One count of a log as known at `now`; parts of text are copied to `scratch` to be read."""

    def __init__(self, waiting: Waiting, known: Counted, *, now: datetime, scratch: Path) -> None:
        self._waiting, self._plan, self._now, self._scratch = waiting, waiting.plan, now, scratch
        self._digest = self._plan.digest()
        self._known = self._usable(known)
        self._keys = count(max((int(piece.key) for piece in known.pieces), default=0) + 1)

    def of(self, log: Sequence[FileState], labels: Sequence[FileState]) -> Counted:
        """Count the files of a log, and take in what is new of files of labels."""
        copies = growth.copies(log)
        held = growth.held(self._known, [file for file in log if file.path not in copies], self._plan)
        fresh = [file for file in log if file.path in held and file.size > growth.end(held[file.path])]
        found = {piece.key: piece for pieces in held.values() for piece in pieces}
        for piece in self._counted(fresh, held, found):
            found[piece.key] = growth.together(found[piece.key], piece, self._plan) if piece.key in found else piece
        pieces = tuple(sorted(found.values(), key=lambda piece: (piece.file.path, piece.start)))
        growth.check_lines(pieces)
        counted = Counted(plan=self._digest, pieces=pieces, copies=copies, source=self._plan.truth())
        if self._waiting.waits:
            read = late_labels.read(self._waiting, self._known, labels, scratch=self._scratch)
            counted = replace(counted, truth=read.truth)
            is_new = bool(fresh) or read.is_new
            counted = matching.with_labels(self._waiting, counted, self._known, now=self._now, is_new=is_new)
        self._waiting.put_together([piece.key for piece in pieces], matching.keys(counted.truth), now=self._now)
        return replace(counted, rows=tuple(self._waiting.rows), labels=tuple(self._waiting.labels))

    def _usable(self, known: Counted) -> Counted:
        """Return what of a count still holds under the plan and at this time; the rest is counted again."""
        self._waiting.rows, self._waiting.labels = [*known.rows], [*known.labels]
        back = _labels_until(known) > micros(self._now)
        if back or known.source != self._plan.truth() or not self._waiting.is_whole():
            self._waiting.labels, known = [], replace(known, truth=(), plan="")
        if known.plan == self._digest:
            return known
        self._waiting.rows = []
        delays = () if back else known.delays
        return replace(known, plan="", matched={}, settled={}, settled_until=None, delays=delays)

    def _counted(
        self, fresh: Sequence[FileState], held: Mapping[str, Sequence[Piece]], live: Collection[str]
    ) -> Iterator[Piece]:
        """Count what is new of files, batch by batch; `live` are the keys of the pieces that there are."""
        with parts.folder(self._scratch) as folder:
            every = (each for file in fresh for each in self._portions(file, held[file.path], Path(folder)))
            for batch in batches(every):
                yield from self._of_batch(batch, live)

    def _portions(self, file: FileState, held: Sequence[Piece], folder: Path) -> Iterator[Portion]:
        """Yield what is new of a file, with the key of the piece that it goes on, or one of its own."""
        goes_on = bool(held) and not held[-1].before
        key = held[-1].key if goes_on else str(next(self._keys))
        for portion in portions(file, growth.end(held), folder):
            yield replace(portion, key=key if portion.span.closed else str(next(self._keys)))

    def _of_batch(self, batch: Sequence[Portion], live: Collection[str]) -> Iterator[Piece]:
        """Count the portions of a batch: those that are spelled alike by the same queries."""
        yield from map(_left_out, (portion for portion in batch if portion.left_out))
        by_path = {portion.lines.path: portion for portion in batch if not portion.left_out}
        try:
            for group in formats.groups(
                self._waiting.connection, [portion.lines for portion in by_path.values()], self._plan
            ):
                own = [by_path[each.path] for each in group.files]
                yield from Batch(group, own, self._waiting, self._now, self._own_key).pieces(live)
        except (duckdb.Error, DataError) as error:
            raise DataError(_named(told(error), batch)) from error

    def _own_key(self, portion: Portion, first: int | None) -> str:
        """Return the key of the piece that a portion belongs to: one of its own if it reaches back into settled windows."""
        until = self._known.settled_until
        if until is None or first is None or portion.key not in self._known.settled:
            return portion.key
        return portion.key if first >= micros(self._plan.start(until)) else str(next(self._keys))


def _labels_until(counted: Counted) -> int:
    """Return when the newest label came that was counted: an earlier moment knows less."""
    tallies = (*(piece.tally for piece in counted.pieces), *counted.matched.values(), *counted.settled.values())
    return max((at for tally in tallies for at in tally.labels_until.values()), default=0)


def _left_out(portion: Portion) -> Piece:
    """Return half a row as lines that are none."""
    span, lines = portion.span, portion.left_out
    return Piece(
        key=portion.key, file=portion.file, start=span.start, end=span.end, closed=False, lines=lines, bad=lines
    )


def _named(sentence: str, batch: Sequence[Portion]) -> str:
    """Return a sentence with the names of files in the place of those of their copies."""
    for portion in batch:
        sentence = sentence.replace(portion.lines.path, portion.file.path)
    return sentence
