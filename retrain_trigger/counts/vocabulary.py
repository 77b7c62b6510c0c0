"""Predictions and labels that mean the same, though two programs wrote them."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

NO_CLASS = frozenset({"none", "na", "n/a", "nat"})
"""What programs write that have no prediction or label, if it is no class of the model; in any case of letters."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the words of a log stand for: `meant` maps each to the class it is, `odd` are those that are no class.

    `apart` says that predictions and labels have no word in common, and none can be matched.
    """

    meant: Mapping[str, str | None] = field(default_factory=dict)
    odd: frozenset[str] = frozenset()
    apart: bool = False

    def read(self, word: str | None) -> str | None:
        """Return the class that a word stands for."""
        return None if word is None else self.meant.get(word, word)


def agreed(said: Collection[str], labels: Collection[str], classes: Collection[str] | None) -> Vocabulary:
    """Match the words of predictions and labels with the `classes` of the model; None: with each other.

    Words are matched if they differ in the case of letters only, or are the same number, and only one fits. Where
    classes are known, what stands for none of them is odd. A prediction of 0.9 is no label 1.

    >>> agreed({"Churn", "Stay"}, {"churn", "stay"}, None).meant
    {'churn': 'Churn', 'stay': 'Stay'}
    >>> agreed({"0.9", "0.13"}, {"1", "0"}, ["0", "1"]).odd == {"0.9", "0.13"}
    True
    >>> agreed({"0.9", "0.13"}, {"1", "0"}, None).apart
    True
    """
    if classes is not None:
        return _of_model({*said, *labels}, set(classes))
    here, there = set(said), set(labels)
    meant: dict[str, str | None] = {}
    for word in sorted(there - here):
        fits = _alike(word, here - there)
        if len(fits) == 1 and fits[0] not in meant.values():
            meant[word] = fits[0]
    matched = here & {meant.get(word, word) for word in there}
    return Vocabulary(meant, apart=bool(here and there and not matched and not _may_be_one_sided(here, there)))


def _of_model(words: set[str], classes: set[str]) -> Vocabulary:
    meant: dict[str, str | None] = {}
    odd = set()
    for word in words - classes:
        fits = _alike(word, classes)
        if len(fits) == 1:
            meant[word] = fits[0]
        elif word.lower() in NO_CLASS:
            meant[word] = None
        else:
            odd.add(word)
    return Vocabulary(meant, frozenset(odd))


def _alike(word: str, others: set[str]) -> list[str]:
    number = _number(word)
    return [
        other
        for other in sorted(others)
        if other.strip().casefold() == word.strip().casefold() or (number is not None and _number(other) == number)
    ]


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _may_be_one_sided(said: set[str], labels: set[str]) -> bool:
    """Say whether few words may be all that have come yet: only ever 0 predicted, and only ever 1 the label."""
    return len(said) == 1 and len(labels) == 1
