"""What a prediction log comes to: counts per window, which add up."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from retrain_trigger.counts.cells import summed
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.histograms import Bins, Histogram
from retrain_trigger.counts.tally import Cell, Part, Tally, Where
from retrain_trigger.counts.unusable import Unusable
from retrain_trigger.counts.vocabulary import Vocabulary

Key = tuple[Any, ...]
"""What is counted together: a value of each of several columns."""

Cells = Mapping[Key, int]

Spoilt = tuple[int | None, str | None, str]
"""Window, model, and why rows cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCounts:
    """The rows that one model predicted in one window, as counts.

    `start` is the window's start (UTC), `model` what the rows say made them (None if they do not). Of `rows`,
    `labelled` have a label. `histograms` are by watched column; `scores` counts rows by (place of the score, prediction,
    label or None), `exposed` by (exposed, prediction, label or None), `slices` by (column, its value or None, label,
    prediction). The rows that cannot be used are in none of these, but in `unusable`.

    >>> at = datetime(2026, 1, 5)
    >>> one = WindowCounts(start=at, model=None, rows=3, labelled=2, confusion=Confusion({("1", "1"): 2}))
    >>> (one + one).rows, (one + one).confusion.rows
    (6, 4)
    """

    start: datetime
    model: str | None
    rows: int
    labelled: int
    confusion: Confusion
    histograms: Mapping[str, Histogram] | None = None
    scores: Cells | None = None
    exposed: Cells | None = None
    slices: Cells | None = None
    unusable: Unusable = field(default_factory=Unusable)

    def __add__(self, other: "WindowCounts") -> "WindowCounts":
        own, others = self.histograms or {}, other.histograms or {}
        return WindowCounts(
            start=min(self.start, other.start),
            model=self.model,
            rows=self.rows + other.rows,
            labelled=self.labelled + other.labelled,
            confusion=self.confusion + other.confusion,
            histograms={
                name: own[name] + others[name] if name in own and name in others else own.get(name) or others[name]
                for name in {**own, **others}
            },
            scores=_both(self.scores, other.scores),
            exposed=_both(self.exposed, other.exposed),
            slices=_both(self.slices, other.slices),
            unusable=self.unusable + other.unusable,
        )

    file = ""  # windows always have a time; a place in a file is for lines that have none
    end = 0

    @property
    def at(self) -> datetime:
        """The start of the window, as a measurement has it."""
        return self.start

    @property
    def coverage(self) -> float:
        """The share of the rows that have their label."""
        return self.labelled / self.rows if self.rows else 0.0


def merged(windows: Iterable[WindowCounts]) -> list[WindowCounts]:
    """Add up what files hold of the same window and model; in order of time."""
    found: dict[tuple[datetime, str | None], WindowCounts] = {}
    for window in windows:
        key = (window.start, window.model)
        found[key] = found[key] + window if key in found else window
    return [found[key] for key in sorted(found, key=lambda key: (key[0], key[1] or ""))]


def of_tally(
    tally: Tally,
    vocabulary: Vocabulary,
    *,
    start: Callable[[int], datetime],
    bins: Mapping[str, Bins],
    timeless: Mapping[Where, int],
    examples: Mapping[Spoilt, str],
) -> list[WindowCounts]:
    """Return the windows of a tally, in order of time, its words read as the classes that they stand for.

    `start` tells when a window starts, `bins` are those of the watched columns. `timeless` are rows without a readable
    time, by the window that they are taken to be in, and `examples` what a person is shown of rows that cannot be used.
    """
    found: dict[Where, _Counting] = {}
    for cell, rows in tally.cells.items():
        found.setdefault(cell[:2], _Counting()).add(vocabulary, cell, rows)
    for part, rows in tally.slices.items():
        found[part[:2]].add_part(vocabulary, part, rows)
    for where, rows in timeless.items():
        found.setdefault(where, _Counting()).unusable["time"] += rows
    histograms: dict[Where, dict[str, Histogram]] = {}
    for (number, model, column), counts in tally.histograms.items():
        histograms.setdefault((number, model), {})[column] = Histogram(counts)
    shown: dict[Where, str] = {}
    of_these = [key for key in examples if key[:2] in found]
    for number, model, why in sorted(of_these, key=lambda key: (-found[key[:2]].unusable[key[2]], key[2])):
        shown.setdefault((number, model), examples[number, model, why])
    return [
        counting.window(
            start(number),
            model,
            bins=bins,
            histograms=histograms.get((number, model), {}),
            example=shown.get((number, model), ""),
        )
        for (number, model), counting in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or ""))
        if number is not None
    ]


@dataclass(slots=True)
class _Counting:
    """One window of one model, as its rows are read."""

    rows: int = 0
    labelled: int = 0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    scores: Counter[Key] = field(default_factory=Counter)
    exposed: Counter[Key] = field(default_factory=Counter)
    slices: Counter[Key] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    unusable: Counter[str] = field(default_factory=Counter)

    def add(self, vocabulary: Vocabulary, cell: Cell, rows: int) -> None:
        """Count rows of one cell."""
        _, _, said, label, place, exposed = cell
        answer, truth = vocabulary.read(said), vocabulary.read(label)
        why = _why(vocabulary, answer, truth)
        if why or answer is None:
            self.unusable[why] += rows
            return
        self.rows += rows
        self.said[answer] += rows
        if truth is not None:
            self.labelled += rows
            self.confusion[truth, answer] += rows
        if place is not None:
            self.scores[place, answer, truth] += rows
        if exposed is not None:
            self.exposed[exposed, answer, truth] += rows

    def add_part(self, vocabulary: Vocabulary, part: Part, rows: int) -> None:
        """Count rows of one value of a slice column."""
        _, _, column, value, said, label = part
        answer, truth = vocabulary.read(said), vocabulary.read(label)
        if answer is not None and truth is not None and not _why(vocabulary, answer, truth):
            self.slices[column, value, truth, answer] += rows

    def window(
        self,
        start: datetime,
        model: str | None,
        *,
        bins: Mapping[str, Bins],
        histograms: Mapping[str, Histogram],
        example: str,
    ) -> WindowCounts:
        """Return what was counted."""
        own = dict(histograms)
        for role, words in (("prediction", self.said), ("label", self._labels())):
            if role in bins:
                own[role] = bins[role].counted(words, missing=self.rows - words.total())
        return WindowCounts(
            start=start,
            model=model,
            rows=self.rows,
            labelled=self.labelled,
            confusion=Confusion(dict(self.confusion)),
            histograms=own,
            scores=dict(self.scores),
            exposed=dict(self.exposed),
            slices=dict(self.slices),
            unusable=Unusable(dict(self.unusable), example),
        )

    def _labels(self) -> Counter[str]:
        found = Counter[str]()
        for (truth, _), rows in self.confusion.items():
            found[truth] += rows
        return found


def _why(vocabulary: Vocabulary, answer: str | None, truth: str | None) -> str:
    """Return why a row cannot be used; empty if it can."""
    if answer is None:
        return "prediction"
    if answer in vocabulary.odd:
        return "class"
    if truth in vocabulary.odd:
        return "label"
    return "words" if vocabulary.apart and truth is not None else ""


def _both(one: Cells | None, other: Cells | None) -> Cells:
    return summed((*(one or {}).items(), *(other or {}).items()))
