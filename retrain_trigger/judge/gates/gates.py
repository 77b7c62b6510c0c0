"""What a challenger must show before it takes the champion's place."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from retrain_trigger.core.comparisons import TOLERANCE, Comparison
from retrain_trigger.core.findings import Finding, Verdict, at_least, at_most, judged, unknown
from retrain_trigger.judge.gates.deciding import MIN_CLASSES
from retrain_trigger.judge.metrics import METRICS

GRAIN = 0.002
"""Seconds for the timed sample under which no latency is told from another: that is what calling costs."""

IMPROVEMENT = frozenset({"margin", "certainty"})
"""The gates that ask for a better model; all others ask only for one that can take the champion's place."""

_NAMED = 5
_MICRO, _MEGA = 1e6, 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a model besides its answers; None or nothing if it does not say.

    `features` are the columns it needs, in order, `width` their number, `types` the kinds of those it was trained on;
    `classes` what it can answer, in its own order. `seconds` is the time to predict a sample of `sample` rows; `size`
    is in bytes.
    """

    features: tuple[str, ...] | None = None
    width: int | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    seconds: float | None = None
    sample: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Golden:
    """How a challenger answered the golden rows: how many there are, how many are wrong, the ids of the first of those."""

    rows: int
    wrong: int
    first: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What `promotion` in config.yaml asks for.

    `margin` is the least difference and `floor` the least score, in the metric's own unit; `min_rows` the least number
    of deciding rows; `latency` and `size` are how many times the champion's. None: it is not asked for.
    """

    margin: float
    min_rows: int
    floor: float | None = None
    latency: float | None = None
    size: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the gates judge: the comparison, what was asked for, and what else is known, where it is at hand.

    `slices` are the findings of `gates/slices.py`, `golden` how the golden rows were answered.
    """

    comparison: Comparison
    asked: Terms
    champion: Facts | None = None
    challenger: Facts | None = None
    slices: Sequence[Finding] = ()
    golden: Golden | None = None


Gate = Callable[[Case], Finding | None]
"""Judges a case; None if the gate is not configured, or has no source."""


def judge(case: Case) -> tuple[Finding, ...]:
    """Judge a case by every row of GATES."""
    found = (gate(case) for gate in GATES.values())
    return tuple(finding for finding in found if finding is not None)


def promotes(findings: Iterable[Finding]) -> bool:
    """Say whether every gate passed; an unknown does not, and no gate at all proves nothing."""
    verdicts = {finding.verdict for finding in findings}
    return verdicts == {Verdict.PASS}


def rows(case: Case) -> Finding:
    """Ask for at least `promotion.min_rows` deciding rows."""
    there, min_rows = case.comparison.rows, case.asked.min_rows
    short = min_rows - there
    because = f"{there:,} deciding rows; " + (
        f"{short:,} rows more needed for promotion.min_rows {min_rows:,}"
        if short > 0
        else f"promotion.min_rows is {min_rows:,}"
    )
    return judged("rows", there, min_rows, because, fits=short <= 0)


def classes(case: Case) -> Finding:
    """Ask for deciding rows of at least MIN_CLASSES classes."""
    seen = sorted(case.comparison.labels)
    fits = len(seen) >= MIN_CLASSES
    because = f"the deciding rows have {len(seen)} classes"
    if not fits:
        because = f"the deciding rows have one class only: {seen[0]!r}" if seen else "there is no deciding row"
        because += "; rows of another class are needed to compare"
    return judged("classes", len(seen), MIN_CLASSES, because, fits=fits)


def finite(case: Case) -> Finding:
    """Ask that the metric is defined for both models; the value is the number of models for which it is."""
    comparison = case.comparison
    scores = {"champion": comparison.champion, "challenger": comparison.challenger}
    lost = [name for name, value in scores.items() if not math.isfinite(value)]
    if lost:
        where = f"on these {comparison.rows:,} rows"
        return unknown("finite", f"{comparison.metric} of the {' and the '.join(lost)} is undefined {where}", limit=2)
    return judged("finite", 2, 2, f"{comparison.metric} is defined for champion and challenger", fits=True)


def margin(case: Case) -> Finding:
    """Ask that the challenger is better by at least `promotion.margin`."""
    comparison, margin = case.comparison, case.asked.margin
    difference = comparison.difference
    if math.isnan(difference):
        return unknown("margin", f"the difference in {comparison.metric} is undefined", limit=margin)
    fits = difference >= margin - TOLERANCE
    decimals = _decimals(difference, margin)
    because = (
        f"{comparison.metric} {comparison.challenger:.{decimals}f} against the champion's "
        f"{comparison.champion:.{decimals}f}: {difference:+.{decimals}f} "
        f"{'reaches' if fits else 'is under'} promotion.margin {margin:g}"
    )
    return judged("margin", difference, margin, because, fits=fits)


def certainty(case: Case) -> Finding:
    """Ask that the interval of the difference (paired bootstrap) lies above 0; challengers share its certainty."""
    comparison = case.comparison
    lower, upper = comparison.lower, comparison.upper
    shared = f", shared among {comparison.challengers} challengers" if comparison.challengers > 1 else ""
    interval = f"the {comparison.certainty * 100:g}% interval of the difference{shared}"
    if math.isnan(lower):
        return unknown("certainty", f"{interval} has no lower end: {comparison.metric} is undefined too often", limit=0)
    fits = lower > TOLERANCE
    decimals = _decimals(lower, 0.0)
    ends = f"from {lower:+.{decimals}f} to {upper:+.{decimals}f}"
    because = f"{interval} is {ends}; {'it is above 0' if fits else 'its lower end must be above 0'}"
    needed = comparison.rows_needed
    if comparison.design.effect > 1:
        because += f" ({comparison.design.worth(comparison.rows)}: those of one {comparison.design.by} are alike)"
    if not fits and needed is not None and needed > comparison.rows:
        because += f": about {needed:,} deciding rows would tell such a difference, {comparison.rows:,} are there"
    return judged("certainty", lower, 0, because, fits=fits)


def floor(case: Case) -> Finding | None:
    """Ask for a score of at least `promotion.floor` (a cost: at most), whatever the champion's is."""
    comparison, floor = case.comparison, case.asked.floor
    if floor is None:
        return None
    direction = at_most if METRICS[comparison.metric].lower_is_better else at_least
    found = direction(comparison.metric, comparison.challenger, floor, limit_name="promotion.floor")
    return replace(found, name="floor", because=f"the challenger's {found.because}")


def in_slices(case: Case) -> Finding | None:
    """Ask that no value of a column in `promotion.slices` gets clearly worse; values with too few rows do not count."""
    known = [each for each in case.slices if each.verdict is not Verdict.UNKNOWN]
    if not known:
        return None
    worse = [each.because for each in known if each.verdict is Verdict.BREACH]
    because = "; ".join(worse[:_NAMED]) if worse else f"none of {_counted(len(known), 'slice')} gets clearly worse"
    if len(worse) > _NAMED:
        because += f"; and {len(worse) - _NAMED} slices more"
    return judged("slices", len(worse), 0, because, fits=not worse)


def features(case: Case) -> Finding | None:
    """Ask for the champion's features: the same names, order and types, as far as both models state them."""
    champion, challenger = case.champion, case.challenger
    if champion is None or challenger is None:
        return None
    own, new = champion.features, challenger.features
    if own is not None and new is not None:
        because = "; it ".join(_of_features(champion.types, challenger.types, own, new))
        fits, agreed = not because, f"has the champion's {_counted(len(own), 'feature')}, in the same order"
        return judged("features", len(new), len(own), f"the challenger {because or agreed}", fits=fits)
    if champion.width is None or challenger.width is None:
        return None
    because = f"the challenger takes {_counted(challenger.width, 'feature')}, the champion {champion.width}"
    return judged("features", challenger.width, champion.width, because, fits=champion.width == challenger.width)


def answers(case: Case) -> Finding | None:
    """Ask for the champion's classes in the same order, as far as both models state them: scores are read by position."""
    champion, challenger = case.champion, case.challenger
    if champion is None or challenger is None or champion.classes is None or challenger.classes is None:
        return None
    own, new = champion.classes, challenger.classes
    seen = f"the challenger can answer {_listed(new)}"
    because = f"{seen}, as the champion" if own == new else f"{seen}; the champion {_listed(own)}"
    return judged("answers", len(new), len(own), because, fits=own == new)


def latency(case: Case) -> Finding | None:
    """Ask that the challenger takes at most `promotion.latency` times as long per row as the champion."""
    latency, champion, challenger = case.asked.latency, case.champion, case.challenger
    if latency is None or champion is None or challenger is None:
        return None
    if champion.seconds is None or challenger.seconds is None:
        return unknown("latency", "the time that the models take was not measured", limit=latency)
    ratio = challenger.seconds / max(champion.seconds, GRAIN)
    own, new = (seconds * _MICRO / max(1, challenger.sample) for seconds in (champion.seconds, challenger.seconds))
    because = (
        f"the challenger takes {new:,.1f} µs a row and the champion {own:,.1f} µs (the best of several times, "
        f"{challenger.sample:,} rows at once); promotion.latency is {latency:g}"
    )
    if champion.seconds < GRAIN:
        because += f" times, and under {GRAIN * 1000:g} ms for these rows nothing is compared"
    return judged("latency", ratio, latency, because, fits=ratio <= latency)


def size(case: Case) -> Finding | None:
    """Ask that the challenger's file is at most `promotion.size` times as large as the champion's."""
    size, champion, challenger = case.asked.size, case.champion, case.challenger
    if size is None or champion is None or challenger is None:
        return None
    ratio = challenger.size / max(1, champion.size)
    because = (
        f"the challenger's file has {challenger.size / _MEGA:,.3f} MB, {ratio:.2f} times the champion's "
        f"{champion.size / _MEGA:,.3f} MB; promotion.size is {size:g}"
    )
    return judged("size", ratio, size, because, fits=ratio <= size)


def golden(case: Case) -> Finding | None:
    """Ask for the right answer on every labelled row of `promotion.golden`."""
    golden = case.golden
    if golden is None:
        return None
    if not golden.rows:
        return unknown("golden", "promotion.golden has no row with a label", limit=0)
    because = f"all of {_counted(golden.rows, 'golden row')} answered right"
    if golden.wrong:
        which = _listed(golden.first, of=golden.wrong)
        because = f"{golden.wrong:,} of {_counted(golden.rows, 'golden row')} answered wrong: {which}"
    return judged("golden", golden.wrong, 0, because, fits=not golden.wrong)


def _of_features(
    before: Mapping[str, str], now: Mapping[str, str], own: Sequence[str], new: Sequence[str]
) -> Iterator[str]:
    """Yield what is another than the champion's, in words; `before` and `now` are the types, where they are known."""
    strange = [name for name in new if name not in own]
    absent = [name for name in own if name not in new]
    if strange:
        yield f"needs {_listed(strange)}, which the champion does not: does the service send it?"
    if absent:
        yield f"does without {_listed(absent)}"
    if list(new) != list(own) and not strange and not absent:
        moved = next((name for name, there in zip(new, own, strict=False) if name != there), new[-1])
        yield f"has the champion's features in another order, first {moved!r}"
    for name in new:
        if name in before and name in now and before[name] != now[name]:
            yield f"was trained on {now[name]} values in {name!r}, the champion on {before[name]} values"


def _decimals(difference: float, limit: float) -> int:
    """Count the decimals that keep a difference apart from its limit and from 0, if it is: 3 to 9."""
    for decimals in range(3, 9):
        apart = round(difference, decimals) != round(limit, decimals) or abs(difference - limit) <= TOLERANCE
        if apart and (round(difference, decimals) != 0 or abs(difference) <= TOLERANCE):
            return decimals
    return 9


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def _listed(names: Sequence[str], *, of: int | None = None) -> str:
    more = (of or len(names)) - len(names[:_NAMED])
    return ", ".join([*(repr(name) for name in names[:_NAMED]), *([f"{more:,} more"] if more > 0 else [])])


GATES: Mapping[str, Gate] = {
    "rows": rows,
    "classes": classes,
    "finite": finite,
    "margin": margin,
    "certainty": certainty,
    "floor": floor,
    "slices": in_slices,
    "features": features,
    "answers": answers,
    "latency": latency,
    "size": size,
    "golden": golden,
}
