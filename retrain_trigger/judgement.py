"""From measurements and memory to a decision: the one judgement that `run`, `status` and `simulate` share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from retrain_trigger.config import Config
from retrain_trigger.findings import Finding, Verdict, unknown
from retrain_trigger.judge import drift, memory, performance, policy
from retrain_trigger.judge.memory import Memory
from retrain_trigger.judge.policy import Action, Decision
from retrain_trigger.measurements import Measurement


@dataclass(frozen=True, slots=True)
class Judgement:
    """The findings on what the champion answers for, and what they lead to."""

    findings: tuple[Finding, ...]
    decision: Decision


def judged(
    config: Config, measurements: Sequence[Measurement], past: Memory, *, now: datetime, newest: datetime | None = None
) -> Judgement:
    """Judge the measurements known at `now`, in order of time.

    `newest` is the age of the log that `trigger.max_age` limits; None in a replay, where each line is judged at its
    own time.
    """
    answered = memory.answered_for(measurements, past)
    champion = past.champion
    if not answered and champion is not None:
        return _nothing_measured(config, champion, now)
    stale = _stale(config, newest, now)
    if stale is not None:
        return Judgement((stale,), Decision(Action.UNKNOWN, stale.because))
    findings = _checked(config, answered)
    breached = any(finding.verdict is Verdict.BREACH for finding in findings)
    fresh = _checked(config, memory.unspent(answered, past)) if breached else ()
    decision = policy.decide(
        findings,
        fresh,
        past,
        now=now,
        cooldown=config.trigger.cooldown,
        budget=config.trigger.budget,
        on_drift=config.trigger.on_drift,
    )
    return Judgement(findings, decision)


def breached_windows(findings: Sequence[Finding]) -> tuple[datetime, ...]:
    """Return the starts of the windows that breached (UTC), where their measurements carry a time."""
    starts: set[datetime] = set()
    for finding in findings:
        if finding.verdict == "BREACH":
            starts |= {_time(window) for window in finding.evidence.get("windows", ())} - {None}  # type: ignore[arg-type]
    return tuple(sorted(starts))


def _checked(config: Config, measurements: Sequence[Measurement]) -> tuple[Finding, ...]:
    performed = performance.check(
        measurements,
        metric=config.metric,
        threshold=config.performance_threshold,
        direction=config.direction,
        min_rows=config.trigger.min_rows,
        patience=config.trigger.patience,
    )
    moved = drift.check_logged(
        measurements,
        threshold=config.drift_threshold,
        patience=config.trigger.patience,
        min_rows=config.trigger.min_rows,
    )
    return (performed,) if moved is None else (performed, moved)


def _nothing_measured(config: Config, champion: memory.Champion, now: datetime) -> Judgement:
    since = f"nothing was measured since {champion.version} was promoted at {policy.stamp(champion.since)}"
    if now - champion.since <= config.trigger.max_age:
        return Judgement((), Decision(Action.WAIT, f"{since}; waiting for the first measurement"))
    because = f"{since}, longer ago than trigger.max_age {policy.length(config.trigger.max_age)}; is it still logged?"
    return Judgement((unknown(config.metric, because),), Decision(Action.UNKNOWN, because))


def _stale(config: Config, newest: datetime | None, now: datetime) -> Finding | None:
    if newest is None or now - newest <= config.trigger.max_age:
        return None
    age = policy.length(timedelta(hours=(now - newest) // timedelta(hours=1)))
    because = (
        f"the newest record is of {policy.stamp(newest)}, {age} old; trigger.max_age is "
        f"{policy.length(config.trigger.max_age)}: is monitoring still running?"
    )
    return unknown(config.metric, because)


def _time(window: str) -> datetime | None:
    try:
        return datetime.fromisoformat(window)
    except ValueError:
        return None
