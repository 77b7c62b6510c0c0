"""Rows that are kept, and labels from other files that are kept: what the rows come to with the labels known."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from retrain_trigger.counts.tally import Tally
from retrain_trigger.engines import delays, portable, settling
from retrain_trigger.engines.counted import Counted, Truth
from retrain_trigger.engines.plan import micros
from retrain_trigger.engines.portable import DUCKDB
from retrain_trigger.engines.sql import text
from retrain_trigger.engines.times import NEVER
from retrain_trigger.engines.waiting import Waiting


def with_labels(waiting: Waiting, counted: Counted, known: Counted, *, now: datetime, is_new: bool) -> Counted:
    """Count the rows that are kept with the labels known at `now`; not again if neither is new since they are `known`."""
    if not is_new and not known.late and _is_of_the_same(counted, known):
        return _settled(waiting, _carried_over(counted, known), now)
    if _rows(waiting, counted) is None:
        return counted
    own = {piece.key for piece in counted.pieces}
    counted = replace(
        counted,
        settled={key: tally for key, tally in known.settled.items() if key in own},
        settled_until=known.settled_until,
        after=known.after + _after(waiting, counted, known),
    )
    counted = _matched(waiting, counted, known, now)
    if not any(_has_label(tally) for tally in (*counted.settled.values(), *counted.matched.values())):
        counted = replace(counted, strangers=_strangers(waiting, counted))
    return _settled(waiting, counted, now)


def relation(waiting: Waiting, counted: Counted, *, now: datetime) -> str:
    """Return a query for the rows that are kept, with the labels known at `now`; settled windows are left out."""
    rows, labels = _rows(waiting, counted), _labels(waiting, counted)
    if rows is not None and counted.settled_until is not None:
        rows = f"(SELECT * FROM {rows} WHERE NOT ({_is_settled(counted)}))"
        labels = labels and f"(SELECT l.* FROM {labels} AS l SEMI JOIN {rows} AS w ON l.id = w.id)"
    return portable.known(f"SELECT * FROM {rows or _NO_ROWS}", labels, now=now)


def keys(truth: Sequence[Truth]) -> list[str]:
    """Return the keys of all labels that are read of files, also those of last lines without an end."""
    return [key for each in truth for key in (each.key, each.tail) if key]


def _is_of_the_same(counted: Counted, known: Counted) -> bool:
    """Say whether pieces and labels are those that are known."""
    return [each.key for each in counted.pieces] == [each.key for each in known.pieces] and (
        keys(counted.truth) == keys(known.truth)
    )


def _carried_over(counted: Counted, known: Counted) -> Counted:
    return replace(
        counted,
        matched=known.matched,
        settled=known.settled,
        settled_until=known.settled_until,
        after=known.after,
        late=known.late,
        delays=known.delays,
        strangers=known.strangers,
    )


def _settled(waiting: Waiting, counted: Counted, now: datetime) -> Counted:
    return counted if waiting.everything else settling.settled(counted, waiting.plan, now=now)


def _rows(waiting: Waiting, counted: Counted) -> str | None:
    return waiting.known_rows(piece.key for piece in counted.pieces)


def _labels(waiting: Waiting, counted: Counted) -> str | None:
    return waiting.known_labels(keys(counted.truth))


def _after(waiting: Waiting, counted: Counted, known: Counted) -> int:
    """Count the labels that are new and of rows of windows that are settled."""
    fresh, rows = waiting.new_labels(keys(counted.truth), len(known.labels)), _rows(waiting, counted)
    if known.settled_until is None or fresh is None or rows is None:
        return 0
    older = f"SELECT id FROM {rows} WHERE w < {known.settled_until}"
    return int(waiting.ask(f"SELECT count(*) FROM {fresh} AS l SEMI JOIN ({older}) AS r ON l.id = r.id")[0][0])


def _matched(waiting: Waiting, counted: Counted, known: Counted, now: datetime) -> Counted:
    """Count the rows of windows that are not settled, and how long their labels took."""
    waiting.connection.execute(f"CREATE OR REPLACE TEMP VIEW matched AS {relation(waiting, counted, now=now)}")
    tallies = portable.cells(waiting.ask, DUCKDB, "SELECT * FROM matched", slices=waiting.plan.slices)
    took = f"SELECT {delays.hours('label_us')}, count(*) FROM matched"
    found = waiting.ask(f"{took} WHERE label IS NOT NULL AND label_us IS NOT NULL GROUP BY ALL")
    return replace(
        counted,
        matched={str(key): tally for key, tally in tallies.items()},
        late=_late(waiting, counted, now),
        delays=tuple(sorted(found)) or known.delays,
    )


def _late(waiting: Waiting, counted: Counted, now: datetime) -> int:
    """Count the labels that have not come yet: a file that was written by a later clock has them."""
    labels = _labels(waiting, counted)
    if labels is None:
        return 0
    late = f"labelled_us > {micros(now)} AND labelled_us < {micros(NEVER)}"
    return int(waiting.ask(f"SELECT count(*) FROM {labels} WHERE {late}")[0][0])


def _strangers(waiting: Waiting, counted: Counted) -> tuple[str, str] | None:
    """Return an id of the labels and one of the rows, if there are labels and none is of a row."""
    rows, labels = _rows(waiting, counted), _labels(waiting, counted)
    own = next((piece.some_id for piece in counted.pieces if piece.some_id is not None), None)
    if labels is None or rows is None or own is None:
        return None
    both = f"SELECT count(*) FROM (SELECT id FROM {labels} INTERSECT SELECT id FROM {rows})"
    found, matched = waiting.ask(f"SELECT min(name), ({both}) FROM {labels}")[0]
    return None if found is None or matched else (found, own)


def _is_settled(counted: Counted) -> str:
    """Return the SQL condition for rows of settled windows; rows of a file that came later are none."""
    own = ", ".join(text(key) for key in counted.settled)
    return f"w < {counted.settled_until} AND file IN ({own})" if own else "false"


def _has_label(tally: Tally) -> bool:
    return any(cell[3] is not None for cell in tally.cells)


_NO_ROWS = (
    "(SELECT NULL::VARCHAR AS file, 0::BIGINT AS us, 0::BIGINT AS labelled_us, 0::BIGINT AS w, true AS own, "
    "NULL::VARCHAR AS said, NULL::VARCHAR AS truth, NULL::VARCHAR AS model, NULL::BOOLEAN AS exposed, "
    "NULL::INTEGER AS place, NULL::UBIGINT AS id WHERE false)"
)
