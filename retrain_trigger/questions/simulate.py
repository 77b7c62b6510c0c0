"""Simulate: the same judgement as a tick's, over every window of a log, at each window's own time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, NamedTuple

from retrain_trigger.config.load import Config
from retrain_trigger.core.errors import CannotJudgeError, PromotionError, UsageError
from retrain_trigger.core.findings import Finding, drifted_alone
from retrain_trigger.core.lines import Log
from retrain_trigger.core.measurements import Mark, Measurement
from retrain_trigger.core.records import Json, encoded
from retrain_trigger.judge import policy
from retrain_trigger.judge.memory import Attempt, Champion, Memory
from retrain_trigger.judge.policy import Action, Decision
from retrain_trigger.logs import metrics_log
from retrain_trigger.pipeline import drifting, evaluate, probation
from retrain_trigger.pipeline.check import Memo, Observed, judged, unused
from retrain_trigger.pipeline.tick import nearby, registry
from retrain_trigger.questions.named import is_prediction_log
from retrain_trigger.store.ledger import Ledger

_DAY_ONE = datetime(2000, 1, 1, tzinfo=UTC)
_LAST_DAY = datetime(9000, 1, 1, tzinfo=UTC)
_FAR = timedelta(days=366 * 100)


class Measured(NamedTuple):
    """The metric as it was judged at one moment, and the threshold that it was held against."""

    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Step:
    """What would have been decided at one moment: when `where`, dated `at` (None without a time), had been logged."""

    where: str
    at: datetime | None
    findings: tuple[Finding, ...]
    decision: Decision

    def measured(self, metric: str) -> Measured | None:
        """Return the newest value of the metric then, by whichever rule it was judged; None if it was not known."""
        found = next((finding for finding in self.findings if finding.name == metric), None)
        if found is None or found.value is None or found.limit is None:
            return None
        if found.evidence.get("rule") == "sequential":
            return Measured(found.evidence["latest"], found.evidence["threshold"])
        return Measured(found.value, found.limit)

    def to_json(self) -> dict[str, Json]:
        """Return the step as a JSON object."""
        until = self.decision.until
        return {
            "where": self.where,
            "at": self.at.isoformat() if self.at else None,
            "action": self.decision.action.value,
            "because": self.decision.because,
            "until": until.isoformat() if until else None,
            "findings": encoded(self.findings),
        }


@dataclass(frozen=True, slots=True)
class Replay:
    """Every step of a replay, oldest first, and what the log had besides."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Json]:
        """Return the replay as a JSON object."""
        return {"steps": [step.to_json() for step in self.steps], "would_retrain_now": self.would_retrain_now}

    def count(self, action: Action) -> int:
        """Count the steps that came to an action."""
        return sum(step.decision.action is action for step in self.steps)

    @property
    def would_retrain_now(self) -> bool:
        """Say whether the last measurement triggers."""
        return bool(self.steps) and self.steps[-1].decision.action is Action.RETRAIN


@dataclass(frozen=True, slots=True)
class _Moment:
    """One step to judge: what was known then, and what a training started then would use up."""

    now: datetime
    where: str
    at: datetime | None
    observed: Observed
    mark: Mark


def simulate(config: Config, logs: Sequence[Path | BinaryIO]) -> Replay:
    """Replay metrics logs or a prediction log, whichever are named; with none, the log of the settings that judges.

    After a trigger, cooldown, budget and evidence go on as if the champion had been kept. Lines without a time are
    taken to be `trigger.window` apart. Raises CannotJudgeError if a log cannot be read.
    """
    tables = [log for log in logs if isinstance(log, Path) and is_prediction_log(config, log)]
    if tables and len(logs) > 1:
        raise UsageError(
            f"{tables[0]} is a prediction log, and those are replayed one at a time: name a file, a folder, or a glob in "
            "quotation marks"
        )
    if tables:
        config = _with_predictions(config, str(tables[0].absolute()))
    if tables or (not logs and config.logs.predictions is not None):
        notes: list[str] = []
        return Replay(tuple(_judged(config, _windows(config, notes))), tuple(notes))
    log = metrics_log.read(logs or [nearby(config.logs.metrics)], wanted=config.wanted, now=None, final=True)
    plain = _with_predictions(config, None)
    return Replay(tuple(_judged(plain, _lines(plain, drifting.stated(plain, log.measurements)))), log.notes)


def _with_predictions(config: Config, source: str | None) -> Config:
    return config.model_copy(update={"logs": config.logs.model_copy(update={"predictions": source})})


def _judged(config: Config, moments: Iterator[_Moment]) -> Iterator[Step]:
    past, memo = Memory(), Memo()
    for moment in moments:
        judgement = judged(config, moment.observed, past, now=moment.now, memo=memo)
        yield Step(moment.where, moment.at, judgement.findings, judgement.decision)
        if judgement.decision.action is Action.RETRAIN:
            used = replace(moment.mark, ends=dict(moment.mark.ends))
            attempt = Attempt(moment.now, used, drifted_alone(judgement.findings))
            standing = probation.standing(config, moment.observed, past)
            past = replace(policy.replayed(past, attempt, budget=config.trigger.budget), standing=standing)


def _lines(config: Config, measurements: Sequence[Measurement]) -> Iterator[_Moment]:
    """Yield one moment for each line, at its own time."""
    log = Log(measurements)
    ends: dict[str, int] = {}
    now = _DAY_ONE
    for place, line in enumerate(log.all, start=1):
        now = line.at or now + config.trigger.window
        if now > _LAST_DAY:
            raise CannotJudgeError(
                f"{line.where}: lines without a time are taken to be trigger.window {policy.length(config.trigger.window)} "
                f"apart, which reaches beyond the year {_LAST_DAY.year} here; write times, or set a shorter trigger.window"
            )
        ends[line.file] = line.end
        yield _Moment(now, line.where, line.at, Observed(measurements=log.until(place)), Mark(line.at, ends))


def _windows(config: Config, notes: list[str]) -> Iterator[_Moment]:
    """Yield one moment for each window of the prediction log, when it has just closed; at the end, add what to tell."""
    with Ledger.reading(config.state / "ledger.sqlite") as ledger:
        champion = _champion(config)
        until = datetime.now(UTC) + _FAR
        with evaluate.replaying(config, registry(config), champion, ledger, until=until) as log:
            for end in log.ends:
                observed = replace(log.known_at(end), newest=None)
                start = end - config.trigger.window
                mark = Mark(start, judged=evaluate.judged_until(config, observed.windows or ()))
                yield _Moment(end, f"window {start:%Y-%m-%d %H:%M}Z", start, observed, mark)
            notes += [*log.notes, *unused(config, log.known_at(until), Memory())]


def _champion(config: Config) -> Champion | None:
    """Return the champion whose profile drift is measured from; none is needed."""
    try:
        pointer = registry(config).champion()
    except PromotionError:
        return None
    return None if pointer is None else Champion(pointer.version, datetime.fromisoformat(pointer.promoted_at))
