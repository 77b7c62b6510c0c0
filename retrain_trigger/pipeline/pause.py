"""The pause after a refused challenger ends early if the metric falls further: then there is something new to learn."""

import math
from collections.abc import Iterable, Sequence
from itertools import islice

from retrain_trigger.config.load import Config
from retrain_trigger.core.events import Window
from retrain_trigger.core.findings import Finding, Verdict, figures
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.judge import memory, policy
from retrain_trigger.judge.checks import point, probation
from retrain_trigger.judge.memory import Memory


def fallen(config: Config, past: Memory, measurements: Sequence[Measurement]) -> str | None:
    """Say how far the metric has fallen since a challenger was refused; None if it has not by more than chance explains.

    It is judged as a probation judges a successor: by the windows since then against those before, with as many looks as
    the cooldown has windows, and a fall of at least `promotion.margin`.
    """
    over, before = policy.cooldown_over(past, cooldown=config.trigger.cooldown), past.standing
    if over is None or before is None or not past.refusals:
        return None
    found = probation.check(
        before,
        windows(config, memory.unspent(measurements, past)),
        config.measure(),
        margin=config.promotion.margin,
        looks=max(1, math.ceil((over - past.attempts[-1].at) / config.trigger.window)),
        min_rows=config.trigger.min_rows,
    )
    return _told(config.metric, found) if found.verdict is Verdict.BREACH else None


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


def _told(metric: str, found: Finding) -> str:
    since, before = figures(found.evidence["since"], found.evidence["before"])
    return f"{metric} fell further, from {before} before the last training to {since} since then, beyond chance"
