"""Settings under which nothing can ever act: a mistake as soon as a few windows show it, and not a wait."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from retrain_trigger.config.load import Config
from retrain_trigger.core.card import LeftOut
from retrain_trigger.core.errors import UsageError
from retrain_trigger.core.findings import DRIFT, Finding, Verdict
from retrain_trigger.counts.table import TableCounts
from retrain_trigger.judge import rules
from retrain_trigger.judge.checks.lateness import AT_ONCE
from retrain_trigger.judge.checks.point import stated_rows
from retrain_trigger.judge.memory import Memory, answered_for
from retrain_trigger.pipeline.check import Observed, champion_measurements

SHOWN = 5
"""Windows that show it."""


def check_judging(
    config: Config,
    findings: Sequence[Finding],
    observed: Observed,
    past: Memory,
    *,
    now: datetime,
) -> None:
    """Raise UsageError if `trigger.min_rows` or `trigger.label_coverage` is more than any window has had.

    Looked at is what the champion answers for, where the `findings` that it led to are UNKNOWN.
    """
    unknown = {finding.name for finding in findings if finding.verdict is Verdict.UNKNOWN and not finding.warns}
    if not unknown & {config.metric, DRIFT}:
        return
    measurements = champion_measurements(config, observed, past)
    windows = answered_for(observed.windows or (), past)
    if config.metric in unknown and measurements:
        _check_rows(config, [stated_rows(each) for each in measurements], "labelled rows")
    if DRIFT in unknown:
        _check_rows(config, [window.rows for window in windows], "rows")
    if config.metric in unknown and not measurements:
        settled = now - config.trigger.window - (observed.delay or AT_ONCE).most - config.trigger.max_age
        _check_coverage(config, [window.coverage for window in windows if window.rows and window.start <= settled])


def check_deciding(config: Config, left_out: LeftOut, tables: Mapping[str, TableCounts]) -> None:
    """Raise UsageError if the newest windows leave no two classes to train on, and are many.

    `tables` describe the rows by the name of the split, `train-` without these windows and `refit-` with them.
    """
    without, whole = (
        any(_has_classes(table) for name, table in tables.items() if name.startswith(stage))
        for stage in ("train-", "refit-")
    )
    if left_out.windows >= SHOWN and whole and not without:
        asked = config.promotion
        key = f"promotion.windows is {asked.windows} and promotion.min_rows {config.deciding_rows:,}"
        raise UsageError(
            f"{key}, so the newest {left_out.windows} windows decide, and the rows before them have no two classes to "
            f"train on: no challenger could ever be trained. Write promotion.windows: 2 and promotion.min_rows: auto"
        )


def _check_rows(config: Config, rows: Sequence[int | None], what: str) -> None:
    known = [count for count in rows if count is not None]
    if len(known) == len(rows) >= SHOWN and max(known) < config.trigger.min_rows:
        raise UsageError(
            f"trigger.min_rows is {config.trigger.min_rows:,}, and none of {len(known):,} windows had more than "
            f"{max(known):,} {what}: nothing can ever be judged. Write trigger.min_rows: {max(1, min(known[-SHOWN:]))}"
        )


def _check_coverage(config: Config, coverages: Sequence[float]) -> None:
    asked, most = config.trigger.label_coverage, max(coverages, default=0.0)
    if len(coverages) >= SHOWN and 0 < most < asked:
        works = max(math.floor(min(coverages[-SHOWN:]) * 100), 1)
        raise UsageError(
            f"trigger.label_coverage is {asked:.0%}, and none of {len(coverages):,} windows has labels for more than "
            f"{most:.0%} of its rows, though all have had time to come: nothing can ever be judged. Write "
            f"trigger.label_coverage: {works}%"
        )


def _has_classes(table: TableCounts) -> bool:
    return len(rules.counted_classes(table)) >= rules.MIN_CLASSES
