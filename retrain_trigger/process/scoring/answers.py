"""What a model answered, looked at before it is believed: one value per row, or a sentence that says what it gave."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from retrain_trigger.counts.words import word

MOST_DIFFERENT = 10_000
"""Different answers to one table; more are no classes, and counting them would not end."""

LONGEST = 1_000
"""Characters of one answer."""


def listed(said: Any, *, rows: int) -> list[Any]:
    """Return the answers as a list of `rows` values. Raises ValueError for anything else.

    >>> listed("0110", rows=4)
    Traceback (most recent call last):
    ValueError: predict gives one str; it must give a list or an array with one value for each row
    """
    shape = getattr(said, "shape", None)
    if shape is None and (isinstance(said, str | bytes | bytearray | Mapping | AbstractSet) or not _is_sized(said)):
        kind = type(said).__name__
        raise ValueError(f"predict gives one {kind}; it must give a list or an array with one value for each row")
    if shape is not None and (not shape or any(width != 1 for width in shape[1:])):
        raise ValueError(f"predict gives values of the shape {tuple(shape)!r} for {rows} rows, not one for each row")
    if hasattr(said, "to_numpy"):  # iterating over a DataFrame gives the names of its columns
        said = said.to_numpy()
    if len(said) != rows:
        raise ValueError(f"the model gave {len(said)} predictions for {rows} rows")
    return list(said.reshape(-1)) if shape is not None and hasattr(said, "reshape") else list(said)


def labels(said: list[Any]) -> list[str]:
    """Write answers as text, as labels are written. Raises ValueError if one is no value, or they are no classes."""
    written = [label(value) for value in said]
    different = len(set(written))
    if different > MOST_DIFFERENT:
        raise ValueError(f"the model gives {different:,} different answers; at most {MOST_DIFFERENT:,} are classes")
    return written


def label(value: Any) -> str:
    """Write an answer as text, as labels are counted: 1, 1.0, true and the texts '1.0' and 'True' are all '1'.

    >>> label(1.0), label(True), label("yes"), label(0.5), label("1.0")
    ('1', '1', 'yes', '0.5', '1')
    """
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124  (NaN is what differs from itself)
            raise ValueError("the model predicts values that are not finite")
        return str(int(value)) if value.is_integer() else repr(value)
    if value is None:
        raise ValueError("the model predicts nothing (None) for a row")
    if not isinstance(value, str | int):
        raise ValueError(  # noqa: TRY004  (what a model gives is a value, however wrong)
            f"the model predicts a {type(value).__name__} for a row; a label is text or a number"
        )
    written = str(value)
    if len(written) > LONGEST:
        raise ValueError(f"the model predicts a label of {len(written):,} characters")
    return word(written) or written


def _is_sized(said: Any) -> bool:
    return hasattr(said, "__len__") and hasattr(said, "__getitem__")
