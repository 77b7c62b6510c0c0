"""How often two models, or a model and its own log, say the same of the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass

from retrain_trigger.core.records import Json


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many rows there are for each pair (what the first said, what the second said).

    >>> said = Agreement({("0", "0"): 70, ("0", "1"): 20, ("1", "1"): 10})
    >>> said.rows, said.share, said.flips
    (100, 0.8, (('0', '1', 20),))
    >>> said.shares
    {'0': (0.9, 0.7), '1': (0.1, 0.3)}
    """

    cells: Mapping[tuple[str, str], int]

    @property
    def rows(self) -> int:
        """Number of rows counted."""
        return sum(self.cells.values())

    @property
    def share(self) -> float | None:
        """Share of the rows on which both said the same; None without rows."""
        return sum(n for (first, second), n in self.cells.items() if first == second) / self.rows if self.rows else None

    @property
    def flips(self) -> tuple[tuple[str, str, int], ...]:
        """What the two said where they differ, and on how many rows, the most frequent first."""
        differ = [(*pair, n) for pair, n in self.cells.items() if pair[0] != pair[1] and n]
        return tuple(sorted(differ, key=lambda cell: (-cell[2], cell[:2])))

    @property
    def shares(self) -> dict[str, tuple[float, float]]:
        """Share of the rows for which the first, and the second, said each thing that was said at all."""
        said = sorted({word for pair in self.cells for word in pair})
        return {word: (self._share(0, word), self._share(1, word)) for word in said} if self.rows else {}

    def to_json(self) -> dict[str, Json]:
        """Return the agreement as a JSON object."""
        shares = {word: list(pair) for word, pair in self.shares.items()}
        return {"rows": self.rows, "share": self.share, "flips": [list(f) for f in self.flips], "shares": shares}

    def _share(self, place: int, word: str) -> float:
        return sum(n for pair, n in self.cells.items() if pair[place] == word) / self.rows
