"""Files of labels: what is new of them is read, and kept until the rows that it belongs to are counted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import duckdb

from retrain_trigger.core.errors import DataError
from retrain_trigger.counts.words import NOTHING
from retrain_trigger.engines import formats, parts, tables
from retrain_trigger.engines.counted import Counted, Truth
from retrain_trigger.engines.database import told
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
            before = _before(earlier.get(file.path), file)
            end, key = (before.end, before.key) if before else (0, str(next(keys)))
            tail = before.tail if before and before.file == file else ""
            for portion in () if tail else portions(file, end, Path(folder)):
                # A last line without an end is read again when it has one, and is kept under a key of its own until then.
                tail = "" if portion.span.closed else f"{key} from {portion.span.start}"
                fresh.append(Portion(portion.lines, file, portion.span, tail or key))
                end = portion.span.end if portion.span.closed else end
            mark = parts.fingerprint(file.path, Span(0, end)) if parts.grows(file) else ""
            truth.append(Truth(key=key, file=file, end=end, mark=mark, tail=tail))
        if fresh:
            _keep(waiting, fresh)
    return Read(tuple(truth), is_new=bool(fresh))


def _before(known: Truth | None, file: FileState) -> Truth | None:
    """Return how far a file was read, if what was read of it still stands there."""
    if known is None or not parts.goes_on(known.file, file, [(Span(0, known.end), known.mark)]):
        return None
    return known


def _keep(waiting: Waiting, fresh: Sequence[Portion]) -> None:
    """Keep the labels that portions hold. Raises DataError if a column is missing."""
    names = label_columns(waiting.plan.columns)
    plan = replace(waiting.plan, columns={**waiting.plan.columns, **names}, bins={}, slices=())
    place = waiting.last_label()
    by_path = {portion.lines.path: portion for portion in fresh}
    try:
        for group in formats.groups(waiting.connection, [portion.lines for portion in fresh], plan):
            for role in ("id", "label"):
                if not group.holds(names[role]):
                    raise DataError(
                        tables.missing(names[role], role, group.seen, where="logs.labels", key="logs.label_columns")
                    )
            place = (place >> 40) + 1 << 40  # what comes later counts, also after files were put together
            waiting.add_labels(_labels(group, plan, [by_path[each.path].key for each in group.files], place))
            _check_lines(waiting, group)
    except duckdb.Error as error:
        raise DataError(f"logs.labels {plan.labels} cannot be read: {told(error)}") from error


def _labels(group: Group, plan: Plan, keys: Sequence[str], place: int) -> str:
    """Return a query for the labels of files, by the key of each, numbered from a place on."""
    found = group.rows(plan)
    arrived = found.roles.get("labelled", "CAST(NULL AS TIMESTAMPTZ)")
    source = "[" + ", ".join(map(text, keys)) + "]"
    query = (
        f"SELECT {source}[{found.file} + 1] AS file, hash({found.roles['id']}) AS id, {found.roles['truth']} AS label, "
        f"epoch_us({arrived}) AS labelled_us, {place} + row_number() OVER () AS nth, {found.roles['id']} AS name "
        f"FROM {found.relation}"
    )
    nothing = ", ".join(text(word) for word in sorted(NOTHING))
    return f"SELECT * FROM ({query}) WHERE name IS NOT NULL AND label IS NOT NULL AND lower(trim(label)) NOT IN ({nothing})"


def _check_lines(waiting: Waiting, group: Group) -> None:
    """Raise DataError if too many lines of a table that was just read are no rows."""
    bad = sum(map(len, group.rejected(waiting.connection).values()))
    if bad:
        rows = waiting.ask(f"SELECT count(*) FROM {group.read(group.files)}")[0][0]
        group.rejected(waiting.connection)
        tables.check_lines(f"logs.labels {group.files[0].file}", bad, rows + bad, csv=True)
