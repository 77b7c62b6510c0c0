"""The threshold of a champion, if the settings leave it to what the champion scored: `performance_threshold: auto`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from retrain_trigger.core.events import Limited
from retrain_trigger.core.findings import figures
from retrain_trigger.judge.memory import Memory

FIRST = 5
"""Windows whose mean stands for the score of a champion of which no other is known."""

DESCENT = 0.05
"""The most that the threshold of a later champion may lie below the highest one: a metric that sinks takes none along."""

NOBODY = ""
"""The version of a log that is replayed without a champion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a score becomes a threshold: the metric, the margin in its units, and the digest of the settings.

    `sign` is 1 if higher is better, -1 if lower is. `bounded` metrics lie between 0 and 1.
    """

    metric: str
    margin: float
    sign: int
    bounded: bool
    config: str


def settled(past: Memory, values: Iterable[float], asked: Terms) -> Limited | int:
    """Return the threshold of the champion, or how many more windows must be judged until it is known.

    `values` are the metric in its judged windows, oldest first. Its score is that on the rows that decided its promotion,
    that on the rows held out of a first training, or else the mean of its FIRST windows. The threshold is `margin` worse,
    but at most DESCENT worse than the best one under the same settings.

    >>> asked = Terms(metric="f1", margin=0.02, sign=1, bounded=True, config="")
    >>> settled(Memory(), [0.9, 0.8, 0.85], asked)
    2
    >>> settled(Memory(), [0.9, 0.8, 0.85, 0.86, 0.84, 0.2], asked).because
    'performance_threshold is 0.83: the mean of the first 5 judged windows is 0.85, less promotion.margin 0.02'
    """
    version = past.champion.version if past.champion else NOBODY
    own = [limit for limit in past.limits if limit.version == version and limit.metric == asked.metric]
    same = next((limit for limit in own if limit.config == asked.config), None)
    if same is not None:
        return same
    score = past.scores.get(version)
    if score is not None and score.metric == asked.metric:
        return _limited(past, version, score.value, f"{version} scored {{}} {score.on}", asked)
    if own:
        return _limited(past, version, own[-1].score, own[-1].origin, asked)
    first = list(islice(values, FIRST))
    if len(first) < FIRST:
        return FIRST - len(first)
    of = f" of {version}" if version else ""
    return _limited(
        past, version, sum(first) / FIRST, f"the mean of the first {FIRST} judged windows{of} is {{}}", asked
    )


def _limited(past: Memory, version: str, score: float, origin: str, asked: Terms) -> Limited:
    """Return the threshold that follows from a score; `origin` says, with a place for the number, where that is from."""
    plain = score - asked.sign * asked.margin
    if asked.bounded:
        plain = min(max(plain, 0.0), 1.0)
    best = _best(past.limits, asked, plain)
    limit = asked.sign * max(asked.sign * plain, asked.sign * best - DESCENT)
    shown, scored = figures(limit, score)
    because = f"performance_threshold is {shown}: {origin.format(scored)}"
    if limit == plain:
        because += f", {'less' if asked.sign > 0 else 'plus'} promotion.margin {figures(asked.margin)[0]}"
    else:
        side, most = ("below", "highest") if asked.sign > 0 else ("above", "lowest")
        because += f", but no threshold lies more than {DESCENT} {side} the {most} since the settings changed, {figures(best)[0]}"
    return Limited(
        because=because,
        version=version,
        metric=asked.metric,
        score=score,
        threshold=limit,
        origin=origin,
        config=asked.config,
    )


def _best(limits: Sequence[Limited], asked: Terms, own: float) -> float:
    """Return the best threshold of the champions so far under these settings, `own` among them."""
    known = [limit.threshold for limit in limits if limit.config == asked.config and limit.metric == asked.metric]
    return max([*known, own], key=lambda each: asked.sign * each)
