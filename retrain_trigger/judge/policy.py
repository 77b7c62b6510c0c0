"""Patience, cooldown and budget: from findings and the past to one decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from retrain_trigger.findings import Finding, Verdict
from retrain_trigger.judge.memory import Memory

LONGEST_COOLDOWN = timedelta(days=30)
"""Where the doubling of the cooldown after refused challengers stops."""


class Patience(NamedTuple):
    """Act when `hits` of the last `of` measurements breach, the latest among them."""

    hits: int
    of: int

    def __str__(self) -> str:
        return f"{self.hits} of {self.of}"


class Budget(NamedTuple):
    """At most `trainings` in any `period`."""

    trainings: int
    period: timedelta


class OnDrift(StrEnum):
    """What a drift breach does by itself."""

    RETRAIN = "retrain"
    WARN = "warn"


class Action(StrEnum):
    """What a tick does next."""

    HEALTHY = "healthy"
    WAIT = "waiting"
    RETRAIN = "retrain"
    ROLL_BACK = "roll back"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Decision:
    """The action, the sentence that explains it, and, for a wait, until when (None where only evidence can end it)."""

    action: Action
    because: str
    until: datetime | None = None


def decide(
    findings: Sequence[Finding],
    fresh: Sequence[Finding],
    memory: Memory,
    *,
    now: datetime,
    cooldown: timedelta,
    budget: Budget,
    on_drift: OnDrift,
) -> Decision:
    """Decide from the findings on all that the champion answers for, and on the `fresh` part no attempt has used up.

    A breach acts only where the fresh evidence breaches too, the cooldown is over and the budget is not used up; an
    UNKNOWN never acts and is never healthy.
    """
    acting = [finding for finding in findings if acts(finding, on_drift)]
    if not acting:
        return _quiet(findings, on_drift)
    seen = "; ".join(finding.because for finding in acting)
    clock = memory.clock(now)
    over = cooldown_over(memory, cooldown=cooldown)
    if over is not None and clock < over:
        return Decision(Action.WAIT, f"{seen}; cooldown until {stamp(over)} ({_refusals(memory)})", over)
    free = budget_free(memory, budget=budget, now=clock)
    if free is not None:
        spent = f"the budget of {budget.trainings} trainings per {length(budget.period)} is used up"
        return Decision(Action.WAIT, f"{seen}; {spent} until {stamp(free)}", free)
    if not any(acts(finding, on_drift) for finding in fresh):
        return Decision(Action.WAIT, f"{seen}; the last training used up this evidence, waiting for new measurements")
    return Decision(Action.RETRAIN, seen)


def acts(finding: Finding, on_drift: OnDrift) -> bool:
    """Say whether a finding retrains by itself: a breach of what does not only warn."""
    return finding.verdict is Verdict.BREACH and not _only_warns(finding, on_drift)


def cooldown_over(memory: Memory, *, cooldown: timedelta) -> datetime | None:
    """Return when the cooldown of the last attempt ends: doubled for each refusal after the first, at most 30 days.

    None where nothing was attempted yet. A cooldown that is configured longer than 30 days is kept as it is.
    """
    if not memory.attempts:
        return None
    doublings = min(max(memory.refusals - 1, 0), 16)
    doubled: timedelta = min(cooldown * 2**doublings, max(cooldown, LONGEST_COOLDOWN))
    return memory.attempts[-1].at + doubled


def budget_free(memory: Memory, *, budget: Budget, now: datetime) -> datetime | None:
    """Return when the next training fits into the budget; None where one fits now."""
    recent = [attempt.at for attempt in memory.attempts if attempt.at > now - budget.period]
    if len(recent) < budget.trainings:
        return None
    return recent[-budget.trainings] + budget.period


def stamp(at: datetime) -> str:
    """Write a UTC time for a person.

    >>> from datetime import UTC
    >>> stamp(datetime(2026, 1, 5, 3, 15, tzinfo=UTC))
    '2026-01-05 03:15Z'
    """
    return f"{at:%Y-%m-%d %H:%M}Z"


def length(period: timedelta) -> str:
    """Write a duration in the largest unit that divides it.

    >>> length(timedelta(hours=36)), length(timedelta(days=30))
    ('36h', '30d')
    """
    seconds = int(period.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0 and (unit != "d" or seconds >= size):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _only_warns(finding: Finding, on_drift: OnDrift) -> bool:
    return bool(finding.evidence.get("warns")) or (finding.name == "drift" and on_drift is OnDrift.WARN)


def _quiet(findings: Sequence[Finding], on_drift: OnDrift) -> Decision:
    judging = [finding for finding in findings if not finding.evidence.get("warns")]
    unknown = [finding for finding in judging if finding.verdict is Verdict.UNKNOWN]
    if unknown or not judging:
        because = "; ".join(finding.because for finding in unknown) or "nothing was measured"
        awaited = [datetime.fromisoformat(f.evidence["until"]) for f in unknown if "until" in f.evidence]
        if unknown and len(awaited) == len(unknown):
            return Decision(Action.WAIT, because, max(awaited))
        return Decision(Action.UNKNOWN, because)
    seen = "; ".join(finding.because for finding in judging)
    patient = [finding for finding in findings if finding.evidence.get("patient")]
    if any(not _only_warns(finding, on_drift) for finding in patient):
        return Decision(Action.WAIT, seen)
    warning = [finding for finding in findings if finding.verdict is Verdict.BREACH or finding in patient]
    healthy = [finding.because for finding in judging if finding not in warning]
    warned = [f"{finding.because}, which only warns" for finding in warning]
    return Decision(Action.HEALTHY, "; ".join(healthy + warned))


def _refusals(memory: Memory) -> str:
    if memory.refusals == 0:
        return "the last training was promoted"
    times = "once" if memory.refusals == 1 else f"{memory.refusals} times"
    return f"tried {times} since the last promotion, champion kept"
