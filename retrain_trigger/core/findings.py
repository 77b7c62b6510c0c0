"""One value with its limit and its reason: what every check, data rule and gate returns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

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
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.value is None) != (self.verdict is Verdict.UNKNOWN):
            raise ValueError(f"{self.name}: value {self.value} with verdict {self.verdict}")

    @classmethod
    def upgraded(cls, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a document of today: in earlier ledgers `warns` is in the evidence."""
        return {"warns": bool(document["evidence"].get("warns", False)), **document}


def at_least(
    name: str,
    value: float | None,
    limit: float,
    *,
    limit_name: str,
    note: str = "",
    evidence: Mapping[str, Any] | None = None,
) -> Finding:
    """Judge a value that must not fall below its limit; None and NaN are UNKNOWN.

    >>> at_least("f1", 0.82, 0.85, limit_name="performance_threshold", note="412 rows").because
    'f1 0.82 is under performance_threshold 0.85 (412 rows)'
    """
    if value is None or math.isnan(value):
        return unknown(name, _noted(f"{name} is not a number", note), limit=limit, evidence=evidence)
    fits = value >= limit
    return _compared(name, value, limit, limit_name, note, evidence, fits, "is at or above" if fits else "is under")


def at_most(
    name: str,
    value: float | None,
    limit: float,
    *,
    limit_name: str,
    note: str = "",
    inclusive: bool = True,
    evidence: Mapping[str, Any] | None = None,
) -> Finding:
    """Judge a value that must not rise above its limit (must not reach it: `inclusive=False`).

    >>> at_most("drift", 0.2, 0.2, limit_name="drift_threshold", inclusive=False).because
    'drift 0.2 reaches drift_threshold 0.2'
    """
    if value is None or math.isnan(value):
        return unknown(name, _noted(f"{name} is not a number", note), limit=limit, evidence=evidence)
    fits = value <= limit if inclusive else value < limit
    words = ("is at or under", "is above") if inclusive else ("is under", "reaches")
    return _compared(name, value, limit, limit_name, note, evidence, fits, words[not fits])


def unknown(
    name: str,
    because: str,
    *,
    limit: float | None = None,
    warns: bool = False,
    evidence: Mapping[str, Any] | None = None,
) -> Finding:
    """Return a finding that never acts, with the reason why nothing is known."""
    return Finding(
        name=name,
        verdict=Verdict.UNKNOWN,
        value=None,
        limit=limit,
        because=because,
        warns=warns,
        evidence=evidence or {},
    )


def figures(*values: float) -> tuple[str, ...]:
    """Write numbers with as few decimals as keep them apart and no more than six.

    >>> figures(0.8499, 0.85), figures(0.9, 0.85), figures(3, 200)
    (('0.8499', '0.85'), ('0.9', '0.85'), ('3', '200'))
    """
    texts: tuple[str, ...] = ()
    for decimals in range(2, 7):
        texts = tuple(_shortened(value, decimals) for value in values)
        if len(set(texts)) == len(set(values)):
            break
    return texts


def _compared(  # noqa: PLR0917  (private; both helpers pass them in the same order)
    name: str,
    value: float,
    limit: float,
    limit_name: str,
    note: str,
    evidence: Mapping[str, Any] | None,
    fits: bool,  # noqa: FBT001  (private, and called beside the comparison itself)
    words: str,
) -> Finding:
    seen, allowed = figures(value, limit)
    return Finding(
        name=name,
        verdict=Verdict.PASS if fits else Verdict.BREACH,
        value=value,
        limit=limit,
        because=_noted(f"{name} {seen} {words} {limit_name} {allowed}", note),
        evidence=evidence or {},
    )


def _noted(sentence: str, note: str) -> str:
    return f"{sentence} ({note})" if note else sentence


def _shortened(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
