"""Rows of a prediction log that cannot be used: how many, why, and the first of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

REASONS = {
    "time": "no readable time",
    "prediction": "no prediction",
    "class": "a prediction that is no class of the model",
    "label": "a label that is no class of the model",
    "words": "a label that is none of the words predicted",
}


@dataclass(frozen=True, slots=True)
class Unusable:
    """The rows that cannot be used, by reason (a key of REASONS), and where the first is, with its value.

    >>> one = Unusable({"prediction": 2}, "log.csv:2: prediction is empty")
    >>> (one + Unusable({"prediction": 1, "time": 1}, "log.csv:9: timestamp is 'x'")).words
    '3 have no prediction, 1 has no readable time (log.csv:2: prediction is empty)'
    """

    by_reason: Mapping[str, int] = field(default_factory=dict)
    example: str = ""

    def __add__(self, other: "Unusable") -> "Unusable":
        return Unusable(dict(Counter(self.by_reason) + Counter(other.by_reason)), self.example or other.example)

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(self.by_reason.values())

    @property
    def words(self) -> str:
        """How many there are for each reason, the most frequent first, and the example."""
        counts = sorted(self.by_reason.items(), key=lambda each: (-each[1], each[0]))
        said = ", ".join(f"{rows:,} {'has' if rows == 1 else 'have'} {REASONS[why]}" for why, rows in counts)
        return f"{said} ({self.example})" if self.example else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """What of a prediction log is in no window that was judged.

    `unplaced` are rows without a time in files without any, `lines` those that are no rows, `label_lines` those of label files that
    are no labels, `ahead` the rows that are
    dated after the present window. `repeated` are rows whose id had been counted, `copies` files that are others once
    more, and these, `strangers` an id of the labels and one of the rows, if no label is of a row, `after` labels that came
    after their window was settled, and `nested` columns
    in which others are, and these.
    """

    unplaced: Unusable = field(default_factory=Unusable)
    lines: int = 0
    label_lines: int = 0
    ahead: int = 0
    repeated: int = 0
    copies: tuple[tuple[str, str], ...] = ()
    strangers: tuple[str, str] | None = None
    after: int = 0
    nested: tuple[tuple[str, tuple[str, ...]], ...] = ()


NOTHING_ASIDE = Aside()
