"""What of a prediction log can be used under the settings, and what is said of the rest."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from retrain_trigger.config.load import Config
from retrain_trigger.counts.unusable import Aside, Unusable
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge import policy
from retrain_trigger.judge.memory import Champion

NAMED = 5
"""Other models that a note names, those with the most rows."""


def usable(config: Config, windows: Sequence[WindowCounts]) -> Sequence[WindowCounts]:
    """Leave out the windows of which more than `trigger.max_unusable` cannot be used."""
    spoilt = _spoilt(config, windows)
    return tuple(window for window in windows if window.start not in spoilt) if spoilt else windows


def newest_spoilt(config: Config, windows: Sequence[WindowCounts]) -> str:
    """Say why the newest window cannot be judged: too much of it cannot be used; empty if it can."""
    spoilt = _spoilt(config, windows)
    if not windows or windows[-1].start not in spoilt:
        return ""
    start = windows[-1].start
    return _share(config, spoilt[start], sum(_rows(window) for window in windows if window.start == start)) + (
        f" (window {policy.stamp(start)})"
    )


def nothing_usable(config: Config, aside: Aside) -> str:
    """Say why no row has a window: none has a time that can be read; empty if there are no such rows."""
    return _share(config, aside.unplaced, aside.unplaced.rows) if aside.unplaced.rows else ""


def notes(
    config: Config,
    aside: Aside,
    windows: Sequence[WindowCounts],
    own: Sequence[WindowCounts],
    champion: Champion | None,
) -> tuple[str, ...]:
    """Say what is not used: rows that cannot be, rows of other models, rows of a time to come.

    `own` are those of the `windows` that the champion answers for.
    """
    said, found = [], sum((window.unusable for window in own), aside.unplaced)
    if found.rows:
        left_out = len(_spoilt(config, own))
        more = (
            ""
            if not left_out
            else f"; {_number(left_out, 'window')} with more than trigger.max_unusable {_limit(config)} of them not judged"
        )
        total = sum(map(_rows, own)) + aside.unplaced.rows
        said.append(
            f"{_number(found.rows, 'row')} of {total:,} in logs.predictions cannot be used: {found.words}{_advice(found)}{more}"
        )
    if aside.lines:
        said.append(f"{_number(aside.lines, 'line')} of logs.predictions cannot be read as rows")
    if aside.label_lines:
        said.append(f"{_number(aside.label_lines, 'line')} of logs.labels cannot be read as labels")
    if aside.ahead:
        said.append(
            f"{_number(aside.ahead, 'row')} of logs.predictions have a time after the present window, and wait for it"
        )
    said += _once_more(aside)
    others = _others(windows, own, champion)
    if others:
        named = ", ".join(f"{model} ({rows:,})" for model, rows in others.most_common(NAMED))
        more = f", and {len(others) - NAMED} more" if len(others) > NAMED else ""
        said.append(
            f"{_number(others.total(), 'row')} of logs.predictions are of other models than the champion and are not judged: {named}{more}"
        )
    return tuple(said)


def _once_more(aside: Aside) -> Iterator[str]:
    """Say what was counted once though it is there more often, which ids have no partner, and what is nested."""
    if aside.repeated:
        is_one = aside.repeated == 1
        yield (
            f"{_number(aside.repeated, 'row')} of logs.predictions {'repeats' if is_one else 'repeat'} an id of the same "
            f"window and {'is' if is_one else 'are'} not counted: an id counts once (logs.columns.id)"
        )
    for copy, first in aside.copies[:NAMED]:
        yield f"{Path(copy).name} is the same file as {Path(first).name}, and is not counted a second time"
    if len(aside.copies) > NAMED:
        yield f"{len(aside.copies) - NAMED} more files are the same as others, and are not counted a second time"
    if aside.strangers:
        label, row = aside.strangers
        yield (
            f"no id in logs.labels is an id in logs.predictions (such as {label!r} there and {row!r} here); "
            "ids are compared as text: write them alike"
        )
    if aside.after:
        yield (
            f"{_number(aside.after, 'label')} came after the window was settled and {'is' if aside.after == 1 else 'are'} "
            "not counted: raise logs.label_horizon to wait longer"
        )
    for container, columns in aside.nested:
        yield f"{container} in logs.predictions holds nested columns, watched by their own names: {', '.join(columns)}"


def _spoilt(config: Config, windows: Sequence[WindowCounts]) -> dict[datetime, Unusable]:
    """Return what cannot be used of each window of which that is too much; whichever name its rows carry."""
    found: dict[datetime, Unusable] = {}
    for window in windows:
        if window.unusable.rows:
            found[window.start] = found.get(window.start, Unusable()) + window.unusable
    if not found:
        return found
    rows = Counter[datetime]()
    for window in windows:
        rows[window.start] += _rows(window)
    limit = config.trigger.max_unusable
    return {at: each for at, each in found.items() if each.rows > limit * rows[at] or each.rows == rows[at]}


def _others(windows: Sequence[WindowCounts], own: Sequence[WindowCounts], champion: Champion | None) -> Counter[str]:
    """Count the rows by the name of another model, in windows that began since the promotion."""
    kept, others = {(window.start, window.model) for window in own}, Counter[str]()
    for window in windows:
        since = champion is None or window.start >= champion.since
        if since and window.model is not None and (window.start, window.model) not in kept:
            others[window.model] += _rows(window)
    return others


def _share(config: Config, unusable: Unusable, rows: int) -> str:
    return (
        f"{unusable.rows / rows:.0%} of {_number(rows, 'row')} in logs.predictions cannot be used, trigger.max_unusable "
        f"is {_limit(config)}: {unusable.words}{_advice(unusable)}"
    )


def _advice(unusable: Unusable) -> str:
    """Name the settings that say how times are to be read."""
    if "time" not in unusable.by_reason:
        return ""
    return "; logs.columns.timestamp names the column of times, logs.date_format their form"


def _limit(config: Config) -> str:
    return (
        f"{config.trigger.max_unusable:.4g}"
        if config.trigger.max_unusable * 100 % 1
        else f"{config.trigger.max_unusable:.0%}"
    )


def _rows(window: WindowCounts) -> int:
    return window.rows + window.unusable.rows


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
