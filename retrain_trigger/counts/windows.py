"""What a prediction log comes to: counts per window, which add up."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.histograms import Histogram
from retrain_trigger.counts.unusable import Unusable

Cells = Mapping[tuple[Any, ...], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCounts:
    """The rows that one model predicted in one window, as counts.

    `start` is the window's start (UTC), `model` what the rows say made them (None where they do not). Of `rows`,
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
            scores=_added(self.scores, other.scores),
            exposed=_added(self.exposed, other.exposed),
            slices=_added(self.slices, other.slices),
            unusable=self.unusable + other.unusable,
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "WindowCounts":
        """Read what was counted of one window."""
        return cls(
            start=datetime.fromisoformat(document["start"]),
            model=document["model"],
            rows=document["rows"],
            labelled=document["labelled"],
            confusion=Confusion.from_json(document["confusion"]),
            histograms={name: Histogram.from_json(counts) for name, counts in document["histograms"].items()},
            scores=_cells(document["scores"]),
            exposed=_cells(document["exposed"]),
            slices={(name, *cell): n for name, cells in document["slices"].items() for *cell, n in cells},
            unusable=Unusable(document["unusable"], document["example"] or ""),
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


def _cells(document: Iterable[Sequence[Any]]) -> dict[tuple[Any, ...], int]:
    return {tuple(cell): count for *cell, count in document}


def _added(one: Cells | None, other: Cells | None) -> dict[tuple[Any, ...], int]:
    return dict(Counter(one or {}) + Counter(other or {}))
