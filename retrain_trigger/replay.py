"""Simulate: the same judgement as a tick's, over every line of a log, at each line's own time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from retrain_trigger.config import Config
from retrain_trigger.findings import Finding
from retrain_trigger.judge.memory import Attempt, Memory
from retrain_trigger.judge.policy import Action, Decision
from retrain_trigger.judgement import judged
from retrain_trigger.measurements import Mark, Measurement
from retrain_trigger.world import metrics_log

_DAY_ONE = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Step:
    """What would have been decided when one measurement had been logged."""

    measurement: Measurement
    findings: tuple[Finding, ...]
    decision: Decision

    def to_json(self) -> dict[str, Any]:
        """Return the step as a JSON object."""
        at, until = self.measurement.at, self.decision.until
        return {
            "where": self.measurement.where,
            "at": at.isoformat() if at else None,
            "action": self.decision.action.value,
            "because": self.decision.because,
            "until": until.isoformat() if until else None,
            "findings": [finding.to_json() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Replay:
    """Every step of a replay, oldest first, and what the log had besides."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = field(default=())

    def count(self, action: Action) -> int:
        """Count the steps that came to an action."""
        return sum(step.decision.action is action for step in self.steps)

    @property
    def would_retrain_now(self) -> bool:
        """Say whether the last measurement triggers."""
        return bool(self.steps) and self.steps[-1].decision.action is Action.RETRAIN


def simulate(config: Config, logs: Sequence[Path | BinaryIO]) -> Replay:
    """Replay metrics logs. After a trigger, cooldown, budget and evidence go on as if the champion had been kept.

    Lines without a time are taken to be `trigger.window` apart. Raises CannotJudgeError where a log cannot be read.
    """
    log = metrics_log.read(logs, metric=config.metric, now=None, final=True)
    past = Memory()
    seen: list[Measurement] = []
    steps: list[Step] = []
    now = _DAY_ONE
    for measurement in log.measurements:
        now = measurement.at or now + config.trigger.window
        seen.append(measurement)
        judgement = judged(config, seen, past, now=now)
        steps.append(Step(measurement, judgement.findings, judgement.decision))
        if judgement.decision.action is Action.RETRAIN:
            used = Mark(measurement.at, {measurement.file: measurement.end})
            past = past.attempted(Attempt("replay", now, used))
    return Replay(tuple(steps), log.notes)
