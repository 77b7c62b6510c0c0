"""Whether a new champion does worse than its predecessor was doing, from the windows of both.

Sources: Cochran, Sampling Techniques, 1977 (variance of a ratio); McCullagh, Nelder, Generalized Linear Models, 1989
(overdispersion); Wallace, Bounds on normal approximations to Student's and the chi-square distributions, 1959;
benchmarks/probation.py has what it comes to.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from retrain_trigger.core.events import Standing, Window
from retrain_trigger.core.findings import Finding, Verdict, figures, unknown
from retrain_trigger.core.records import Json
from retrain_trigger.judge.checks import evidence, levels
from retrain_trigger.judge.checks.evidence import DIGITS_END
from retrain_trigger.judge.checks.levels import Kind, Table
from retrain_trigger.judge.checks.overdispersion import FARTHEST, PRIOR_PAIRS, overdispersion
from retrain_trigger.judge.metrics import METRICS, Measure

ONE_PERCENT = 100.0
"""An equally good champion may be rolled back in at most one of so many probations."""

LEVEL_WINDOWS = 7
"""The predecessor's level is that of its latest windows, at most so many: longer ago, the world was another one."""

MOST_WINDOWS = 60
"""Windows of the predecessor that are kept: those before its level only tell how much windows swing."""

FOUND_BAD = 20.0
"""Evidence from which on a stretch of the predecessor's windows is more than chance."""

MIN_PAIRS = 3
"""Pairs of neighbouring windows from which a spread can be told, where only values are known."""

DIFFERENCES = 2 / 3
"""Degrees of freedom of a variance from successive differences, for each of them (von Neumann, 1941)."""

OF_VALUES = DIFFERENCES / 2
"""The same where only values are known: most are from before a fall, and after one values swing more."""

MOST_ODDS = 1e300
"""Odds are reported up to here, so that they are always a finite number."""


def standing(
    version: str,
    windows: Sequence[Window],
    measure: Measure,
    *,
    threshold: float,
) -> Standing:
    """Return how a champion is doing: its level is the stretch of latest windows on the wrong side of `threshold`.

    The stretch is that of the sequential evidence, where counts are known, else the run of latest values on that
    side. Without one, or if it is longer, the latest LEVEL_WINDOWS are its level. With counts, outage days are left
    out (`_usual`), and a stretch needs evidence of FOUND_BAD: a window that is a little low by chance is no stretch.

    >>> weeks = [Window(0.9, None, None)] * 5 + [Window(0.7, None, None)] * 2
    >>> standing("v1", weeks, Measure("f1"), threshold=0.85).level
    2
    """
    kept = tuple(windows[-MOST_WINDOWS:])
    metric, cost = measure.metric, measure.cost
    if _counted(measure, kept):
        counted = levels.kind(measure)
        kept = _usual(kept, counted)
        detector = evidence.begin(metric, threshold=threshold, false_alarm_every=FOUND_BAD, cost=cost)
        for window in kept:
            detector = detector.after(counted.of(window))
        stretch = detector.pooled + detector.stretch_windows if detector.alarms else 0
    else:
        sides = [(each.value - threshold) * measure.sign < 0 for each in kept if each.value is not None]
        stretch = next((place for place, wrong in enumerate(reversed(sides)) if not wrong), len(sides))
    level = min(stretch or LEVEL_WINDOWS, LEVEL_WINDOWS, len(kept))
    return Standing(version=version, windows=kept, level=level)


def check(
    before: Standing,
    windows: Sequence[Window],
    measure: Measure,
    *,
    margin: float,
    looks: int,
    min_rows: int,
) -> Finding:
    """Judge whether a champion does worse, over all `windows` since its promotion, than its predecessor before it.

    With x the champion's metric and y its predecessor's (each over all rows of its windows), and larger better,

        T = (y - x) / SE(y - x),        p = P(noise alone gives T or more),

    breaches where 1/p >= ONE_PERCENT * looks and y - x >= margin: `looks` is the number of windows of the probation,
    after each of which this is asked, so that by Bonferroni at most one equally good champion in ONE_PERCENT is rolled
    back, where windows are exchangeable: where the metric wanders slowly, neighbours are alike and it may be more. The
    finding's value is 1/p ("chance gives this once in ..."), its limit ONE_PERCENT * looks.

    Unknown if either has fewer than `min_rows` labelled rows, where rows are stated, or, with values only, there
    are fewer than MIN_PAIRS pairs. What it cannot know: that the world has become harder for both.

    >>> was = Standing(version="v1", windows=(Window(None, None, (125, 25, 25, 325)),) * 3, level=3)
    >>> options = {"margin": 0.02, "looks": 7, "min_rows": 200}
    >>> check(was, [Window(None, None, (120, 30, 30, 320))], Measure("f1"), **options).verdict.value
    'PASS'
    >>> check(was, [Window(None, None, (108, 40, 42, 310))] * 2, Measure("f1"), **options).because
    'f1 0.72 since its promotion (1,000 rows of 2 windows) is worse than the 0.83 of its predecessor v1 (1,500 rows of 3 windows): chance gives that once in 440,000, probation allows 1 in 700'
    """
    metric, limit = measure.metric, ONE_PERCENT * looks
    if not windows:
        return unknown("probation", f"no {metric} was measured since its promotion", limit=limit)
    seen = _seen(before, tuple(windows), measure)
    if (lacking := _lacking(seen, metric, min_rows)) is not None:
        return unknown("probation", lacking, limit=limit)
    worse = seen.odds >= limit and seen.fall >= margin
    return Finding(
        name="probation",
        verdict=Verdict.BREACH if worse else Verdict.PASS,
        value=seen.odds,
        limit=limit,
        because=_in_words(seen, before, metric, limit, margin, worse=worse),
        evidence={"predecessor": before.version, "judged_windows": len(windows), **_evidence(seen)},
    )


def _seen(before: Standing, now: tuple[Window, ...], measure: Measure) -> "_Seen":
    """Compare two champions; `_from_counts` and `_from_values` say what SE and P are.

    With counts, outage days (`_usual`) of the predecessor are left out, and a champion must be worse with its own and
    without them.
    """
    groups = (before.windows[: -before.level], before.windows[-before.level :], now)
    if not _counted(measure, (*before.windows, *now)):
        return _from_values(groups, sign=measure.sign)
    kind = levels.kind(measure)
    usual = (*groups[:-1], _usual(now, kind, settled=False))
    return min((_from_counts(each, kind, measure.sign) for each in (groups, usual)), key=lambda found: found.odds)


def _lacking(seen: "_Seen", metric: str, min_rows: int) -> str | None:
    """Say what is missing for a judgement; None if nothing is."""
    short = [rows for rows in (seen.rows_before, seen.rows) if rows is not None and rows < min_rows]
    if short:
        return f"{short[-1]:,} labelled rows are fewer than trigger.min_rows {min_rows:,}"
    if math.isnan(seen.odds):
        return f"too few windows of champion and predecessor to tell how much {metric} swings by itself"
    return None


def _evidence(seen: "_Seen") -> dict[str, Json]:
    return {
        "before": seen.before,
        "since": seen.value,
        "fall": seen.fall,
        "overdispersion": seen.overdispersion,
    }


class _Seen(NamedTuple):
    """Both levels, by how much the champion is worse, and the odds of that by chance; NaN if they are unknown."""

    before: float
    value: float
    fall: float
    odds: float
    overdispersion: float | None
    rows_before: int | None
    rows: int | None
    windows_before: int
    windows: int


def _counted(measure: Measure, windows: Sequence[Window]) -> bool:
    if measure.metric not in METRICS or not windows:
        return False
    kind = levels.kind(measure)
    return all(kind.of(each) is not None for each in windows)


def _usual(windows: Sequence[Window], kind: Kind[Table], *, settled: bool = True) -> tuple[Window, ...]:
    """Leave out outage days: windows that are far above both neighbours, or far below both.

    Far is r^2 > FARTHEST D (judge/checks/overdispersion.py). Of three windows or more, the first is held against the second
    alone. The latest is held against the one before it, until the next one has come, if nothing is `settled` yet, and
    else kept: it may be the first of a fall. A window that the metric does not look at is nobody's neighbour.
    """
    tables = ((place, kind.of(each)) for place, each in enumerate(windows))
    seen = {place: table for place, table in tables if table is not None and kind.looks_at(table)}
    farthest = FARTHEST * overdispersion(_swings(tuple(seen.values()), kind))
    inner = [_step(one, other, kind, farthest) for one, other in pairwise(seen.values())]
    first = -inner[0] if len(inner) > 1 and not inner[1] else 0
    last = -inner[-1] if inner and not settled and not any(inner[-2:-1]) else 0
    steps = zip(seen, pairwise([first, *inner, last]), strict=False)
    outages = {place for place, (into, out) in steps if into and into == -out}
    return tuple(each for place, each in enumerate(windows) if place not in outages)


def _step(one: Table, other: Table, kind: Kind[Table], farthest: float) -> int:
    """Return 1 if the metric rises far from one window to the next, -1 if it falls far, else 0."""
    if (kind.swing(one, other) or 0.0) <= farthest:
        return 0
    before, after, _ = kind.levels(one, other)
    return (before < after) - (before > after)


def _from_counts(groups: Sequence[Sequence[Window]], kind: Kind[Table], sign: int) -> _Seen:
    """Compare counts; judge/checks/levels.py says what the variance of a difference is.

    SE^2 = O times that variance, O the overdispersion (judge/checks/overdispersion.py) of neighbouring windows of one
    champion; the pair where the predecessor's level begins is left out, as is the change of champion. P is the normal
    tail; where O > 1 that of Student's t, with DIFFERENCES degrees of freedom for each pair (Wallace's approximation).
    """
    tables = [[table for each in group if (table := kind.of(each)) is not None] for group in groups]
    swings = [found for group in tables for found in _swings(group, kind)]
    swing = overdispersion(swings)
    then, now = (kind.total(group) for group in tables[1:])
    before, value, variance = kind.levels(then, now)
    fall, error = sign * (before - value), math.sqrt(swing * variance)
    return _Seen(
        before,
        value,
        fall,
        _odds(fall, error, freedom=DIFFERENCES * (PRIOR_PAIRS + len(swings)) if swing > 1 else math.inf),
        swing,
        kind.rows(then),
        kind.rows(now),
        len(tables[1]),
        len(tables[2]),
    )


def _swings(tables: Sequence[Table], kind: Kind[Table]) -> list[float]:
    """Return how far neighbours are apart; those whose rows are all alike say nothing."""
    found = [kind.swing(*pair) for pair in pairwise(table for table in tables if kind.looks_at(table))]
    return [each for each in found if each is not None]


def _from_values(groups: Sequence[Sequence[Window]], *, sign: int) -> _Seen:
    """Compare values only, of k and m windows.

    SE^2 = s^2 (1/k + 1/m), s^2 = sum (x_w - x_{w-1})^2 / 2 / pairs; P is the tail of Student's t, with OF_VALUES
    degrees of freedom for each pair (Wallace's approximation).
    """
    values = [[each.value for each in group if each.value is not None] for group in groups]
    squares = [(one - other) ** 2 / 2 for group in values for one, other in pairwise(group)]
    _, then, now = values
    before, value = (sum(group) / len(group) if group else math.nan for group in (then, now))
    fall = sign * (before - value)
    odds = math.nan
    if len(squares) >= MIN_PAIRS and then and now:
        error = math.sqrt(sum(squares) / len(squares) * (1 / len(then) + 1 / len(now)))
        odds = _odds(fall, error, freedom=OF_VALUES * len(squares))
    rows_before, rows = (
        None if any(each.rows is None for each in group) else sum(each.rows or 0 for each in group)
        for group in groups[1:]
    )
    return _Seen(before, value, fall, odds, None, rows_before, rows, len(then), len(now))


def _odds(fall: float, error: float, *, freedom: float) -> float:
    """Return 1/p, at least 1; NaN if the fall is unknown."""
    if math.isnan(fall):
        return math.nan
    if error == 0:
        return MOST_ODDS if fall > 0 else 1.0
    chance = math.erfc(_normal(fall / error, freedom) / math.sqrt(2)) / 2
    return min(1 / chance, MOST_ODDS) if chance > 0 else MOST_ODDS


def _normal(t: float, freedom: float) -> float:
    """Return the normal deviate with nearly the tail of Student's t (Wallace, 1959)."""
    if math.isinf(freedom):
        return t
    deviate = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))
    return math.copysign(deviate, t)


def _in_words(seen: _Seen, before: Standing, metric: str, limit: float, margin: float, *, worse: bool) -> str:
    value, level = figures(seen.value, seen.before)
    own = f"{metric} {value} since its promotion ({_rows(seen.rows, seen.windows)})"
    other = f"the {level} of its predecessor {before.version} ({_rows(seen.rows_before, seen.windows_before)})"
    odds = f"once in {_shown(seen.odds)}, probation allows 1 in {limit:,.0f}"
    if worse:
        return f"{own} is worse than {other}: chance gives that {odds}"
    if seen.fall >= margin and seen.fall > 0:
        return f"{own} is under {other}, and chance may give that: {odds}"
    return f"{own} is not worse than {other} by promotion.margin {margin:g}"


def _rows(rows: int | None, windows: int) -> str:
    counted = f"{windows:,} window{'s' if windows != 1 else ''}"
    return counted if rows is None else f"{rows:,} rows of {counted}"


def _shown(odds: float) -> str:
    """Write odds with two digits, rounded down: what is just under a limit must not read as if it had reached it."""
    if odds >= DIGITS_END:
        return f"{odds:.0e}"
    step = 10 ** max(0, int(math.log10(odds)) - 1)
    return f"{math.floor(odds) // step * step:,}"
