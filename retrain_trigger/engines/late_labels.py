"""Files of labels: what is new of them is read, and kept until the rows that it belongs to are counted."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.counts.words import NOTHING
from retrain_trigger.engines import database, formats, parts, tables
from retrain_trigger.engines.counted import Counted, Truth
from retrain_trigger.engines.parts import Span
from retrain_trigger.engines.plan import Plan, label_columns
from retrain_trigger.engines.portions import Portion, portions
from retrain_trigger.engines.sources import FileState
from retrain_trigger.engines.spelled import Group
from retrain_trigger.engines.sql import text
from retrain_trigger.engines.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Read:
    """How far files of labels are read, and whether anything of them was new."""

    truth: tuple[Truth, ...]
    is_new: bool


def read(waiting: Waiting, known: Counted, labels: Sequence[FileState], *, scratch: Path) -> Read:
    """Read what is new of files of labels, and keep it."""
    earlier = {each.file.path: each for each in known.truth}
    keys = count(max((int(each.key) for each in known.truth), default=0) + 1)
    truth, fresh = list[Truth](), list[Portion]()
    with parts.folder(scratch) as folder:
        for file in labels:
            each, new = _read_on(_before(earlier.get(file.path), file, keys), Path(folder))
            truth.append(each)
            fresh += new
        bad = _keep(waiting, fresh) if fresh else {}
    told = [replace(each, bad=each.bad + bad.get(each.key, 0)) for each in truth]
    return Read(tuple(told), is_new=bool(fresh))


def _before(known: Truth | None, file: FileState, keys: Iterator[int]) -> Truth:
    """Return how far a file is read: from its beginning on if what was read of it no longer stands there."""
    if known is None or not parts.goes_on(known.file, file, [(Span(0, known.end), known.mark)]):
        return Truth(key=str(next(keys)), file=file, end=0)
    return replace(known, file=file, tail=known.tail if known.file == file else "")


def _read_on(truth: Truth, folder: Path) -> tuple[Truth, list[Portion]]:
    """Return how far a file is read then, and what is new of it."""
    file, end, tail, left_out = truth.file, truth.end, truth.tail, 0
    fresh: list[Portion] = []
    for portion in () if tail else portions(file, end, folder):
        left_out = portion.left_out
        if left_out:
            continue
        # A last line without an end is read again when it has one, and is kept under a key of its own until then.
        tail = "" if portion.span.closed else f"{truth.key} from {portion.span.start}"
        fresh.append(replace(portion, key=tail or truth.key))
        end = portion.span.end if portion.span.closed else end
    mark = parts.fingerprint(file.path, Span(0, end)) if parts.grows(file) else ""
    return replace(truth, end=end, mark=mark, tail=tail, left_out=left_out), fresh


def _keep(waiting: Waiting, fresh: Sequence[Portion]) -> dict[str, int]:
    """Keep the labels that portions hold; return how many lines are none, by key. Raises DataError if a column is missing."""
    names = label_columns(waiting.plan.columns)
    plan = replace(waiting.plan, columns={**waiting.plan.columns, **names}, bins={}, slices=())
    place, bad = waiting.last_label(), Counter[str]()
    by_path = {portion.lines.path: portion for portion in fresh}
    try:
        for group in formats.groups(waiting.connection, [portion.lines for portion in fresh], plan):
            for role in ("id", "label"):
                if not group.holds(names[role]):
                    raise DataError(
                        tables.missing(names[role], role, group.seen, where="logs.labels", key="logs.label_columns")
                    )
            place = (place >> 40) + 1 << 40  # what comes later counts, also after files were put together
            own = [by_path[each.path].key for each in group.files]
            kept = waiting.add_labels(_labels(group, plan, own, place))
            blank = dict(waiting.ask(f"SELECT file, count(*) FROM {kept} WHERE id IS NULL GROUP BY file"))
            rejected = group.rejected(waiting.connection)
            for each in group.files:
                bad[by_path[each.path].key] += len(rejected.get(each.path, ()))
            bad.update(blank)
            _check_lines(waiting, group, sum(blank.values()) + sum(map(len, rejected.values())))
    except duckdb.Error as error:
        raise DataError(f"logs.labels {plan.labels} cannot be read: {database.told(error)}") from error
    return bad


def _labels(group: Group, plan: Plan, keys: Sequence[str], place: int) -> str:
    """Return a query for the labels of files, by the key of each, numbered from a place on."""
    found = group.rows(plan)
    arrived = found.roles.get("labelled", "CAST(NULL AS TIMESTAMPTZ)")
    source = "[" + ", ".join(map(text, keys)) + "]"
    query = (
        f"SELECT {source}[{found.file} + 1] AS file, hash({found.roles['id']}) AS id, {found.roles['truth']} AS label, "
        f"epoch_us({arrived}) AS labelled_us, {place} + row_number() OVER () AS nth, {found.roles['id']} AS name, "
        f"{group.blank} AS blank FROM {found.relation}"
    )
    nothing = ", ".join(text(word) for word in sorted(NOTHING))
    given = f"name IS NOT NULL AND label IS NOT NULL AND lower(trim(label)) NOT IN ({nothing})"
    # A line that is none is kept without an id, to be counted.
    return f"SELECT * EXCLUDE (blank) REPLACE (CASE WHEN name IS NOT NULL THEN id END AS id) FROM ({query}) WHERE blank OR ({given})"


def _check_lines(waiting: Waiting, group: Group, bad: int) -> None:
    """Raise DataError if too many lines are no labels."""
    if bad > 1:
        rows = waiting.ask(f"SELECT count(*) FROM {group.read(group.files)}")[0][0]
        group.rejected(waiting.connection)
        is_csv = group.kind == "csv"
        tables.check_lines(f"logs.labels {group.files[0].file}", bad, rows + (bad if is_csv else 0), csv=is_csv)
