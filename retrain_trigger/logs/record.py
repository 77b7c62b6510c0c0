"""One line of a metrics log as names and values, and the measurement that it states."""

import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from retrain_trigger.core.measurements import Measurement
from retrain_trigger.logs.confusions import confusion
from retrain_trigger.logs.readings import Cell, Kind, Reading, is_empty

Record = dict[str, object]

TWICE: Final = object()
"""Stands for the value of a name that a line holds twice: harmless unless that name is needed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for in the records of a log: the metric by name or path, and names of one's own for other roles.

    `decimal` and `date_format` say how numbers and dates are written, if that is known.
    """

    metric: str
    timestamp: str = "timestamp"
    model: str = "model"
    decimal: str | None = None
    date_format: str | None = None

    @property
    def bounded(self) -> bool:
        """Whether the metric is from 0 to 1."""
        return built_in(self.metric.rpartition(".")[2]) is not None

    @property
    def of_classes(self) -> bool:
        """Whether the metric looks at several classes: it can be told from a confusion table."""
        return built_in(self.metric.rpartition(".")[2]) in _OF_CLASSES


class Draft(NamedTuple):
    """What one record states, as it is written."""

    number: int
    end: int
    file: str
    metric: Cell | None
    counts: tuple[Cell, ...]
    confusion: Cell | None
    classes: Cell | None
    rows: Cell | None
    time: Cell | None
    model: str | None
    drift: tuple[Cell, ...]

    @property
    def numbers(self) -> list[Cell]:
        """All its numbers, but those of the confusion table."""
        return [cell for cell in (self.metric, *self.counts, self.rows, *self.drift) if cell is not None]


def normal(name: str) -> str:
    """Return the spelling under which names are compared; what follows `drift.` keeps its case.

    >>> normal("F1-Score"), normal("val/F1"), normal("Drift.Age")
    ('f1_score', 'val.f1', 'drift.Age')
    """
    return _normal(name) if len(name) <= _REMEMBERED else _spelled(name)


def _spelled(name: str) -> str:
    spelled = name.strip()
    lowered = spelled.lower().replace("-", "_").replace(" ", "_").replace("/", ".")
    return "drift." + spelled[len("drift.") :] if lowered.startswith("drift.") else lowered


def built_in(name: str) -> str | None:
    """Return which built-in metric a name is a name of; None for any other.

    >>> built_in("F1-Score"), built_in("acc"), built_in("rmse")
    ('f1', 'accuracy', None)
    """
    return next((group[0] for group in _SYNONYMS if normal(name) in group), None)


def metric_names(metric: str) -> tuple[str, ...]:
    """Return every name under which a log may hold the metric, the best first; of a path the last part has synonyms.

    >>> metric_names("accuracy")
    ('accuracy', 'acc', 'accuracy_score', 'metrics.accuracy', 'metrics.acc', 'metrics.accuracy_score')
    >>> metric_names("current.f1")
    ('current.f1', 'current.f1_score', 'current.f1score')
    """
    above, dot, name = normal(metric).rpartition(".")
    synonyms = next((group for group in _SYNONYMS if name in group), ())
    names = tuple(f"{above}{dot}{each}" for each in (name, *(other for other in synonyms if other != name)))
    return names if above else names + tuple(f"metrics.{each}" for each in names)


def other_names(records_names: Iterable[str]) -> list[str]:
    """Return those names that could be a metric: all but the ones that have a role of their own."""
    return sorted(name for name in records_names if name and name not in _ROLES and not name.startswith("drift"))


def part_of_its_name(name: str) -> bool:
    """Say whether a column such as `drift_p_value` is about drift as a whole, and not the drift of a feature.

    >>> part_of_its_name("drift_p_value"), part_of_its_name("drift_age")
    (True, False)
    """
    return name.partition("_")[2] in _NOT_FEATURES


def draft(record: Record, wanted: Wanted, *, number: int, end: int, file: str) -> Draft | None:
    """Return what the record states, as it is written; None if it states neither the metric nor its counts.

    An empty value states nothing. Raises ValueError, in words for the reader of the log, if a name appears twice
    or has no name that may be shown.
    """
    roles = (_roles if len(record) <= _REMEMBERED else _roles.__wrapped__)(tuple(record), wanted)
    kind = Kind.SHARE if wanted.bounded else Kind.ANY
    metric = _cell(record, roles.metric, kind)
    counts = tuple(cell for name in roles.counts if (cell := _cell(record, name, Kind.COUNT)) is not None)
    if len(counts) < len(_CONFUSION):
        counts = ()
    table = _cell(record, roles.confusion, Kind.COUNT) if wanted.of_classes else None
    if metric is None and not counts and table is None:
        return None
    return Draft(
        number=number,
        end=end,
        file=file,
        metric=metric,
        counts=counts,
        confusion=table,
        classes=_cell(record, roles.classes, Kind.ANY),
        rows=_cell(record, roles.rows, Kind.COUNT),
        time=_time(record, roles.at),
        model=_model(record, roles.model),
        drift=tuple(_drift(record, roles.drift)),
    )


def measurement(draft: Draft, reading: Reading, *, where: str) -> Measurement:
    """Return what a draft states, read in the log's own way. Raises ValueError if a value cannot be read so.

    `value` is None if the metric is NaN or infinite, or where only the counts are there.
    """
    counts = [reading.number(cell) for cell in draft.counts]
    tp, fp, fn, tn = (int(count or 0) for count in counts) if counts else (0, 0, 0, 0)
    table = confusion(draft.confusion, draft.classes, reading) if draft.confusion else None
    rows = None if draft.rows is None else reading.number(draft.rows)
    if rows is None:
        rows = table.rows if table else tp + fp + fn + tn if counts else None
    return Measurement(
        value=None if draft.metric is None else reading.number(draft.metric),
        where=where,
        file=draft.file,
        end=draft.end,
        at=None if draft.time is None else reading.time(draft.time),
        rows=None if rows is None else int(rows),
        counts=(tp, fp, fn, tn) if counts else None,
        confusion=table,
        model=draft.model,
        drift={cell.name[len("drift.") :]: reading.number(cell) for cell in draft.drift},
    )


class _Roles(NamedTuple):
    """Which of a record's names holds what; None and () if none does."""

    metric: str | None
    at: str | None
    rows: str | None
    model: str | None
    counts: tuple[str, ...]
    confusion: str | None
    classes: str | None
    drift: tuple[str, ...]


@lru_cache(maxsize=64)
def _roles(held: tuple[str, ...], wanted: Wanted) -> _Roles:
    # Cached, since the lines of a log hold the same names.
    names = metric_names(wanted.metric)
    metric = _metric(held, names)
    around = _around(metric or names[0])
    counts = next((found for above in around if (found := _all(held, above))), ())
    return _Roles(
        metric=metric,
        at=_near(held, around, (normal(wanted.timestamp), *TIMES)),
        rows=_near(held, around, _ROWS),
        model=_near(held, around, (normal(wanted.model), *_MODELS)),
        counts=counts,
        confusion=_near(held, around, ("confusion",)),
        classes=_near(held, around, ("classes",)),
        drift=tuple(name for name in held if _is_drift(name)),
    )


def _metric(held: tuple[str, ...], names: tuple[str, ...]) -> str | None:
    """Return the one name under which the metric stands. Raises ValueError if several do, none of them plainly."""
    plain = [name for name in names if "." not in name]
    for tier in (names[:1], plain[1:], names[len(plain) : len(plain) + 1] if plain else (), names[1:]):
        found = [name for name in tier if name in held]
        if len(found) > 1:
            raise ValueError(_several(plain or names, found))
        if found:
            return found[0]
    if plain:
        found = [name for name in held if name.rpartition(".")[2] in plain and not _is_drift(name)]
        if len(found) > 1:
            raise ValueError(_several(plain, found))
        return None
    found = [name for name in held if f".{_unindexed(name)}".endswith(tuple(f".{each}" for each in names))]
    if len(found) > 1:
        raise ValueError(_several(names, found))
    return found[0] if found else None


def _several(names: Sequence[str], found: list[str]) -> str:
    shown = [name if name.isprintable() else reprlib.repr(name) for name in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{names[0]} stands {len(found)} times: {', '.join(shown)}{more}; set `metric` to the one that counts, such as {shown[0]}"


def _unindexed(name: str) -> str:
    return ".".join(part for part in name.split(".") if not part.isdigit())


def _around(name: str) -> tuple[str, ...]:
    """Return what may stand before the names that belong to a metric: they stand beside it, or above it."""
    parts = name.split(".")[:-1]
    above = [".".join(parts[:count]) + "." for count in range(len(parts), 0, -1)]
    return (*above, "") if above else ("", "metrics.")


def _near(held: tuple[str, ...], around: tuple[str, ...], names: tuple[str, ...]) -> str | None:
    return next((above + name for above in around for name in names if above + name in held), None)


def _all(held: tuple[str, ...], above: str) -> tuple[str, ...]:
    names = tuple(above + name for name in _CONFUSION)
    return names if all(name in held for name in names) else ()


def _is_drift(name: str) -> bool:
    if not name.startswith("drift."):
        return name == "drift"
    # A threshold or a p-value beside the distance is the drift of nothing.
    return name.rpartition(".")[2].lower() not in _NOT_FEATURES


def _cell(record: Record, name: str | None, kind: Kind) -> Cell | None:
    if name is None:
        return None
    value = _single(record, name)
    return None if is_empty(value) else Cell(name, value, kind)


def _single(record: Record, name: str) -> object:
    value = record[name]
    if value is TWICE:
        raise ValueError(f"{name!r} appears twice")
    return value


def _time(record: Record, name: str | None) -> Cell | None:
    cell = _cell(record, name, Kind.ANY)
    if cell is None or cell.name not in _CLOCKS:
        return cell
    date = next((record[day] for day in _CLOCKS[cell.name] if isinstance(record.get(day), str)), None)
    return cell if date is None else cell._replace(value=f"{date} {cell.value}")


def _model(record: Record, name: str | None) -> str | None:
    cell = _cell(record, name, Kind.ANY)
    if cell is None:
        return None
    if isinstance(cell.value, str) and cell.value.isprintable():
        return cell.value
    if isinstance(cell.value, int | float) and not isinstance(cell.value, bool):
        return str(cell.value)
    raise ValueError(f"{name} is {reprlib.repr(cell.value)}, not the name of a version")


def _drift(record: Record, names: tuple[str, ...]) -> Iterator[Cell]:
    for name in names:
        if not name.isprintable():
            raise ValueError(f"{reprlib.repr(name)} is not the name of a feature")
        cell = _cell(record, name, Kind.ANY)
        if cell is not None:
            yield cell


_REMEMBERED = 200
"""Characters of a name, and names of a line, up to which they are kept in memory: a hostile log has no end of them."""

_normal = lru_cache(maxsize=512)(_spelled)
_SYNONYMS = (
    ("f1", "f1_score", "f1score"),
    ("f1_macro", "macro_f1", "f1_macro_score"),
    ("accuracy", "acc", "accuracy_score"),
    ("balanced_accuracy", "balanced_acc", "balanced_accuracy_score"),
    ("precision", "precision_score"),
    ("recall", "recall_score"),
)
TIMES = (
    *("timestamp", "ts", "@timestamp", "_timestamp", "time", "datetime", "date_time", "date", "asctime", "wall_time"),
    *("datum", "zeitstempel", "fecha", "day", "week", "month"),
)
"""Names under which a log may hold its times, the best first."""
_CLOCKS = {"time": ("date", "day", "datum"), "uhrzeit": ("datum", "date")}
_ROWS = ("n", "rows", "count", "support")
_OF_CLASSES = frozenset({"f1_macro", "balanced_accuracy"})
_CONFUSION = ("tp", "fp", "fn", "tn")
_MODELS = ("model", "model_version", "version")
_ROLES = frozenset(above + name for name in TIMES + _ROWS + _MODELS for above in ("", "metrics."))
_NOT_FEATURES = frozenset({"threshold", "limit", "detected", "p_value", "pvalue", "p_val", "status"})
_SHOWN = 6
