"""Counts by key, added up."""

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

Key = TypeVar("Key")


def summed(cells: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    """Add up the counts of each key.

    >>> summed([("a", 1), ("b", 2), ("a", 3)])
    {'a': 4, 'b': 2}
    """
    total: Counter[Key] = Counter()
    for key, count in cells:
        total[key] += count
    return dict(total)
