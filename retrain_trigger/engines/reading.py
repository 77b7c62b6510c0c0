"""What a count of a log comes to at some moment: windows that are over, and what is in none of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from retrain_trigger.counts.tally import Cell, Column, Part, Tally, Where, total
from retrain_trigger.counts.unusable import Aside, Unusable
from retrain_trigger.counts.vocabulary import agreed
from retrain_trigger.counts.windows import Spoilt, WindowCounts, of_tally
from retrain_trigger.engines.counted import Counted, Example, Piece
from retrain_trigger.engines.plan import Plan, moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a log: its windows in order of time, and the newest times; None if there is none.

    `latest` may be later than the moment. `labelled` says whether there is a column of labels, `delays` counts labels
    by the hours that they took.
    """

    windows: list[WindowCounts]
    aside: Aside
    labelled: bool
    newest: datetime | None
    newest_label: datetime | None
    latest: datetime | None
    delays: Mapping[float, int] = field(default_factory=dict)


def seen(plan: Plan, counted: Counted, *, now: datetime, told: Callable[[str, Example], str]) -> Seen:
    """Return what a count comes to at `now`; `told` says in a sentence what is wrong with a row of a file."""
    present = plan.number(now)
    timeless, unplaced, examples = _timeless(plan, counted.pieces, told)
    tally = _renamed(total([*_watched(counted.pieces), *counted.matched.values(), *counted.settled.values()]), plan)
    ahead = sum(rows for key, rows in tally.cells.items() if key[0] is not None and key[0] > present)
    windows = of_tally(
        tally.only(lambda window: window is not None and window < present),
        agreed(*tally.words, plan.classes),
        start=plan.start,
        bins=plan.bins,
        timeless={where: rows for where, rows in timeless.items() if where[0] is not None and where[0] < present},
        examples=examples,
    )
    delays = Counter[float]()
    for each in (counted.delays, *(piece.delays for piece in counted.pieces)):
        delays.update(dict(each))
    last = [piece.last for piece in counted.pieces if piece.last is not None]
    return Seen(
        windows=windows,
        aside=Aside(
            unplaced=unplaced,
            lines=sum(piece.bad for piece in counted.pieces),
            label_lines=sum(each.bad + each.left_out for each in counted.truth),
            ahead=ahead + sum(rows for where, rows in timeless.items() if where[0] is not None and where[0] > present),
            repeated=sum(piece.repeated for piece in counted.pieces),
            copies=tuple(sorted(counted.copies.items())),
            strangers=counted.strangers,
            after=counted.after,
            nested=_nested(plan, counted.pieces),
        ),
        labelled=any(piece.labelled for piece in counted.pieces) or plan.labels is not None,
        newest=_newest([*(at for at in last if moment(at) <= now), *_until(tally.rows_until, present)], now),
        newest_label=_newest(_until(tally.labels_until, present), now),
        latest=moment(max(last)) if last else None,
        delays=delays,
    )


def _watched(pieces: Sequence[Piece]) -> Iterator[Tally]:
    """Yield the tallies of pieces without the columns that no row of their file has: they are not watched."""
    absent: dict[str, set[str]] = {}
    for piece in pieces:
        if piece.tally.histograms:
            absent[piece.file.path] = absent.get(piece.file.path, {*piece.absent}) & {*piece.absent}
    for piece in pieces:
        left_out = absent.get(piece.file.path, set())
        kept = {key: counts for key, counts in piece.tally.histograms.items() if key[2] not in left_out}
        yield replace(piece.tally, histograms=kept) if left_out else piece.tally


def _nested(plan: Plan, pieces: Sequence[Piece]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the columns in which watched ones are nested, with these."""
    found: dict[str, set[str]] = {}
    for name, container in {each for piece in pieces for each in piece.nested}:
        if name in plan.bins:
            found.setdefault(container, set()).add(name)
    return tuple((container, tuple(sorted(names))) for container, names in sorted(found.items()))


def _until(newest: Mapping[Where, int], present: int) -> list[int]:
    """Return the newest times of windows that have begun."""
    return [at for (window, _), at in newest.items() if window is not None and window <= present]


def _newest(times: Iterable[int], now: datetime) -> datetime | None:
    return max((min(moment(at), now) for at in times), default=None)


def _timeless(
    plan: Plan, pieces: Sequence[Piece], told: Callable[[str, Example], str]
) -> tuple[dict[Where, int], Unusable, dict[Spoilt, str]]:
    """Find the windows of rows without a readable time; those of a file without any are near those of other files.

    Returns their number by window, those for which there is no time in any file, and the examples of all that cannot
    be used.
    """
    rows: Counter[Where] = Counter()
    unplaced = Unusable()
    examples: dict[Spoilt, str] = {}
    for place, piece in enumerate(pieces):
        nearest = _near(plan, pieces, place)
        for (window, model), count in piece.timeless.items():
            where = (nearest if window is None else window, _version(plan, model))
            if where[0] is not None:
                rows[where] += count
                continue
            example = piece.examples.get((window, model, "time"))
            unplaced += Unusable({"time": count}, told(piece.file.path, example) if example else "")
        for (window, model, why), example in piece.examples.items():
            key = (nearest if window is None else window, _version(plan, model), why)
            examples.setdefault(key, told(piece.file.path, example))
    return dict(rows), unplaced, examples


def _near(plan: Plan, pieces: Sequence[Piece], place: int) -> int | None:
    """Return the window of the nearest time before a piece, else after it, else None."""
    before = [piece.last for piece in pieces[: place + 1] if piece.last is not None]
    after = [piece.first for piece in pieces[place:] if piece.first is not None]
    at = before[-1] if before else after[0] if after else None
    return None if at is None else plan.number(moment(at))


def _version(plan: Plan, model: str | None) -> str | None:
    """Return the version that a name in the log stands for: the champion may have been adopted under another."""
    return plan.version if model is not None and model == plan.known_as and plan.version is not None else model


def _renamed(tally: Tally, plan: Plan) -> Tally:
    """Return a tally in which the champion has the name of its version."""
    if plan.known_as is None or plan.version is None:
        return tally
    cells, slices = Counter[Cell](), Counter[Part]()
    histograms: dict[Column, tuple[int, ...]] = {}
    for (window, model, said, label, place, exposed), rows in tally.cells.items():
        cells[window, _version(plan, model), said, label, place, exposed] += rows
    for (window, model, column, value, said, label), rows in tally.slices.items():
        slices[window, _version(plan, model), column, value, said, label] += rows
    for (window, model, column), counts in tally.histograms.items():
        key = (window, _version(plan, model), column)
        earlier = histograms.get(key, (0,) * len(counts))
        histograms[key] = tuple(one + two for one, two in zip(earlier, counts, strict=True))
    return replace(tally, cells=dict(cells), slices=dict(slices), histograms=histograms)
