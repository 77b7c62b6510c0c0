"""Hold-outs: which rows decide, what stands in their way, and that no challenger learns from them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from retrain_trigger import engines
from retrain_trigger.core.card import LeftOut
from retrain_trigger.core.errors import CannotJudgeError, PromotionError
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.judge.checks import lateness
from retrain_trigger.judge.checks.lateness import Delay
from retrain_trigger.judge.gates import deciding, wear
from retrain_trigger.judge.gates.deciding import Breach, Chance
from retrain_trigger.judge.memory import Champion, Memory
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.store.registry import Registry

if TYPE_CHECKING:
    from retrain_trigger.engines.labelled import LabelledRows, Reserve


SLACK = 0.1
"""The part of a window that may be missing at the ends of the rows: seldom is one of its first second there, and its last."""


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Rows that decide: those of `rows` that fulfil the SQL condition `where`; `told` says in a message which they are.

    Where the newest windows decide, candidates are trained without what is `left_out`, and `missing` is how many more
    windows are needed.
    """

    rows: "LabelledRows"
    where: str
    told: str
    left_out: LeftOut | None = None
    missing: int = 0


def trained_until(registry: Registry, champion: Champion | None) -> datetime | None:
    """Return the time of the newest row that the champion was trained on; if that is not known, its (first) promotion.

    That of an adopted model is its adoption, however long it had been live, and also after a rollback to it.
    """
    if champion is None:
        return None
    profile = registry.profile(champion.version)
    if profile and profile.newest:
        return datetime.fromisoformat(profile.newest)
    promoted, adopted = champion.promoted or champion.since, registry.card(champion.version).adopted_at
    return min(promoted, adopted) if adopted else promoted


def newest(tick: Tick, rows: "LabelledRows", *, until: datetime | None, least: int) -> HoldOut | None:
    """Return the newest windows, all of them newer than the champion's training data (`until`); None without a row.

    There are at least `promotion.windows` of them, and as many as hold the `least` number of rows, as far as there are
    so many. They end with the newest row, not with a day: so they are whole, whenever cron runs and however late labels come.
    """
    last, length = rows.newest(), tick.config.trigger.window
    if last is None:
        return None
    ages, wanted = rows.by_age(length), tick.config.promotion.windows
    there = max(0, math.floor((last - until) / length + SLACK)) if until else max(ages) + 1
    windows = min(wanted, there)
    while windows < there and sum(ages.get(age, 0) for age in range(windows)) < least:
        windows += 1
    after = max(last - windows * length, until) if until else last - windows * length
    told = "in the newest window" if windows == 1 else f"in the newest {windows} windows"
    if rows.reserve.group:
        told += f" of a {rows.reserve.group} that is held out or new (data.group)"
    return HoldOut(
        rows, rows.unlearnt(after), told, LeftOut(windows=windows, after=after), missing=wanted - min(wanted, windows)
    )


def recent(tick: Tick, rows: "LabelledRows", until: datetime) -> str | None:
    """Return the rows of the newest windows that hold `trigger.min_rows`, as SQL; None without a row."""
    every = replace(rows, reserve=replace(rows.reserve, group=None))  # also those that do not decide
    found = newest(tick, every, until=until, least=tick.config.trigger.min_rows)
    return rows.newer(found.left_out.after) if found and found.left_out else None


def reserve(tick: Tick, share: float) -> "Reserve":
    """Return how rows are held out: a share, and whatever was held out before by this group or another."""
    return engines.labelled.Reserve(
        share=max(share, tick.past.reserved), group=tick.config.data.group, earlier=tick.past.reserved_by
    )


def held_out_since(tick: Tick) -> datetime | None:
    """Return since when no champion was trained on held-out rows; None if that has always been so.

    What an adopted model was trained on is not known, and rows were held out by another group before.
    """
    champion, group = tick.past.champion, tick.config.data.group or ""
    since = [until for other, until in tick.past.reserved_by.items() if other != group]
    adopted = tick.registry.card(champion.version).adopted_at if champion else None
    return max([*since, *([adopted] if adopted else [])], default=None)


def delay(tick: Tick, rows: "LabelledRows") -> Delay | None:
    """Return how late labelled rows come: what they say themselves, else how old the newest was when the champion was trained.

    None if neither is known.
    """
    measured = lateness.of_labels(rows.delays())
    return measured or (_when_trained(tick.registry, tick.past.champion) if tick.past.champion else None)


def lacking(tick: Tick, held: HoldOut, breach: Breach, *, forced: bool) -> Outcome | None:
    """Return the wait for what a comparison lacks, as `deciding.lacking` says; None if it lacks nothing.

    Raises PromotionError if that has stopped coming, CannotJudgeError if it may be late as well.
    """
    trigger, champion = tick.config.trigger, tick.past.champion
    asked = deciding.Terms(
        min_rows=tick.config.deciding_rows,
        window=trigger.window,
        max_age=trigger.max_age,
        now=tick.now,
        since=champion.since if champion else tick.now,
    )
    known = deciding.Rows(
        told=held.told,
        missing=held.missing,
        labels=held.rows.labels(held.where),
        classes=len(held.rows.labels()),
        newest=held.rows.newest(),
        newest_deciding=held.rows.span(held.where).newest,
        delay=delay(tick, held.rows),
        breached=min(breach.windows, default=None),
        began=breach.began,
        after=held.left_out.after if held.left_out else None,
        located=any(held.rows.within("true", start=start, length=trigger.window) for start in breach.windows),
    )
    found = deciding.lacking(known, asked, forced=forced)
    if found is None:
        return None
    match found.chance:
        case Chance.COMES:
            return Outcome(word=Word.WAITING, code=ExitCode.OK, because=found.because)
        case Chance.LATE:
            raise CannotJudgeError(found.because)
        case _:
            raise PromotionError(found.because)


def leaks(
    splits: Mapping[str, Path], holdout: Path, *, columns: Mapping[str, str], group: str | None
) -> tuple[Finding, ...]:
    """Find the rows of a hold-out that stand in what would be trained on: one finding for each split that has some.

    `splits` are files by their name in a message. Of a `group`, all rows stand there if one does. Raises DataError if a
    file cannot be read.
    """
    return tuple(_leaking(splits, holdout, columns, group))


def worn(registry: Registry, past: Memory) -> Finding:
    """Say how often the rows that the next comparison begins with have decided already."""
    return wear.judge(past.uses, oldest=trained_until(registry, past.champion))


def _when_trained(registry: Registry, champion: Champion) -> Delay | None:
    trained_at, profile = registry.card(champion.version).trained_at, registry.profile(champion.version)
    if trained_at is None or profile is None or profile.newest is None:
        return None
    age = trained_at - datetime.fromisoformat(profile.newest)
    age = max(age, timedelta(0))
    return Delay(age, age, age, f"when the champion was trained, the newest labels were {lateness.in_words(age)} old")


def _leaking(
    splits: Mapping[str, Path], holdout: Path, columns: Mapping[str, str], group: str | None
) -> Iterator[Finding]:
    for name, rows in splits.items():
        found = engines.leakage.between(rows, holdout, columns=columns, group=group)
        if found.rows:
            told = ", ".join(repr(each) for each in found.first) + (", ..." if found.rows > len(found.first) else "")
            because = (
                f"{found.rows:,} {'row' if found.rows == 1 else 'rows'} of the hold-out {'is' if found.rows == 1 else 'are'} "
                f"in the training data of {name}{f', or another of the same {group}' if group else ''} ({told}); no row may "
                f"be both learnt from and judged on"
            )
            yield Finding(name="leakage", verdict=Verdict.BREACH, value=float(found.rows), limit=0.0, because=because)
