"""Files that grew since they were counted: which pieces of them need not be counted again."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from retrain_trigger.counts.tally import Tally, Where
from retrain_trigger.engines import parts, sources, tables
from retrain_trigger.engines.counted import Counted, Piece
from retrain_trigger.engines.parts import Span
from retrain_trigger.engines.plan import Plan, micros, moment
from retrain_trigger.engines.sources import FileState
from retrain_trigger.store import files

ANY = "*"
"""Stands for any name of a model."""


def held(known: Counted, log: Sequence[FileState], plan: Plan) -> dict[str, list[Piece]]:
    """Return the pieces of each file that need not be counted again, in order; `known` was counted under its plan, or none."""
    index: dict[str, list[Piece]] = {}
    for piece in known.pieces:
        index.setdefault(piece.file.path, []).append(piece)
    found = {file.path: _held(index.get(file.path, []), file, plan, counted=bool(known.plan)) for file in log}
    if {piece.key for piece in known.pieces} - {piece.key for pieces in found.values() for piece in pieces}:
        # What repeated a row of a piece that is gone is now the only one there: it is counted again.
        return {path: [] if any(piece.repeated for piece in pieces) else pieces for path, pieces in found.items()}
    return found


def copies(log: Sequence[FileState]) -> dict[str, str]:
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


def end(pieces: Sequence[Piece]) -> int:
    """Return up to which byte the pieces of a file go."""
    return pieces[-1].end if pieces else 0


def together(one: Piece, two: Piece, plan: Plan) -> Piece:
    """Return two pieces of a file, the second of which follows the first, as one."""
    delays = Counter(dict(one.delays))
    delays.update(dict(two.delays))
    return replace(
        two,
        start=one.start,
        mark=parts.fingerprint(two.file.path, Span(one.start, two.end)),
        tally=one.tally + two.tally,
        first=min((at for at in (one.first, two.first) if at is not None), default=None),
        last=max((at for at in (one.last, two.last) if at is not None), default=None),
        models=tuple(sorted({*one.models, *two.models})),
        lines=one.lines + two.lines,
        bad=one.bad + two.bad,
        repeated=one.repeated + two.repeated,
        late=one.late + two.late,
        labelled=one.labelled or two.labelled,
        timeless=_timeless(one, two, plan),
        examples={**two.examples, **one.examples},
        absent=_absent_in_both(one, two),
        some_id=one.some_id if two.some_id is None else two.some_id,
        nested=tuple(sorted({*one.nested, *two.nested})),
        delays=tuple(sorted(delays.items())),
    )


def check_lines(pieces: Iterable[Piece]) -> None:
    """Raise DataError if too many lines of a file are no rows."""
    found: dict[str, tuple[int, int]] = {}
    for piece in pieces:
        bad, lines = found.get(piece.file.path, (0, 0))
        found[piece.file.path] = bad + piece.bad, lines + piece.lines
    for path, (bad, lines) in found.items():
        tables.check_lines(path, bad, lines, csv=sources.kind(path) == "csv")


def _held(pieces: Sequence[Piece], file: FileState, plan: Plan, *, counted: bool) -> list[Piece]:
    """Return the pieces of a file that need not be counted again; `counted` says that they were by this plan."""
    same = bool(pieces) and pieces[0].file == file
    marks = [(Span(piece.start, piece.end), piece.mark) for piece in pieces if piece.closed]
    if not same and not (pieces and parts.goes_on(pieces[0].file, file, marks)):
        return []
    found: list[Piece] = []
    for piece in pieces:
        if counted and not piece.late and (same or piece.closed):
            found.append(replace(piece, file=file))
        elif piece.closed and _is_before(piece, plan):
            found.append(_passed_over(piece, file))
        else:
            break
    return found


def _is_before(piece: Piece, plan: Plan) -> bool:
    """Say whether all rows are from before the champion; then they need not be counted."""
    if plan.since is None or piece.last is None or piece.timeless or piece.last >= micros(plan.since):
        return False
    if plan.earlier is not None and piece.last >= micros(plan.earlier[0]):
        return False
    return not {plan.version, plan.known_as, ANY} & set(piece.models)


def _passed_over(piece: Piece, file: FileState) -> Piece:
    """Return a piece of which no row is counted."""
    return replace(piece, file=file, before=True, tally=Tally(), repeated=0, late=0, timeless={}, examples={})


def _timeless(one: Piece, two: Piece, plan: Plan) -> dict[Where, int]:
    """Count the rows of both without a time: those of the second without any are near the end of the first."""
    found = Counter(one.timeless)
    nearest = None if one.last is None else plan.number(moment(one.last))
    for (window, model), rows in two.timeless.items():
        found[nearest if window is None else window, model] += rows
    return dict(found)


def _absent_in_both(one: Piece, two: Piece) -> tuple[str, ...]:
    """Return the columns that neither piece has; one without rows says nothing."""
    if not one.tally.histograms or not two.tally.histograms:
        return two.absent if two.tally.histograms else one.absent
    return tuple(sorted({*one.absent} & {*two.absent}))
