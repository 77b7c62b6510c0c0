"""Rows that are kept, and labels from other files that are kept: what the rows come to with the labels known."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from retrain_trigger.counts.tally import Delay, Tally, total
from retrain_trigger.engines import delays, portable, settling
from retrain_trigger.engines.counted import Counted, Truth
from retrain_trigger.engines.plan import micros
from retrain_trigger.engines.portable import DUCKDB
from retrain_trigger.engines.sql import text
from retrain_trigger.engines.times import NEVER
from retrain_trigger.engines.waiting import Waiting

FEW = 0.5
"""So large, beside what is known, may be what has come: of more it is cheaper to count all."""


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
    rows, labels = _unsettled(_rows(waiting, counted), counted), _labels(waiting, counted)
    if counted.settled_until is not None:
        labels = labels and _of(labels, rows)
    return portable.known(f"SELECT * FROM {rows}", labels, now=now)


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


def _unsettled(rows: str | None, counted: Counted) -> str:
    """Return SQL for those of the rows that are in no settled window."""
    if rows is None or counted.settled_until is None:
        return rows or _NO_ROWS
    return f"(SELECT * FROM {rows} WHERE NOT ({_is_settled(counted)}))"


def _of(some: str, others: str) -> str:
    """Return SQL for rows or labels whose id is one of the others'."""
    return f"(SELECT s.* FROM {some} AS s SEMI JOIN {others} AS o ON s.id = o.id)"


def _after(waiting: Waiting, counted: Counted, known: Counted) -> int:
    """Count the labels that are new and of rows of windows that are settled."""
    fresh, rows = waiting.new_labels(keys(counted.truth), len(known.labels)), _rows(waiting, counted)
    if known.settled_until is None or fresh is None or rows is None:
        return 0
    older = _of(f"(SELECT id FROM {rows} WHERE w < {known.settled_until})", fresh)  # few: the new labels are looked up
    return int(waiting.ask(f"SELECT count(*) FROM {_of(fresh, older)}")[0][0])


def _matched(waiting: Waiting, counted: Counted, known: Counted, now: datetime) -> Counted:
    """Count the rows of windows that are not settled, and how long their labels took."""
    tallies = _moved(waiting, counted, known, now) if _goes_on(waiting, counted, known) else None
    if tallies is None:
        tallies = _tallies(waiting, relation(waiting, counted, now=now))
    took = Counter[float]()
    for tally in tallies.values():
        for (_, hours), labels in tally.delays.items():
            took[hours] += labels
    return replace(
        counted,
        matched=tallies,
        late=_late(waiting, counted, now),
        delays=tuple(sorted(took.items())) or known.delays,
    )


def _goes_on(waiting: Waiting, counted: Counted, known: Counted) -> bool:
    """Say whether rows and labels have only been added to what is known, and few of them."""
    if not known.plan or known.late or not {*keys(known.truth)} <= {*keys(counted.truth)}:
        return False
    new = sum(each.size for each in (*waiting.rows[len(known.rows) :], *waiting.labels[len(known.labels) :]))
    return new < FEW * sum(each.size for each in (*known.rows, *known.labels))


def _moved(waiting: Waiting, counted: Counted, known: Counted, now: datetime) -> dict[str, Tally] | None:
    """Return what is known of rows, moved by what has come: new rows, and labels of earlier ones.

    None if that cannot be said: if words or values are so many that only the most frequent are counted, or a label from
    another file takes the place of one in the row, whose time may be later.
    """
    own, truth = [piece.key for piece in counted.pieces], keys(counted.truth)
    rows, labels = len(known.rows), len(known.labels)
    before, came = waiting.earlier_rows(own, rows), waiting.new_rows(own, rows)
    known_labels, fresh = waiting.earlier_labels(truth, labels), waiting.new_labels(truth, labels)
    if before is None:
        return None
    told = _of(_unsettled(before, counted), fresh) if fresh else f"(SELECT * FROM {before} WHERE false)"
    _keep(waiting, "told", told)
    if waiting.ask("SELECT count(truth) FROM told")[0][0]:
        return None
    _keep(waiting, "moved", _both("told", came and _unsettled(came, counted)))
    _keep(waiting, "known_labels", _of(known_labels or _NO_LABELS, "moved"))
    earlier = _tallies(waiting, portable.known("SELECT * FROM told", "known_labels", now=now))
    later = _tallies(waiting, portable.known("SELECT * FROM moved", _both("known_labels", fresh), now=now))
    if not _is_exact(total((*known.matched.values(), *later.values()))):
        return None
    none = Tally()
    found = {
        key: (known.matched.get(key, none) + later.get(key, none)).without(earlier.get(key, none))
        for key in {*known.matched, *later}.intersection(own)
    }
    return {key: tally for key, tally in found.items() if tally.cells or tally.delays}


def _keep(waiting: Waiting, name: str, rows: str) -> None:
    waiting.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM {rows}")


def _both(one: str, two: str | None) -> str:
    return f"(SELECT * FROM {one} UNION ALL BY NAME SELECT * FROM {two})" if two else one


def _is_exact(tally: Tally) -> bool:
    """Say whether all words, and all values of slices, are counted by themselves."""
    words = {(cell[2], cell[3]) for cell in tally.cells}
    values = Counter(column for column, _ in {(part[2], part[3]) for part in tally.slices})
    few = len(words) <= portable.MOST_WORDS and all(n < portable.MOST_VALUES for n in values.values())
    return few and not any(portable.OTHER in pair for pair in words)


def _tallies(waiting: Waiting, rows: str) -> dict[str, Tally]:
    """Count rows with their labels, and how long these took, by the key of their piece."""
    waiting.connection.execute(f"CREATE OR REPLACE TEMP VIEW matched AS {rows}")
    found = portable.cells(waiting.ask, DUCKDB, "SELECT * FROM matched", slices=waiting.plan.slices)
    took: dict[str, dict[Delay, int]] = {}
    hours = delays.hours("label_us")
    query = (
        f"SELECT file, w, {hours}, count(*) FROM matched WHERE label IS NOT NULL AND label_us IS NOT NULL GROUP BY ALL"
    )
    for key, window, each, labels in waiting.ask(query):
        took.setdefault(key, {})[window, each] = labels
    none = Tally()
    return {str(key): replace(found.get(key, none), delays=took.get(str(key), {})) for key in {*found, *took}}


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

_NO_LABELS = (
    "(SELECT NULL::VARCHAR AS file, NULL::UBIGINT AS id, NULL::VARCHAR AS label, 0::BIGINT AS labelled_us, 0::BIGINT AS nth "
    "WHERE false)"
)
