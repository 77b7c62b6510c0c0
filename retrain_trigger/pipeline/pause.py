"""The pause after a refused challenger ends early if the metric gets still worse: then there is something new to learn."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice

from retrain_trigger.config.load import Config
from retrain_trigger.core.events import Window
from retrain_trigger.core.findings import Finding, Verdict, figures
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.judge import memory, policy
from retrain_trigger.judge.checks import point, probation
from retrain_trigger.judge.memory import Memory

AGAIN = 20.0
"""Odds against chance with which the windows since an attempt are worse than the latest few before it."""


def fallen(config: Config, past: Memory, measurements: Sequence[Measurement], *, now: datetime) -> str | None:
    """Say how far the metric got worse in the cooldown after a refused challenger; None if not by more than chance explains.

    It is judged as a probation judges a successor: by the windows since then against those before, with as many looks as
    the cooldown has windows, and a fall of at least `promotion.margin`. One that had fallen in the latest of those before
    has not fallen again: so they must be worse than the latest window alone, too, than the latest two, and so on, but with
    one look (`AGAIN`).
    """
    over, before = policy.cooldown_over(past, cooldown=config.trigger.cooldown), past.standing
    if over is None or before is None or not past.refusals or past.clock(now) >= over:
        return None
    check = partial(
        probation.check,
        windows=windows(config, memory.unspent(measurements, past)),
        measure=config.measure(),
        margin=config.promotion.margin,
        looks=max(1, math.ceil((over - past.attempts[-1].at) / config.trigger.window)),
        min_rows=config.trigger.min_rows,
    )
    found = check(before)
    if found.verdict is not Verdict.BREACH:
        return None
    latest = [check(replace(before, level=level)) for level in range(1, before.level)]
    again = all(each.value is None or _again(each, config.promotion.margin) for each in latest)
    return _told(config.metric, found) if again else None


def windows(config: Config, measurements: Iterable[Measurement]) -> list[Window]:
    """Return what a model is held against another by: the windows that have a value, or counts."""
    found, measure = [], config.measure()
    for each in measurements:
        value = point.value_of(each, measure)
        if value is not None or each.counts is not None:
            found.append(Window(value, point.stated_rows(each), each.counts, each.confusion))
    return found


def latest(config: Config, measurements: Sequence[Measurement]) -> list[Window]:
    """Return the latest of them, as many as tell how a model is doing."""
    newest = (
        each
        for place in range(len(measurements) - 1, -1, -1)
        for each in windows(config, measurements[place : place + 1])
    )
    return list(islice(newest, probation.MOST_WINDOWS))[::-1]


def _again(found: Finding, margin: float) -> bool:
    return (found.value or 0.0) >= AGAIN and found.evidence["fall"] >= margin


def _told(metric: str, found: Finding) -> str:
    since, before = figures(found.evidence["since"], found.evidence["before"])
    return f"{metric} got still worse, from {before} before the last training to {since} since then, beyond chance"
