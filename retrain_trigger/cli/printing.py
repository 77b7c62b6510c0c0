"""Results as text for a person: outcomes, replays, the state, the history."""

import math
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby

from retrain_trigger.cli import sparkline
from retrain_trigger.config.load import Config
from retrain_trigger.core.comparisons import Part, Trial
from retrain_trigger.core.entries import Entry, Kind, says
from retrain_trigger.core.events import Decided, Event, Failed, Promoted, Refused, Sealed, Selected, Told, Training
from retrain_trigger.core.findings import DRIFT, Finding, Verdict, figures
from retrain_trigger.core.outcomes import Outcome
from retrain_trigger.judge import policy
from retrain_trigger.judge.gates.agreement import Agreement
from retrain_trigger.judge.memory import Memory
from retrain_trigger.judge.policy import Action
from retrain_trigger.judge.reigns import PastContest, Reign
from retrain_trigger.pipeline import approval
from retrain_trigger.questions.compare import Contest
from retrain_trigger.questions.rehearsal import Rehearsal
from retrain_trigger.questions.simulate import Replay, Step

MOST_LINES = 20
"""Lines that `status` takes at most on a terminal of 80 columns."""

WARNS = "warns:"

SHOWN = 6
"""Kinds of disagreement that are listed, the most frequent first."""

_LABEL = 11
_ROW = "{:<17}  {:<15}  {}"
_INTENTS = frozenset({Kind.PROMOTING, Kind.STAGING, Kind.UNSTAGING, Kind.REFITTING, Kind.REMOVING})
"""Entries that say nothing which their outcome does not say again."""


def clean(text: str) -> str:
    r"""Return text without control characters or bidirectional overrides: logs and data reach this terminal.

    >>> clean("column \x1b[31m'b'")
    "column [31m'b'"
    """
    return "".join(c for c in text if c.isprintable() or c == "\n")


def outcome_lines(outcome: Outcome, *, verbose: bool) -> list[str]:
    """Write an outcome: one sentence, a line for each check that warns, and with `verbose` every finding."""
    lines = [f"{outcome.word.value}: {outcome.because}", *warning_lines(outcome.findings)]
    if verbose:
        lines += finding_lines(outcome.findings)
    return lines


def told_lines(outcome: Outcome) -> list[str]:
    """Write an outcome in one line; an alert comes first."""
    alerts = [finding.because for finding in outcome.alerts]
    told = f"{outcome.word.value}: {outcome.because}".replace("\n", " / ")
    return [f"alert: {'; '.join(alerts)}; {told}" if alerts else told]


def warning_lines(findings: Iterable[Finding]) -> list[str]:
    """Write the checks that only warn and are over their limit, one a line."""
    return [f"{WARNS} {because}" for because in _warned(findings)]


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Write findings, one a line."""
    return [f"  {finding.verdict.value:<8} {finding.because}" for finding in findings]


def replay_lines(replay: Replay, config: Config, *, verbose: bool, encoding: str = "utf-8") -> list[str]:
    """Write a replay: its triggers one by one, what waited grouped by reason, a line drawn of all, and a closing count."""
    lines = []
    for _, group in groupby(enumerate(replay.steps), key=lambda pair: _group(pair[0], pair[1], verbose=verbose)):
        steps = [step for _, step in group]
        if verbose or steps[0].decision.action is not Action.HEALTHY:
            lines.append(_step_line(steps[0]))
            lines += [f"{'':<17}  {warning}" for warning in warning_lines(steps[0].findings)]
        if len(steps) > 1 and steps[0].decision.action is not Action.HEALTHY:
            lines.append(f"{'':<17}  and so for {len(steps) - 1} more, to {_when(steps[-1])}")
    width = shutil.get_terminal_size().columns
    better = config.measure().sign
    lines += sparkline.lines(replay, config.metric, lower_is_better=better < 0, width=width, encoding=encoding)
    total, triggers = len(replay.steps), replay.count(Action.RETRAIN)
    counted = (
        f"{_plural(total, 'measurement')} of {config.metric}: {_plural(triggers, 'retraining')}, "
        f"{_waits(replay)}, {replay.count(Action.WATCH)} watched, "
        f"{replay.count(Action.UNKNOWN)} unknown"
    )
    lines += [counted, *_slices_warned(replay)]
    if triggers:
        lines.append(
            "A replay cannot know how a retrained model would have scored: "
            "cooldown, budget and evidence go on as if the champion had been kept."
        )
    return lines


def status_lines(config: Config, past: Memory, outcome: Outcome, *, verbose: bool = False) -> list[str]:
    """Write where things stand, in MOST_LINES lines at most, as wide as the terminal; with `verbose` all of it.

    The champion, what was found, what warns, what is to be told, what is waited for, what is not watched.
    """
    champion = past.champion
    rows = [("champion", f"{champion.version} since {policy.stamp(champion.since)}" if champion else "none")]
    rows.append(("now", f"{outcome.word.value}: {outcome.because}"))
    rows += [(WARNS, because) for because in _warned(outcome.findings)]
    rows += [(f.verdict.value.lower(), f.because) for f in outcome.findings if _is_untold(f, outcome)]
    rows += [("note", note) for note in outcome.notes if note not in outcome.because]
    rows += _standing(config, past)
    rows += _not_watched(config, outcome)
    if verbose:
        return [*(f"{label:<{_LABEL}}{text}" for label, text in rows), *finding_lines(outcome.findings)]
    lines = [line for label, text in rows for line in _wrapped(label, text, 7 if label == "now" else 3)]
    left = len(lines) - MOST_LINES
    return lines if left <= 0 else [*lines[: MOST_LINES - 1], f"({left + 1} more lines: retrain-check status -v)"]


def _waits(replay: Replay) -> str:
    """Count the breaches that waited, and the measurements that only waited for rows or their labels."""
    waited = [step for step in replay.steps if step.decision.action is Action.WAIT]
    breaches = sum(any(finding.acts for finding in step.findings) for step in waited)
    rest = f", {len(waited) - breaches} waited for rows" if len(waited) > breaches else ""
    return f"{_plural(breaches, 'breach', 'breaches')} waited{rest}"


def _warned(findings: Iterable[Finding]) -> list[str]:
    return [finding.because for finding in findings if finding.warns and finding.verdict is Verdict.BREACH]


def _is_untold(finding: Finding, outcome: Outcome) -> bool:
    """Whether a finding is neither part of the outcome's sentence nor a warning with a line of its own."""
    return finding.because not in outcome.because and not (finding.warns and finding.verdict is Verdict.BREACH)


def _standing(config: Config, past: Memory) -> list[tuple[str, str]]:
    """Return what is remembered and waited for."""
    rows = [("approval", approval.pending(past.asked))] if past.asked is not None else []
    clock = past.last_seen
    if clock is not None:
        rows.append(("last run", policy.stamp(clock)))
    if config.performance_threshold is None and past.champion is not None:
        own = [limit.because for limit in past.limits if limit.version == past.champion.version]
        rows += [("threshold", because) for because in own[-1:]]
    over = policy.cooldown_over(past, cooldown=config.trigger.cooldown)
    if over is not None and clock is not None and clock < over:
        rows.append(("cooldown", f"until {policy.stamp(over)}"))
    budget = config.trigger.budget
    left = policy.budget_left(past, budget=budget, now=clock) if clock else budget.trainings
    rows.append(("budget", f"{left} of {budget.trainings} trainings left ({budget})"))
    if past.unfinished:
        rows.append(("unfinished", f"run {past.unfinished[-1].run}: the next run finishes it or gives it up"))
    return rows


def _wrapped(label: str, text: str, most: int) -> list[str]:
    """Write a row in `most` lines at most, its text hanging beside its label; COLUMNS says how wide (else 80)."""
    width = shutil.get_terminal_size().columns
    lines = textwrap.wrap(text.replace("\n", "; "), max(width - _LABEL, 20), max_lines=most, placeholder=" ...") or [""]
    return [f"{label if not place else '':<{_LABEL}}{line}" for place, line in enumerate(lines)]


def history_lines(entries: Sequence[Entry[Event]]) -> list[str]:
    """Write the history: one line an event; decisions in a row that came to the same are one line."""
    lines = []
    for (kind, action), group in groupby(entries, key=lambda entry: (entry.kind, _action(entry))):
        told = list(group)
        if kind is Kind.DECIDED:
            more = f"{len(told)} runs, the last at {policy.stamp(told[-1].at)}: " if len(told) > 1 else ""
            lines.append(_ROW.format(policy.stamp(told[0].at), action, more + _said(told[-1].event)))
        elif kind not in {*_INTENTS, Kind.COMPARED}:
            lines += [line for entry in told for line in (_entry_line(entry), *_output_lines(entry.event))]
    return lines or ["nothing has happened yet"]


def reign_lines(reign: Reign | None, *, at: datetime) -> list[str]:
    """Write what was live at a moment: since when, by whose word, on which numbers, and what it replaced."""
    if reign is None:
        return [f"at {policy.stamp(at)} there was no champion yet"]
    until = f"until {policy.stamp(reign.until)}, when {reign.successor} took its place" if reign.until else "until now"
    lines = [
        f"at         {policy.stamp(at)}",
        f"champion   {reign.version} (sha256 {reign.sha256[:12]})",
        f"since      {policy.stamp(reign.since)}, {until}",
        f"by         {reign.by} (run {reign.run}): {reign.because}".partition("\n")[0],
        f"replaced   {reign.replaced or 'nothing: it was the first'}",
    ]
    return [*lines, f"numbers    {_numbers(reign.contest)}"]


def explain_lines(entries: Sequence[Entry[Event]]) -> list[str]:
    """Write one run, step by step: what was seen, what was allowed, what came of it."""
    lines = [f"run {entries[0].run}"]
    for entry in entries:
        if entry.kind not in _INTENTS:
            told = _ROW.format(policy.stamp(entry.at), _action(entry), _said(entry.event))
            lines += [told, *_output_lines(entry.event)]
        match entry.event:
            case Decided(findings=findings) | Refused(findings=findings) | Selected(findings=findings):
                lines += finding_lines(findings)
        for trial in entry.event.trials if isinstance(entry.event, Selected) else ():
            lines += _trial_lines(trial)
    return lines


def _numbers(contest: PastContest | None) -> str:
    if contest is None:
        return "none: it had not been compared with another version"
    found = contest.comparison
    where = f"run {contest.run}, {policy.stamp(contest.at)}"
    if math.isnan(found.difference):
        return f"it could not be compared with {contest.champion} ({where})"
    told = (
        f"{found.metric} {found.challenger:.3f} against {found.champion:.3f} of {contest.champion} on "
        f"{found.rows:,} deciding rows: {found.difference:+.3f} ({where})"
    )
    return told if contest.passed else f"{told}; it did not pass: {'; '.join(contest.failed)}"


def contest_lines(contest: Contest) -> list[str]:
    """Write how two versions did: on labelled rows, gate by gate, then on the logged requests."""
    lines = [f"champion   {contest.champion}", f"challenger {contest.challenger}"]
    if contest.trial is not None:
        lines.append(f"labelled   {contest.because}")
        lines += _trial_lines(contest.trial)[1:]
        lines.append("verdict    better: every gate passes" if contest.better else "verdict    not better")
    if contest.rehearsal is not None:
        lines += _rehearsal_lines(contest.rehearsal, contest.metric)
    return lines


def _rehearsal_lines(rehearsal: Rehearsal, metric: str) -> list[str]:
    said = rehearsal.said
    lines = [f"requests   both say the same on {_agreed(said)} of the log"]
    for champion, challenger, rows in said.flips[:SHOWN]:
        lines.append(f"  {rows:>8,} rows: the champion says {champion!r}, the challenger {challenger!r}")
    shifts = sorted(said.shares.items(), key=lambda item: -abs(item[1][1] - item[1][0]))
    for word, (champion_share, challenger_share) in shifts[:SHOWN]:
        shift = challenger_share - champion_share
        lines.append(
            f"  {word!r} is said by the champion in {champion_share:.1%}, by the challenger in {challenger_share:.1%} ({shift:+.1%})"
        )
    lines += [f"  {name}: the same on {_agreed(agreement)}" for name, agreement in rehearsal.slices.items()]
    if rehearsal.skew is not None:
        lines.append(f"skew       asked again, the champion says what it logged on {_agreed(rehearsal.skew)}")
        for logged, again, rows in rehearsal.skew.flips[:SHOWN]:
            lines.append(f"  {rows:>8,} rows: it logged {logged!r}, and says {again!r} now")
    champion_score, challenger_score = rehearsal.scores
    if champion_score is not None and challenger_score is not None:
        lines.append(
            f"labels     {metric} of the champion {champion_score:.3f}, of the challenger {challenger_score:.3f} on the "
            f"{rehearsal.labelled:,} labelled ones, which either may have been trained on: they decide nothing"
        )
    return lines


def _agreed(agreement: Agreement) -> str:
    return f"{agreement.share or 0:.1%} of {agreement.rows:,} rows"


def _group(index: int, step: Step, *, verbose: bool) -> tuple[object, ...]:
    action = step.decision.action
    alone = verbose or action is Action.RETRAIN
    return (action, step.decision.until, index if alone else None)


def _step_line(step: Step) -> str:
    action, because = step.decision.action, step.decision.because
    said = f"Retrain Triggered: {because}" if action is Action.RETRAIN else f"{action.value}: {because}"
    return f"{_when(step):<17}  {said}"


def _slices_warned(replay: Replay) -> list[str]:
    """Say at how many steps a slice alone was on the wrong side, and what was seen first and last."""
    warned = [
        (step, finding)
        for step in replay.steps
        for finding in step.findings
        if finding.name == "slices" and finding.verdict is Verdict.BREACH
    ]
    ends = [warned[0], warned[-1]] if len(warned) > 1 else warned
    lines = [f"  {_when(step)}  {finding.because}" for step, finding in ends]
    return (
        [f"slices warned in {_plural(len(warned), 'window')} (they never retrain), first and last:", *lines]
        if warned
        else []
    )


def _when(step: Step) -> str:
    return policy.stamp(step.at) if step.at else "line " + step.where.rpartition(":")[2]


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _not_watched(config: Config, outcome: Outcome) -> list[tuple[str, str]]:
    """Return what is not judged, as far as anything was."""
    absent = []
    log = config.logs.predictions is not None
    if outcome.findings and not any(finding.name == DRIFT for finding in outcome.findings):
        absent.append(f"drift ({'there is nothing to measure it from' if log else 'the metrics log states none'})")
    if config.data.labelled is None and config.data.holdout_file is None and not log:
        absent.append("challengers (no data.labelled or data.holdout_file: they are sealed, not promoted)")
    if outcome.findings and config.trigger.slices and not any(each.name == "slices" for each in outcome.findings):
        absent.append(f"slices of {', '.join(config.trigger.slices)} (they need a prediction log with labels)")
    return [("not judged", "; ".join(absent))] if absent else []


def _action(entry: Entry[Event]) -> str:
    """Return what a tick decided to do, else what happened."""
    return entry.event.action if says(entry, Decided) else entry.kind.value


def _entry_line(entry: Entry[Event]) -> str:
    return _ROW.format(policy.stamp(entry.at), entry.kind.value, _said(entry.event))


def _output_lines(event: Event) -> list[str]:
    """Return the last lines of what a failed training printed."""
    printed = event.because.splitlines()[1:] if isinstance(event, Failed) else ()
    return [_ROW.format("", "", line.strip()).rstrip() for line in printed]


def _said(event: Event) -> str:
    """Say what an entry records, in one line."""
    match event:
        case Training():
            said = f"{event.command} (champion {event.champion or 'none yet'})"
        case Sealed():
            said = f"{event.version} (sha256 {event.sha256[:12]})"
        case Promoted():
            said = f"{event.pointer.version} by {event.by}: {event.because}"
        case Told():
            said = event.because
        case _:
            said = ""
    return said.partition("\n")[0]


def _part_line(part: Part) -> str:
    scores = ["-" if math.isnan(score) else f"{score:.3f}" for score in (part.champion, part.challenger)]
    return f"    {part.on:<22}{scores[0]:>8}{scores[1]:>8}{part.rows:>10,} rows"


def _trial_lines(trial: Trial) -> list[str]:
    """Write a comparison: every gate, where the two disagreed, how many rows would settle it."""
    found = trial.comparison
    lines = [f"  challenger {trial.version}", *finding_lines((*trial.gates, *trial.slices))]
    lines += [f"  {note}" for note in trial.notes]
    if trial.parts[1:]:
        lines.append(f"  {found.metric} on rows that neither was trained on: champion, challenger")
        lines += [_part_line(part) for part in trial.parts]
    disagreed = [(cell, count) for cell, count in sorted(trial.joint.items()) if cell[1] != cell[2]]
    for (label, champion, challenger), count in sorted(disagreed, key=lambda each: -each[1])[:SHOWN]:
        lines.append(
            f"  {count:>8,} {'row ' if count == 1 else 'rows'} of {label!r}: the champion said {champion!r}, the challenger {challenger!r}"
        )
    if found.rows_needed and found.rows_needed > found.rows:
        difference = figures(found.difference)[0]
        lines.append(
            f"  about {found.rows_needed:,} rows would be needed to be certain of a difference of {difference}"
        )
    return lines
