"""A challenger in shadow: how far it has come, and the verdict on what it said beside the champion."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from retrain_trigger import engines
from retrain_trigger.config.load import Config
from retrain_trigger.config.sections import CHALLENGER
from retrain_trigger.config.sections import Shadow as Asked
from retrain_trigger.core.comparisons import Trial
from retrain_trigger.core.errors import CannotJudgeError, PromotionError
from retrain_trigger.core.events import Compared, Span, Standing
from retrain_trigger.core.outcomes import Outcome
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge import policy
from retrain_trigger.judge.memory import Memory, Shadow
from retrain_trigger.judge.policy import Action, Decision
from retrain_trigger.pipeline import act, compare, staging
from retrain_trigger.pipeline.check import Judgement
from retrain_trigger.pipeline.tick import Tick

PATIENCE = 10
"""A shadow ends without a verdict after so many times its hours, and not before `trigger.max_age`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a challenger in shadow has come at `now`; `joint` counts (label, champion said, challenger said)."""

    shadow: Shadow
    asked: Asked
    joint: JointCounts
    now: datetime
    ends: datetime

    @property
    def rows(self) -> int:
        """The number of rows with label, champion's and challenger's prediction."""
        return self.joint.rows

    @property
    def hours(self) -> int:
        """The whole hours since it was staged."""
        return (self.now - self.shadow.since) // timedelta(hours=1)

    @property
    def complete(self) -> bool:
        """Whether it has said enough to be judged."""
        return self.rows >= self.asked.rows and self.hours >= self.asked.hours

    @property
    def due(self) -> bool:
        """Whether its shadow ends now, judged or not."""
        return self.complete or self.now >= self.ends

    def __str__(self) -> str:
        return (
            f"challenger {self.shadow.version} is in shadow since {policy.stamp(self.shadow.since)}: "
            f"{self.rows:,} of {self.asked.rows:,} labelled rows, {self.hours:,} of {self.asked.hours:,} hours"
        )


def settled(tick: Tick, *, forced: bool) -> Tick:
    """End a shadow that cannot go on, and take away what is left of one; `forced`: a training is asked for."""
    shadow = tick.past.shadow
    if shadow is None:
        return staging.withdraw(tick, f"{CHALLENGER} was left of a shadow that is over; it is removed")
    because = "a training is forced" if forced else _lost(tick, shadow)
    return tick if because is None else staging.withdraw(tick, because)


def progress(config: Config, past: Memory, *, now: datetime) -> Progress | None:
    """Count what the challenger in shadow has said; None if none runs. Raises CannotJudgeError."""
    shadow, asked, source = past.shadow, config.promotion.shadow, config.logs.predictions
    if shadow is None or asked is None or source is None:
        return None
    known_as = past.known_as.get(shadow.champion)

    now = past.clock(now)
    ends = shadow.since + max(PATIENCE * timedelta(hours=asked.hours), config.trigger.max_age)
    joint = JointCounts({})
    try:
        joint = engines.shadow_log.joint_counts(
            source,
            engines.shadow_log.Pair(
                champion=[shadow.champion, *([known_as] if known_as else [])],
                challenger=shadow.version,
                since=shadow.since,
            ),
            labels=config.logs.labels,
            columns=config.logs.names,
            now=now,
        )
    except CannotJudgeError:
        if now < ends:
            raise
    return Progress(shadow=shadow, asked=asked, joint=joint, now=now, ends=ends)


def meanwhile(judgement: Judgement, seen: Progress) -> Judgement:
    """Return the judgement with what the shadow comes to: as long as it runs, a breach waits."""
    decision = judgement.decision
    action = Action.WAIT if decision.action is Action.RETRAIN else decision.action
    because = f"{decision.because}; {seen}"
    if seen.due:
        because += "; it is due to be judged"
    elif action is Action.WAIT:
        because += f"; no training starts meanwhile, at the latest until {policy.stamp(seen.ends)}"
    return replace(judgement, decision=Decision(action, because, decision.until))


def concluded(tick: Tick, seen: Progress, *, positive: str, standing: Standing | None) -> Outcome:
    """Judge what champion and challenger both said, write the verdict, and act on it.

    They are compared once, as soon as there are rows and hours enough, so that no row is looked at twice. `standing`
    is how the champion is doing. A shadow that never got its rows ends with the champion kept.
    """
    shadow = seen.shadow
    judged = _tried(tick, seen, positive) if seen.complete else None
    if judged is None:
        verdict, because = None, f"{seen}, and the shadow ended at {policy.stamp(seen.ends)}; the champion is kept"
    else:
        verdict = shadow.version if judged.passed else None
        because = f"in shadow since {policy.stamp(shadow.since)}, {compare.explained(judged)}"
    tick.record(
        Compared(
            shadow=True,
            verdict=verdict,
            because=because,
            champion=shadow.champion,
            sha256=shadow.sha256,
            deciding=Span(rows=seen.rows),
            config=tick.config.digest,
            standing=standing,
            trials=(judged,) if judged else (),
        )
    )
    return act.on_verdict(tick, verdict, because, by="shadow")


def _lost(tick: Tick, shadow: Shadow) -> str | None:
    """Say why a shadow cannot go on; None if it can."""
    champion = tick.past.champion.version if tick.past.champion else None
    if tick.config.promotion.shadow is None:
        return "promotion.shadow is not set any more"
    if champion != shadow.champion:
        return f"it ran beside {shadow.champion}, and the champion is {champion} now"
    try:
        found = staging.named(tick.registry)
        if tick.registry.verified(shadow.version) != shadow.sha256:
            return f"the model of {shadow.version} is not the file that was staged"
    except PromotionError as error:
        return str(error)
    if found is None or found.sha256 != shadow.sha256:
        return f"{staging.path(tick.registry)} was removed or changed by hand"
    return None


def _tried(tick: Tick, seen: Progress, positive: str) -> Trial:
    return compare.judged(
        tick.config,
        seen.shadow.version,
        compare.Seen(joint=seen.joint, attempt=tick.past.refusals),
        positive=positive,
        challengers=1,
        seed=int(seen.shadow.sha256[:8], 16),
    )
