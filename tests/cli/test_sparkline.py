"""A replay in one line: the metric against its threshold, and where a training would have started."""

import io
from collections.abc import Sequence

import pytest

from retrain_trigger.cli import sparkline
from retrain_trigger.config import load as settings
from retrain_trigger.questions.simulate import simulate


def drawn(
    values: Sequence[float | str], *overrides: str, width: int = 80, encoding: str = "utf-8", metric: str = "f1"
) -> list[str]:
    config = settings.defaults([f"metric={metric}", *overrides])
    log = "".join(f"2026-{1 + day // 28:02}-{1 + day % 28:02} {metric}={value}\n" for day, value in enumerate(values))
    replay = simulate(config, [io.BytesIO(log.encode())])
    lower = config.measure().sign < 0
    return sparkline.lines(replay, metric, lower_is_better=lower, width=width, encoding=encoding)


def test_the_heights_are_on_the_side_of_the_threshold_that_the_values_are_on() -> None:
    scale, heights, marks, meaning = drawn([0.85, 0.9, 0.95, 0.849, 0.8, 0.75, 0.86])
    assert (
        scale
        == "f1: least 0.75, most 0.95, performance_threshold 0.85 (7 measurements, 2026-01-01 00:00Z to 2026-01-07 00:00Z)"
    )
    assert heights == "▅▇█▄▃▁▅"
    assert marks == "   ^^"
    assert meaning == "▁▂▃▄ under the threshold, ▅▆▇█ at or above it; ^ a training would have started"


def test_of_a_metric_that_gets_worse_as_it_rises_the_threshold_belongs_to_the_lower_side() -> None:
    settings_of_it = ("direction=lower_is_better", "performance_threshold=10")
    _, heights, marks, meaning = drawn([10, 5, 12, 11], *settings_of_it, metric="rmse")
    assert heights == "▄▁█▇"
    assert marks == "  ^^"
    assert meaning.startswith("▁▂▃▄ at or under the threshold, ▅▆▇█ above it;")


def test_what_is_unknown_is_a_gap_and_nothing_is_marked_where_nothing_starts() -> None:
    assert drawn([0.9, "nan", 0.9])[1:] == ["█ █", "▁▂▃▄ under the threshold, ▅▆▇█ at or above it"]
    assert drawn([0.9]) == drawn([0.9, "nan"]) == drawn(["nan", "nan", 0.9]) == []


def test_where_the_encoding_has_no_blocks_it_is_drawn_in_ascii() -> None:
    told = drawn([0.85, 0.9, 0.95, 0.849, 0.8, 0.75, 0.86], encoding="ascii")
    assert told[1:] == [
        "=*#-,_=",
        "   ^^",
        "_.,- under the threshold, =+*# at or above it; ^ a training would have started",
    ]
    assert all(line.isascii() for line in told)
    assert drawn([0.9, 0.9], encoding="latin-1") == drawn([0.9, 0.9], encoding="no-such-encoding")


@pytest.mark.parametrize(("count", "each", "least"), [(20, "", ""), (40, "2", "0.8"), (50, "2 or 3", "0.83")])
def test_a_long_log_is_pooled_into_as_many_columns_as_fit(count: int, each: str, least: str) -> None:
    _, heights, marks, _, *pooled = drawn([*[0.9] * (count - 1), 0.7], width=20)
    assert heights == "█" * 19 + "▁"
    assert marks == " " * 19 + "^"
    told = f"each column is the mean of {each} measurements: least {least}, most 0.9"
    assert pooled == ([told] if each else [])
