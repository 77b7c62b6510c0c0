"""Sequential evidence of decay: whether a metric has fallen under its threshold, however often one looks."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache, partial

from retrain_trigger.core.findings import ALERT, NOTHING, Finding, Verdict, figures, noted, unknown
from retrain_trigger.core.lines import Asked, Lines
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.core.records import Document, Json
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.judge.checks.classes import FEWEST_ROWS, OfClasses
from retrain_trigger.judge.checks.detector import (
    MOST_POOLED,
    MOST_REPEATS,
    AnyDetector,
    Detector,
    finite,
)
from retrain_trigger.judge.checks.ratios import Counts, dot, of_ratio
from retrain_trigger.judge.metrics import METRICS, RATIOS

DIGITS_END = 1e9
"""From here on, odds and evidence are written as a power of ten."""

NAMED = 3
"""A sentence names at most so many classes."""


@lru_cache(maxsize=64)
def begin(
    metric: str, *, threshold: float, false_alarm_every: float, cost: tuple[float, float] = (1.0, 1.0)
) -> AnyDetector:
    """Return the detector that has seen nothing: of a ratio of counts or of several classes, by what the metric is.

    `cost` weighs a false positive and a false negative. Raises KeyError for a metric that is not in METRICS, ValueError
    for a threshold that is not a number and for a `false_alarm_every` under one window.

    >>> detector = begin("f1", threshold=0.85, false_alarm_every=1000)
    >>> for _ in range(11):
    ...     detector = detector.after((120, 25, 28, 327))
    >>> round(detector.evidence), detector.alarms, round(detector.overdispersion, 2)
    (2795, True, 1.0)
    """
    if METRICS[metric].ratio:
        return Detector.begin(of_ratio(metric, threshold, cost), false_alarm_every=false_alarm_every)
    return Detector.begin(OfClasses(metric, threshold), false_alarm_every=false_alarm_every)


def counts_of(metric: str, measurement: Measurement) -> Counts | Confusion | None:
    """Return what is known of a window that evidence for a metric of METRICS needs; None if nothing is."""
    return measurement.counts if metric in RATIOS else measurement.confusion


REMEMBERED = 100
"""Windows back to which a late label has no older ones folded again."""

Memo = dict[tuple[str, ...], tuple[AnyDetector, Sequence[Measurement], deque[AnyDetector]]]
"""By what it is about: what evidence began with, the windows already seen, and the evidence after each of the last ones.

A replay that keeps one costs what is new.
"""


def check(detector: AnyDetector, *, note: str = "", more: Document = NOTHING) -> Finding:
    """Judge the evidence so far; unknown if no window has a row that the metric looks at, or too few of some classes.

    The finding's value is the evidence and its limit `false_alarm_every`. The metric that is told is that of the latest
    window that has such a row, which `note` has to name.

    A latest window on the wrong side that is no proof yet is a PASS with `evidence["watching"]`; `evidence["needs"]`
    says about how many more windows like it would be. `more` is evidence that stands beside it.

    >>> detector = begin("f1", threshold=0.85, false_alarm_every=1000).after((120, 25, 28, 327))
    >>> check(detector, note="2026-01-05").because
    'f1 0.82 is under performance_threshold 0.85, not proven yet: evidence 1 of 1,000, about 9 more such windows would prove it (2026-01-05)'
    """
    if because := _unjudged(detector):
        shown = {**_awaited(detector), **more}
        return unknown(detector.metric, noted(because, note), limit=detector.false_alarm_every, evidence=shown)
    note = _with_pools(detector, note)
    needs = detector.repeats_to_alarm()
    return Finding(
        name=detector.metric,
        verdict=Verdict.BREACH if detector.alarms else Verdict.PASS,
        value=detector.evidence,
        limit=detector.false_alarm_every,
        because=_breached(detector, note) if detector.alarms else _passed(detector, needs, note),
        evidence={**_shown(detector, needs), **more},
    )


def alert(detector: AnyDetector, *, note: str = "") -> Finding | None:
    """Return the last alert of a detector, which only warns; None if there was none.

    >>> detector = begin("f1", threshold=0.85, false_alarm_every=1000).after((60, 90, 90, 260))
    >>> alert(detector, note="2026-01-05").because
    'f1 0.4 is under performance_threshold 0.85 beyond chance: evidence 2e+49 from this window alone, alerts begin at 1,000,000 (2026-01-05)'
    """
    found = detector.last_alert
    if found is None:
        return None
    seen, threshold = figures(found.value, detector.threshold)
    own, limit = finite(found.log), detector.alert_limit
    alone = "this window alone" if found.pooled == 1 else f"these {found.pooled} windows alone"
    because = (
        f"{detector.metric} {seen} is {_side(detector)} performance_threshold {threshold} beyond chance: evidence "
        f"{_whole(own)} from {alone}, alerts begin at {_whole(limit)}"
    )
    return Finding(
        name=ALERT,
        verdict=Verdict.BREACH,
        value=own,
        limit=limit,
        because=noted(because, note),
        warns=True,
        evidence={"latest": found.value, "threshold": detector.threshold},
    )


def looks_at(metric: str, measurement: Measurement) -> bool:
    """Say whether a metric of METRICS looks at any of the rows counted: without one it has no value.

    >>> none_positive = Measurement(value=None, where="log:1", file="log", end=9, counts=(0, 0, 0, 240))
    >>> looks_at("f1", none_positive), looks_at("accuracy", none_positive)
    (False, True)
    """
    table = counts_of(metric, measurement)
    if isinstance(table, Confusion):
        return table.rows > 0
    return table is not None and dot(RATIOS[metric].whole, table) > 0


@cache
def looking(metric: str) -> Asked:
    """Return the question whether a metric of METRICS looks at any row of a measurement."""
    return partial(looks_at, metric)


def folded(
    begin: AnyDetector, measurements: Sequence[Measurement], memo: Memo, name: tuple[str, ...] = ()
) -> AnyDetector:
    """Return a detector after the windows with counts, going on from where the memo left those of this `name`.

    A late label changes a window in the middle: then those from there on are folded again, or all if it is long ago.
    """
    began, seen, after = memo.get(name, (begin, (), deque([begin], REMEMBERED)))
    kept = _alike(measurements, seen)
    if not (began is begin or began == begin) or len(seen) - kept >= len(after):
        seen, kept, after = (), 0, deque([begin], REMEMBERED)
    for _ in range(len(seen) - kept):
        after.pop()
    for measurement in measurements[kept:]:
        table = counts_of(begin.metric, measurement)
        after.append(after[-1] if table is None else after[-1].after(table))
    memo[name] = (begin, measurements, after)
    return after[-1]


def _alike(measurements: Sequence[Measurement], seen: Sequence[Measurement]) -> int:
    """Return how many of the first measurements are those that were seen."""
    if isinstance(measurements, Lines):
        return len(seen) if seen and measurements.goes_on(seen) else 0
    pairs = enumerate(zip(measurements, seen, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(measurements), len(seen)))


def _unjudged(detector: AnyDetector) -> str:
    """Say why nothing can be said of the latest windows; empty if something can."""
    if not detector.windows:
        return f"no window has a row that {detector.metric} looks at"
    if not detector.latest_windows:
        plural = "window" if MOST_POOLED - detector.pooled == 1 else "windows"
        return (
            f"{detector.metric} waits for rows: {_short(detector, detector.pool)} in {_windows(detector.pooled)}; "
            f"windows are pooled until each class has so many, at most {MOST_POOLED - detector.pooled} more {plural}"
        )
    if math.isnan(detector.latest_value):
        return (
            f"{detector.metric} cannot be told: {_short(detector, detector.latest)} in "
            f"{_windows(detector.latest_windows)}, so more than half of the classes would be left out"
        )
    return ""


def _awaited(detector: AnyDetector) -> Mapping[str, Json]:
    """Return about how many windows more are waited for, where the first ones are being pooled; no time ends that wait."""
    if not detector.pooled or detector.latest_windows:
        return {}
    left = MOST_POOLED - detector.pooled
    short = detector.game.short(detector.pool).values()
    needs = max(
        (math.ceil((FEWEST_ROWS - rows) * detector.pooled / rows) if rows else left for rows in short), default=left
    )
    return {"rule": "sequential", "needs": min(needs, left), "until": None}


def _with_pools(detector: AnyDetector, note: str) -> str:
    """Add to a note which classes were left out, and which windows are not judged yet."""
    said = [note] if note else []
    if detector.game.short(detector.latest):
        said.append(f"left out: {_short(detector, detector.latest)}")
    if detector.pooled:
        later = "1 later window is" if detector.pooled == 1 else f"{detector.pooled} later windows are"
        said.append(f"{later} pooled with the next: {_short(detector, detector.pool)}")
    return "; ".join(said)


def _short(detector: AnyDetector, table: Confusion) -> str:
    """Name the classes that have too few rows in a table, those with the fewest first."""
    short = detector.game.short(table)
    if not short:
        return f"all rows are of class {min(table.classes)!r}"
    named = [f"{name!r} ({short[name]})" for name in sorted(short, key=lambda name: (short[name], name))]
    if len(named) == 1:
        ((name, rows),) = short.items()
        return f"class {name!r} has {rows} of {FEWEST_ROWS} labelled rows"
    more = [f"{len(named) - NAMED} more"] if len(named) > NAMED else []
    *first, last = (*named[:NAMED], *more)
    return f"classes {', '.join(first)} and {last} have fewer than {FEWEST_ROWS} labelled rows"


def _windows(number: int) -> str:
    return "1 window" if number == 1 else f"{number} windows"


def _breached(detector: AnyDetector, note: str) -> str:
    value, threshold = figures(detector.stretch_value, detector.threshold)
    last = f"the last {detector.stretch_windows:,} windows" if detector.stretch_windows > 1 else "the latest window"
    rows = f"{detector.game.rows(detector.stretch):,} labelled rows" + (f"; {note}" if note else "")
    return (
        f"{detector.metric} {value} over {last} is {_side(detector)} performance_threshold {threshold}: "
        f"evidence {_whole(detector.evidence)} reaches trigger.false_alarm_every {_whole(detector.false_alarm_every)} ({rows})"
    )


def _passed(detector: AnyDetector, needs: int | None, note: str) -> str:
    value, threshold = figures(detector.latest_value, detector.threshold)
    proof = f"evidence {_whole(detector.evidence)} of {_whole(detector.false_alarm_every)}"
    if _watched(detector):
        said = f"is {_side(detector)} performance_threshold {threshold}, not proven yet: {proof}, {_repeats(needs)}"
    else:
        opposite = "at or above" if _side(detector) == "under" else "at or under"
        said = f"is {opposite} performance_threshold {threshold}: {proof} that it is {_side(detector)} it"
    over = "" if detector.latest_windows == 1 else f" over {detector.latest_windows} windows"
    return noted(f"{detector.metric} {value}{over} {said}", note)


def _repeats(needs: int | None) -> str:
    if needs is None:
        return f"more than {MOST_REPEATS:,} more such windows would be needed to prove it"
    return "1 more such window would prove it" if needs == 1 else f"about {needs:,} more such windows would prove it"


def _watched(detector: AnyDetector) -> bool:
    """Whether the latest window is on the wrong side of the threshold, and that is no proof yet."""
    return not detector.alarms and detector.is_under


def _side(detector: AnyDetector) -> str:
    return "under" if detector.game.sign > 0 else "above"


def _whole(evidence: float) -> str:
    # Rounded down: 999.9 of 1,000 must not read as if it had been reached.
    return f"{math.floor(evidence):,}" if evidence < DIGITS_END else f"{evidence:.0e}"


def _shown(detector: AnyDetector, needs: int | None) -> dict[str, Json]:
    return {
        "rule": "sequential",
        "watching": _watched(detector),
        "needs": needs,
        "threshold": detector.threshold,
        "latest": detector.latest_value,
        "stretch": detector.stretch_value if detector.stretch_windows else None,
        "stretch_windows": detector.stretch_windows,
        "stretch_rows": detector.game.rows(detector.stretch),
        "judged_windows": detector.windows,
        "overdispersion": detector.overdispersion,
    }
