"""Rows that belong together, counted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Groups:
    """How many groups rows are in, and the sum over groups of the squared sum of what each row counts for."""

    number: int
    squares: float
