"""One value with its limit and its reason: what every check, data rule and gate returns."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from retrain_trigger.core.records import Document

Evidence = Document
"""More about a finding, as plain JSON."""

NOTHING: Evidence = MappingProxyType({})

ALERT = "alert"
"""The name of the finding that one window is beyond chance by itself."""


class Verdict(StrEnum):
    """PASS and BREACH are knowledge; UNKNOWN neither retrains nor promotes, and is never healthy."""

    PASS = "PASS"  # noqa: S105  (a verdict, not a password)
    BREACH = "BREACH"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was seen (`value`), what was allowed (`limit`), and the sentence that says so.

    `value` is None exactly when the verdict is UNKNOWN; one that `warns` never retrains; `evidence` holds plain JSON.
    """

    name: str
    verdict: Verdict
    value: float | None
    limit: float | None
    because: str
    warns: bool = False
    evidence: Evidence = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.value is None) != (self.verdict is Verdict.UNKNOWN):
            raise ValueError(f"{self.name}: value {self.value} with verdict {self.verdict}")

    @classmethod
    def upgraded(cls, document: Document) -> Document:
        """Return a document of today: in earlier ledgers `warns` is in the evidence."""
        return {"warns": bool(document["evidence"].get("warns", False)), **document}


def judged(
    name: str, value: float, limit: float | None, because: str, *, fits: bool, evidence: Evidence = NOTHING
) -> Finding:
    """Return the finding of a value that was compared already: it passes where it `fits`."""
    verdict = Verdict.PASS if fits else Verdict.BREACH
    limit = None if limit is None else float(limit)
    return Finding(name=name, verdict=verdict, value=float(value), limit=limit, because=because, evidence=evidence)


def at_least(
    name: str, value: float | None, limit: float, *, limit_name: str, note: str = "", evidence: Evidence = NOTHING
) -> Finding:
    """Judge a value that must not fall below its limit; None and NaN are UNKNOWN.

    >>> at_least("f1", 0.82, 0.85, limit_name="performance_threshold", note="412 rows").because
    'f1 0.82 is under performance_threshold 0.85 (412 rows)'
    """
    return _held(_AT_LEAST, name, value, limit, limit_name=limit_name, note=note, evidence=evidence)


def at_most(
    name: str, value: float | None, limit: float, *, limit_name: str, note: str = "", evidence: Evidence = NOTHING
) -> Finding:
    """Judge a value that must not rise above its limit; None and NaN are UNKNOWN."""
    return _held(_AT_MOST, name, value, limit, limit_name=limit_name, note=note, evidence=evidence)


def below(
    name: str, value: float | None, limit: float, *, limit_name: str, note: str = "", evidence: Evidence = NOTHING
) -> Finding:
    """Judge a value that must not reach its limit; None and NaN are UNKNOWN.

    >>> below("drift", 0.2, 0.2, limit_name="drift_threshold").because
    'drift 0.2 reaches drift_threshold 0.2'
    """
    return _held(_BELOW, name, value, limit, limit_name=limit_name, note=note, evidence=evidence)


def unknown(
    name: str,
    because: str,
    *,
    limit: float | None = None,
    warns: bool = False,
    evidence: Evidence = NOTHING,
) -> Finding:
    """Return a finding that never acts, with the reason why nothing is known."""
    return Finding(
        name=name, verdict=Verdict.UNKNOWN, value=None, limit=limit, because=because, warns=warns, evidence=evidence
    )


def figures(*values: float) -> tuple[str, ...]:
    """Write numbers with as few decimals as keep them apart and no more than six.

    >>> figures(0.8499, 0.85), figures(0.9, 0.85), figures(3, 200)
    (('0.8499', '0.85'), ('0.9', '0.85'), ('3', '200'))
    """
    different = len(set(values))
    texts: list[str] = []
    for decimals in range(2, 7):
        texts = [_shortened(value, decimals) for value in values]
        if len(set(texts)) == different:
            break
    return tuple(texts)


class _Side(NamedTuple):
    """On which side of its limit a value must be, and how either is said."""

    fits: Callable[[float, float], bool]
    within: str
    beyond: str


_AT_LEAST = _Side(operator.ge, "is at or above", "is under")
_AT_MOST = _Side(operator.le, "is at or under", "is above")
_BELOW = _Side(operator.lt, "is under", "reaches")


def _held(  # noqa: PLR0913  (what the three above were asked)
    side: _Side, name: str, value: float | None, limit: float, *, limit_name: str, note: str, evidence: Evidence
) -> Finding:
    if value is None or math.isnan(value):
        return unknown(name, noted(f"{name} is not a number", note), limit=limit, evidence=evidence)
    fits = side.fits(value, limit)
    seen, allowed = figures(value, limit)
    words = side.within if fits else side.beyond
    because = noted(f"{name} {seen} {words} {limit_name} {allowed}", note)
    verdict = Verdict.PASS if fits else Verdict.BREACH
    return Finding(name=name, verdict=verdict, value=value, limit=limit, because=because, evidence=evidence)


def noted(sentence: str, note: str) -> str:
    """Return a sentence with a note in brackets, if there is one."""
    return f"{sentence} ({note})" if note else sentence


def _shortened(value: float, decimals: int) -> str:
    text = "%.*f" % (decimals, value)  # noqa: UP031  (twice as fast, and a replay writes millions)
    return text.rstrip("0").rstrip(".") if "." in text else text
