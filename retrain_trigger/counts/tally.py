"""What the rows of a prediction log come to before anybody judges them: the same from every engine."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

Cell = tuple[int | None, str | None, str | None, str | None, int | None, bool | None]
"""Window, model, prediction, label, place of the score, whether exposed. Windows are numbered, see `Plan.start`."""

Part = tuple[int | None, str | None, str, str | None, str | None, str | None]
"""Window, model, slice column, its value, prediction, label."""

Column = tuple[int | None, str | None, str]
"""Window, model, watched column."""

Where = tuple[int | None, str | None]
"""Window, model."""

Delay = tuple[int | None, float]
"""Window, hours that a label took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many rows there are of each kind; tallies of other rows of the same log add up.

    `cells` counts every row, `slices` those that have a label, by each slice column, and `histograms` every row, by the
    places of each watched column (see `Bins`). None is what a row does not have: a window where its time cannot be
    read, a label that has not come. `delays` counts labels from other files by how long they took. `rows_until` and
    `labels_until` are the newest times, in microseconds since 1970.

    >>> monday = Tally(cells={(0, None, "1", "1", None, None): 3})
    >>> (monday + monday).cells
    {(0, None, '1', '1', None, None): 6}
    """

    cells: Mapping[Cell, int] = field(default_factory=dict)
    slices: Mapping[Part, int] = field(default_factory=dict)
    histograms: Mapping[Column, tuple[int, ...]] = field(default_factory=dict)
    delays: Mapping[Delay, int] = field(default_factory=dict)
    rows_until: Mapping[Where, int] = field(default_factory=dict)
    labels_until: Mapping[Where, int] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        return total((self, other))

    @property
    def words(self) -> tuple[set[str], set[str]]:
        """The words that occur as predictions, and those that occur as labels."""
        said = {cell[2] for cell in self.cells if cell[2] is not None}
        return said, {cell[3] for cell in self.cells if cell[3] is not None}

    def only(self, kept: Callable[[int | None], bool]) -> "Tally":
        """Return the counts of the windows for whose number `kept` is true.

        >>> Tally(cells={(0, None, "1", "1", None, None): 3, (1, None, "1", "1", None, None): 4}).only(bool).rows
        4
        """
        return Tally(
            cells={key: rows for key, rows in self.cells.items() if kept(key[0])},
            slices={key: rows for key, rows in self.slices.items() if kept(key[0])},
            histograms={key: counts for key, counts in self.histograms.items() if kept(key[0])},
            delays={key: labels for key, labels in self.delays.items() if kept(key[0])},
            rows_until={key: at for key, at in self.rows_until.items() if kept(key[0])},
            labels_until={key: at for key, at in self.labels_until.items() if kept(key[0])},
        )

    def without(self, other: "Tally") -> "Tally":
        """Return the counts without those of some of the rows; the newest times stay.

        >>> Tally(cells={(0, None, "1", "1", None, None): 3}).without(Tally(cells={(0, None, "1", "1", None, None): 3})).cells
        {}
        """
        return replace(
            self,
            cells=dict(Counter(self.cells) - Counter(other.cells)),
            slices=dict(Counter(self.slices) - Counter(other.slices)),
            delays=dict(Counter(self.delays) - Counter(other.delays)),
        )

    @property
    def rows(self) -> int:
        """Number of rows counted."""
        return sum(self.cells.values())


def total(tallies: Iterable[Tally]) -> Tally:
    """Add up tallies; each cell is looked at once, however many there are."""
    cells, slices, delays = Counter[Cell](), Counter[Part](), Counter[Delay]()
    histograms: dict[Column, tuple[int, ...]] = {}
    rows_until: dict[Where, int] = {}
    labels_until: dict[Where, int] = {}
    for each in tallies:
        cells.update(each.cells)
        slices.update(each.slices)
        delays.update(each.delays)
        for key, counts in each.histograms.items():
            histograms[key] = _both(histograms[key], counts) if key in histograms else counts
        for found, newest in ((rows_until, each.rows_until), (labels_until, each.labels_until)):
            for where, at in newest.items():
                found[where] = max(at, found.get(where, at))
    return Tally(
        cells=dict(cells),
        slices=dict(slices),
        histograms=histograms,
        delays=dict(delays),
        rows_until=rows_until,
        labels_until=labels_until,
    )


def _both(one: tuple[int, ...], two: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, two, strict=True))
