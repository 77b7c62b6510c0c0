"""Parts of the traffic, each judged for itself: a metric can be well above its threshold and bad for one region."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from retrain_trigger.core.findings import Finding, Verdict, figures, unknown
from retrain_trigger.core.records import Json
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.checks.detector import AnyDetector

MOST = 50
"""Values of a column that are judged, those with the most labelled rows: more slices need more evidence each."""

NAMED = 3
"""A sentence names at most so many slices."""


class Slice(NamedTuple):
    """The rows in which a column has a value; None are those without one."""

    column: str
    value: str | None

    def __str__(self) -> str:
        return f"{self.column} {self.value!r}" if self.value is not None else f"no {self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """The windows of each slice that is judged; `left_out` counts the values beyond MOST; `absent` are columns without a value."""

    windows: Mapping[Slice, Sequence[WindowCounts]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    absent: Sequence[str] = ()


def apart(windows: Sequence[WindowCounts], columns: Sequence[str]) -> Slices:
    """Cut windows by the values of columns; a column without any value has no slices."""
    rows = Counter[Slice]()
    for window in windows:
        for (column, value, *_), count in (window.slices or {}).items():
            rows[Slice(column, value)] += count
    chosen: list[Slice] = []
    left_out, absent = {}, []
    for column in columns:
        own = sorted((each for each in rows if each.column == column), key=lambda s: (-rows[s], s.value or ""))
        if any(each.value is not None for each in own):
            chosen += own[:MOST]
            left_out[column] = max(0, len(own) - MOST)
        else:
            absent.append(column)
    found: dict[Slice, list[WindowCounts]] = {each: [] for each in chosen}
    for window in windows:
        for each, cells in _cells(window).items():
            if each in found:
                found[each].append(_window(window, cells))
    return Slices(windows=found, left_out=left_out, absent=absent)


def check(detectors: Mapping[Slice, AnyDetector], found: Slices) -> Finding:
    """Judge the sequential evidence of all slices; it only warns.

    A slice is named when its own evidence reaches A k, for A = `false_alarm_every` and k slices: each detector must
    have begun with `false_alarm_every` = A k. Then some evidence reaches A k only where the mean of all k reaches A;
    that mean is an e-detector where each of them is one, and so, where no slice is on the wrong side of the threshold,
    the expected number of windows to the first alarm of any is at least A (Shin, Ramdas, Rinaldo, "E-detectors", 2022,
    on mixtures: what Bonferroni's correction is to p-values). The k are the slices seen so far; a new value has all
    of them begin anew. The finding's value is the largest evidence / k, its limit A.

    >>> from retrain_trigger.judge.checks.evidence import begin
    >>> fresh = begin("f1", threshold=0.85, false_alarm_every=2000)
    >>> bad, good = fresh, fresh
    >>> for _ in range(14):
    ...     bad, good = bad.after((60, 20, 20, 100)), good.after((95, 5, 5, 95))
    >>> check({Slice("region", "north"): bad, Slice("region", "south"): good}, Slices()).because
    "region 'north' is under performance_threshold 0.85: f1 0.75 over the last 14 windows (2,800 labelled rows)"
    """
    k = len(detectors)
    first = next(iter(detectors.values()))
    limit = first.false_alarm_every / k
    worst = sorted(detectors, key=lambda each: (-detectors[each].evidence, str(each)))
    named = [each for each in worst if detectors[each].alarms]
    side = "under" if first.game.sign > 0 else "above"
    threshold = figures(first.threshold)[0]
    if named:
        because = "; ".join(_alarm(each, detectors[each], side) for each in named[:NAMED]) + _more(len(named))
    else:
        because = f"none of {_slices(k)} is {side} performance_threshold {threshold} by its own evidence"
    return Finding(
        name="slices",
        verdict=Verdict.BREACH if named else Verdict.PASS,
        value=detectors[worst[0]].evidence / k,
        limit=limit,
        because=because + _notes(found),
        warns=True,
        evidence=_shown("sequential", named, k, found),
    )


def check_points(points: Mapping[Slice, Finding], found: Slices, *, metric: str, threshold: float) -> Finding:
    """Judge what the point rule found of each slice in the latest window; it only warns.

    For metrics without evidence from counts. A slice with too few rows there is not judged; UNKNOWN if none has
    enough. The finding's value is how many slices are on the wrong side, its limit 0.
    """
    known = {each: finding for each, finding in points.items() if finding.verdict is not Verdict.UNKNOWN}
    evidence = _shown("point", [], len(known), found)
    if not known:
        because = f"no slice has enough labelled rows in the latest window{_notes(found)}"
        return unknown("slices", because, limit=0, warns=True, evidence=evidence)
    named = [each for each, finding in known.items() if finding.verdict is Verdict.BREACH]
    because = f"none of {_slices(len(known))} breaches performance_threshold {figures(threshold)[0]} with {metric}"
    if named:
        because = "; ".join(f"{each}: {known[each].because}" for each in named[:NAMED]) + _more(len(named))
    return Finding(
        name="slices",
        verdict=Verdict.BREACH if named else Verdict.PASS,
        value=len(named),
        limit=0,
        because=because + _notes(found),
        warns=True,
        evidence=_shown("point", named, len(known), found),
    )


def nothing(found: Slices) -> Finding:
    """Return the finding where the log has none of the columns."""
    because = f"nothing to judge by slice{_notes(found)}"
    return unknown("slices", because, warns=True, evidence=_shown("none", [], 0, found))


def _cells(window: WindowCounts) -> dict[Slice, dict[tuple[str, str], int]]:
    cells: dict[Slice, dict[tuple[str, str], int]] = {}
    for (column, value, label, said), count in (window.slices or {}).items():
        cells.setdefault(Slice(column, value), {})[label, said] = count
    return cells


def _window(window: WindowCounts, cells: Mapping[tuple[str, str], int]) -> WindowCounts:
    confusion = Confusion(cells)
    return WindowCounts(
        start=window.start, model=window.model, rows=confusion.rows, labelled=confusion.rows, confusion=confusion
    )


def _alarm(each: Slice, detector: AnyDetector, side: str) -> str:
    value, threshold = figures(detector.stretch_value, detector.threshold)
    last = f"the last {detector.stretch_windows:,} windows" if detector.stretch_windows > 1 else "the latest window"
    return (
        f"{each} is {side} performance_threshold {threshold}: {detector.metric} {value} over {last} "
        f"({detector.game.rows(detector.stretch):,} labelled rows)"
    )


def _slices(number: int) -> str:
    return f"{number} slices" if number > 1 else "1 slice"


def _more(named: int) -> str:
    return f"; and {named - NAMED} slices more" if named > NAMED else ""


def _notes(found: Slices) -> str:
    notes = [f"{number:,} more values of {name} are not judged" for name, number in found.left_out.items() if number]
    notes += [f"the log has no value of {name}, which trigger.slices names" for name in found.absent]
    return f" ({'; '.join(notes)})" if notes else ""


def _shown(rule: str, named: Sequence[Slice], slices: int, found: Slices) -> dict[str, Json]:
    return {
        "rule": rule,
        "breached": [list(each) for each in named],
        "slices": slices,
        "left_out": dict(found.left_out),
        "absent": list(found.absent),
    }
