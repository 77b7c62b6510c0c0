"""The detector of decay: evidence that adds up over windows, whatever kind of counts speaks against the metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from retrain_trigger.judge.checks.overdispersion import LATEST_PAIRS, overdispersion

Table = TypeVar("Table")
"""What is counted of a window."""

BETS = 12
"""Bets that are held against a metric at once."""

MOST_POOLED = 10
"""Windows that are pooled at most: with some classes, one window alone may have too few rows."""

LEAST_ALERT = 1000.0
"""An alert needs the square of so much evidence from one window, however small `false_alarm_every` is."""

MOST_REPEATS = 1000
"""How many windows like the latest are counted at most until an alarm."""

MOST_EVIDENCE = 1e300
"""Evidence is reported up to here, so that it is always a finite number."""

_ROUNDING = 1e-9  # a logarithm so near 0 is that of 1


class Game(Protocol[Table]):
    """What windows of one kind of counts say against a metric: judge/checks/ratios.py and judge/checks/classes.py."""

    @property
    def metric(self) -> str:
        """The metric."""

    @property
    def threshold(self) -> float:
        """Its threshold t."""

    @property
    def sign(self) -> int:
        """Return 1 if higher is better, -1 if lower is."""

    @property
    def nothing(self) -> Table:
        """The table of no window."""

    def looks_at(self, table: Table) -> bool:
        """Say whether the metric looks at any of these rows. Raises ValueError for a negative count."""

    def is_full(self, table: Table) -> bool:
        """Say whether the windows pooled in a table have rows enough to be judged."""

    def short(self, table: Table) -> Mapping[str, int]:
        """Return the classes that have too few labelled rows, with their rows."""

    def value(self, table: Table) -> float:
        """Return the metric over all rows of a table; NaN if it has none."""

    def rows(self, table: Table) -> int:
        """Return how many labelled rows a table has."""

    def won(self, table: Table) -> Sequence[float]:
        """Return the log of E for each of the BETS, of a table in which the metric has a value."""

    def swing(self, one: Table, other: Table) -> float | None:
        """Return r^2 of two windows (judge/checks/overdispersion.py); None if nothing can be said."""

    def added(self, one: Table, other: Table) -> Table:
        """Return the rows of both."""

    def emptied(self, table: Table) -> Table:
        """Return a table without rows, in which the classes of this one are known still."""


class Alert(NamedTuple):
    """Windows that are beyond chance by themselves: the last of them, counted from 1, and how many are pooled.

    `log` is the log of their own evidence, `value` the metric over their `rows`.
    """

    window: int
    log: float
    value: float
    rows: int
    pooled: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector(Generic[Table]):
    """The evidence, after some windows, that a metric is on the wrong side of its threshold.

    A `game` says what a window w is worth against it: E_w(b) for each of 12 bets b, on average over windows at most 1
    while the metric is at its threshold or better. Someone who starts a new bet of 1 with each window has

        M_w(b) = E_w(b) (1 + M_{w-1}(b)),        M_0 = 0.

    `evidence` is the mean of M_w over the bets, without a unit; it alarms at `false_alarm_every` = A windows. Windows
    swing more than rows do, so E_w is tempered:

        E_w <- min(E_w^(1/D), C),        C = min(sqrt(12 A), max(A/3, 1)),

    D the overdispersion (judge/checks/overdispersion.py) of the latest 100 pairs of *earlier* neighbours, over the rows that
    the metric looks at. C lets two windows alarm (12 bets: where only one of them reaches C twice, the mean is A), and
    one outage day hardly ever. A window without a row that the metric looks at is skipped. Any number of rows is valid.

    Where a game asks for it, windows are pooled until they are full, at most MOST_POOLED of them, and are then one
    window: `pool` holds those that are not judged yet, `pooled` is their number. If the metric has no value over a pool
    even so, it is no evidence.

    The stretch is the run of latest windows over all whose rows the metric is on the wrong side, begun anew with each
    window that ends it. Without one there is no alarm, whatever the evidence: a model without a mistake never alarms.

    A window alerts where it alone, without C and without earlier windows, is evidence of max(A, 1000)^2, and the window
    before it was not: `alone` is the log of the mean of E_w^(1/D) over the bets. `last_alert` is kept, so that it can be
    told where several windows are judged at once. An alert never retrains.

    Proved: where the mean of E_w, given the past, is at most 1 in every window, the expected number of windows to an
    alarm is at least A, however often one looks (M_w less w is then a supermartingale, and neither the tempering,
    whose D is known before the window, nor the stretch can raise it). What a game says of its E_w is in its own page.

    Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (2022).
    """

    game: Game[Table]
    false_alarm_every: float
    latest: Table
    stretch: Table
    pool: Table
    logs: tuple[float, ...] = (-math.inf,) * BETS
    windows: int = 0
    swings: tuple[float, ...] = ()
    alone: float = -math.inf
    last_alert: Alert | None = None
    latest_windows: int = 0
    stretch_windows: int = 0
    pooled: int = 0

    @classmethod
    def begin(cls, game: Game[Table], *, false_alarm_every: float) -> "Detector[Table]":
        """Return the detector that has seen nothing. Raises ValueError for a `false_alarm_every` under one window."""
        if not math.isfinite(game.threshold) or not 1 <= false_alarm_every <= MOST_EVIDENCE:
            raise ValueError(f"threshold {game.threshold}, false_alarm_every {false_alarm_every}")
        none = game.nothing
        return cls(game=game, false_alarm_every=false_alarm_every, latest=none, stretch=none, pool=none)

    def after(self, table: Table) -> "Detector[Table]":
        """Return the detector after one more window; raises ValueError for a negative count."""
        game = self.game
        if not game.looks_at(table):
            return self
        pool, pooled = game.added(self.pool, table), self.pooled + 1
        if pooled < MOST_POOLED and not game.is_full(pool):
            return replace(self, windows=self.windows + 1, pool=pool, pooled=pooled)
        return self._judging(pool, pooled)

    @property
    def metric(self) -> str:
        """The metric."""
        return self.game.metric

    @property
    def threshold(self) -> float:
        """Its threshold."""
        return self.game.threshold

    @property
    def evidence(self) -> float:
        """The mean of M over the bets, at most MOST_EVIDENCE; 0 before the first window."""
        return finite(_mean_of_bets(self.logs))

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
        """The metric in the latest window that was judged; NaN before the first."""
        return self.game.value(self.latest)

    @property
    def stretch_value(self) -> float:
        """The metric over all rows of the stretch; NaN if there is none."""
        return self.game.value(self.stretch)

    @property
    def is_under(self) -> bool:
        """Whether the latest window that was judged is on the wrong side of the threshold."""
        return self._under(self.latest)

    @property
    def alert_limit(self) -> float:
        """The evidence from which on one window alone is an alert, at most MOST_EVIDENCE."""
        least = max(self.false_alarm_every, LEAST_ALERT)
        return min(least * least, MOST_EVIDENCE)

    def repeats_to_alarm(self) -> int | None:
        """Return after how many more windows like the latest it would alarm, with D as it is now; 0 if it does.

        None if not even MOST_REPEATS are enough, or no window was judged.
        """
        if self.alarms:
            return 0
        if not self.is_under:
            return None
        temper, cap = self.overdispersion, self._cap
        won = [min(each / temper, cap) for each in self.game.won(self.latest)]
        low, high = 0, MOST_REPEATS
        if not self._proves(high, won):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._proves(middle, won) else (middle, high)
        return max(high * self.latest_windows - self.pooled, 1)

    def _judging(self, pool: Table, pooled: int) -> "Detector[Table]":
        """Return the detector after so many windows in a pool, as one; without a value they are no evidence."""
        game, windows, temper = self.game, self.windows + 1, self.overdispersion
        value, stretch, found = game.value(pool), game.added(self.stretch, pool), game.swing(self.latest, pool)
        won = [] if math.isnan(value) else [each / temper for each in game.won(pool)]
        alone, told, under = _log_mean(won), self.last_alert, self._under(stretch)
        if alone >= math.log(self.alert_limit) > self.alone:
            told = Alert(windows, alone, value, game.rows(pool), pooled)
        return Detector(
            game=game,
            false_alarm_every=self.false_alarm_every,
            logs=self._bet(won) if won else self.logs,
            windows=windows,
            swings=self.swings if found is None else (*self.swings, found)[-LATEST_PAIRS:],
            alone=alone,
            last_alert=told,
            latest=pool,
            latest_windows=pooled,
            stretch=stretch if under else game.nothing,
            stretch_windows=self.stretch_windows + pooled if under else 0,
            pool=game.emptied(pool),
            pooled=0,
        )

    def _proves(self, repeats: int, won: Sequence[float]) -> bool:
        """Say whether so many windows more, each of E, would be proof: M = E^n M_0 + E + E^2 + ... + E^n."""
        logs = []
        enough = math.log(self.false_alarm_every * len(won)) + _ROUNDING
        for each, log in zip(reversed(won), reversed(self.logs), strict=True):
            logs.append(_log_sum(each * repeats + log, _log_powers(each, repeats)))
            if logs[-1] > enough:  # the mean of all is at least this one's share of it
                return True
        return finite(_log_mean(logs[::-1])) >= self.false_alarm_every

    @property
    def _cap(self) -> float:
        every = self.false_alarm_every
        return math.log(min(math.sqrt(BETS * every), max(every / 3, 1)))

    def _bet(self, won: Sequence[float]) -> tuple[float, ...]:
        cap = self._cap
        capped = won if max(won) <= cap else [min(each, cap) for each in won]
        return tuple([each + _log_one_plus(log) for each, log in zip(capped, self.logs, strict=True)])

    def _under(self, table: Table) -> bool:
        return self.game.sign * (self.game.value(table) - self.threshold) < 0


AnyDetector = Detector[Any]
"""A detector of whatever kind of counts the metric is judged by."""


_tempering = lru_cache(maxsize=64)(overdispersion)
"""A window asks for D many times: for its evidence, its sentence, and how many more like it would alarm."""


def finite(log: float) -> float:
    """Return evidence from its log, at most MOST_EVIDENCE."""
    return math.exp(log) if log < math.log(MOST_EVIDENCE) else MOST_EVIDENCE


def _log_mean(logs: Sequence[float]) -> float:
    """Return the log of the mean of exp(logs) without overflow."""
    top = max(logs, default=-math.inf)
    if top == -math.inf:
        return top
    return top + math.log(sum([math.exp(log - top) for log in logs]) / len(logs))


_mean_of_bets = lru_cache(maxsize=64)(_log_mean)
"""A window asks for its evidence many times."""


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
