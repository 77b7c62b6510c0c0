"""How long labels take, in hours."""

from collections.abc import Sequence

_TOOK = "greatest(({came} - us) / 3600e6, 0.01)"
_TENTH = f"pow(10, floor(log10({_TOOK})) - 1)"


def hours(came: str) -> str:
    """Return SQL for the hours from a prediction, `us`, to its label, to two digits; both in microseconds since 1970."""
    return f"round({_TOOK} / {_TENTH}) * {_TENTH}".format(came=came)


def most(delays: Sequence[tuple[float, int]]) -> float:
    """Return the hours that 99 % of labels take at most; 0 if that is not known.

    >>> most([(2.0, 990), (48.0, 9), (900.0, 1)])
    2.0
    """
    needed = 0.99 * sum(labels for _, labels in delays)
    for hours_taken, labels in delays:
        needed -= labels
        if needed <= 0:
            return hours_taken
    return 0.0
