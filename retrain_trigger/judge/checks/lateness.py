"""How long labels take: measured, told, and allowed for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from retrain_trigger.counts.windows import WindowCounts

USUAL = 0.99
"""The share of labels that must have come before one is late: 1 of 100 may take as long as it likes."""

_MINUTES, _HOURS, _DAYS = timedelta(minutes=2), timedelta(hours=2), timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Delay:
    """The time that labels take after their prediction: 1 % of them at most `least`, half `median`, 99 % `most`.

    `told` says it where no label says when it came.
    """

    least: timedelta
    median: timedelta
    most: timedelta
    told: str = ""

    @property
    def pause(self) -> timedelta:
        """How long no label may come: those of one batch took from `least` to `most`."""
        return self.most - self.least

    def __str__(self) -> str:
        return self.told or f"labels take {in_words(self.median)} (median), {in_words(self.most)} (99 %)"


AT_ONCE = Delay(timedelta(0), timedelta(0), timedelta(0))


def of_labels(cells: Iterable[tuple[float, int]]) -> Delay | None:
    """Return the delay of labels from counts of them by the hours that they took; None if there is none.

    >>> print(of_labels([(120.0, 90), (220.0, 9), (900.0, 1)]))
    labels take 5 days (median), 9 days (99 %)
    """
    counts: Counter[float] = Counter()
    for hours, labels in cells:
        counts[hours] += labels
    if not counts:
        return None
    least, median, most = (timedelta(hours=_quantile(counts, share)) for share in (1 - USUAL, 0.5, USUAL))
    return Delay(least, median, most)


def of_windows(windows: Sequence[WindowCounts], *, length: timedelta, now: datetime) -> Delay | None:
    """Return the delay from which windows have their labels by now; None if none has, or the newest has them all.

    For logs that do not say when a label came. It is the age of the newest window with half of the labels, or with 99 %,
    that a window gets at most: at most a window too long, and it cannot tell labels that are late from those that stopped.
    """
    best = max((window.coverage for window in windows), default=0.0)
    if not best or windows[-1].coverage >= USUAL * best:
        return None
    median, most = (
        next(now - window.start - length for window in reversed(windows) if window.coverage >= share * best)
        for share in (0.5, USUAL)
    )
    told = f"labels take at most {in_words(median)} (half of them), {in_words(most)} (99 %), by what each window has"
    return Delay(timedelta(0), median, most, told)


def in_words(period: timedelta) -> str:
    """Write a duration for a person.

    >>> [in_words(timedelta(minutes=minutes)) for minutes in (5 * 24 * 60, 30 * 60, 20, 1.5, 0.001)]
    ['5 days', '30 h', '20 min', '90 s', 'under 1 s']
    """
    if period >= _DAYS:
        return f"{period / timedelta(days=1):.0f} days"
    if period >= _HOURS:
        return f"{period / timedelta(hours=1):.0f} h"
    if period >= _MINUTES:
        return f"{period / timedelta(minutes=1):.0f} min"
    return f"{period / timedelta(seconds=1):.0f} s" if period >= timedelta(seconds=1) else "under 1 s"


def _quantile(counts: Counter[float], share: float) -> float:
    """Return the least value that so large a share of all does not exceed."""
    needed, seen = share * counts.total(), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= needed:
            return value
    return max(counts)
