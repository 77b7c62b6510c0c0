"""Results as text for a person: outcomes, replays, the state, the history."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from retrain_trigger.config import Config
from retrain_trigger.entries import Entry, Kind
from retrain_trigger.findings import Finding, figures
from retrain_trigger.judge import policy
from retrain_trigger.judge.memory import Memory
from retrain_trigger.judge.policy import Action
from retrain_trigger.outcomes import Outcome
from retrain_trigger.replay import Replay, Step

_ROW = "{:<17}  {:<15}  {}"
_INTENTS = frozenset({Kind.PROMOTING, Kind.STAGING, Kind.UNSTAGING})
"""Entries that say nothing which their outcome does not say again."""


def clean(text: str) -> str:
    r"""Return text without control characters or bidirectional overrides: logs and data reach this terminal.

    >>> clean("column \x1b[31m'b'")
    "column [31m'b'"
    """
    return "".join(c for c in text if c.isprintable() or c == "\n")


def outcome_lines(outcome: Outcome, *, verbose: bool) -> list[str]:
    """Write an outcome: one sentence, and with `verbose` every finding."""
    lines = [f"{outcome.word.value}: {outcome.because}"]
    if verbose:
        lines += finding_lines(outcome.findings)
    return lines


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Write findings, one a line."""
    return [f"  {finding.verdict.value:<8} {finding.because}" for finding in findings]


def replay_lines(replay: Replay, config: Config, *, verbose: bool) -> list[str]:
    """Write a replay: its triggers one by one, what waited grouped by reason, and a closing count."""
    lines = []
    for _, group in groupby(enumerate(replay.steps), key=lambda pair: _group(pair[0], pair[1], verbose=verbose)):
        steps = [step for _, step in group]
        if verbose or steps[0].decision.action is not Action.HEALTHY:
            lines.append(_step_line(steps[0]))
        if len(steps) > 1 and steps[0].decision.action is not Action.HEALTHY:
            lines.append(f"{'':<17}  and so for {len(steps) - 1} more, to {_when(steps[-1])}")
    total, triggers = len(replay.steps), replay.count(Action.RETRAIN)
    counted = (
        f"{_plural(total, 'measurement')} of {config.metric}: {_plural(triggers, 'retraining')}, "
        f"{_plural(replay.count(Action.WAIT), 'breach', 'breaches')} waited, {replay.count(Action.UNKNOWN)} unknown"
    )
    lines.append(counted)
    if triggers:
        lines.append(
            "A replay cannot know how a retrained model would have scored: "
            "cooldown, budget and evidence go on as if the champion had been kept."
        )
    return lines


def status_lines(config: Config, past: Memory, outcome: Outcome) -> list[str]:
    """Write where things stand: the champion, the findings, what is waited for, what is not watched."""
    champion = past.champion
    lines = [f"champion   {champion.version} since {policy.stamp(champion.since)}" if champion else "champion   none"]
    lines.append(f"now        {outcome.word.value}: {outcome.because}")
    lines += finding_lines(outcome.findings)
    clock = past.last_seen
    if clock is not None:
        lines.append(f"last run   {policy.stamp(clock)}")
    over = policy.cooldown_over(past, cooldown=config.trigger.cooldown)
    if over is not None and clock is not None and clock < over:
        lines.append(f"cooldown   until {policy.stamp(over)}")
    recent = [a for a in past.attempts if clock and a.at > clock - config.trigger.budget.period]
    lines.append(
        f"budget     {len(recent)} of {config.trigger.budget.trainings} trainings used "
        f"in the last {policy.length(config.trigger.budget.period)}"
    )
    if past.unfinished:
        lines.append(f"unfinished run {past.unfinished[-1].run}: the next run finishes it or gives it up")
    lines += _not_watched(config, outcome)
    return lines


def history_lines(entries: Sequence[Entry]) -> list[str]:
    """Write the history: one line an event; decisions in a row that came to the same are one line."""
    lines = []
    for (kind, action), group in groupby(entries, key=lambda e: (e.kind, e.body.get("action"))):
        told = list(group)
        if kind is Kind.DECIDED:
            more = f"{len(told)} runs, the last at {policy.stamp(told[-1].at)}: " if len(told) > 1 else ""
            lines.append(_ROW.format(policy.stamp(told[0].at), str(action), more + told[-1].body["because"]))
        elif kind not in {*_INTENTS, Kind.COMPARED}:
            lines += [_ROW.format(policy.stamp(entry.at), kind.value, _told(entry)) for entry in told]
    return lines or ["nothing has happened yet"]


def explain_lines(entries: Sequence[Entry]) -> list[str]:
    """Write one run, step by step: what was seen, what was allowed, what came of it."""
    lines = [f"run {entries[0].run}"]
    for entry in entries:
        action = entry.body.get("action", entry.kind.value)
        if entry.kind not in _INTENTS:
            lines.append(_ROW.format(policy.stamp(entry.at), action, _told(entry)))
        lines += finding_lines(Finding.from_json(f) for f in entry.body.get("findings", ()))
        for trial in entry.body.get("trials", ()):
            lines += _trial_lines(trial)
    return lines


def _group(index: int, step: Step, *, verbose: bool) -> tuple[Any, ...]:
    action = step.decision.action
    alone = verbose or action is Action.RETRAIN
    return (action, step.decision.until, index if alone else None)


def _step_line(step: Step) -> str:
    action, because = step.decision.action, step.decision.because
    said = f"Retrain Triggered: {because}" if action is Action.RETRAIN else f"{action.value}: {because}"
    return f"{_when(step):<17}  {said}"


def _when(step: Step) -> str:
    return policy.stamp(step.at) if step.at else "line " + step.where.rpartition(":")[2]


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _not_watched(config: Config, outcome: Outcome) -> list[str]:
    absent = []
    if not any(finding.name == "drift" for finding in outcome.findings):
        absent.append("drift (the metrics log has none)")
    if config.data.labelled is None and config.data.holdout_file is None:
        absent.append("challengers (no data.labelled or data.holdout_file: they are sealed, not promoted)")
    return [f"not judged {'; '.join(absent)}"] if absent else []


def _told(entry: Entry) -> str:
    """Say what an entry records, in one line."""
    body = entry.body
    match entry.kind:
        case Kind.TRAINING:
            told = f"{body['command']} (champion {body['champion'] or 'none yet'})"
        case Kind.SEALED:
            told = f"{body['version']} (sha256 {body['sha256'][:12]})"
        case Kind.PROMOTED:
            told = f"{body['pointer']['version']} by {body['by']}: {body['because']}"
        case _:
            told = str(body.get("because", ""))
    return told.partition("\n")[0]


def _trial_lines(trial: dict[str, Any]) -> list[str]:
    """Write a comparison: every gate, where the two disagreed, how many rows would settle it."""
    found = trial["comparison"]
    lines = [f"  challenger {trial['version']}"]
    lines += finding_lines(Finding.from_json(gate) for gate in trial["gates"])
    disagreed = [cell for cell in trial["joint"] if cell[1] != cell[2]]
    for label, champion, challenger, count in sorted(disagreed, key=lambda cell: -cell[3])[:6]:
        lines.append(f"  {count:>8,} rows of {label!r}: the champion said {champion!r}, the challenger {challenger!r}")
    if found.get("rows_needed") and found["rows_needed"] > found["rows"]:
        difference = figures(found["difference"])[0]
        lines.append(
            f"  about {found['rows_needed']:,} rows would be needed to be certain of a difference of {difference}"
        )
    return lines
