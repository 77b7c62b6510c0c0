"""Patience, cooldown, budget and probe: from findings and the past to one decision."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from retrain_trigger.core.findings import Finding, Verdict, drifted_alone, figures
from retrain_trigger.judge.memory import Attempt, Memory

LONGEST_COOLDOWN = timedelta(days=30)
"""Where the doubling of the cooldown after refused challengers stops."""


class Patience(NamedTuple):
    """Act when `hits` of the last `of` measurements breach, the latest among them."""

    hits: int
    of: int

    def __str__(self) -> str:
        return f"{self.hits} of {self.of}"


class Budget(NamedTuple):
    """At most `trainings` in any `period`.

    One that is `saving` starts with all of them, and gets one back each `period / trainings`: what was not spent is there
    when it is needed, and no old attempt has to leave a period first.
    """

    trainings: int
    period: timedelta
    saving: bool = False

    def __str__(self) -> str:
        return f"{self.trainings} per {length(self.period)}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often a training may start: the wait after one, how many in a period, and the windows between two probes.

    A probe is a training without a breach; None if there are none.
    """

    cooldown: timedelta
    budget: Budget
    probe: int | None = None


class OnDrift(StrEnum):
    """What a drift breach does by itself; `auto` is one of the others, by what the logs can tell."""

    AUTO = "auto"
    RETRAIN = "retrain"
    WARN = "warn"


class Action(StrEnum):
    """What a tick does next."""

    HEALTHY = "healthy"
    WARN = "healthy, warned"
    WATCH = "watching"
    WAIT = "waiting"
    RETRAIN = "retrain"
    ROLL_BACK = "roll back"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Decision:
    """The action, the sentence that explains it, and, for a wait, until when (None if only evidence can end it)."""

    action: Action
    because: str
    until: datetime | None = None


def decide(
    findings: Sequence[Finding],
    fresh: Iterable[Finding],
    memory: Memory,
    *,
    now: datetime,
    schedule: Schedule,
    quiet: int = 0,
) -> Decision:
    """Decide from the findings on all that the champion answers for, and on the `fresh` part no attempt has used up.

    A breach acts only where the fresh evidence breaches too, the cooldown is over and the budget is not used up; an
    UNKNOWN never acts and is never healthy. What only warns decides nothing. Without a breach, a probe is due after so
    many `quiet` windows: those judged since the last training, or since the champion went live. `fresh` is asked for only
    where it matters.
    """
    acting = [finding for finding in findings if finding.acts]
    alone = bool(drifted_alone(acting))
    held = _held_back(memory, schedule, now=memory.clock(now), free=alone)
    if not acting:
        return _probed(_quiet(findings), memory, schedule.probe, quiet=quiet, held=held is not None)
    seen = "; ".join(finding.because for finding in acting)
    if held is not None:
        return replace(held, because=f"{seen}; {held.because}")
    unspent = tuple(fresh)
    if not any(finding.acts for finding in unspent):
        return Decision(Action.WAIT, f"{seen}; the last training used up this evidence, waiting for {_new(unspent)}")
    return Decision(Action.RETRAIN, seen)


def cooldown_over(memory: Memory, *, cooldown: timedelta) -> datetime | None:
    """Return when the cooldown of the last attempt ends: doubled for each refusal after the first, at most 30 days.

    None if nothing was attempted yet. A cooldown that is configured longer than 30 days is kept as it is.
    """
    if not memory.attempts:
        return None
    doublings = min(max(memory.refusals - 1, 0), _MOST_DOUBLINGS)
    doubled: timedelta = min(cooldown * 2**doublings, max(cooldown, LONGEST_COOLDOWN))
    return memory.attempts[-1].at + doubled


def budget_free(memory: Memory, *, budget: Budget, now: datetime) -> datetime | None:
    """Return when the next training fits into the budget; None if one fits now.

    >>> from retrain_trigger.core.measurements import Mark
    >>> from retrain_trigger.judge.memory import Attempt
    >>> saving = Budget(8, timedelta(days=30), saving=True)
    >>> spent = Memory(attempts=(Attempt(datetime(2026, 1, 1), Mark()),) * 8)
    >>> budget_free(spent, budget=saving, now=datetime(2026, 1, 2)), budget_free(spent, budget=saving, now=datetime(2026, 1, 5))
    (datetime.datetime(2026, 1, 4, 18, 0), None)
    """
    if budget.saving:
        return _saved_up(memory, budget=budget, now=now)
    recent = _recent(memory, budget=budget, now=now)
    return None if len(recent) < budget.trainings else recent[-budget.trainings] + budget.period


def budget_left(memory: Memory, *, budget: Budget, now: datetime) -> int:
    """Return how many trainings the budget allows now."""
    if budget.saving:
        return int(_saved(memory, budget=budget, now=now) + _WHOLE)
    return max(0, budget.trainings - len(_recent(memory, budget=budget, now=now)))


def replayed(memory: Memory, attempt: Attempt, *, budget: Budget) -> Memory:
    """Return the memory after one more attempt, without those that no later decision looks at.

    A replay of a long log makes thousands of attempts, and each of its decisions would look at all of them.
    """
    if attempt.drifted:
        return memory.attempted(attempt)
    if budget.saving:
        free = tuple(each for each in memory.attempts if each.drifted)
        attempt = replace(attempt, saved=_saved(memory, budget=budget, now=attempt.at))
        return replace(memory.attempted(attempt), attempts=(*free, attempt))
    kept = tuple(each for each in memory.attempts if each.drifted or each.at > attempt.at - budget.period)
    return replace(memory, attempts=kept).attempted(attempt)


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


_MOST_DOUBLINGS = 16
_WHOLE = 1e-9
"""What a training that was saved up over days may lack, whatever binary fractions make of it."""


def _costly(memory: Memory) -> list[Attempt]:
    """Return the trainings that the budget pays for: drift alone starts but one for each column, and is free."""
    return [attempt for attempt in memory.attempts if not attempt.drifted]


def _recent(memory: Memory, *, budget: Budget, now: datetime) -> list[datetime]:
    return [attempt.at for attempt in _costly(memory) if attempt.at > now - budget.period]


def _saved(memory: Memory, *, budget: Budget, now: datetime) -> float:
    """Return the trainings that are saved up at a time, a part of one too: at most all, one less after each attempt."""
    costly = _costly(memory)
    known = costly[0].saved if costly else None
    each, saved = budget.period / budget.trainings, float(budget.trainings) if known is None else known
    for spent, until in pairwise([*(attempt.at for attempt in costly), now]):
        saved = min(budget.trainings, max(0.0, saved - 1) + (until - spent) / each)
    return saved


def _saved_up(memory: Memory, *, budget: Budget, now: datetime) -> datetime | None:
    """Return when one training is saved up; None if one is now."""
    saved = _saved(memory, budget=budget, now=now)
    return None if saved >= 1 - _WHOLE else now + (1 - saved) * (budget.period / budget.trainings)


def _held_back(memory: Memory, schedule: Schedule, *, now: datetime, free: bool) -> Decision | None:
    """Return the wait for the end of the cooldown, or for the budget; None if a training may start now.

    One that is `free` needs no budget.
    """
    over = cooldown_over(memory, cooldown=schedule.cooldown)
    if over is not None and now < over:
        unless = " unless the metric gets still worse" if memory.refusals and memory.standing and not free else ""
        return Decision(Action.WAIT, f"cooldown until {stamp(over)}{unless} ({_refusals(memory)})", over)
    until = None if free else budget_free(memory, budget=schedule.budget, now=now)
    if until is None:
        return None
    return Decision(
        Action.WAIT,
        f"the budget of {schedule.budget.trainings} trainings per {length(schedule.budget.period)} is used up until {stamp(until)}",
        until,
    )


def _probed(decision: Decision, memory: Memory, every: int | None, *, quiet: int, held: bool) -> Decision:
    """Turn a decision that needs nothing into a probe that is due; one that is not is told in how many windows it is."""
    if every is None or decision.action in {Action.WAIT, Action.UNKNOWN}:
        return decision
    due = every * 2 ** min(memory.refusals, _MOST_DOUBLINGS)
    asked = f"trigger.probe {every}" + (", doubled after each refusal" if memory.refusals else "")
    if quiet < due:
        left = due - quiet
        told = f"the next probe is due in {left:,} {'window' if left == 1 else 'windows'} ({asked})"
        return replace(decision, because=f"{decision.because}; {told}")
    if held:
        return decision
    since = "training" if memory.refusals else "promotion"
    return Decision(Action.RETRAIN, f"{decision.because}; probe: {quiet:,} windows since the last {since} ({asked})")


def _new(fresh: Sequence[Finding]) -> str:
    """Say how much new evidence a breach needs: of the check that needs the least."""
    needed = [finding.evidence["needs"] for finding in fresh if not finding.warns and finding.evidence.get("needs")]
    return f"about {min(needed)} more such windows" if needed and min(needed) > 1 else "1 new measurement"


def _quiet(findings: Sequence[Finding]) -> Decision:
    judging = [finding for finding in findings if not finding.warns]
    unknown = [finding for finding in judging if finding.verdict is Verdict.UNKNOWN]
    if unknown or not judging:
        because = "; ".join(finding.because for finding in unknown) or "nothing was measured"
        awaited = [finding.evidence["until"] for finding in unknown if "until" in finding.evidence]
        if unknown and len(awaited) == len(unknown):
            times = [datetime.fromisoformat(until) for until in awaited if until]
            return Decision(Action.WAIT, because, max(times, default=None))
        return Decision(Action.UNKNOWN, because)
    seen = "; ".join(finding.because for finding in judging)
    if any(finding.evidence.get("watching") for finding in judging):
        return Decision(Action.WATCH, seen)
    warned = any(finding.warns and finding.verdict is Verdict.BREACH for finding in findings)
    return Decision(Action.WARN if warned else Action.HEALTHY, seen)


def _refusals(memory: Memory) -> str:
    if memory.refusals == 0:
        return "the last training was promoted"
    times = "once" if memory.refusals == 1 else f"{memory.refusals} times"
    told = f"tried {times} since the last promotion, champion kept"
    if memory.closest is None:
        return told
    challenger, champion = figures(memory.closest.challenger, memory.closest.champion)
    return f"{told}; the best challenger of the last try scored {challenger}, the champion {champion}"
