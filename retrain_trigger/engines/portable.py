"""Counting, in SQL that DuckDB, PostgreSQL and Spark run alike; what they write differently is a table of atoms.

Only `CASE`, `CAST`, `GROUPING SETS`, `ROW_NUMBER`, `LEFT JOIN` and the usual aggregates are used. Times are whole
microseconds since 1970, NaN sorts above all numbers, and text is compared byte by byte.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from retrain_trigger.counts.histograms import Bins
from retrain_trigger.counts.tally import Cell, Column, Part, Tally, Where
from retrain_trigger.counts.words import word
from retrain_trigger.engines.plan import ORIGIN, Plan, micros

Ask = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a query and returns its rows."""

File = str | int
"""What tells one file from another: a name, or its number among those that are read."""

Place = tuple[File, int | None, str | None]
"""The file, window and model of a row."""

MOST_VALUES = 1000
"""Values of a slice column that are counted, the most frequent ones; the judgement looks at far fewer."""

MOST_CELLS = 200_000
"""Cells that are taken without a look at how many words there are: more may be one for each row."""

MOST_WORDS = 1000
"""Different predictions that are counted, and labels: a column with more holds no classes."""

OTHER = "other words"
"""Stands for all predictions, or labels, beyond the most frequent MOST_WORDS."""

COLUMNS_AT_ONCE = 100
"""Watched columns that one query counts."""

GREATEST = "1.7976931348623157e308"
"""The greatest finite double, as SQL."""

ROLES = ("said", "truth", "labelled", "id", "model", "score", "exposed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Atoms:
    """What engines write differently: how a name and a text are quoted, types, and a time in microseconds since 1970.

    `ordered` is how text is sorted byte by byte.
    """

    name: Callable[[str], str]
    text: Callable[[str], str]
    string: str
    double: str
    micros: str
    ordered: str = "{}"


def _doubled(mark: str) -> Callable[[str], str]:
    return lambda name: mark + name.replace(mark, 2 * mark) + mark


DUCKDB = Atoms(name=_doubled('"'), text=_doubled("'"), string="VARCHAR", double="DOUBLE", micros="epoch_us({})")
POSTGRES = Atoms(
    name=_doubled('"'),
    text=_doubled("'"),
    string="TEXT",
    double="DOUBLE PRECISION",
    micros="CAST(EXTRACT(EPOCH FROM {}) * 1000000 AS BIGINT)",
    ordered='{} COLLATE "C"',
)
SPARK = Atoms(
    name=_doubled("`"),
    text=lambda value: "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'",
    string="STRING",
    double="DOUBLE",
    micros="unix_micros({})",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows to count: a relation, and SQL for what stands in it; a role or a column that it does not have is not there.

    `at` is a time (UTC), `roles` holds `said`, `truth`, `id` and `model` as text, `labelled` as a time, `score` as a
    double and `exposed` as a boolean; `features` doubles or text, as their bins ask for, `slices` text. `file` tells
    from which of several files a row is.
    """

    relation: str
    at: str
    roles: Mapping[str, str]
    features: Mapping[str, str] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)
    file: str = "''"
    more: Mapping[str, str] = field(default_factory=dict)


def placed(atoms: Atoms, plan: Plan, rows: Rows) -> str:
    """Return a query that puts each row into its place: its window `w`, its roles, the places of its watched columns.

    `own` says whether the plan counts it. A row without a readable time has no window, and is its own.
    """
    types = dict.fromkeys(ROLES, atoms.string) | {"labelled": "TIMESTAMP", "score": atoms.double, "exposed": "BOOLEAN"}
    roles = {role: rows.roles.get(role, f"CAST(NULL AS {types[role]})") for role in ROLES}
    named = {"file": rows.file, "happened": rows.at, **roles}
    named |= {f"v{n}": sql for n, sql in enumerate(rows.features.values())}
    named |= {f"s{n}": sql for n, sql in enumerate(rows.slices.values())} | {**rows.more}
    # What a file has is worked out once, by an inner query: a place looks at it again and again.
    read = f"(SELECT {', '.join(f'{sql} AS {name}' for name, sql in named.items())} FROM {rows.relation})"
    scores = Bins.numeric(plan.score_edges, (), low=None, high=None)
    found = {"us": atoms.micros.format("happened"), "labelled_us": atoms.micros.format("labelled")}
    found["place"] = f"NULLIF({place(atoms, 'score', scores)}, {scores.size - 1})"
    found |= {f"b{n}": place(atoms, f"v{n}", plan.bins[name]) for n, name in enumerate(rows.features)}
    kept = [name for name in named if name not in {"happened", "labelled", "score"} and name[0] != "v"]
    chosen = [*kept, *(f"{sql} AS {name}" for name, sql in found.items())]
    return windows(atoms, plan, f"(SELECT {', '.join(chosen)} FROM {read} AS v)")


def windows(atoms: Atoms, plan: Plan, relation: str) -> str:
    """Return a query that adds to rows with a time `us` and a `model` the window `w`, and whether the plan counts them."""
    length = plan.window // timedelta(microseconds=1)
    window = f"CAST(FLOOR((us - {micros(ORIGIN)}) / CAST({length} AS {atoms.double})) AS BIGINT)"
    return f"SELECT p.*, {window} AS w, {_own(atoms, plan)} AS own FROM {relation} AS p"


def place(atoms: Atoms, column: str, bins: Bins) -> str:
    """Return SQL for the bin that a value falls into: its number, or of categories the value itself.

    NULL, NaN and infinities are missing: the last number, or NULL.
    """
    if not bins.numeric_column:
        listed = ", ".join(atoms.text(value) for value in bins.values)
        known = f"WHEN {column} IN ({listed}) THEN {column} " if listed else ""
        return f"CASE WHEN {column} IS NULL THEN NULL {known}ELSE {atoms.text(_other(bins))} END"
    missing = bins.size - 1
    arms = [
        f"WHEN {column} {'<=' if takes else '<'} CAST({cut!r} AS {atoms.double}) THEN {n}"
        for n, (cut, takes) in enumerate(bins.cuts)
    ]
    arms.append(f"WHEN {column} <= {GREATEST} THEN {len(bins.cuts)}")
    first, last = arms[0].rsplit(" THEN ", 1)
    arms[0] = f"{first} THEN CASE WHEN {column} >= -{GREATEST} THEN {last} ELSE {missing} END"
    return f"CASE {' '.join(arms)} ELSE {missing} END"


def once(atoms: Atoms, placed: str) -> str:
    """Return a query for placed rows of which each id counts once in a window: its earliest row."""
    words = ", ".join(f"COALESCE({atoms.ordered.format(word)}, '')" for word in ("said", "truth"))
    order = f"PARTITION BY id, w, model ORDER BY us, file, {words}"
    ranked = f"SELECT r.*, ROW_NUMBER() OVER ({order}) AS nth FROM ({placed}) AS r"
    return f"SELECT * FROM ({ranked}) AS ranked WHERE id IS NULL OR w IS NULL OR nth = 1"


def known(placed: str, labels: str | None, *, now: datetime) -> str:
    """Return a query for placed rows with their `label` as known at `now`, and when it came, `label_us`.

    `labels` is a relation of labels by id: `id` and `label`, both text, `labelled_us`, and `nth`, which grows from
    label to label. The latest that has come counts; a row whose id has none there keeps its own.
    """
    come = f"labelled_us IS NULL OR labelled_us <= {micros(now)}"
    if labels is None:
        own = f"CASE WHEN {come} THEN truth END"
        return f"SELECT p.*, {own} AS label, CASE WHEN {come} THEN labelled_us END AS label_us FROM ({placed}) AS p"
    latest = "PARTITION BY id ORDER BY COALESCE(labelled_us, 0) DESC, nth DESC"
    newest = (
        f"SELECT id, label, labelled_us FROM (SELECT l.*, ROW_NUMBER() OVER ({latest}) AS latest FROM {labels} AS l "
        f"WHERE label IS NOT NULL AND ({come})) AS ranked WHERE latest = 1"
    )
    own = come.replace("labelled_us", "p.labelled_us")
    return (
        f"SELECT p.*, CASE WHEN n.id IS NOT NULL THEN n.label WHEN {own} THEN truth END AS label, "
        f"CASE WHEN n.id IS NOT NULL THEN n.labelled_us WHEN {own} THEN p.labelled_us END AS label_us "
        f"FROM ({placed}) AS p LEFT JOIN ({newest}) AS n ON p.id = n.id"
    )


def number(bins: Bins, found: str | None) -> int:
    """Return the number of the place that `place` found, as text."""
    if bins.numeric_column:
        return int(found or 0)
    if found is None:
        return bins.size - 1
    return bins.values.index(found) if found in bins.values else len(bins.values)


def tallies(
    ask: Ask, atoms: Atoms, relation: str, *, places: str, bins: Mapping[str, Bins], slices: Sequence[str]
) -> dict[File, Tally]:
    """Count rows that `known` gives, by file; `bins` and `slices` name what `b0`, `b1`, ... and `s0`, ... stand for.

    `places` gives the same rows with `b0`, `b1`, ...: the relation may do without.
    """
    found = cells(ask, atoms, relation, slices=slices)
    where = {(file, window, model) for file, tally in found.items() for window, model, *_ in tally.cells}
    for file, each in histograms(ask, atoms, places, bins, where=where).items():
        found[file] = replace(found[file], histograms=each)
    return found


def cells(ask: Ask, atoms: Atoms, relation: str, *, slices: Sequence[str]) -> dict[File, Tally]:
    """Count rows by their roles, by file; words that are too many to be classes are counted as one."""
    counted = ask(f"{_by_cell(relation, 'said', 'label')} LIMIT {MOST_CELLS}")
    if len(counted) == MOST_CELLS or len({(said, label) for _, _, _, said, label, *_ in counted}) > MOST_WORDS:
        counted = ask(_by_cell(relation, *_words(ask, atoms, relation)))
    found: dict[File, Counter[Cell]] = {}
    rows_until: dict[File, dict[Where, int]] = {}
    labels_until: dict[File, dict[Where, int]] = {}
    for file, window, model, answer, truth, score, exposed, rows, *newest in counted:
        found.setdefault(file, Counter())[window, model, word(answer), word(truth), score, exposed] += rows
        for until, at in zip((rows_until, labels_until), newest, strict=True):
            ends = until.setdefault(file, {})
            if at is not None:
                ends[window, model] = max(at, ends.get((window, model), at))
    parts = _slices(ask, atoms, relation, slices)
    return {
        file: Tally(
            cells=dict(each), slices=parts.get(file, {}), rows_until=rows_until[file], labels_until=labels_until[file]
        )
        for file, each in found.items()
    }


def _by_cell(relation: str, said: str, label: str) -> str:
    """Return a query for the rows by their roles, given SQL for their words."""
    keys = f"file, w, model, {said}, {label}, place, exposed"
    newest = "MAX(us), MAX(CASE WHEN label IS NOT NULL THEN label_us END)"
    return f"SELECT {keys}, COUNT(*), {newest} FROM ({relation}) AS r WHERE own GROUP BY {keys}"


def places(ask: Ask, relation: str) -> set[Place]:
    """Return the places of rows that are counted: file, window and model."""
    return {
        (file, window, model)
        for file, window, model in ask(f"SELECT DISTINCT file, w, model FROM ({relation}) AS r WHERE own")
    }


def histograms(
    ask: Ask, atoms: Atoms, relation: str, bins: Mapping[str, Bins], *, where: Collection[Place]
) -> dict[File, dict[Column, tuple[int, ...]]]:
    """Count rows by the place of each watched column, by file; `where` are the files, windows and models that rows have.

    What all rows have in common, often the window and the model, is not grouped by.
    """
    found: dict[File, dict[Column, list[int]]] = {}
    columns = [(f"b{n}", name) for n, name in enumerate(bins)]
    if not where or not columns:
        return {}
    one = dict(zip(("file", "w", "model"), next(iter(where)), strict=True))
    sizes = {name: each.size for name, each in bins.items()}
    keys = [key for key, values in zip(one, zip(*where, strict=True), strict=True) if len({*values}) > 1]
    for some in (columns[first : first + COLUMNS_AT_ONCE] for first in range(0, len(columns), COLUMNS_AT_ONCE)):
        for *values, column, found_at, rows in ask(_by_column(atoms, relation, keys, some)):
            own, name = one | dict(zip(keys, values, strict=True)), some[column][1]
            of_file = found.setdefault(own["file"], {})
            counts = of_file.setdefault((own["w"], own["model"], name), [0] * sizes[name])
            counts[number(bins[name], found_at)] += rows
    return {file: {key: tuple(counts) for key, counts in each.items()} for file, each in found.items()}


def _by_column(atoms: Atoms, relation: str, keys: Sequence[str], columns: Sequence[tuple[str, str]]) -> str:
    """Return a query for the rows by the keys and the place of each column."""
    which, place = _chosen(columns, lambda column: f"CAST({column} AS {atoms.string})")
    sets = ", ".join(f"({', '.join([*keys, column])})" for column, _ in columns)
    chosen = ", ".join([*keys, which, place, "COUNT(*)"])
    return f"SELECT {chosen} FROM ({relation}) AS r WHERE own GROUP BY GROUPING SETS ({sets})"


def _own(atoms: Atoms, plan: Plan) -> str:
    if plan.since is None:
        return "(1 = 1)"
    spans = [f"us IS NULL OR us >= {micros(plan.since)}"]
    if plan.earlier is not None:
        begun, ended = plan.earlier
        spans.append(f"us >= {micros(begun)} AND us < {micros(ended)}")
    names = ", ".join(atoms.text(name) for name in (plan.version, plan.known_as) if name is not None)
    spans += [f"model IN ({names})"] if names else []
    return f"(CASE WHEN {' OR '.join(f'({each})' for each in spans)} THEN TRUE ELSE FALSE END)"


def _words(ask: Ask, atoms: Atoms, relation: str) -> tuple[str, str]:
    """Return SQL for predictions and labels as they are counted."""
    pairs = f"SELECT said, label FROM ({relation}) AS r WHERE own GROUP BY said, label"
    if ask(f"SELECT COUNT(*) FROM ({pairs}) AS pairs")[0][0] <= MOST_WORDS:
        return "said", "label"
    found = []
    for column in ("said", "label"):
        frequent = ask(
            f"SELECT {column}, COUNT(*) AS n FROM ({relation}) AS r WHERE own AND {column} IS NOT NULL "
            f"GROUP BY {column} ORDER BY n DESC, {atoms.ordered.format(column)} LIMIT {MOST_WORDS}"
        )
        listed = ", ".join(atoms.text(value) for value, _ in frequent) or "NULL"
        found.append(f"CASE WHEN {column} IS NULL OR {column} IN ({listed}) THEN {column} ELSE {atoms.text(OTHER)} END")
    return found[0], found[1]


def _slices(ask: Ask, atoms: Atoms, relation: str, slices: Sequence[str]) -> dict[File, dict[Part, int]]:
    """Count the rows that have a label by each of the most frequent values of each slice column."""
    found: dict[File, dict[Part, int]] = {}
    for n, name in enumerate(slices):
        labelled = (
            f"SELECT file, w, model, s{n} AS part, said, label FROM ({relation}) AS r WHERE own AND label IS NOT NULL"
        )
        order = f"n DESC, CASE WHEN part IS NULL THEN 1 ELSE 0 END, {atoms.ordered.format('part')}"  # NULL is first in Spark
        ranked = f"SELECT part, COUNT(*) AS n FROM ({labelled}) AS l GROUP BY part ORDER BY {order} LIMIT {MOST_VALUES}"
        query = (
            f"SELECT file, w, model, l.part, said, label, COUNT(*) FROM ({labelled}) AS l JOIN ({ranked}) AS f "
            "ON l.part = f.part OR (l.part IS NULL AND f.part IS NULL) GROUP BY file, w, model, l.part, said, label"
        )
        for file, window, model, value, said, label, rows in ask(query):
            cells = found.setdefault(file, {})
            key = (window, model, name, value, word(said), word(label))
            cells[key] = cells.get(key, 0) + rows
    return found


def _chosen(columns: Sequence[tuple[str, str]], text: Callable[[str], str]) -> tuple[str, str]:
    """Return SQL for the number of the column that a row of GROUPING SETS is of, and for its value."""
    which = " ".join(f"WHEN GROUPING({column}) = 0 THEN {n}" for n, (column, _) in enumerate(columns))
    value = " ".join(f"WHEN GROUPING({column}) = 0 THEN {text(column)}" for column, _ in columns)
    return f"CASE {which} END", f"CASE {value} END"


def _other(bins: Bins) -> str:
    """Return a text that is none of the categories."""
    other = OTHER
    while other in bins.places:
        other += "."
    return other
