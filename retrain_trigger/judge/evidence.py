"""Sequential evidence of decay: whether a metric has fallen under its threshold, however often one looks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from retrain_trigger.findings import Finding, Verdict, figures, unknown
from retrain_trigger.measurements import Measurement

Counts = tuple[int, int, int, int]
"""Rows of one window: tp, fp, fn, tn. For accuracy over more than two classes: right, wrong, 0, 0."""

Cells = tuple[float, float, float, float]

BETS = tuple(0.001 * 900 ** (step / 11) for step in range(12))
"""Shares of the largest gain that are staked on decay, 0.001 to 0.9: a small fall needs a small stake."""

SMALLEST_GAIN = 1e-9
"""Part of the largest |g| that stands in for the largest gain where there is none: at f1 >= 1 nothing is gained."""

PRIOR_PAIRS = 5
"""Pairs of windows, without overdispersion, that its estimate begins with."""

MOST_EVIDENCE = 1e300
"""Evidence is reported up to here, so that it is always a finite number."""


class Ratio(NamedTuple):
    """A metric as sum(part * counts) / sum(whole * counts) over the cells tp, fp, fn, tn.

    The metric looks at the rows whose `whole` is not 0. `sign` is 1 where higher is better and -1 where lower is.
    """

    part: Cells
    whole: Cells
    sign: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """The evidence, after some windows, that a metric of RATIOS is on the wrong side of its threshold t.

    A metric N/D of counts is under t exactly when the mean over rows of g = n - t d is below 0 (n and d are what a
    row adds to N and D; F1: g = 2-2t on a true positive, -t on a false positive or negative, else 0). Someone who
    bets the share b of what they have on every row keeps, after window w,

        E_w(b) = product over its rows of (1 - b g),        M_w(b) = E_w(b) (1 + M_{w-1}(b)),        M_0 = 0,

    and at b = BETS / (largest g) never loses all. `evidence` is the mean of M_w over the bets, without a unit; it
    alarms at `false_alarm_every` = A windows. Windows swing more than rows do, so E_w is tempered:

        E_w <- min(E_w^(1/D), sqrt(A)),    D = max(1, (5 + sum (z_w - z_{w-1})^2 / (V_w + V_{w-1})) / (5 + pairs)),

    z the mean of -g over the m rows that the metric looks at, V = (sum g^2 - (sum g)^2 / m) / m^2 its variance, the
    sum over pairs of *earlier* neighbours. A pair in which neither window has any spread (V = 0: all right or all
    wrong) tells nothing about it and is left out. A window with m = 0 is skipped. Any number of rows is valid.

    The stretch is the run of latest windows in which -g sums to the most; the metric over all its rows is on the
    wrong side. Without one there is no alarm, whatever the evidence: a model without a mistake never alarms.

    Proved: where the metric is at t or better in every window, and rows are independent given the past, the expected
    number of windows to an alarm is at least A, however often one looks (M_w less w is then a supermartingale, and
    neither the tempering, whose D is known before the window, nor the stretch can raise it). Shown by simulation
    only (benchmarks/false_alarms.py): the same where errors come in blocks of ten, at t and at t+0.03, and where the
    metric swings from day to day with a standard deviation of 0.02 around t+0.03.

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
    excess: float = 0.0
    pairs: int = 0
    loss: float = 0.0
    variance: float = 0.0
    latest: Counts = (0, 0, 0, 0)
    stretch: Counts = (0, 0, 0, 0)
    stretch_windows: int = 0

    @classmethod
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
        cells = [
            (count, gain)
            for count, gain, looked_at in zip(counts, game.gains, game.ratio.whole, strict=True)
            if count and looked_at
        ]
        if not cells:
            return self
        loss, variance = _loss(cells)
        spread = variance + self.variance if self.windows else 0.0
        stretch = _added(self.stretch, counts)
        under = game.ratio.sign * (_value(game.ratio, stretch) - self.threshold) < 0
        return replace(
            self,
            logs=self._bet(game, counts),
            windows=self.windows + 1,
            excess=self.excess + ((loss - self.loss) ** 2 / spread if spread else 0.0),
            pairs=self.pairs + bool(spread),
            loss=loss,
            variance=variance,
            latest=counts,
            stretch=stretch if under else (0, 0, 0, 0),
            stretch_windows=self.stretch_windows + 1 if under else 0,
        )

    @property
    def evidence(self) -> float:
        """The mean of M over the bets, at most MOST_EVIDENCE; 0 before the first window."""
        if not self.windows:
            return 0.0
        top = max(self.logs)
        mean = top + math.log(sum(math.exp(log - top) for log in self.logs) / len(self.logs))
        return math.exp(mean) if mean < math.log(MOST_EVIDENCE) else MOST_EVIDENCE

    @property
    def overdispersion(self) -> float:
        """D: how many times more than their rows explain the windows differ from their neighbours; at least 1."""
        return max(1.0, (PRIOR_PAIRS + self.excess) / (PRIOR_PAIRS + self.pairs))

    @property
    def alarms(self) -> bool:
        """Whether the evidence reaches `false_alarm_every`, with a stretch of windows to show for it."""
        return self.stretch_windows > 0 and self.evidence >= self.false_alarm_every

    @property
    def latest_value(self) -> float:
        """The metric in the latest window; NaN before the first."""
        return _value(ratio_of(self.metric, self.cost), self.latest)

    @property
    def stretch_value(self) -> float:
        """The metric over all rows of the stretch; NaN where there is none."""
        return _value(ratio_of(self.metric, self.cost), self.stretch)

    def _bet(self, game: "_Game", counts: Counts) -> tuple[float, ...]:
        cap, temper = math.log(self.false_alarm_every) / 2, self.overdispersion
        pairs = zip(game.factors, self.logs, strict=True)
        return tuple(min(_dot(factors, counts) / temper, cap) + _log_one_plus(log) for factors, log in pairs)


Memo = dict[tuple[str, ...], tuple[list[Measurement], Detector]]
"""Evidence of windows already seen, by what it is about: a replay that keeps one costs what is new."""


def check(detector: Detector, *, where: str = "the latest window", note: str = "") -> Finding:
    """Judge the evidence so far; unknown where no window has a row that the metric looks at.

    The finding's value is the evidence and its limit `false_alarm_every`. `where` names the latest window that has such
    a row: the metric that is told is that window's.

    >>> detector = Detector.begin("f1", threshold=0.85, false_alarm_every=1000).after((120, 25, 28, 327))
    >>> check(detector, note="2026-01-05").because
    'f1 0.82 in the latest window; evidence 1 of 1,000 that it is under performance_threshold 0.85 (2026-01-05)'
    """
    if not detector.windows:
        because = f"no window has a row that {detector.metric} looks at"
        return unknown(detector.metric, f"{because} ({note})" if note else because, limit=detector.false_alarm_every)
    return Finding(
        name=detector.metric,
        verdict=Verdict.BREACH if detector.alarms else Verdict.PASS,
        value=detector.evidence,
        limit=detector.false_alarm_every,
        because=_breached(detector, note) if detector.alarms else _passed(detector, where, note),
        evidence=_shown(detector),
    )


def folded(begin: Detector, measurements: Sequence[Measurement], memo: Memo, name: tuple[str, ...] = ()) -> Detector:
    """Return a detector after the windows with counts, going on from where the memo left those of this `name`.

    A late label changes a window in the middle: then all are folded again.
    """
    key = (*name, measurements[0].where, str(measurements[0].at), str(begin.false_alarm_every))
    seen, detector = memo.get(key, ([], begin))
    if list(measurements[: len(seen)]) != seen:
        seen, detector = [], begin
    for measurement in measurements[len(seen) :]:
        detector = detector if measurement.counts is None else detector.after(measurement.counts)
    memo[key] = (list(measurements), detector)
    return detector


def has_value(metric: str, counts: Counts | None, cost: tuple[float, float]) -> bool:
    """Say whether a window has a row that a metric of RATIOS looks at.

    >>> has_value("f1", (0, 0, 0, 240), (1, 1)), has_value("accuracy", (0, 0, 0, 240), (1, 1))
    (False, True)
    """
    return counts is not None and _dot(ratio_of(metric, cost).whole, counts) > 0


class _Game(NamedTuple):
    """What the cells gain, and for each bet the log of what it is multiplied by on a row of each cell."""

    ratio: Ratio
    gains: Cells
    factors: tuple[Cells, ...]


@lru_cache(maxsize=64)
def _game(metric: str, threshold: float, cost: tuple[float, float]) -> _Game:
    ratio = ratio_of(metric, cost)
    tp, fp, fn, tn = (ratio.sign * (n - threshold * d) for n, d in zip(ratio.part, ratio.whole, strict=True))
    gains = (tp, fp, fn, tn)
    largest = max(*gains, SMALLEST_GAIN * max(map(abs, gains)))
    if largest == 0:
        raise ValueError(f"{metric} with threshold {threshold} and cost {cost} says nothing about any row")
    return _Game(ratio, gains, tuple(_factors(gains, bet / largest) for bet in BETS))


def ratio_of(metric: str, cost: tuple[float, float]) -> Ratio:
    """Return a metric of RATIOS, with what a false positive and a false negative cost in it."""
    # Only `cost` has a part on mistakes, so the weights touch nothing else.
    ratio = RATIOS[metric]
    tp, fp, fn, tn = ratio.part
    return ratio._replace(part=(tp, fp * cost[0], fn * cost[1], tn))


def _factors(gains: Cells, bet: float) -> Cells:
    tp, fp, fn, tn = (math.log1p(-bet * gain) for gain in gains)
    return (tp, fp, fn, tn)


def _loss(cells: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return z and V; by shares and pairs of cells, so that V is exactly 0 where all rows are alike."""
    rows = sum(count for count, _ in cells)
    shares = [(count / rows, gain) for count, gain in cells]
    pairs = ((one, other) for place, one in enumerate(shares) for other in shares[:place])
    return -sum(share * gain for share, gain in shares), sum(p * q * (g - h) ** 2 for (p, g), (q, h) in pairs) / rows


def _value(ratio: Ratio, counts: Counts) -> float:
    whole = _dot(ratio.whole, counts)
    return _dot(ratio.part, counts) / whole if whole else math.nan


def _dot(cells: Cells, counts: Counts) -> float:
    return cells[0] * counts[0] + cells[1] * counts[1] + cells[2] * counts[2] + cells[3] * counts[3]


def _added(one: Counts, other: Counts) -> Counts:
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])


def _log_one_plus(log: float) -> float:
    """Return log(1 + exp(log)) without overflow."""
    return max(log, 0.0) + math.log1p(math.exp(-abs(log)))


def _breached(detector: Detector, note: str) -> str:
    value, threshold = figures(detector.stretch_value, detector.threshold)
    last = f"the last {detector.stretch_windows:,} windows" if detector.stretch_windows > 1 else "the latest window"
    noted = f"{sum(detector.stretch):,} labelled rows" + (f"; {note}" if note else "")
    return (
        f"{detector.metric} {value} over {last} is {_side(detector)} performance_threshold {threshold}: "
        f"evidence {_whole(detector.evidence)} reaches trigger.false_alarm_every {_whole(detector.false_alarm_every)} ({noted})"
    )


def _passed(detector: Detector, where: str, note: str) -> str:
    value, threshold = figures(detector.latest_value, detector.threshold)
    return (
        f"{detector.metric} {value} in {where}; evidence {_whole(detector.evidence)} of "
        f"{_whole(detector.false_alarm_every)} that it is {_side(detector)} performance_threshold {threshold}"
        + (f" ({note})" if note else "")
    )


def _side(detector: Detector) -> str:
    return "under" if RATIOS[detector.metric].sign > 0 else "above"


def _whole(evidence: float) -> str:
    # Rounded down: 999.9 of 1,000 must not read as if it had been reached.
    return f"{math.floor(evidence):,}" if evidence < 1e9 else f"{evidence:.0e}"  # noqa: PLR2004  (where digits end)


def _shown(detector: Detector) -> dict[str, Any]:
    return {
        "rule": "sequential",
        "threshold": detector.threshold,
        "latest": detector.latest_value,
        "stretch": detector.stretch_value if detector.stretch_windows else None,
        "stretch_windows": detector.stretch_windows,
        "stretch_rows": sum(detector.stretch),
        "judged_windows": detector.windows,
        "overdispersion": detector.overdispersion,
    }


RATIOS: dict[str, Ratio] = {
    "f1": Ratio(part=(2, 0, 0, 0), whole=(2, 1, 1, 0)),
    "accuracy": Ratio(part=(1, 0, 0, 1), whole=(1, 1, 1, 1)),
    "precision": Ratio(part=(1, 0, 0, 0), whole=(1, 1, 0, 0)),
    "recall": Ratio(part=(1, 0, 0, 0), whole=(1, 0, 1, 0)),
    "cost": Ratio(part=(0, 1, 1, 0), whole=(1, 1, 1, 1), sign=-1),
}
