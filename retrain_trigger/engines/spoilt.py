"""Rows that cannot be used: how many have no readable time, and an example of each kind, with its line."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from retrain_trigger.counts.tally import Tally, Where
from retrain_trigger.counts.vocabulary import agreed
from retrain_trigger.counts.windows import Spoilt as Kind
from retrain_trigger.counts.words import word
from retrain_trigger.engines import parts, portable, sources
from retrain_trigger.engines.counted import Example, Piece
from retrain_trigger.engines.plan import Plan
from retrain_trigger.engines.portable import DUCKDB
from retrain_trigger.engines.portions import Portion
from retrain_trigger.engines.spelled import Group
from retrain_trigger.engines.waiting import Waiting

LONGEST_EXAMPLE = 60
"""Characters of a value that are kept to be shown."""


@dataclass(frozen=True, slots=True)
class _First:
    """The first row of a kind that cannot be used: its place, the role of the column that is the cause, and its value."""

    place: int
    role: str
    value: str


def is_spoilt(piece: Piece, plan: Plan) -> bool:
    """Say whether a row with a time cannot be used."""
    vocabulary = agreed(*piece.tally.words, plan.classes)
    return any(
        vocabulary.read(said) is None or vocabulary.odd & {vocabulary.read(said), vocabulary.read(label)}
        for _, _, said, label, *_ in piece.tally.cells
    )


@dataclass(frozen=True, slots=True)
class Spoilt:
    """The rows of one portion that cannot be used: read once more, in their order; `rejected` lines are no rows."""

    waiting: Waiting
    group: Group
    portion: Portion
    rejected: Sequence[int]

    def added(self, piece: Piece) -> Piece:
        """Return the piece with the rows that have no readable time, and an example of each kind."""
        plan = self.waiting.plan
        rows = self.group.numbered(self.portion.lines, plan)
        placed = f"SELECT * FROM ({portable.placed(DUCKDB, plan, rows)}) WHERE NOT blank"
        self.waiting.connection.execute(f"CREATE OR REPLACE TEMP TABLE numbered AS {placed}")
        timeless, examples = self._timeless()
        examples |= self._odd(piece.tally)
        return replace(piece, timeless=timeless, examples=self._told(examples))

    def _timeless(self) -> tuple[dict[Where, int], dict[Kind, _First]]:
        """Count the rows without a time in the window of the nearest before them that has one, else after them."""
        before, after = "ROWS UNBOUNDED PRECEDING", "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING"
        near = (
            f"coalesce(last_value(us IGNORE NULLS) OVER (ORDER BY nth {before}), "
            f"first_value(us IGNORE NULLS) OVER (ORDER BY nth {after}))"
        )
        filled = f"SELECT nth, model, seen, us AS own_us, {near} AS us FROM numbered"
        placed = portable.windows(DUCKDB, self.waiting.plan, f"({filled})")
        query = (
            f"SELECT w, model, count(*), min(nth), arg_min(coalesce(seen, ''), nth) FROM ({placed}) "
            "WHERE own_us IS NULL AND own GROUP BY ALL"
        )
        counts: dict[Where, int] = {}
        examples: dict[Kind, _First] = {}
        for window, model, count, nth, seen in self.waiting.ask(query):
            counts[window, model] = count
            examples[window, model, "time"] = _First(nth, "timestamp", seen)
        return counts, examples

    def _odd(self, tally: Tally) -> dict[Kind, _First]:
        """Find the first row of each kind that has no prediction, or words that are no classes."""
        vocabulary = agreed(*tally.words, self.waiting.plan.classes)
        found: dict[Kind, _First] = {}
        query = (
            "SELECT w, model, said, truth, min(nth) FROM numbered WHERE w IS NOT NULL AND own GROUP BY ALL ORDER BY 5"
        )
        for window, model, said, truth, nth in self.waiting.ask(query):
            answer, label = vocabulary.read(word(said)), vocabulary.read(word(truth))
            if answer is None or answer in vocabulary.odd:
                why = "prediction" if answer is None else "class"
                found.setdefault((window, model, why), _First(nth, "prediction", said or ""))
            elif label in vocabulary.odd:
                found.setdefault((window, model, "label"), _First(nth, "label", truth or ""))
        return found

    def _told(self, found: Mapping[Kind, _First]) -> dict[Kind, Example]:
        """Say in which lines of text the rows stand."""
        columns, places = self.waiting.plan.columns, {first.place for first in found.values()}
        lines = self._lines(places) if self.group.kind != "parquet" else {}
        return {
            key: Example(
                place=first.place,
                line=lines.get(first.place),
                column=columns[first.role],
                value=first.value[:LONGEST_EXAMPLE],
            )
            for key, first in found.items()
        }

    def _lines(self, places: Collection[int]) -> dict[int, int]:
        """Return the line, from 1, in which each row stands: of CSV, the header comes first."""
        quoted, start = self.group.kind == "csv", self.portion.span.start
        rejected = {line - 1 for line in self.rejected}
        with sources.opened(self.portion.lines.path) as file:
            found = parts.places(file, {place + quoted for place in places}, quoted=quoted, rejected=rejected)
        first = parts.line_number(self.portion.file, start) if start else 1
        if quoted and start:  # the copy of a part begins with the header
            first -= sources.header_of(self.portion.file.path).count(b"\n")
        return {place: first + found.get(place + quoted, 0) for place in places}
