"""What labelled data must satisfy before a model is trained on it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from retrain_trigger.core.findings import Finding, Verdict, at_least, figures, judged, unknown
from retrain_trigger.counts.table import ColumnCounts, TableCounts

MIN_CLASSES = 2
"""A classifier that has seen one class only can say nothing else."""

MIN_CLASS_ROWS = 2
"""A class counts from this many rows: with one, it is either learnt or checked, never both."""

NAMED = 5
"""A sentence names at most so many columns or classes."""

FAR = 10.0
"""A number is far outside when it is so many times the champion's greatest number beyond the champion's range.

Both are of the 1 % to the 99 % quantile, so a sentinel in the champion's own data does not stretch them. A factor of ten
is beyond what trends, seasons and heavy tails do between two trainings (an interest rate that falls from 4.9 to 0.9, a
month that the champion never saw, under 1 in 4,000 rows of a log-normal with sigma 2), and short of a unit changed by 100
or 1000 (euros in cents), or of -999 among shares and ages.
"""

FAR_ROWS = 0.05
"""The share of rows that may be far outside: as many may be missing, too."""

NEW_VALUES = 0.2
"""The share of rows that may hold a text which the champion never saw. More is rather another spelling than news."""

CATEGORY_ROWS = 10
"""Rows that the champion's data must have for each value of a text column, on average: an identifier has one."""

NEWS = 0.05
"""A text column that had more new values than this in a fifth of the champion's own time is no closed list."""

STILL = 2.0
"""How much longer than ever before a column may keep one value. Weekdays, months and flags do so honestly."""

RESTLESS = 0.1
"""Only a column that never kept one value for a larger part of the champion's time than this can get stuck."""

LABEL_FALL = 0.1
"""The least share of a label, as a part of the champion's. Real drift moves base rates far, from 88 % to 17 %, say; a
label that all but vanishes is rather a broken join, or labels that have not come yet."""

EXPECTED_LABELS = 20
"""Rows of a label that must be expected before a lack of them says anything: 1 or none of 20 is chance in 1 of 10^7."""

UNCHECKED = "if that is as it should be, name it in data.unchecked"

TOLERANCE = 1e-9
"""Two shares closer than this are the same: 10 % + 5 % is 15 %, whatever binary fractions make of it."""


def bands(profile: TableCounts | None) -> dict[str, tuple[float, float]]:
    """Return, by column of the champion's, the least and the greatest number that are not far outside its range.

    Below a column whose least value is exactly 0, all is far outside: counts and amounts know no negative number.
    Columns that never varied have no range.
    """
    return (
        {} if profile is None else {name: band for name, column in profile.columns.items() if (band := _band(column))}
    )


def categories(profile: TableCounts | None) -> dict[str, tuple[str, ...]]:
    """Return, by text column of the champion's, its values, where new ones mean something.

    Left out are columns with a single value, those with nearly as many values as rows, and those that brought new
    values all the time, such as months.
    """
    if profile is None:
        return {}
    return {
        name: column.values
        for name, column in profile.columns.items()
        if column.values is not None
        and 1 < len(column.values) <= (profile.rows - column.missing) / CATEGORY_ROWS
        # The months and versions of the champion's own time were new once, too.
        and column.fresh <= NEWS
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One training split, what is known of the champion's training data, and what the settings allow.

    `profile` is the champion's training data, None if it is not known; `outside` and `unseen` of the split must
    have been counted against its `bands` and `categories`. `features` are the columns that the champion needs, None
    if that is not known (then those of the profile). `max_missing` is the share of rows without a value that a
    column may have above the champion's own. `label` is the name of the label's column. Columns in `unchecked` may hold
    what they like, if they are there. Without `now` and `max_age` rows may be of any age.
    """

    split: TableCounts
    profile: TableCounts | None
    features: Sequence[str] | None
    max_missing: float
    label: str = "label"
    unchecked: frozenset[str] = frozenset()
    now: datetime | None = None
    max_age: timedelta | None = None


Rule = Callable[[Case], list[Finding]]
"""Judges a case; the data is fit where every finding is PASS."""


def check(case: Case) -> tuple[Finding, ...]:
    """Judge one training split by every row of RULES; it is fit to train on when all findings are PASS.

    >>> data = TableCounts(rows=100, columns={}, labels={"0": 60, "1": 40})
    >>> found = check(Case(split=data, profile=None, features=["b"], max_missing=0.05))
    >>> [finding.because for finding in found if finding.name == "columns"]
    ["column 'b' is missing; the champion was trained with it"]
    """
    return tuple(finding for rule in RULES.values() for finding in rule(case))


def rows(case: Case) -> list[Finding]:
    """Refuse fewer rows than MIN_CLASSES classes of MIN_CLASS_ROWS rows have."""
    return [at_least("rows", case.split.rows, MIN_CLASSES * MIN_CLASS_ROWS, limit_name="the minimum of")]


def columns(case: Case) -> list[Finding]:
    """Refuse data without a column of the champion's, or without any feature; note new columns."""
    split, profile, features = case.split, case.profile, case.features
    known = {} if profile is None else profile.columns
    needed = features if features is not None else tuple(known)
    absent = [name for name in needed if name not in split.columns]
    if absent:
        reason = "is missing; the champion was trained with it"
        return [
            judged("columns", len(absent), 0, f"column {name!r} {reason}", fits=False, evidence={"column": name})
            for name in absent
        ]
    note = ""
    if needed:
        extra = sorted(split.columns.keys() - set(needed) - known.keys())
        note = f"new to the champion: {_listed(extra)}" if extra else ""
    return [at_least("columns", len(split.columns), 1, limit_name="the minimum of", note=note)]


def types(case: Case) -> list[Finding]:
    """Refuse a column of another type than in the champion's training data."""
    split, profile = case.split, case.profile
    pairs = {} if profile is None else {name: (profile.columns.get(name), now) for name, now in split.columns.items()}
    # A column without any value has no kind to speak of: `missing` is the rule that refuses it.
    retyped = {
        name: (old.type, now.type)
        for name, (old, now) in pairs.items()
        if old and profile and old.missing < profile.rows and now.missing < split.rows and old.type != now.type
    }
    breaches = [
        judged(
            "types",
            len(retyped),
            0,
            f"column {name!r} holds {now} values; the champion was trained on {old} values",
            fits=False,
            evidence={"column": name},
        )
        for name, (old, now) in retyped.items()
    ]
    compared = sum(old is not None for old, _ in pairs.values())
    because = f"{compared} columns compared are of the kind that the champion was trained on"
    return breaches or [judged("types", 0, 0, because, fits=True)]


def missing(case: Case) -> list[Finding]:
    """Refuse a column without any value, or with more missing than the champion's share and `data.max_missing` together.

    A column that the champion's data did not have (with no profile: every column) is refused only when it is empty, and
    none that is in `unchecked`.
    """
    split, profile, max_missing = case.split, case.profile, case.max_missing
    if not split.rows:
        return [unknown("missing", "there is no row to find values in", limit=max_missing)]
    own = _own_rates(profile)
    found = [
        _column_missing(name, column.missing / split.rows, own.get(name), max_missing, rows=split.rows)
        for name, column in split.columns.items()
        if name not in case.unchecked
    ]
    most = max((finding.value or 0.0 for finding in found), default=0.0)
    because = f"no column lacks more values than allowed; the most is {_percent(most)}"
    return _breaches(found) or [judged("missing", most, 1.0, because, fits=True)]


def counted_classes(table: TableCounts) -> list[str]:
    """Return the classes that count: those of MIN_CLASS_ROWS rows or more."""
    return sorted(label for label, count in table.labels.items() if count >= MIN_CLASS_ROWS)


def classes(case: Case) -> list[Finding]:
    """Refuse fewer than MIN_CLASSES classes with at least MIN_CLASS_ROWS rows each; note classes that vanished."""
    split, profile = case.split, case.profile
    present = counted_classes(split)
    known = {} if profile is None else profile.labels
    vanished = sorted(label for label, count in known.items() if count and not split.labels.get(label))
    unlabelled = split.rows - sum(split.labels.values())
    notes = [f"classes of {MIN_CLASS_ROWS} rows or more: {_listed(present) or 'none'}"]
    if vanished:
        notes.append(f"gone since the champion: {_listed(vanished)}")
    if unlabelled > 0:
        notes.append(f"{unlabelled:,} rows have no label")
    return [at_least("classes", len(present), MIN_CLASSES, limit_name="the minimum of", note="; ".join(notes))]


def duplicate_ids(case: Case) -> list[Finding]:
    """Refuse an id that appears on more than one row: training must not guess which row is true."""
    split = case.split
    if not split.duplicate_ids:
        return [judged("duplicate_ids", 0, 0, "no id appears twice", fits=True)]
    because = f"{split.duplicate_ids:,} of {split.rows:,} rows repeat the id of another; each id must appear once"
    return [judged("duplicate_ids", split.duplicate_ids, 0, because, fits=False)]


def duplicate_rows(case: Case) -> list[Finding]:
    """Note equal rows; they may be honest, so they are never refused."""
    split = case.split
    text = f"{split.duplicate_rows:,} of {split.rows:,} rows equal an earlier one; noted, not refused"
    return [judged("duplicate_rows", split.duplicate_rows, None, text, fits=True)]


def ranges(case: Case) -> list[Finding]:
    """Refuse a column with more than FAR_ROWS of its numbers far outside the champion's range."""
    split = case.split
    found = []
    for name, column, old in _compared(case):
        band = _band(old)
        if band is not None and column.missing < split.rows:
            found.append(_range(name, column, old, band, rows=split.rows - column.missing))
    most = max((finding.value or 0.0 for finding in found), default=0.0)
    because = f"no column is far outside the champion's range; the most is {_percent(most)} of the rows"
    return _breaches(found) or [judged("range", most, FAR_ROWS, because, fits=True)]


def new_categories(case: Case) -> list[Finding]:
    """Refuse a text column with more than NEW_VALUES of its rows in values that the champion never saw."""
    split = case.split
    known = categories(case.profile)
    found = []
    for name, column, _old in _compared(case):
        if name in known and column.missing < split.rows:
            share = column.unseen / (split.rows - column.missing)
            because = (
                f"column {name!r} holds values that the champion never saw in {_percent(share)} of the rows; allowed "
                f"are {_percent(NEW_VALUES)}. The champion saw {_listed(known[name])}: mend the spelling, or {UNCHECKED}"
            )
            found.append(_within("new_categories", share, NEW_VALUES, because, name))
    most = max((finding.value or 0.0 for finding in found), default=0.0)
    because = f"no text column holds more new values than allowed; the most is {_percent(most)} of the rows"
    return _breaches(found) or [judged("new_categories", most, NEW_VALUES, because, fits=True)]


def constant(case: Case) -> list[Finding]:
    """Refuse a column that got stuck: one value, for more than STILL times as long as ever in the champion's data."""
    split, profile = case.split, case.profile
    found = []
    for name, column, old in _compared(case):
        if column.varies is False and column.missing < split.rows and _restless(old, profile) and split.seconds:
            because = (
                f"column {name!r} has one single value in {split.rows:,} rows, for {_lasting(split.seconds)}; for the "
                f"champion it varied, and kept one for {_lasting(old.still or 0.0)} at most; {UNCHECKED}"
            )
            found.append(_within("constant", split.seconds / (old.still or 1.0), STILL, because, name))
    because = "no column that varied has got stuck"
    return _breaches(found) or [
        judged("constant", max((f.value or 0.0 for f in found), default=0.0), STILL, because, fits=True)
    ]


def label_rate(case: Case) -> list[Finding]:
    """Refuse labels of which one has less than LABEL_FALL of its share in the champion's data: perhaps some are late.

    That there are two classes at all is for the rule `classes`.
    """
    split, profile, label = case.split, case.profile, case.label
    own = {} if profile is None or label in case.unchecked else dict(profile.labels)
    total, rows_now = sum(own.values()), sum(split.labels.values())
    found = []
    for name, count in own.items():
        if total and len(split.labels) >= MIN_CLASSES and count / total * rows_now >= EXPECTED_LABELS:
            now, before = split.labels.get(name, 0) / rows_now, count / total
            because = (
                f"column {label!r} holds {name!r} in {_percent(now)} of {rows_now:,} rows; for the champion it was "
                f"{_percent(before)}, and less than a tenth of that is not believed: have all labels come? Else, {UNCHECKED}"
            )
            fits = now / before >= LABEL_FALL - TOLERANCE
            told = {"column": label}
            found.append(judged("label_rate", now / before, LABEL_FALL, because, fits=fits, evidence=told))
    least = min((finding.value or 0.0 for finding in found), default=1.0)
    because = f"no label has all but vanished; the least has {_percent(least)} of its share in the champion's data"
    return _breaches(found) or [judged("label_rate", least, LABEL_FALL, because, fits=True)]


def newest(case: Case) -> list[Finding]:
    """Refuse rows that are no newer than the champion's and older than `trigger.max_age`: they teach nothing new.

    Labels may come late, so rows that are newer than the champion's are never too old to train on, and rows that are
    younger than `max_age` are waited for.
    """
    split, profile, now, max_age = case.split, case.profile, case.now, case.max_age
    until = None if profile is None else profile.newest
    if until is None or split.newest is None or now is None or max_age is None:
        return [judged("newest", 0.0, None, "how new the rows are is not found", fits=True)]
    last = datetime.fromisoformat(split.newest)
    age, limit = (now - last) / timedelta(days=1), max_age / timedelta(days=1)
    because = f"the newest labelled row is of {last:%Y-%m-%d %H:%MZ}"
    if age > limit and last <= datetime.fromisoformat(until):
        because += (
            f", no newer than the champion's training data, and older than trigger.max_age {_lasting(limit * 86400)}; "
            f"are labelled rows still written?"
        )
        return [judged("newest", age, limit, because, fits=False)]
    return [judged("newest", age, limit, because, fits=True)]


def _own_rates(profile: TableCounts | None) -> dict[str, float]:
    if profile is None or not profile.rows:
        return {}
    return {name: column.missing / profile.rows for name, column in profile.columns.items()}


def _column_missing(name: str, share: float, own: float | None, max_missing: float, *, rows: int) -> Finding:
    allowed = 1.0 if own is None else min(own + max_missing, 1.0)
    evidence = {"column": name}
    if share == 1.0:
        because = f"column {name!r} has no value in {rows:,} rows; nothing is trained on it"
        return judged("missing", share, allowed, because, fits=False, evidence=evidence)
    because = f"column {name!r} has no value in {_percent(share)} of {rows:,} rows"
    if own is None or share <= allowed + TOLERANCE:
        return judged("missing", share, allowed, because, fits=True)
    because += f"; allowed are {_percent(allowed)}, the champion's {_percent(own)} and data.max_missing"
    return judged("missing", share, allowed, f"{because} {_percent(max_missing)}", fits=False, evidence=evidence)


def _compared(case: Case) -> Iterator[tuple[str, ColumnCounts, ColumnCounts]]:
    """Yield the columns, now and the champion's, that are still of the same kind; `types` refuses the others."""
    known = {} if case.profile is None else case.profile.columns
    for name, column in case.split.columns.items():
        old = known.get(name)
        if old is not None and old.type == column.type and name not in case.unchecked:
            yield name, column, old


def _restless(column: ColumnCounts, profile: TableCounts | None) -> bool:
    """Say whether the champion's column varied all the time; a season's rain or a quarterly figure did not."""
    seconds = None if profile is None else profile.seconds
    return bool(column.varies and column.still and seconds and column.still <= RESTLESS * seconds)


def _band(column: ColumnCounts) -> tuple[float, float] | None:
    if column.low is None or column.high is None or column.least is None or column.greatest is None:
        return None
    low, high = column.low, column.high
    if low >= high:  # nearly all rows have one value: then its ends are all there is to go by
        low, high = column.least, column.greatest
    beyond = FAR * max(abs(low), abs(high))
    # What ends at 1, too, is likely scaled by its own ends, and may well go below 0 later.
    counted = column.least == 0 and column.greatest != 1
    return (0.0 if counted else low - beyond, high + beyond) if high > low else None


def _range(name: str, column: ColumnCounts, old: ColumnCounts, band: tuple[float, float], *, rows: int) -> Finding:
    share = column.outside / rows
    low, high = figures(*band)
    least, greatest = figures(column.least or 0.0, column.greatest or 0.0)
    old_least, old_greatest = figures(old.least or 0.0, old.greatest or 0.0)
    because = (
        f"column {name!r} is outside {low} to {high} in {_percent(share)} of the rows ({least} to {greatest}; for the "
        f"champion {old_least} to {old_greatest}); allowed are {_percent(FAR_ROWS)}. Has its unit changed, or does a "
        f"number stand for a missing value? Else, {UNCHECKED}"
    )
    return _within("range", share, FAR_ROWS, because, name)


def _within(rule: str, value: float, limit: float, because: str, column: str) -> Finding:
    """Judge a column's value, which may be at its limit; above it, it breaches."""
    return judged(rule, value, limit, because, fits=value <= limit + TOLERANCE, evidence={"column": column})


def _lasting(seconds: float) -> str:
    """Write a time in whole units, the largest of which there is at least one.

    >>> _lasting(86400 * 3), _lasting(5000), _lasting(40)
    ('3d', '1h', '40s')
    """
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _breaches(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is Verdict.BREACH]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join([*(repr(name) for name in names[:NAMED]), *([f"{more} more"] if more > 0 else [])])


def _percent(share: float) -> str:
    return f"{share * 100:.1f}".removesuffix(".0") + "%"


RULES: Mapping[str, Rule] = {
    "rows": rows,
    "columns": columns,
    "types": types,
    "missing": missing,
    "classes": classes,
    "duplicate_ids": duplicate_ids,
    "duplicate_rows": duplicate_rows,
    "range": ranges,
    "new_categories": new_categories,
    "constant": constant,
    "label_rate": label_rate,
    "newest": newest,
}
