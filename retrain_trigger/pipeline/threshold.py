"""What the champion is held against: the number of the settings, or, with `auto`, the one that follows from its score."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from retrain_trigger.config.load import Config
from retrain_trigger.config.sections import is_bounded
from retrain_trigger.core.events import Limited
from retrain_trigger.core.findings import Finding, unknown
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.judge import thresholds
from retrain_trigger.judge.checks import point
from retrain_trigger.judge.memory import Memory
from retrain_trigger.pipeline.tick import Tick


def known(config: Config, past: Memory, measurements: Sequence[Measurement]) -> Limited | int | None:
    """Return the threshold that follows from the champion's score, or how many windows it still takes.

    None if the settings name a number. `measurements` are those that the champion answers for.
    """
    if config.performance_threshold is not None:
        return None
    measure = config.measure()
    values = (value for each in measurements if (value := point.value_of(each, measure)) is not None)
    asked = thresholds.Terms(
        metric=config.metric,
        margin=config.promotion.margin,
        sign=measure.sign,
        bounded=is_bounded(config.metric),
        config=config.digest if past.champion else "",  # a replay keeps none, and asks at every line
    )
    return thresholds.settled(past, values, asked)


def resolved(config: Config, past: Memory, measurements: Sequence[Measurement]) -> Config:
    """Return the settings with the threshold as a number, as soon as it is known."""
    found = known(config, past, measurements)
    return (
        config.model_copy(update={"performance_threshold": found.threshold}) if isinstance(found, Limited) else config
    )


def awaited(config: Config, past: Memory, measurements: Sequence[Measurement], *, now: datetime) -> Finding:
    """Return the finding of a champion whose score is not known yet: a wait for its first windows."""
    missing = known(config, past, measurements)
    assert isinstance(missing, int)
    of = f" of {past.champion.version}" if past.champion else ""
    because = (
        f"performance_threshold: auto follows from the mean of the first {thresholds.FIRST} judged windows{of}; "
        f"{missing} more {'is' if missing == 1 else 'are'} needed"
    )
    return unknown(config.metric, because, evidence={"until": (now + missing * config.trigger.window).isoformat()})


def recorded(tick: Tick, measurements: Sequence[Measurement]) -> Tick:
    """Write the champion's threshold down as soon as it is known: later it is this number, whatever becomes of the logs."""
    found = known(tick.config, tick.past, measurements) if tick.past.champion else None
    if not isinstance(found, Limited) or found in tick.past.limits:
        return tick
    tick.record(found)
    return tick.remembering(replace(tick.past, limits=(*tick.past.limits, found)))
