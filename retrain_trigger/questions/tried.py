"""Settings that are tried beside those that hold."""

import itertools
from collections.abc import Iterator, Sequence

from retrain_trigger.core.errors import UsageError

DEFAULTS = ("performance_threshold=auto",)
"""Settings that hold without a config.yaml."""


def choices(tried: Sequence[str]) -> list[tuple[str, ...]]:
    """Return every combination of the values of each `KEY=VALUE,VALUE`, as overrides; commas in brackets part no values.

    >>> choices(["promotion.margin=0.01,0.02", "data.windows=[7d, all]"])
    [('promotion.margin=0.01', 'data.windows=[7d, all]'), ('promotion.margin=0.02', 'data.windows=[7d, all]')]
    """
    axes: dict[str, list[str]] = {}
    for each in tried:
        key, equals, values = each.partition("=")
        key = key.strip()
        if not equals or not values:
            raise UsageError(f"--try {each}: write KEY=VALUE or KEY=VALUE,VALUE, such as promotion.margin=0.01,0.02")
        if key in axes:
            raise UsageError(f"--try {each}: {key} is tried twice; write all its values at once, with commas")
        axes[key] = [f"{key}={value.strip()}" for value in _parted(values)]
    return list(itertools.product(*axes.values())) if axes else []


def _parted(values: str) -> Iterator[str]:
    depth, begin = 0, 0
    for place, letter in enumerate(values):
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            yield values[begin:place]
            begin = place + 1
    yield values[begin:]
