"""What labelled data must satisfy before a model is trained on it."""

from collections.abc import Callable, Mapping, Sequence

from retrain_trigger.findings import Finding, Verdict, at_least, unknown
from retrain_trigger.judge.counts import TableCounts

MIN_CLASSES = 2
"""A classifier that has seen one class only can say nothing else."""

MIN_CLASS_ROWS = 2
"""A class counts from this many rows: with one, it is either learnt or checked, never both."""

NAMED = 5
"""A sentence names at most so many columns or classes."""

TOLERANCE = 1e-9
"""Two shares closer than this are the same: 10 % + 5 % is 15 %, whatever binary fractions make of it."""


def check(
    split: TableCounts, profile: TableCounts | None, *, features: Sequence[str] | None, max_missing: float
) -> tuple[Finding, ...]:
    """Judge one training split by every row of RULES; it is fit to train on when all findings are PASS.

    `profile` is the champion's training data, None where it is not known; `features` are the columns that the
    champion needs, None where that is not known (then those of the profile). `max_missing` is the share of rows
    without a value that a column may have above the champion's own.

    >>> data = TableCounts(rows=100, columns={}, labels={"0": 60, "1": 40})
    >>> [finding.because for finding in check(data, None, features=["b"], max_missing=0.05) if finding.value == 1]
    ["column 'b' is missing; the champion was trained with it"]
    """
    options = {"features": features, "max_missing": max_missing}
    return tuple(finding for rule in RULES.values() for finding in rule(split, profile, **options))


def rows(split: TableCounts, _profile: TableCounts | None, **_: object) -> list[Finding]:
    """Ask for as many rows as the smallest allowed classes have together."""
    return [at_least("rows", split.rows, MIN_CLASSES * MIN_CLASS_ROWS, limit_name="the minimum of")]


def columns(
    split: TableCounts, profile: TableCounts | None, *, features: Sequence[str] | None, **_: object
) -> list[Finding]:
    """Refuse a split that lacks a column of the champion's, or has no feature at all; note columns that are new."""
    known = {} if profile is None else profile.columns
    needed = features if features is not None else tuple(known)
    absent = [name for name in needed if name not in split.columns]
    if absent:
        reason = "is missing; the champion was trained with it"
        return [_breach("columns", len(absent), 0, f"column {name!r} {reason}", {"column": name}) for name in absent]
    note = ""
    if needed:
        extra = sorted(split.columns.keys() - set(needed) - known.keys())
        note = f"new to the champion: {_listed(extra)}" if extra else ""
    return [at_least("columns", len(split.columns), 1, limit_name="the minimum of", note=note)]


def types(split: TableCounts, profile: TableCounts | None, **_: object) -> list[Finding]:
    """Refuse a column that is of another kind than in the champion's training data."""
    pairs = {} if profile is None else {name: (profile.columns.get(name), now) for name, now in split.columns.items()}
    # A column without any value has no kind to speak of: `missing` is the rule that refuses it.
    retyped = {
        name: (old.type, now.type)
        for name, (old, now) in pairs.items()
        if old and profile and old.missing < profile.rows and now.missing < split.rows and old.type != now.type
    }
    breaches = [
        _breach(
            "types",
            len(retyped),
            0,
            f"column {name!r} holds {now} values; the champion was trained on {old} values",
            {"column": name},
        )
        for name, (old, now) in retyped.items()
    ]
    compared = sum(old is not None for old, _ in pairs.values())
    because = f"{compared} columns compared are of the kind that the champion was trained on"
    return breaches or [_passed("types", 0, 0, because)]


def missing(split: TableCounts, profile: TableCounts | None, *, max_missing: float, **_: object) -> list[Finding]:
    """Refuse a column with no value at all, or with `max_missing` more rows without one than the champion's data had.

    A column that the champion's data did not have (with no profile: every column) is refused only when it is empty.
    """
    if not split.rows:
        return [unknown("missing", "there is no row to find values in", limit=max_missing)]
    own = _own_rates(profile)
    judged = [
        _column_missing(name, column.missing / split.rows, own.get(name), max_missing, rows=split.rows)
        for name, column in split.columns.items()
    ]
    most = max((finding.value or 0.0 for finding in judged), default=0.0)
    because = f"no column lacks more values than allowed; the most is {_percent(most)}"
    return _breaches(judged) or [_passed("missing", most, 1.0, because)]


def classes(split: TableCounts, profile: TableCounts | None, **_: object) -> list[Finding]:
    """Refuse a split in which fewer than MIN_CLASSES classes have MIN_CLASS_ROWS rows; note classes that vanished."""
    present = sorted(label for label, count in split.labels.items() if count >= MIN_CLASS_ROWS)
    known = {} if profile is None else profile.labels
    vanished = sorted(label for label, count in known.items() if count and not split.labels.get(label))
    unlabelled = split.rows - sum(split.labels.values())
    notes = [f"classes of {MIN_CLASS_ROWS} rows or more: {_listed(present) or 'none'}"]
    if vanished:
        notes.append(f"gone since the champion: {_listed(vanished)}")
    if unlabelled > 0:
        notes.append(f"{unlabelled:,} rows have no label")
    return [at_least("classes", len(present), MIN_CLASSES, limit_name="the minimum of", note="; ".join(notes))]


def duplicate_ids(split: TableCounts, _profile: TableCounts | None, **_: object) -> list[Finding]:
    """Refuse an id that stands on more than one row: which of the rows is true is not for training to guess."""
    if not split.duplicate_ids:
        return [_passed("duplicate_ids", 0, 0, "no id stands on two rows")]
    because = (
        f"{split.duplicate_ids:,} of {split.rows:,} rows repeat the id of another; an id must stand on one row only"
    )
    return [_breach("duplicate_ids", split.duplicate_ids, 0, because)]


def duplicate_rows(split: TableCounts, _profile: TableCounts | None, **_: object) -> list[Finding]:
    """Note equal rows; they may be honest, so they are never refused."""
    text = f"{split.duplicate_rows:,} of {split.rows:,} rows equal an earlier one; noted, not refused"
    return [_passed("duplicate_rows", split.duplicate_rows, None, text)]


def _own_rates(profile: TableCounts | None) -> dict[str, float]:
    if profile is None or not profile.rows:
        return {}
    return {name: column.missing / profile.rows for name, column in profile.columns.items()}


def _column_missing(name: str, share: float, own: float | None, max_missing: float, *, rows: int) -> Finding:
    allowed = 1.0 if own is None else min(own + max_missing, 1.0)
    evidence = {"column": name}
    if share == 1.0:
        because = f"column {name!r} has no value in {rows:,} rows; nothing is trained on it"
        return _breach("missing", share, allowed, because, evidence)
    because = f"column {name!r} has no value in {_percent(share)} of {rows:,} rows"
    if own is None or share <= allowed + TOLERANCE:
        return _passed("missing", share, allowed, because)
    because += f"; allowed are {_percent(allowed)}, the champion's {_percent(own)} and data.max_missing"
    return _breach("missing", share, allowed, f"{because} {_percent(max_missing)}", evidence)


def _breaches(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is Verdict.BREACH]


def _breach(rule: str, value: float, limit: float, because: str, evidence: Mapping[str, str] | None = None) -> Finding:
    return Finding(
        name=rule,
        verdict=Verdict.BREACH,
        value=float(value),
        limit=float(limit),
        because=because,
        evidence=evidence or {},
    )


def _passed(rule: str, value: float, limit: float | None, because: str) -> Finding:
    return Finding(name=rule, verdict=Verdict.PASS, value=float(value), limit=limit, because=because)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join([*(repr(name) for name in names[:NAMED]), *([f"{more} more"] if more > 0 else [])])


def _percent(share: float) -> str:
    return f"{share * 100:.1f}".removesuffix(".0") + "%"


RULES: dict[str, Callable[..., list[Finding]]] = {
    "rows": rows,
    "columns": columns,
    "types": types,
    "missing": missing,
    "classes": classes,
    "duplicate_ids": duplicate_ids,
    "duplicate_rows": duplicate_rows,
}
