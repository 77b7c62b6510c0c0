"""Counts by key, added up."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

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


def whole(count: Any) -> int:
    """Return a count that was written. Raises ValueError where it is not a whole number of rows."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError(f"{count!r} is not a number of rows")
    return count
