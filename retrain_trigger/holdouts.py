"""Hold-outs: which rows decide, what stands in their way, and that no challenger learns from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from retrain_trigger.errors import PromotionError
from retrain_trigger.findings import Finding, Verdict
from retrain_trigger.judge import policy, wear
from retrain_trigger.judge.memory import Champion, Memory
from retrain_trigger.outcomes import ExitCode, Outcome, Word
from retrain_trigger.tick import Tick
from retrain_trigger.world.registry import Registry

if TYPE_CHECKING:
    from retrain_trigger.world.labelled import LabelledRows

MIN_CLASSES = 2
"""On rows of one class, the model that always says it is perfect."""


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Rows that decide: those of `rows` that fulfil the SQL condition `where`; `told` says in a message which they are."""

    rows: "LabelledRows"
    where: str
    told: str


def trained_until(registry: Registry, champion: Champion | None) -> datetime | None:
    """Return the time of the newest row that the champion was trained on; its promotion where that is not known."""
    if champion is None:
        return None
    profile = registry.profile(champion.version)
    newest = profile.get("newest") if profile else None
    return datetime.fromisoformat(newest) if newest else champion.since


def left_out_after(rows: "LabelledRows", *, windows: int, length: timedelta) -> datetime | None:
    """Return the time after which rows are among the newest windows: so many lengths before the newest row.

    They end with the newest row, not with a day: so they are whole, whenever cron runs and however late labels come.
    None where there is no row, or no window is left out.
    """
    newest = rows.newest()
    return newest - windows * length if newest is not None and windows else None


def out_of_time(rows: "LabelledRows", *, after: datetime, until: datetime | None, windows: int) -> HoldOut:
    """Return all rows of the newest windows, as far as they are newer than the champion's training data (`until`)."""
    told = "in the newest window" if windows == 1 else f"in the newest {windows} windows"
    return HoldOut(rows, rows.newer(max(after, until or after)), f"{told} (promotion.out_of_time)")


def lacking(tick: Tick, held: HoldOut, breached: Sequence[datetime], *, forced: bool) -> Outcome | None:
    """Say what is missing for a comparison; training now would spend the evidence on a challenger nobody can judge.

    Too few rows are a wait. Raises PromotionError where waiting would not help: rows have stopped coming, or the
    hold-out is stale or of one class. A forced training needs only the breached windows.
    """
    window, needed = tick.config.trigger.window, tick.config.promotion.min_rows
    absent = [start for start in breached if not held.rows.within("true", start=start, length=window)]
    there = held.rows.count(held.where)
    if absent:
        reason = f"the labelled rows have none of the breached window of {policy.stamp(absent[-1])}"
    elif there < needed and not forced:
        reason = f"{needed - there:,} rows more needed {held.told} (promotion.min_rows {needed:,})"
    else:
        if not forced:
            _refuse_unfit(tick, held, located=bool(breached))
        return None
    newest = held.rows.newest()
    if newest is None or tick.now - newest > tick.config.trigger.max_age:
        seen = f"their newest is of {policy.stamp(newest)}" if newest else "there are none"
        raise PromotionError(
            f"no challenger could be judged: {reason}, and {seen}; trigger.max_age is "
            f"{policy.length(tick.config.trigger.max_age)}. Nothing was trained; are labelled rows still written?"
        )
    return Outcome(word=Word.WAITING, code=ExitCode.OK, because=f"{reason}; training waits for them")


def leaks(splits: Mapping[str, Path], holdout: Path, *, columns: Mapping[str, str]) -> tuple[Finding, ...]:
    """Find the rows of a hold-out that stand in what would be trained on: one finding for each split that has some.

    `splits` are files by their name in a message. Raises DataError where a file cannot be read.
    """
    return tuple(_leaking(splits, holdout, columns))


def worn(registry: Registry, past: Memory) -> Finding:
    """Say how often the rows that the next comparison begins with have decided already."""
    return wear.judge(past.uses, oldest=trained_until(registry, past.champion))


def _refuse_unfit(tick: Tick, held: HoldOut, *, located: bool) -> None:
    """Refuse a stale hold-out, and one of one class. Where a breach is located in time, its window is recent enough."""
    labels = held.rows.labels(held.where)
    if len(labels) < MIN_CLASSES:
        (only,) = labels or ("none",)
        raise PromotionError(
            f"no challenger could be judged: the rows {held.told} have one class only, {only!r} in all "
            f"{sum(labels.values()):,}, and two are needed. Nothing was trained; have all labels come?"
        )
    newest = held.rows.span(held.where)["newest"]
    age = tick.now - datetime.fromisoformat(newest)
    if not located and age > tick.config.trigger.max_age:
        raise PromotionError(
            f"no challenger could be judged: the rows {held.told} are stale: the newest is of "
            f"{policy.stamp(datetime.fromisoformat(newest))}, and trigger.max_age is "
            f"{policy.length(tick.config.trigger.max_age)}. Nothing was trained; are labelled rows still written?"
        )


def _leaking(splits: Mapping[str, Path], holdout: Path, columns: Mapping[str, str]) -> Iterator[Finding]:
    from retrain_trigger.world import leakage  # noqa: PLC0415  (DuckDB: not on the healthy path)

    for name, rows in splits.items():
        found = leakage.between(rows, holdout, columns=columns)
        if found.rows:
            told = ", ".join(repr(each) for each in found.first) + (", ..." if found.rows > len(found.first) else "")
            because = (
                f"{found.rows:,} {'row' if found.rows == 1 else 'rows'} of the hold-out {'is' if found.rows == 1 else 'are'} "
                f"in the training data of {name} ({told}); no row may be both learnt from and judged on"
            )
            yield Finding(name="leakage", verdict=Verdict.BREACH, value=float(found.rows), limit=0.0, because=because)
