"""A replay in one line of a terminal: the metric against its threshold, and where a training would have started."""

from collections.abc import Sequence
from dataclasses import dataclass

from retrain_trigger.core.findings import figures
from retrain_trigger.judge import policy
from retrain_trigger.judge.policy import Action
from retrain_trigger.questions.simulate import Replay, Step

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.,-=+*#"
"""The same where the encoding of the terminal has no blocks."""

TRIGGER = "^"

HALF = len(BLOCKS) // 2
"""Heights on either side of the threshold."""


@dataclass(frozen=True, slots=True)
class _Column:
    """What stands in one column: the metric, or the mean of it over several steps, None if nothing was judged."""

    value: float | None
    triggers: bool


def lines(replay: Replay, metric: str, *, lower_is_better: bool, width: int, encoding: str) -> list[str]:
    """Draw a replay `width` columns wide, and say what was drawn; nothing if there are no two values.

    Values on the lower side of the threshold have one of the four lower heights, those on the upper side one of the
    four others. Where there are more steps than columns, a column is the mean of its steps.
    """
    judged = [found for step in replay.steps if (found := step.measured(metric)) is not None]
    if not judged[1:]:
        return []
    threshold = judged[-1].threshold
    columns = _pooled(replay.steps, metric, width)
    values = [column.value for column in columns if column.value is not None]
    heights = _can_write(encoding)
    drawn = "".join(
        " "
        if column.value is None
        else heights[_height(column.value, values, threshold, lower_is_better=lower_is_better)]
        for column in columns
    )
    marks = "".join(TRIGGER if column.triggers else " " for column in columns)
    told = _scale(replay, metric, [each.value for each in judged], threshold)
    meant = _meaning(heights, triggers=TRIGGER in marks, lower_is_better=lower_is_better)
    pooled = _pooling(len(replay.steps), len(columns), values)
    return [line for line in (told, drawn.rstrip(), marks.rstrip(), meant, pooled) if line]


def _pooled(steps: Sequence[Step], metric: str, width: int) -> list[_Column]:
    count = min(len(steps), max(width, 1))
    columns = []
    for place in range(count):
        pool = steps[place * len(steps) // count : (place + 1) * len(steps) // count]
        values = [found.value for step in pool if (found := step.measured(metric)) is not None]
        triggers = any(step.decision.action is Action.RETRAIN for step in pool)
        columns.append(_Column(sum(values) / len(values) if values else None, triggers))
    return columns


def _height(value: float, values: Sequence[float], threshold: float, *, lower_is_better: bool) -> int:
    """Return the height of a value from 0 to 7: below 4 on the lower side of the threshold, in even steps of each side."""
    upper = value > threshold or (value == threshold and not lower_is_better)
    least, most = (threshold, max(values)) if upper else (min(values), threshold)
    share = (value - least) / (most - least) if most > least else 0.0
    return min(HALF - 1, int(share * HALF)) + HALF * upper


def _can_write(encoding: str) -> str:
    """Return the heights that an encoding has characters for."""
    try:
        BLOCKS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS


def _scale(replay: Replay, metric: str, judged: Sequence[float], threshold: float) -> str:
    """Say how far the metric went, against which threshold, and over which time."""
    least, most, limit = figures(min(judged), max(judged), threshold)
    first, last = replay.steps[0].at, replay.steps[-1].at
    when = f", {policy.stamp(first)} to {policy.stamp(last)}" if first and last else ""
    count = len(replay.steps)
    return f"{metric}: least {least}, most {most}, performance_threshold {limit} ({count:,} measurements{when})"


def _meaning(heights: str, *, triggers: bool, lower_is_better: bool) -> str:
    """Say what the marks mean."""
    under, above = ("at or under", "above") if lower_is_better else ("under", "at or above")
    marks = f"; {TRIGGER} a training would have started" if triggers else ""
    return f"{heights[:HALF]} {under} the threshold, {heights[HALF:]} {above} it{marks}"


def _pooling(steps: int, columns: int, values: Sequence[float]) -> str:
    """Say what a column holds, where it holds more than one measurement."""
    few, many = steps // columns, -(-steps // columns)
    if many == 1:
        return ""
    each = f"{few:,}" if few == many else f"{few:,} or {many:,}"
    least, most = figures(min(values), max(values))
    return f"each column is the mean of {each} measurements: least {least}, most {most}"
