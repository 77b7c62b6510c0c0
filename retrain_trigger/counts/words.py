"""Predictions and labels as text, so that they can be compared, whatever wrote them."""

import math
import re

NOTHING = frozenset({"", "nan", "<na>", "null"})
"""What programs write that have no prediction or label, in any case of letters."""

_WHOLE = re.compile(r"(-?[0-9]+)\.0+")
_TRUTH = {"true": "1", "false": "0"}


def word(value: str | None) -> str | None:
    """Return a prediction or label as it is counted: 1, 1.0 and true are all '1'; None for what is none.

    >>> [word(text) for text in ("1.0", "True", "yes", " no ", "NaN", "")]
    ['1', '1', 'yes', 'no', None, None]
    """
    if value is None:
        return None
    text = value.strip()
    lower = text.lower()
    if lower in NOTHING or _is_infinite(text):
        return None
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else _TRUTH.get(lower, text)


def _is_infinite(text: str) -> bool:
    """Say whether a text is a number beyond all that a double holds."""
    try:
        return math.isinf(float(text))
    except ValueError:
        return False
