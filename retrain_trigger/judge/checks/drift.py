"""Drift: measured from histograms of the reference and of a window, or logged by monitoring beside the metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrain_trigger.core.findings import Finding, Verdict, below, figures, noted, unknown
from retrain_trigger.core.lines import carries_drift, only
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.core.records import Document, Json
from retrain_trigger.counts.histograms import Bins, Histogram, Reference, Watched
from retrain_trigger.judge.checks.point import point_rule, stated_rows, too_few_rows
from retrain_trigger.judge.checks.pooling import EXPECTED_ROWS, expected_scale, pooled
from retrain_trigger.judge.policy import Patience

NAMED_FEATURES = 5
"""A sentence names at most so many features; the evidence names all that breach."""

FAR_TAIL = 2.0
"""Williams's correction of G, so many times.

Once, it puts the mean of G right, but at 5 expected rows in each of 40 bins p = 1e-5 still happens 1.6 times as often
as it should (3.7 times without it); twice, it happens 0.5 to 0.95 times as often, for 10 to 40 bins with 5 to 20
expected rows and p from 1e-3 to 1e-5.
"""


def check(
    reference: Reference,
    window: Mapping[str, Histogram],
    *,
    threshold: float,
    false_alarm_every: int,
    min_rows: int,
) -> Finding:
    """Judge how far each column of a window has moved from the reference; features, predictions and labels alike.

    A column breaches when its PSI reaches `threshold` *and* its G-test is significant after Holm over all judged
    columns at level 1/`false_alarm_every`: at most one in so many windows alarms if nothing changed. Both are asked
    for: PSI alone is noise where rows are few, and a test alone sees what does not matter where they are many. The
    value is the largest PSI, of the columns that breach if any does.

    A column that reference or window have no row of, or that has fewer than `min_rows` rows in the window, is left out
    and named in the evidence; unknown if none is left. Raises ValueError if a window was not counted by the
    reference's bins.
    """
    present = {name: window[name] for name in sorted(reference.keys() & window.keys()) if reference[name].counts.rows}
    counted = {name: counts for name, counts in present.items() if counts.rows >= max(min_rows, 1)}
    moves = {name: _move(reference[name], counts) for name, counts in counted.items()}
    rows = max((counts.rows for counts in present.values()), default=0)
    evidence: dict[str, Json] = {
        "rows": rows,
        "absent": sorted(reference.keys() - present.keys()),
        "too_few_rows": sorted(present.keys() - counted.keys()),
    }
    if not moves:
        few = f"{rows:,} rows are fewer than trigger.min_rows {min_rows:,}"
        return unknown("drift", few if rows else "no row was counted", limit=threshold, evidence=evidence)
    significant = holm({name: move.p for name, move in moves.items()}, level=1 / false_alarm_every)
    ranked = sorted(moves.items(), key=lambda item: (-item[1].value, item[0]))
    breached = [name for name, move in ranked if move.value >= threshold and name in significant]
    told = [name for name, _ in ranked[:NAMED_FEATURES]]
    evidence |= {
        "judged": len(moves),
        "breached": breached,
        "features": {name: moves[name].to_json() for name in dict.fromkeys([*breached, *told])},
    }
    return _verdict(ranked, breached, threshold, evidence)


def check_logged(
    measurements: Sequence[Measurement], *, threshold: float, patience: Patience, min_rows: int = 0
) -> Finding | None:
    """Judge logged drift by the point rule and the feature that moved furthest; None if no line carries drift.

    Reaching the threshold breaches. Unknown if the latest line that carries drift states fewer than `min_rows`
    labelled rows, or if a feature's drift is no finite number and no other feature breaches.
    """

    def judge(measurement: Measurement, note: str, evidence: Document) -> Finding:
        rows = stated_rows(measurement)
        if rows is not None and rows < min_rows:
            return too_few_rows("drift", rows, min_rows, limit=threshold, note=note, evidence=evidence)
        return _furthest(measurement.drift, threshold, note, evidence)

    def breaches(measurement: Measurement) -> bool:
        rows = stated_rows(measurement)
        return (rows is None or rows >= min_rows) and any(
            value is not None and math.isfinite(value) and value >= threshold for value in measurement.drift.values()
        )

    carrying = only(measurements, carries_drift)[-patience.of :]
    return point_rule("drift", carrying, judge, breaches, patience=patience) if carrying else None


def psi(reference: Histogram, window: Histogram, bins: Bins) -> float:
    """Return the population stability index less its noise floor, and 0 if it is below that; NaN for no rows.

    PSI = sum over bins of (w - r) ln(w / r), with r and w the bin's shares of the reference's m and the window's n
    rows, rare bins pooled (`pooled`), each as (count + 1/2) / (rows + B/2) so that an empty bin is finite. Where
    nothing changed it is about (B-1)(1/n + 1/m), B the pooled bins that either occupies, which is taken off. No unit;
    below 0.1 is read as stable, 0.2 as moved: a normal shifted by half a standard deviation has 0.24.

    Source: Lewis, An Introduction to Credit Scoring, 1994; its expectation: Yurdakul, Statistical Properties of the
    Population Stability Index, 2018.

    >>> bins = Bins.categorical({"yes": 500, "no": 500})
    >>> before = bins.count(["yes"] * 500 + ["no"] * 500)
    >>> round(psi(before, bins.count(["yes"] * 80 + ["no"] * 20), bins), 3)
    0.395
    >>> psi(before, bins.count(["yes"] * 52 + ["no"] * 48), bins)
    0.0
    """
    m, n = reference.rows, window.rows
    if not m or not n:
        return math.nan
    pairs = pooled(reference, window, bins)
    half = len(pairs) / 2
    shares = [((was + 0.5) / (m + half), (now + 0.5) / (n + half)) for was, now in pairs]
    total = math.fsum((now - was) * math.log(now / was) for was, now in shares)
    return max(0.0, total - (len(pairs) - 1) * (1 / n + 1 / m))


def g_test(reference: Histogram, window: Histogram, bins: Bins) -> float:
    """Return the p-value of the two-sample G-test: how likely so different counts are if nothing changed.

    G = 2 sum over bins and both samples of O ln(O / E), with O the rows counted, rare bins pooled, and
    E = rows of the bin in both * rows of the sample / rows of both; chi-square with B - 1 degrees of freedom. Two
    things keep its far tail honest, where the level of one of many columns lies. A bin that stays rare counts as one
    degree more: the tail with two, exp(-G/2), is Chernoff's bound for a count; that with one is up to six times too
    small. For the others G is divided by 1 + FAR_TAIL * (N/m + N/n - 1)(N sum 1/T - 1) / (6 N (B - 1)), N = m + n, T
    the rows of the bin in both. 1 if either has no rows.

    Source: Sokal and Rohlf, Biometry, 1995, chapter 17; Williams, Biometrika, 1976; Chernoff, Annals of Mathematical
    Statistics, 1952.

    >>> bins = Bins.categorical({"yes": 500, "no": 500})
    >>> round(g_test(Histogram((500, 500, 0, 0)), Histogram((60, 40, 0, 0)), bins), 4)
    0.0569
    """
    m, n = reference.rows, window.rows
    if not m or not n:
        return 1.0
    pairs = pooled(reference, window, bins)
    terms = [
        count * math.log(count * (m + n) / (sum(pair) * rows))
        for pair in pairs
        for count, rows in zip(pair, (m, n), strict=True)
        if count
    ]
    steady = [sum(pair) for pair in pairs if sum(pair) * expected_scale(m, n) >= EXPECTED_ROWS]
    g = max(0.0, 2 * math.fsum(terms)) / _far_tail(steady, m, n, len(pairs) - 1)
    return chi_square_tail(g, 2 * len(pairs) - len(steady) - 1)


def chi_square_tail(value: float, degrees: int) -> float:
    """Return the probability that a chi-square variable with whole `degrees` of freedom is at least `value`.

    With x = value/2: exp(-x) sum over k < degrees/2 of x^k / k! for even degrees; for odd ones
    erfc(sqrt(x)) + exp(-x) sum over k < (degrees-1)/2 of x^(k+1/2) / Gamma(k+3/2). 1 for no degree of freedom.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, 26.4.4 and 26.4.5.

    >>> [round(chi_square_tail(value, degrees), 4) for value, degrees in ((3.841, 1), (5.991, 2), (18.307, 10))]
    [0.05, 0.05, 0.05]
    """
    half = value / 2
    if not degrees or not half:
        return 1.0
    offset = degrees % 2 / 2
    powers = [offset + k for k in range(degrees // 2)]
    terms = [math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers]
    return min(1.0, math.fsum(terms) + (math.erfc(math.sqrt(half)) if offset else 0.0))


def holm(p_values: Mapping[str, float], *, level: float) -> set[str]:
    """Return the names rejected such that any is wrong with probability `level` at most, whatever their dependence.

    The k p-values in ascending order are compared with level/k, level/(k-1), ..., up to the first that is above.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics, 1979.

    >>> sorted(holm({"a": 0.01, "b": 0.02, "c": 0.5}, level=0.05))
    ['a', 'b']
    >>> holm({"a": 0.02, "b": 0.03, "c": 0.5}, level=0.05)
    set()
    """
    rejected: set[str] = set()
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: (item[1], item[0]))):
        if p > level / (len(p_values) - place):
            break
        rejected.add(name)
    return rejected


def _far_tail(steady: Sequence[int], m: int, n: int, degrees: int) -> float:
    if not steady or not degrees:
        return 1.0
    both = m + n
    spread = (both / m + both / n - 1) * (both * math.fsum(1 / total for total in steady) - 1)
    return 1 + FAR_TAIL * spread / (6 * both * degrees)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """How far one column moved, how likely that is by chance, and the bin whose share of the rows moved most."""

    value: float
    p: float
    bin: str
    was: float
    now: float

    @property
    def words(self) -> str:
        return f"{self.bin} from {_percent(self.was)} to {_percent(self.now)}"

    def to_json(self) -> dict[str, Json]:
        return {"psi": self.value, "p": self.p, "bin": self.bin, "was": self.was, "now": self.now}


def _move(column: Watched, window: Histogram) -> _Move:
    bins, reference = column.bins, column.counts
    m, n = reference.rows, window.rows
    shares = [(was / m, now / n) for was, now in zip(reference.counts, window.counts, strict=True)]
    place = max(range(bins.size), key=lambda place: abs(shares[place][1] - shares[place][0]))
    was, now = shares[place]
    return _Move(
        value=psi(reference, window, bins), p=g_test(reference, window, bins), bin=bins.labels[place], was=was, now=now
    )


def _verdict(
    ranked: Sequence[tuple[str, _Move]], breached: Sequence[str], threshold: float, evidence: Document
) -> Finding:
    rows, judged = evidence["rows"], evidence["judged"]
    note = f"{rows:,} rows, {judged:,} {'column' if judged == 1 else 'columns'}, psi"
    name, move = next((name, move) for name, move in ranked if not breached or name == breached[0])
    if breached:
        moves = dict(ranked)
        texts = [
            f"{name} {figures(moves[name].value, threshold)[0]}: {moves[name].words}"
            for name in breached[:NAMED_FEATURES]
        ]
        more = [f"{len(breached) - len(texts)} more"] if len(breached) > len(texts) else []
        note = "; ".join([*texts, *more, note])
    elif move.value < threshold:
        note = f"{name}; {note}"
    else:
        return _by_chance(name, move, threshold, note, evidence)
    return below(
        "drift",
        move.value,
        threshold,
        limit_name="drift_threshold",
        note=note,
        evidence=evidence,
    )


def _by_chance(name: str, move: _Move, threshold: float, note: str, evidence: Document) -> Finding:
    seen, allowed = figures(move.value, threshold)
    because = f"drift {seen} reaches drift_threshold {allowed}, not proven yet: it may be chance ({name}, p {move.p:.2g}; {note})"
    return Finding(
        name="drift",
        verdict=Verdict.PASS,
        value=move.value,
        limit=threshold,
        because=because,
        evidence={**evidence, "watching": True},
    )


def _furthest(drift: Mapping[str, float | None], threshold: float, note: str, evidence: Document) -> Finding:
    known = {feature: value for feature, value in drift.items() if value is not None and math.isfinite(value)}
    moved = sorted(((-value, feature) for feature, value in known.items() if value >= threshold))
    lost = sorted(drift.keys() - known.keys())
    if lost and not moved:
        because = noted(f"drift{_of(lost)} is not a number", note)
        return unknown("drift", because, limit=threshold, evidence=evidence)
    named = _named([(feature, -value) for value, feature in moved if feature], threshold)
    return below(
        "drift",
        max(known.values()),
        threshold,
        limit_name="drift_threshold",
        note="; ".join(part for part in (named, note) if part),
        evidence={"features": [feature for _, feature in moved if feature], **evidence},
    )


def _of(features: Sequence[str]) -> str:
    return "".join(f" of {feature!r}" for feature in features[:1] if feature)


def _named(moved: Sequence[tuple[str, float]], threshold: float) -> str:
    texts = [f"{feature} {figures(value, threshold)[0]}" for feature, value in moved[:NAMED_FEATURES]]
    more = len(moved) - len(texts)
    return ", ".join([*texts, f"{more} more"] if more else texts)


def _percent(share: float) -> str:
    return f"{share * 100:.1f}".removesuffix(".0") + "%"
