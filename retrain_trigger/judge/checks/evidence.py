"""Sequential evidence of decay: whether a metric has fallen under its threshold, however often one looks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from retrain_trigger.core.findings import ALERT, NOTHING, Finding, Verdict, figures, noted, unknown
from retrain_trigger.core.lines import Asked, Lines
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.core.records import Document, Json
from retrain_trigger.judge.checks.overdispersion import LATEST_PAIRS, overdispersion, swing
from retrain_trigger.judge.metrics import RATIOS, Cells, Ratio

Counts = tuple[int, int, int, int]
"""Rows of one window: tp, fp, fn, tn. For accuracy over more than two classes: right, wrong, 0, 0."""

BETS = tuple(0.001 * 900 ** (step / 11) for step in range(12))
"""Shares of the largest gain that are staked on decay, 0.001 to 0.9: a small fall needs a small stake."""

SMALLEST_GAIN = 1e-9
"""Part of the largest |g| that stands in for the largest gain if there is none: at f1 >= 1 nothing is gained."""

LEAST_ALERT = 1000.0
"""An alert needs the square of so much evidence from one window, however small `false_alarm_every` is."""

MOST_REPEATS = 1000
"""How many windows like the latest are counted at most until an alarm."""

MOST_EVIDENCE = 1e300
"""Evidence is reported up to here, so that it is always a finite number."""


class Alert(NamedTuple):
    """A window that is beyond chance by itself: which it was, counted from 1, the log of its own evidence, its counts."""

    window: int
    log: float
    counts: Counts


DIGITS_END = 1e9
"""From here on, odds and evidence are written as a power of ten."""

_ROUNDING = 1e-9  # a logarithm so near 0 is that of 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """The evidence, after some windows, that a metric of RATIOS is on the wrong side of its threshold t.

    A metric N/D of counts is under t exactly when the mean over rows of g = n - t d is below 0 (n and d are what a
    row adds to N and D; F1: g = 2-2t on a true positive, -t on a false positive or negative, else 0). Someone who
    bets the share b of what they have on every row keeps, after window w,

        E_w(b) = product over its rows of (1 - b g),        M_w(b) = E_w(b) (1 + M_{w-1}(b)),        M_0 = 0,

    and at b = BETS / (largest g) never loses all. `evidence` is the mean of M_w over the bets, without a unit; it
    alarms at `false_alarm_every` = A windows. Windows swing more than rows do, so E_w is tempered:

        E_w <- min(E_w^(1/D), C),        C = min(sqrt(12 A), max(A/3, 1)),

    D the overdispersion (judge/checks/overdispersion.py) of the latest 100 pairs of *earlier* neighbours, over the rows that
    the metric looks at. C lets two windows alarm (12 bets: where only one of them reaches C twice, the mean is A), and
    one outage day hardly ever. A window without a row that the metric looks at is skipped. Any number of rows is valid.

    The stretch is the run of latest windows in which -g sums to the most; the metric over all its rows is on the
    wrong side. Without one there is no alarm, whatever the evidence: a model without a mistake never alarms.

    A window alerts where it alone, without C and without earlier windows, is evidence of max(A, 1000)^2, and the window
    before it was not: `alone` is the log of the mean of E_w^(1/D) over the bets. `last_alert` is kept, so that it can be
    told where several windows are judged at once. An alert never retrains.

    Proved: where the metric is at t or better in every window, and rows are independent given the past, the expected
    number of windows to an alarm is at least A, however often one looks (M_w less w is then a supermartingale, and
    neither the tempering, whose D is known before the window, nor the stretch can raise it). Shown by simulation
    only (benchmarks/false_alarms.py): about the same where errors come in blocks of ten or the metric swings from day to
    day with a standard deviation of 0.02, at t and at t+0.03. Not covered: a metric that wanders slowly around t.

    Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (2022);
    Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting" (2020); Podkopaev, Ramdas,
    "Tracking the risk of a deployed machine learning model and detecting harmful distribution shifts" (2021).

    >>> detector = Detector.begin("f1", threshold=0.85, false_alarm_every=1000)
    >>> for _ in range(11):
    ...     detector = detector.after((120, 25, 28, 327))
    >>> round(detector.evidence), detector.alarms, round(detector.overdispersion, 2)
    (2795, True, 1.0)
    """

    metric: str
    threshold: float
    false_alarm_every: float
    cost: tuple[float, float]
    logs: tuple[float, ...]
    windows: int = 0
    swings: tuple[float, ...] = ()
    alone: float = -math.inf
    last_alert: Alert | None = None
    latest: Counts = (0, 0, 0, 0)
    stretch: Counts = (0, 0, 0, 0)
    stretch_windows: int = 0

    @classmethod
    @lru_cache(maxsize=64)
    def begin(
        cls, metric: str, *, threshold: float, false_alarm_every: float, cost: tuple[float, float] = (1.0, 1.0)
    ) -> "Detector":
        """Return the detector that has seen nothing; `cost` weighs a false positive and a false negative.

        Raises KeyError for a metric that is not in RATIOS, ValueError for a threshold that is not a number and for a
        `false_alarm_every` under one window.
        """
        if not math.isfinite(threshold) or not 1 <= false_alarm_every <= MOST_EVIDENCE:
            raise ValueError(f"threshold {threshold}, false_alarm_every {false_alarm_every}")
        detector = cls(
            metric=metric,
            threshold=threshold,
            false_alarm_every=false_alarm_every,
            cost=cost,
            logs=(-math.inf,) * len(BETS),
        )
        _game(metric, threshold, cost)
        return detector

    def after(self, counts: Counts) -> "Detector":
        """Return the detector after one more window; raises ValueError for a negative count."""
        if min(counts) < 0:
            raise ValueError(f"{counts} are not numbers of rows")
        game = _game(self.metric, self.threshold, self.cost)
        if not _dot(game.ratio.whole, counts):
            return self
        temper = self.overdispersion
        won = [_dot(factors, counts) / temper for factors in game.factors]
        alone, limit = _log_mean(won), math.log(self.alert_limit)
        found = swing_between(game.ratio, self.threshold, self.latest, counts)
        swings = self.swings if found is None else (*self.swings, found)[-LATEST_PAIRS:]
        stretch = _added(self.stretch, counts)
        under = _under(game.ratio, stretch, self.threshold)
        return Detector(
            metric=self.metric,
            threshold=self.threshold,
            false_alarm_every=self.false_alarm_every,
            cost=self.cost,
            logs=self._bet(won),
            windows=self.windows + 1,
            swings=swings,
            alone=alone,
            last_alert=Alert(self.windows + 1, alone, counts) if alone >= limit > self.alone else self.last_alert,
            latest=counts,
            stretch=stretch if under else (0, 0, 0, 0),
            stretch_windows=self.stretch_windows + 1 if under else 0,
        )

    @property
    def evidence(self) -> float:
        """The mean of M over the bets, at most MOST_EVIDENCE; 0 before the first window."""
        return _finite(_mean_of_bets(self.logs)) if self.windows else 0.0

    @property
    def overdispersion(self) -> float:
        """D: how many times more than their rows explain the windows differ from their neighbours; at least 1."""
        return _tempering(self.swings)

    @property
    def alarms(self) -> bool:
        """Whether the evidence reaches `false_alarm_every`, with a stretch of windows to show for it."""
        return self.stretch_windows > 0 and self.evidence >= self.false_alarm_every

    @property
    def alerts(self) -> bool:
        """Whether the latest window is beyond chance by itself, and the one before it was not."""
        return self.last_alert is not None and self.last_alert.window == self.windows

    @property
    def latest_value(self) -> float:
        """The metric in the latest window; NaN before the first."""
        return _value(ratio_of(self.metric, self.cost), self.latest)

    @property
    def stretch_value(self) -> float:
        """The metric over all rows of the stretch; NaN if there is none."""
        return _value(ratio_of(self.metric, self.cost), self.stretch)

    def repeats_to_alarm(self) -> int | None:
        """Return after how many more windows like the latest it would alarm, with D as it is now; 0 if it does.

        None if not even MOST_REPEATS are enough, or no window was seen.
        """
        if self.alarms:
            return 0
        if not self.windows or not _under(
            _game(self.metric, self.threshold, self.cost).ratio, self.latest, self.threshold
        ):
            return None
        game, temper, cap = _game(self.metric, self.threshold, self.cost), self.overdispersion, self._cap
        won = [min(_dot(factors, self.latest) / temper, cap) for factors in game.factors]
        low, high = 0, MOST_REPEATS
        if not self._proves(high, won):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._proves(middle, won) else (middle, high)
        return high

    def _proves(self, repeats: int, won: Sequence[float]) -> bool:
        """Say whether so many windows more, each of E, would be proof: M = E^n M_0 + E + E^2 + ... + E^n."""
        logs = []
        enough = math.log(self.false_alarm_every * len(won)) + _ROUNDING
        for each, log in zip(reversed(won), reversed(self.logs), strict=True):
            logs.append(_log_sum(each * repeats + log, _log_powers(each, repeats)))
            if logs[-1] > enough:  # the mean of all is at least this one's share of it
                return True
        return _finite(_log_mean(logs[::-1])) >= self.false_alarm_every

    @property
    def alert_limit(self) -> float:
        """The evidence from which on one window alone is an alert, at most MOST_EVIDENCE."""
        least = max(self.false_alarm_every, LEAST_ALERT)
        return min(least * least, MOST_EVIDENCE)

    @property
    def _cap(self) -> float:
        every = self.false_alarm_every
        return math.log(min(math.sqrt(len(BETS) * every), max(every / 3, 1)))

    def _bet(self, won: Sequence[float]) -> tuple[float, ...]:
        cap = self._cap
        capped = won if max(won) <= cap else [min(each, cap) for each in won]
        return tuple([each + _log_one_plus(log) for each, log in zip(capped, self.logs, strict=True)])


Memo = dict[tuple[str, ...], tuple[Detector, Sequence[Measurement], Detector]]
"""The evidence of windows already seen, and what it began with, by what it is about: a replay that keeps one costs what is new."""


def check(detector: Detector, *, note: str = "", more: Document = NOTHING) -> Finding:
    """Judge the evidence so far; unknown if no window has a row that the metric looks at.

    The finding's value is the evidence and its limit `false_alarm_every`. The metric that is told is that of the latest
    window that has such a row, which `note` has to name.

    A latest window on the wrong side that is no proof yet is a PASS with `evidence["watching"]`; `evidence["needs"]`
    says about how many more windows like it would be. `more` is evidence that stands beside it.

    >>> detector = Detector.begin("f1", threshold=0.85, false_alarm_every=1000).after((120, 25, 28, 327))
    >>> check(detector, note="2026-01-05").because
    'f1 0.82 is under performance_threshold 0.85, not proven yet: evidence 1 of 1,000, about 9 more such windows would prove it (2026-01-05)'
    """
    if not detector.windows:
        because = f"no window has a row that {detector.metric} looks at"
        return unknown(detector.metric, noted(because, note), limit=detector.false_alarm_every, evidence=more)
    needs = detector.repeats_to_alarm()
    return Finding(
        name=detector.metric,
        verdict=Verdict.BREACH if detector.alarms else Verdict.PASS,
        value=detector.evidence,
        limit=detector.false_alarm_every,
        because=_breached(detector, note) if detector.alarms else _passed(detector, needs, note),
        evidence={**_shown(detector, needs), **more},
    )


def alert(detector: Detector, *, note: str = "") -> Finding | None:
    """Return the last alert of a detector, which only warns; None if there was none.

    >>> detector = Detector.begin("f1", threshold=0.85, false_alarm_every=1000).after((60, 90, 90, 260))
    >>> alert(detector, note="2026-01-05").because
    'f1 0.4 is under performance_threshold 0.85 beyond chance: evidence 2e+49 from this window alone, alerts begin at 1,000,000 (2026-01-05)'
    """
    found = detector.last_alert
    if found is None:
        return None
    value = _value(ratio_of(detector.metric, detector.cost), found.counts)
    seen, threshold = figures(value, detector.threshold)
    own, limit = _finite(found.log), detector.alert_limit
    because = (
        f"{detector.metric} {seen} is {_side(detector)} performance_threshold {threshold} beyond chance: evidence "
        f"{_whole(own)} from this window alone, alerts begin at {_whole(limit)}"
    )
    return Finding(
        name=ALERT,
        verdict=Verdict.BREACH,
        value=own,
        limit=limit,
        because=noted(because, note),
        warns=True,
        evidence={"latest": value, "threshold": detector.threshold},
    )


def looks_at(metric: str, counts: Counts | None) -> bool:
    """Say whether a metric of RATIOS looks at any of these rows: without one it has no value.

    >>> looks_at("f1", (0, 0, 0, 240)), looks_at("accuracy", (0, 0, 0, 240))
    (False, True)
    """
    return counts is not None and _dot(RATIOS[metric].whole, counts) > 0


@cache
def looking(metric: str) -> Asked:
    """Return the question whether a metric of RATIOS looks at any row of a measurement."""
    return lambda measurement: looks_at(metric, measurement.counts)


def folded(begin: Detector, measurements: Sequence[Measurement], memo: Memo, name: tuple[str, ...] = ()) -> Detector:
    """Return a detector after the windows with counts, going on from where the memo left those of this `name`.

    A late label changes a window in the middle: then all are folded again.
    """
    began, seen, detector = memo.get(name, (begin, (), begin))
    if not (began is begin or began == begin) or not _go_on(measurements, seen):
        seen, detector = (), begin
    for measurement in measurements[len(seen) :]:
        detector = detector if measurement.counts is None else detector.after(measurement.counts)
    memo[name] = (begin, measurements, detector)
    return detector


def _go_on(measurements: Sequence[Measurement], seen: Sequence[Measurement]) -> bool:
    """Say whether measurements begin with those that were seen."""
    if isinstance(measurements, Lines):
        return not seen or measurements.goes_on(seen)
    return list(measurements[: len(seen)]) == list(seen)


class _Game(NamedTuple):
    """The metric, and for each bet the log of what it is multiplied by on a row of each cell."""

    ratio: Ratio
    factors: tuple[Cells, ...]


_tempering = lru_cache(maxsize=64)(overdispersion)
"""A window asks for D many times: for its evidence, its sentence, and how many more like it would alarm."""


@lru_cache(maxsize=64)
def _game(metric: str, threshold: float, cost: tuple[float, float]) -> _Game:
    ratio = ratio_of(metric, cost)
    tp, fp, fn, tn = (ratio.sign * (n - threshold * d) for n, d in zip(ratio.part, ratio.whole, strict=True))
    gains = (tp, fp, fn, tn)
    largest = max(*gains, SMALLEST_GAIN * max(map(abs, gains)))
    if largest == 0:
        raise ValueError(f"{metric} with threshold {threshold} and cost {cost} says nothing about any row")
    return _Game(ratio, tuple(_factors(gains, bet / largest) for bet in BETS))


@lru_cache(maxsize=64)
def ratio_of(metric: str, cost: tuple[float, float]) -> Ratio:
    """Return a metric of RATIOS, with what a false positive and a false negative cost in it."""
    # Only `cost` has a part on mistakes, so the weights touch nothing else.
    ratio = RATIOS[metric]
    tp, fp, fn, tn = ratio.part
    return ratio._replace(part=(tp, fp * cost[0], fn * cost[1], tn))


def swing_between(ratio: Ratio, level: float, one: Counts, other: Counts) -> float | None:
    """Return the swing (judge/checks/overdispersion.py) of g = n - level d, over the rows of two windows that the metric looks at."""
    gains, ours, theirs = [], [], []
    for n, d, count, more in zip(ratio.part, ratio.whole, one, other, strict=True):
        if d and count + more:
            gains.append(n - level * d)
            ours.append(count)
            theirs.append(more)
    return swing(gains, ours, theirs) if gains else None


def _factors(gains: Cells, bet: float) -> Cells:
    tp, fp, fn, tn = (math.log1p(-bet * gain) for gain in gains)
    return (tp, fp, fn, tn)


def _value(ratio: Ratio, counts: Counts) -> float:
    whole = _dot(ratio.whole, counts)
    return _dot(ratio.part, counts) / whole if whole else math.nan


def _dot(cells: Cells, counts: Counts) -> float:
    return cells[0] * counts[0] + cells[1] * counts[1] + cells[2] * counts[2] + cells[3] * counts[3]


def _added(one: Counts, other: Counts) -> Counts:
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])


def _log_mean(logs: Sequence[float]) -> float:
    """Return the log of the mean of exp(logs) without overflow."""
    top = max(logs)
    return top + math.log(sum([math.exp(log - top) for log in logs]) / len(logs))


_mean_of_bets = lru_cache(maxsize=64)(_log_mean)
"""A window asks for its evidence many times."""


def _finite(log: float) -> float:
    return math.exp(log) if log < math.log(MOST_EVIDENCE) else MOST_EVIDENCE


def _log_one_plus(log: float) -> float:
    """Return log(1 + exp(log)) without overflow."""
    return max(log, 0.0) + math.log1p(math.exp(-abs(log)))


def _log_sum(one: float, other: float) -> float:
    """Return log(exp(one) + exp(other)) without overflow; `other` is finite."""
    return other + _log_one_plus(one - other)


def _log_powers(log: float, n: int) -> float:
    """Return the log of x + x^2 + ... + x^n for x = exp(log) and n of at least 1.

    >>> round(math.exp(_log_powers(math.log(2), 3))), round(math.exp(_log_powers(0.0, 3)))
    (14, 3)
    """
    if abs(log) < _ROUNDING:
        return math.log(n)
    size = abs(log)
    most = n * log if log > 0 else log
    return most + math.log(-math.expm1(-n * size)) - math.log(-math.expm1(-size))


def _breached(detector: Detector, note: str) -> str:
    value, threshold = figures(detector.stretch_value, detector.threshold)
    last = f"the last {detector.stretch_windows:,} windows" if detector.stretch_windows > 1 else "the latest window"
    noted = f"{sum(detector.stretch):,} labelled rows" + (f"; {note}" if note else "")
    return (
        f"{detector.metric} {value} over {last} is {_side(detector)} performance_threshold {threshold}: "
        f"evidence {_whole(detector.evidence)} reaches trigger.false_alarm_every {_whole(detector.false_alarm_every)} ({noted})"
    )


def _passed(detector: Detector, needs: int | None, note: str) -> str:
    value, threshold = figures(detector.latest_value, detector.threshold)
    proof = f"evidence {_whole(detector.evidence)} of {_whole(detector.false_alarm_every)}"
    if _watched(detector):
        said = f"is {_side(detector)} performance_threshold {threshold}, not proven yet: {proof}, {_repeats(needs)}"
    else:
        opposite = "at or above" if _side(detector) == "under" else "at or under"
        said = f"is {opposite} performance_threshold {threshold}: {proof} that it is {_side(detector)} it"
    return noted(f"{detector.metric} {value} {said}", note)


def _repeats(needs: int | None) -> str:
    if needs is None:
        return f"more than {MOST_REPEATS:,} more such windows would be needed to prove it"
    return "1 more such window would prove it" if needs == 1 else f"about {needs:,} more such windows would prove it"


def _watched(detector: Detector) -> bool:
    """Whether the latest window is on the wrong side of the threshold, and that is no proof yet."""
    ratio = ratio_of(detector.metric, detector.cost)
    return not detector.alarms and _under(ratio, detector.latest, detector.threshold)


def _under(ratio: Ratio, counts: Counts, threshold: float) -> bool:
    return ratio.sign * (_value(ratio, counts) - threshold) < 0


def _side(detector: Detector) -> str:
    return "under" if RATIOS[detector.metric].sign > 0 else "above"


def _whole(evidence: float) -> str:
    # Rounded down: 999.9 of 1,000 must not read as if it had been reached.
    return f"{math.floor(evidence):,}" if evidence < DIGITS_END else f"{evidence:.0e}"


def _shown(detector: Detector, needs: int | None) -> dict[str, Json]:
    return {
        "rule": "sequential",
        "watching": _watched(detector),
        "needs": needs,
        "threshold": detector.threshold,
        "latest": detector.latest_value,
        "stretch": detector.stretch_value if detector.stretch_windows else None,
        "stretch_windows": detector.stretch_windows,
        "stretch_rows": sum(detector.stretch),
        "judged_windows": detector.windows,
        "overdispersion": detector.overdispersion,
    }
