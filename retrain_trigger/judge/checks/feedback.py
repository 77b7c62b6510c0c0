"""Signs of a feedback loop: the model learns from labels that its own decisions caused. They only warn."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from retrain_trigger.core.events import Said
from retrain_trigger.core.findings import Finding, Verdict, judged, unknown
from retrain_trigger.counts.scores import ExposureCounts

Stratum = tuple[int, int, int, int]
"""Rows with a mark, rows; both for exposed rows, then both for unexposed ones."""

MOST_EXPOSED = 0.9
"""The share of labels that the model may bring about itself.

Beyond it, 200 labels that it did not touch (the default of `trigger.min_rows`) take more than 2,000 labelled rows: most
windows then hold too few to show that it learned something wrong.
"""

SMALLEST_EFFECT = 0.2
"""Cohen's h that counts as a difference, his "small" one: 50 % and 60 %, 10 % and 17 %, 1 % and 4 %."""

SIGNIFICANT = 3.29
"""Standard errors that a difference must reach; by chance, once in 1,000 looks."""

STEP = 1.96
"""Standard errors between one champion and the next that make a step; two the same way: once in 800 by chance."""

FEWEST_VERSIONS = 3
"""Champions that make a trend: two of them differ whenever anything changes."""

SHOWN_VERSIONS = 5
"""A sentence shows so many champions, the latest; the evidence holds all that were judged."""


class Gap(NamedTuple):
    """Two shares, how far apart they are (Cohen's h), and in how many standard errors."""

    exposed: float
    unexposed: float
    effect: float
    errors: float


def check(
    exposure: ExposureCounts | None, versions: Sequence[Said], *, positive: str, min_rows: int
) -> tuple[Finding, ...]:
    """Look for the signatures; a finding for each whose source is there, which only warns.

    `exposure` counts the rows to judge, None if the log does not say what was exposed; `versions` are the champions
    in order of time, the latest last, those with fewer than `min_rows` rows left out. A finding is unknown if its
    rows, exposed and unexposed ones each, are fewer than `min_rows`; there is none about champions where there have
    been fewer than FEWEST_VERSIONS. The signatures are signs, no proof: a world that changes steadily moves
    predictions from champion to champion, too.

    Sources: Khritankov, Hidden feedback loops in machine learning systems, 2021; Chaney, Stewart, Engelhardt, How
    algorithmic confounding in recommendation systems increases homogeneity and decreases utility, 2018; Sculley et al.,
    Hidden technical debt in machine learning systems, 2015.
    """
    found: list[Finding] = []
    if exposure is not None and exposure.rows:
        found += [
            exposed_share(exposure, min_rows=min_rows),
            label_gap(exposure, positive, min_rows=min_rows),
        ]
    if len(versions) >= FEWEST_VERSIONS:
        spoke = [version for version in versions if version.rows >= max(min_rows, 1)]
        found.append(prediction_trend(spoke, min_rows=min_rows))
    return tuple(found)


def exposed_share(exposure: ExposureCounts, *, min_rows: int) -> Finding:
    """Judge the share of labels that the model brought about itself, among all labels.

    >>> counts = ExposureCounts({(True, "1", "1"): 920, (False, "0", "0"): 80, (False, "0", None): 500})
    >>> exposed_share(counts, min_rows=200).because.partition(":")[0]
    'the model itself brought about 92 % of the labels (1,000 labelled rows, limit 90 %)'
    """
    name = "feedback_exposed_labels"
    labels = [(key[0], count) for key, count in exposure.cells.items() if key[2] is not None]
    rows = sum(count for _, count in labels)
    if rows < max(min_rows, 1):
        return _too_few(name, f"{rows:,} labelled rows that say whether they were exposed", min_rows, MOST_EXPOSED)
    share = sum(count for exposed, count in labels if exposed) / rows
    seen = f"the model itself brought about {_percent(share)} of the labels"
    because = f"{seen} ({rows:,} labelled rows, limit {_percent(MOST_EXPOSED)})"
    found = judged(name, share, MOST_EXPOSED, because, fits=share <= MOST_EXPOSED, evidence={"rows": rows})
    return _signature(found, "what it never lets through it never learns; keep some rows unexposed")


def label_gap(exposure: ExposureCounts, positive: str, *, min_rows: int) -> Finding:
    """Judge whether exposure changes labels: the share of positives, exposed or not, at equal predictions.

    Without equal predictions the model's own skill would show, for it exposes what it thinks positive. Predictions
    that only exposed or only unexposed rows have tell nothing. Where the score decides what is exposed, rows with the
    same prediction still differ by score, and part of the gap is that.

    >>> counts = {(True, "1", "1"): 450, (True, "1", "0"): 50, (False, "1", "1"): 300, (False, "1", "0"): 200}
    >>> label_gap(ExposureCounts(counts), "1", min_rows=200).because.partition(":")[0]
    '90 % of exposed rows are positive and 60 % of unexposed ones with the same prediction (effect size 0.73, limit 0.2)'
    """
    name = "feedback_label_gap"
    strata = _strata({key: count for key, count in exposure.cells.items() if key[2] is not None}, positive)
    rows, others = sum(stratum[1] for stratum in strata), sum(stratum[3] for stratum in strata)
    if min(rows, others) < max(min_rows, 1):
        seen = f"{rows:,} exposed and {others:,} unexposed labelled rows with the same prediction"
        return _too_few(name, seen, min_rows, SMALLEST_EFFECT)
    gap = compared(strata)
    return _gap_finding(
        name,
        gap,
        f"{_percent(gap.exposed)} of exposed rows are positive and {_percent(gap.unexposed)} of unexposed ones "
        "with the same prediction",
        "acting on a prediction changes its label; train on unexposed rows, or weigh them more",
        rows=(rows, others),
    )


def prediction_trend(versions: Sequence[Said], *, min_rows: int) -> Finding:
    """Judge whether the share predicted positive moves the same way from champion to champion.

    The run is that of the latest champions, each of which differs from the one before by at least STEP standard errors
    and the same way. The value is Cohen's h between its first and its last, 0 if fewer than FEWEST_VERSIONS make it.

    >>> versions = [Said(version=f"v{n}", rows=2000, positives=200 * n) for n in (1, 2, 3)]
    >>> prediction_trend(versions, min_rows=200).because.partition(":")[0]
    'the share predicted positive rose with each of the last 3 champions, v1 10 %, v2 20 %, v3 30 % (effect size 0.52, limit 0.2)'
    """
    name = "feedback_prediction_trend"
    if len(versions) < FEWEST_VERSIONS:
        return _too_few_versions(name, versions, min_rows, SMALLEST_EFFECT)
    counts = [(version.positives, version.rows) for version in versions]
    steps = [compared([(*after, *before)]).errors for before, after in pairwise(counts)]
    run = _run([0 if abs(errors) < STEP else round(math.copysign(1, errors)) for errors in steps])
    effect = compared([(*counts[-1], *counts[-1 - run])]).effect if run + 1 >= FEWEST_VERSIONS else 0.0
    shares = [f"{version.version} {_percent(version.positives / version.rows)}" for version in versions]
    there = abs(effect) >= SMALLEST_EFFECT
    way = "rose" if effect > 0 else "fell"
    moved = f"{way} with each of the last {run + 1} champions" if there else "has no clear trend over the champions"
    latest = _latest(shares, run + 1 if there else FEWEST_VERSIONS)
    because = f"the share predicted positive {moved}, {latest} (effect size {abs(effect):.2f}, limit {SMALLEST_EFFECT})"
    more = {"versions": shares, "run": run + 1}
    return _signature(
        judged(name, abs(effect), SMALLEST_EFFECT, because, fits=not there, evidence=more),
        "either the world moves or the model teaches itself; look at unexposed rows before the next promotion",
    )


def compared(strata: Sequence[Stratum]) -> Gap:
    """Compare two shares over strata by the arcsine transformation.

    Per stratum of n_1 exposed rows, share p_1, and n_0 unexposed ones, share p_0:
    h = 2 asin sqrt(p_1) - 2 asin sqrt(p_0), whose variance is 1/w, w = n_1 n_0 / (n_1 + n_0), whatever the shares. So
    the effect is sum(w h) / sum(w), sum(w h) / sqrt(sum(w)) in standard errors; the shares are averaged by w, too.
    Independent rows are taken for granted; where rows come in blocks, the size of the effect is what holds.

    Source: Cohen, Statistical power analysis for the behavioral sciences, 1988, chapter 6.

    >>> gap = compared([(30, 100, 10, 100)])
    >>> gap.exposed, gap.unexposed, round(gap.effect, 3), round(gap.errors, 2)
    (0.3, 0.1, 0.516, 3.65)
    """
    total = sum(_weight(stratum) for stratum in strata)
    exposed = sum(_weight(stratum) * stratum[0] / stratum[1] for stratum in strata) / total
    unexposed = sum(_weight(stratum) * stratum[2] / stratum[3] for stratum in strata) / total
    effect = sum(_weight(stratum) * _arcsine_gap(stratum) for stratum in strata) / total
    return Gap(exposed, unexposed, effect, effect * math.sqrt(total))


def _strata(cells: Mapping[tuple[bool, str, str | None], int], positive: str) -> list[Stratum]:
    """Return a stratum for each prediction that exposed and unexposed rows have; the mark is the positive label."""
    found: list[Stratum] = []
    for prediction in sorted({said for _, said, _ in cells}):
        counted: Counter[tuple[bool, bool]] = Counter()
        for (exposed, said, label), count in cells.items():
            if said == prediction:
                counted[exposed, label == positive] += count
        stratum = _stratum(counted)
        if stratum[1] and stratum[3]:
            found.append(stratum)
    return found


def _stratum(counted: Mapping[tuple[bool, bool], int]) -> Stratum:
    """Arrange the rows by (exposed, marked)."""
    marked, others = counted.get((True, True), 0), counted.get((False, True), 0)
    return marked, marked + counted.get((True, False), 0), others, others + counted.get((False, False), 0)


def _weight(stratum: Stratum) -> float:
    return stratum[1] * stratum[3] / (stratum[1] + stratum[3])


def _arcsine_gap(stratum: Stratum) -> float:
    return 2 * math.asin(math.sqrt(stratum[0] / stratum[1])) - 2 * math.asin(math.sqrt(stratum[2] / stratum[3]))


def _run(signs: Sequence[int]) -> int:
    """Return how many of the latest steps go the same way; 0 if the last goes none.

    >>> _run([-1, 1, 1]), _run([1, 1, 0]), _run([])
    (2, 0, 0)
    """
    length = 0
    while length < len(signs) and signs[-1 - length] == signs[-1] != 0:
        length += 1
    return length


def _latest(texts: Sequence[str], versions: int) -> str:
    return ", ".join(texts[-min(versions, SHOWN_VERSIONS) :])


def _gap_finding(name: str, gap: Gap, seen: str, advice: str, *, rows: tuple[int, int]) -> Finding:
    significant = abs(gap.errors) >= SIGNIFICANT
    chance = "" if significant else ", not beyond chance"
    there = significant and abs(gap.effect) >= SMALLEST_EFFECT
    because = f"{seen} (effect size {abs(gap.effect):.2f}, limit {SMALLEST_EFFECT}{chance})"
    more = {**gap._asdict(), "rows": list(rows)}
    return _signature(judged(name, abs(gap.effect), SMALLEST_EFFECT, because, fits=not there, evidence=more), advice)


def _signature(found: Finding, advice: str) -> Finding:
    """Return a finding that only warns, with advice if there is a sign."""
    because = f"{found.because}: {advice}" if found.verdict is Verdict.BREACH else found.because
    return replace(found, because=because, warns=True)


def _too_few(name: str, seen: str, min_rows: int, limit: float) -> Finding:
    because = f"{seen} are fewer than trigger.min_rows {min_rows:,}"
    return unknown(name, because, limit=limit, warns=True)


def _too_few_versions(name: str, versions: Sequence[Said], min_rows: int, limit: float) -> Finding:
    seen = f"{len(versions)} champions predicted at least {min_rows:,} rows (trigger.min_rows)"
    because = f"{seen}, fewer than {FEWEST_VERSIONS}"
    return unknown(name, because, limit=limit, warns=True)


def _percent(share: float) -> str:
    """Write a share in percent, with three digits.

    >>> _percent(0.92), _percent(0.00314), _percent(1.0)
    ('92 %', '0.314 %', '100 %')
    """
    return f"{100 * share:.3g} %"
