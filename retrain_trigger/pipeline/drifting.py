"""What drift means under the settings: whether it retrains, which columns are left out, which look like no inputs."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from retrain_trigger.config.load import Config
from retrain_trigger.core.findings import Finding, Verdict, drifted
from retrain_trigger.core.lines import carries_drift, has_time, only
from retrain_trigger.core.measurements import Measurement
from retrain_trigger.counts.histograms import Reference
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.memory import Memory
from retrain_trigger.judge.metrics import METRICS
from retrain_trigger.judge.policy import OnDrift

MONTH = timedelta(days=30)
"""A column that breaches in every window for so long is a calendar, a counter or metadata more likely than an input."""

LEAST_WINDOWS, MOST_WINDOWS = 4, 40
"""A month has at least so many windows; of more, so many are looked at, evenly spaced."""

Seen = TypeVar("Seen", Measurement, WindowCounts)


def decides(config: Config, *, labelled: bool) -> OnDrift:
    """Say what a breach of drift does: what the settings say; with `auto`, it warns where the metric has a source.

    Sources are the metrics log (beside a prediction log only where the settings name it, it is there, or nothing else
    can give the metric), `logs.labels`, and a prediction log that is `labelled`: it has a column for labels, whether
    any has come yet or not.
    """
    logs = config.logs
    if config.trigger.on_drift is not OnDrift.AUTO:
        return config.trigger.on_drift
    if logs.predictions is None or config.metric not in METRICS:
        return OnDrift.WARN
    known = labelled or logs.labels is not None or "metrics" in logs.model_fields_set or logs.metrics.exists()
    return OnDrift.WARN if known else OnDrift.RETRAIN


def weighed(config: Config, moved: Finding, past: Memory, *, labelled: bool) -> Finding:
    """Let drift only warn where the settings say so, and where it has started a training against this champion already."""
    if decides(config, labelled=labelled) is OnDrift.WARN:
        return replace(moved, warns=True)
    if not moved.acts or not drifted(moved) <= past.drifted:
        return moved
    because = (
        f"{moved.because}; this drift has started a training already, and the champion was kept: now it only warns"
    )
    return replace(moved, warns=True, because=because)


def watched(config: Config, reference: Reference) -> Reference:
    """Return what drift is measured from, without the columns that are no inputs."""
    return {name: cut for name, cut in reference.items() if name not in config.drift.ignore}


def stated(config: Config, measurements: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Return measurements without the logged drift of columns that are no inputs."""
    ignored = config.drift.ignore
    return tuple(
        replace(each, drift={name: value for name, value in each.drift.items() if name not in ignored})
        if ignored and each.drift
        else each
        for each in measurements
    )


def explained(finding: Finding, reference: Reference, month: Iterable[Finding | None]) -> Finding:
    """Name the columns of a breach that look like no inputs, with the key that leaves them out.

    They are those that breach in every window of a `month`, and those of which all rows lie where few of the reference
    do. The findings of the month are looked at only until none is left.
    """
    breached = list(finding.evidence["breached"])
    looked_at = False
    always = breached
    for each in month:
        if each is None or each.verdict is Verdict.UNKNOWN:
            continue
        looked_at, always = True, [name for name in always if name in each.evidence["breached"]]
        if not always:
            break
    always = always if looked_at else []
    features = finding.evidence["features"]
    beyond = [
        name for name in breached if name in reference and _is_beyond(features[name], reference[name].bins.labels)
    ]
    return _named(finding, always, [name for name in beyond if name not in always])


def explained_log(config: Config, finding: Finding, measurements: Sequence[Measurement]) -> Finding:
    """Name the columns of a breach that the metrics log states, and that breach in every line of a month."""
    if finding.verdict is not Verdict.BREACH:
        return finding
    lines = month(config, only(only(measurements, carries_drift), has_time))
    named = finding.evidence.get("features", ()) if lines else ()
    return _named(finding, [name for name in named if all(_breaches(each, name, config) for each in lines)], [])


def month(config: Config, seen: Sequence[Seen]) -> list[Seen]:
    """Return windows of the last month, the latest first; none if they do not reach over a whole one.

    `seen` are in order of time, oldest first.
    """
    begin = _time(seen[-1]) + config.trigger.window - MONTH if seen else None
    before = bisect_right(seen, begin, key=_time) if begin else 0
    if not before:
        return []
    first = before - (_time(seen[before - 1]) == begin)
    count = len(seen) - first
    every = -(-count // MOST_WINDOWS)
    return [seen[place] for place in range(len(seen) - 1, first - 1, -every)] if count >= LEAST_WINDOWS else []


def _time(seen: Measurement | WindowCounts) -> datetime:
    assert seen.at is not None
    return seen.at


def _breaches(measurement: Measurement, feature: str, config: Config) -> bool:
    value = measurement.drift.get(feature)
    return value is not None and value >= config.drift_threshold


def _is_beyond(feature: Mapping[str, object], labels: Sequence[str]) -> bool:
    """Say whether all rows of a window lie in the outermost bin of the reference, or have values it never had."""
    return feature["now"] == 1.0 and feature["bin"] in {labels[0], labels[-2]}


def _named(finding: Finding, always: Sequence[str], beyond: Sequence[str]) -> Finding:
    if not always and not beyond:
        return finding
    parts = []
    if always:
        parts.append(f"{_and(always)} breached in every window of {MONTH.days} days")
    if beyond:
        parts.append(f"all rows of {_and(beyond)} lie where few or none of the reference do")
    ignored = ", ".join([*always, *beyond])
    because = (
        f"{finding.because}; {'; '.join(parts)}: a calendar, a counter or metadata is no input, and "
        f"`drift: {{ignore: [{ignored}]}}` leaves it out"
    )
    return replace(
        finding, because=because, evidence={**finding.evidence, "always": list(always), "beyond": list(beyond)}
    )


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
