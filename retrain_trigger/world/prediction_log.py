"""Prediction logs and late labels, counted per window by DuckDB: rows stay here, counts leave."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from retrain_trigger.errors import CannotJudgeError, DataError
from retrain_trigger.world import late_labels, parts, tables, tally
from retrain_trigger.world.late_labels import MOST_WAITING, News
from retrain_trigger.world.parts import Span
from retrain_trigger.world.rotation import undisturbed
from retrain_trigger.world.tables import FileState, kind_of, quoted, text
from retrain_trigger.world.tally import Plan

Piece = dict[str, Any]
Pieces = dict[str, Piece]
"""What was counted, by part of a file: plain JSON, kept in the ledger so that what cannot change is not read again."""


def count(plan: Plan, *, now: datetime, known: Mapping[str, Mapping[str, Any]], scratch: Path | None = None) -> Pieces:
    """Count a log part by part, as known at `now`; what is `known` is counted again only where it may have changed.

    A Parquet file is one part; text files, which grow, are whole lines of a few megabytes. A part is counted again when
    a window that was open has closed, when a label came that may be of its rows, and when its file was rewritten; the
    counts are those of counting everything. Each piece holds `windows`, one for each window and model: its start, rows,
    labelled rows, confusion, histograms, scores, exposed rows and slices, and the rows that cannot be used, by reason,
    with an example; `newest` and `newest_label`, ISO times, null where there is none; what no window has (see
    `tally.joined`), how many rows are in `open` windows and `ahead` of them; and the `lines` that are no rows, with the
    number of all. Raises CannotJudgeError where a file cannot be read, does not hold still while it is read
    (see `undisturbed`), or lacks a column.

    Parts of text are copied to `scratch` to be read, a folder that exists; None: to the system's temporary files.
    """
    before: dict[str, list[Piece]] = {}
    for piece in known.values():
        before.setdefault(piece["file"][0], []).append(dict(piece))

    def counted(files: Sequence[FileState], labels: Sequence[FileState]) -> Pieces:
        with tables.connected() as connection:
            counting = _Counting(connection, plan, labels, before, now, scratch=scratch)
            return {
                f"{file.path} {piece['span'][0]}": piece
                for file in files
                for piece in counting.of(file, before.get(file.path, []))
            }

    try:
        return undisturbed({"logs.predictions": plan.predictions, "logs.labels": plan.labels}, counted)
    except (duckdb.Error, DataError) as error:
        raise CannotJudgeError(f"{plan.predictions} cannot be counted: {tables.told(error)}") from error


def placed(plan: Plan, pieces: Sequence[Piece], *, now: datetime) -> tuple[Piece, list[dict[str, Any]]]:
    """Find the windows of rows that come before every readable time of their piece.

    They are of the nearest time before them in their file, else after them; in a file without any, of the nearest in
    the files before it, else after it. Returns what this adds to the counts, as a piece, and those for which there is
    no time in any file.
    """
    led: Piece = {"windows": [], "open": 0, "ahead": 0}
    unplaced = []
    for at, lead in _times(pieces):
        rows = sum(lead["unusable"].values())
        if at is None:
            unplaced.append(lead)
        elif plan.is_before(at) and lead["model"] != plan.version:
            continue
        elif (start := plan.start(at)) >= plan.closed(now):
            led["open"] += rows
            led["ahead"] += rows if start > plan.closed(now) else 0
        else:
            led["windows"].append({**tally.window(start, lead["model"]), **lead})
    return led, unplaced


def _times(pieces: Sequence[Piece]) -> Iterator[tuple[datetime | None, dict[str, Any]]]:
    """Yield each lead with the time of its rows."""
    times = [(piece["file"][0], piece["first"], piece["last"]) for piece in pieces]
    for place, piece in enumerate(pieces):
        if not piece["lead"]:
            continue
        own = [each for each in enumerate(times) if each[1][0] == piece["file"][0] and each[1][1]]
        near = own or [each for each in enumerate(times) if each[1][1]]
        before, after = ([each for each in near if (each[0] < place) is earlier] for earlier in (True, False))
        found = before[-1][1][2] if before else after[0][1][1] if after else None
        for lead in piece["lead"]:
            yield found and datetime.fromisoformat(found), lead


class _Counting:
    """One count of a log: what is known of it, and what has come since."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        plan: Plan,
        labels: Sequence[FileState],
        known: Mapping[str, Sequence[Piece]],
        now: datetime,
        *,
        scratch: Path | None,
    ) -> None:
        self._connection, self._plan, self._labels, self._now = connection, plan, labels, now
        self._scratch = scratch
        self._truth = late_labels.states(labels)
        self._to_come: int | None = None if labels else 0
        self._news = News()
        if known and labels:
            last = next(iter(known.values()))[0]["labels"]
            self._news = late_labels.news(connection, last, labels, columns=plan.columns, scratch=scratch)
        self._loaded = self._news != News()

    def of(self, file: FileState, known: list[Piece]) -> list[Piece]:
        """Return the pieces of a file, in order."""
        known.sort(key=lambda piece: piece["span"])
        if not (parts.is_text(file) and not any(piece["mixed"] for piece in known)):
            return [self._renewed(known[0], file)] if self._as_before(file, known) else [self._whole(file)]
        kept = list(self._kept(file, known))
        pieces = [*kept, *(piece for start, end in _gaps(kept, file.size) for piece in self._parts(file, start, end))]
        if _mixed(pieces):
            return [self._whole(file)]
        tables.check_lines(file.path, sum(p["lines"][0] for p in pieces), sum(p["lines"][1] for p in pieces))
        return _padded(sorted(pieces, key=lambda piece: piece["span"]), self._plan)

    def _as_before(self, file: FileState, known: Sequence[Piece]) -> bool:
        return len(known) == 1 and known[0]["file"] == file.to_json() and self._holds(known[0])

    def _kept(self, file: FileState, known: Sequence[Piece]) -> Iterator[Piece]:
        """Yield the pieces of a text file that need not be counted again."""
        marks = [(Span(*piece["span"]), piece["mark"]) for piece in known]
        if not known or not parts.goes_on(known[0]["file"], file, marks):
            return
        grown = known[0]["file"] != file.to_json()
        for piece in known:
            start, end, closed = piece["span"]
            joins_on = grown and piece is known[-1] and (not closed or end - start < parts.SMALL)
            if not joins_on and self._holds(piece):
                yield self._renewed(piece, file)

    def _holds(self, piece: Piece) -> bool:
        """Say whether a piece is still what a count would give: neither have windows closed nor labels come."""
        counted_at = datetime.fromisoformat(piece["now"])
        if counted_at > self._now or piece["pending"]:
            return False
        if piece["open"] and self._plan.closed(self._now) != self._plan.closed(counted_at):
            return False
        return not self._news.touches(piece["waiting"], piece["kind"])

    def _renewed(self, piece: Piece, file: FileState) -> Piece:
        return {**piece, "file": file.to_json(), "labels": self._truth}

    def _whole(self, file: FileState) -> Piece:
        """Count a file at once: Parquet, and text whose columns change their type on the way."""
        tables.create_view(self._connection, "whole", [file], numbered=True)
        self._connection.execute("CREATE OR REPLACE VIEW plain AS SELECT * FROM whole")
        mixed = parts.is_text(file)
        piece = self._counted(file, Span(0, file.size))
        lines = list(tables.lines(self._connection, "whole")) if mixed and not file.path.endswith(".csv") else [0, 0]
        if mixed:
            with Path(file.path).open("rb") as text_lines:
                _place(piece, text_lines, first=1, csv=file.path.endswith(".csv"))
        return {**piece, "mixed": mixed, "mark": "", "lines": lines, "types": {}}

    def _parts(self, file: FileState, start: int, end: int) -> Iterator[Piece]:
        for span, data in parts.spans(file, start, end):
            with parts.readable(file, span, data, scratch=self._scratch) as part:
                try:
                    piece = self._part(file, span, part)
                except (duckdb.Error, DataError) as error:
                    where = f"{file.path} (from byte {span.start:,} on)" if span.start else file.path
                    why = str(error) if isinstance(error, DataError) else f"{part.path}: {tables.told(error)}"
                    raise DataError(why.replace(part.path, where)) from error
            if _examples(piece):
                csv, first = file.path.endswith(".csv"), parts.line_number(file, span.start)
                header = csv and span.start > 0
                _place(piece, data.splitlines(keepends=True), first=first, csv=csv, header=header)
            yield {**piece, "mixed": False, "mark": parts.mark(span, data)}

    def _part(self, file: FileState, span: Span, part: FileState) -> Piece:
        json = not part.path.endswith(".csv")
        source = tables.reading([part], growing=json, as_written=True)
        self._connection.execute(
            f"CREATE OR REPLACE TABLE plain_raw AS SELECT *, row_number() OVER () - 1 AS {tables.ROW}, "
            f"{text(file.path)} AS {tables.FILE} FROM {source}"
        )
        tables.flatten(self._connection, "plain", json=json)
        lines = list(tables.lines(self._connection, "plain")) if json else [0, 0]
        if json and lines[0] == lines[1]:
            nothing: Piece = {
                "windows": [],
                "newest": None,
                "newest_label": None,
                "first": None,
                "last": None,
                "lead": [],
                "delays": [],
                "open": 0,
                "ahead": 0,
                "pending": 0,
                "waiting": "",
                "kind": "",
            }
            return {**nothing, **self._named(file, span), "lines": lines, "types": {}}
        return {**self._counted(file, span), "lines": lines, "types": self._types()}

    def _counted(self, file: FileState, span: Span) -> Piece:
        """Count the rows of the relation `plain`."""
        if self._labels and not self._loaded:
            tables.load_labels(self._connection, self._labels, columns=self._plan.columns, key="logs.labels")
            self._loaded = True
        if self._to_come is None:
            self._to_come = tally.future_labels(self._connection, self._plan, self._now)
        aside = tally.joined(self._connection, self._plan, None, self._now)
        piece = aside | tally.counted(self._connection, self._plan, self._now, "true")
        piece["pending"] += self._to_come
        return {**piece, **self._waiting(), **self._named(file, span)}

    def _named(self, file: FileState, span: Span) -> Piece:
        where = {"file": file.to_json(), "span": [span.start, span.end, span.closed]}
        return {**where, "labels": self._truth, "now": self._now.isoformat()}

    def _waiting(self) -> Piece:
        """Return which ids wait for a label from another file; None where that is not known."""
        own = tables.types_of(self._connection, "plain")
        if not self._labels:
            return {"waiting": "", "kind": ""}
        kind = own[self._plan.columns["id"]]
        query = f"SELECT _id FROM logged WHERE _label IS NULL AND _id IS NOT NULL ORDER BY 1 LIMIT {MOST_WAITING + 1}"
        hashes = [number for (number,) in self._connection.execute(query).fetchall()]
        known = len(hashes) <= MOST_WAITING and self._plan.columns["label"] not in own
        return {"waiting": late_labels.packed(hashes) if known else None, "kind": kind}

    def _types(self) -> dict[str, str]:
        """Return what DuckDB took the columns of a part for, where they have a value: it guesses from what it sees."""
        types = tables.types_of(self._connection, "plain")
        given = ", ".join(f"count({quoted(name)})" for name in types)
        filled = self._connection.execute(f"SELECT {given} FROM plain").fetchall()[0]
        exact = {*self._plan.slices, *(name for name, cut in self._plan.bins.items() if "values" in cut)}
        found = {
            name: kind if name in exact or kind_of(kind) != "number" else "number"
            for (name, kind), count in zip(types.items(), filled, strict=True)
            if count
        }
        raw = tables.types_of(self._connection, "plain_raw").get("features", "")
        if raw.startswith("STRUCT"):
            found["features"] = "STRUCT"
        return found


def _examples(piece: Piece) -> list[dict[str, Any]]:
    return [each["example"] for each in (*piece["windows"], *piece["lead"]) if each["example"] is not None]


def _place(piece: Piece, lines: Iterable[bytes], *, first: int, csv: bool, header: bool = False) -> None:
    """Say in which lines of a file of text the examples of a piece stand, from the number of the `first` line on.

    The lines of CSV begin with the names of the columns, unless the `header` stands elsewhere.
    """
    examples = _examples(piece)
    wanted = {example["row"] + (csv and not header) for example in examples}
    places = parts.places(lines, wanted, quoted=csv)
    for example in examples:
        row = example.pop("row")
        example["line"] = first + places.get(row + (csv and not header), 0)


def _gaps(kept: Sequence[Piece], size: int) -> Iterator[tuple[int, int]]:
    """Yield the bytes that no piece covers."""
    position = 0
    for piece in kept:
        start, end, _ = piece["span"]
        if start > position:
            yield position, start
        position = end
    if position < size:
        yield position, size


def _mixed(pieces: Sequence[Piece]) -> bool:
    """Say whether a column has one type in one part and another in the next: as a whole it would have a third."""
    seen: dict[str, str] = {}
    return any(seen.setdefault(name, kind) != kind for piece in pieces for name, kind in piece["types"].items())


def _padded(pieces: Sequence[Piece], plan: Plan) -> list[Piece]:
    """Count a column that only some parts have as missing in the others, as it would be in the whole file."""
    names = {name for piece in pieces for window in piece["windows"] for name in window["histograms"]}
    for piece in pieces:
        for window in piece["windows"]:
            absent = names - window["histograms"].keys()
            window["histograms"] |= {name: [0] * (plan.bins[name]["size"] - 1) + [window["rows"]] for name in absent}
    return list(pieces)
