"""Hold-outs: which rows decide, what stands in their way, and that no challenger learns from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from retrain_trigger import engines
from retrain_trigger.core.errors import CannotJudgeError, PromotionError
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.judge import policy
from retrain_trigger.judge.checks import lateness
from retrain_trigger.judge.checks.lateness import AT_ONCE, Delay
from retrain_trigger.judge.gates import wear
from retrain_trigger.judge.memory import Champion, Memory
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.store.registry import Registry

if TYPE_CHECKING:
    from retrain_trigger.engines.labelled import LabelledRows

MIN_CLASSES = 2
"""On rows of one class, the model that always says it is perfect."""


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Rows that decide: those of `rows` that fulfil the SQL condition `where`; `told` says in a message which they are."""

    rows: "LabelledRows"
    where: str
    told: str


def trained_until(registry: Registry, champion: Champion | None) -> datetime | None:
    """Return the time of the newest row that the champion was trained on; where that is not known, its (first) promotion.

    That of an adopted model is its adoption, however long it had been live, and also after a rollback to it.
    """
    if champion is None:
        return None
    profile = registry.profile(champion.version)
    if profile and profile.newest:
        return datetime.fromisoformat(profile.newest)
    promoted, adopted = champion.promoted or champion.since, registry.card(champion.version).adopted_at
    return min(promoted, adopted) if adopted else promoted


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


def delay(tick: Tick, rows: "LabelledRows") -> Delay | None:
    """Return how late labelled rows come: what they say themselves, else how old the newest was when the champion was trained.

    None where neither is known.
    """
    measured = lateness.of_labels(rows.delays())
    return measured or (_when_trained(tick.registry, tick.past.champion) if tick.past.champion else None)


def lacking(tick: Tick, held: HoldOut, breached: Sequence[datetime], *, forced: bool) -> Outcome | None:
    """Say what is missing for a comparison; training now would spend the evidence on a challenger nobody can judge.

    What may come still is a wait: too few rows, rows of one class only, and rows of the `breached` windows where none of
    these has a label yet, for as long as labels take. Rows that have stopped coming are not waited for: raises
    PromotionError, or CannotJudgeError where they may be late as well. A forced training needs only the breached windows.
    """
    needed, there = tick.config.promotion.min_rows, held.rows.count(held.where)
    late = delay(tick, held.rows)
    window = tick.config.trigger.window
    located = any(held.rows.within("true", start=start, length=window) for start in breached)
    if breached and not located and (reason := _awaited(tick, breached[0], late)):
        return _wait(reason, late)
    if there < needed and not forced:
        reason = f"{needed - there:,} rows more needed {held.told} (promotion.min_rows {needed:,})"
        _check_coming(tick, held.rows.newest(), late, reason)
        return _wait(f"{reason}; training waits for them", late)
    return None if forced else _unfit(tick, held, late, located=located)


def leaks(splits: Mapping[str, Path], holdout: Path, *, columns: Mapping[str, str]) -> tuple[Finding, ...]:
    """Find the rows of a hold-out that stand in what would be trained on: one finding for each split that has some.

    `splits` are files by their name in a message. Raises DataError where a file cannot be read.
    """
    return tuple(_leaking(splits, holdout, columns))


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


def _awaited(tick: Tick, first: datetime, late: Delay | None) -> str | None:
    """Say until when labels of the first window that breached are waited for; None where that time is over."""
    expected = first + tick.config.trigger.window + (late or AT_ONCE).most
    until = expected + tick.config.trigger.max_age
    if tick.now > until:
        return None
    about = f"expected about {policy.stamp(expected)}, and " if late else ""
    return (
        f"the labelled rows have none of the breached window of {policy.stamp(first)} yet: its labels are {about}waited "
        f"for until {policy.stamp(until)}"
    )


def _wait(reason: str, late: Delay | None) -> Outcome:
    told = f"{reason} ({late})" if late and late.most else reason
    return Outcome(word=Word.WAITING, code=ExitCode.OK, because=told)


def _check_coming(tick: Tick, newest: datetime | None, late: Delay | None, reason: str) -> None:
    """Raise where no labelled row has come for longer than labels take and `trigger.max_age` together."""
    champion, max_age = tick.past.champion, tick.config.trigger.max_age
    since = newest or (champion.since if champion else tick.now)
    if tick.now - since <= max_age + (late or AT_ONCE).most:
        return
    seen = f"their newest is of {policy.stamp(newest)}" if newest else "none has come"
    told = (
        f"no challenger could be judged: {reason}, and {seen}; trigger.max_age is {policy.length(max_age)}"
        f"{f', and {late}' if late and late.most else ''}. Nothing was trained; are labelled rows still written?"
    )
    if late is None:
        raise CannotJudgeError(f"{told} Where they are only late, give labels the time they came (labelled_at)")
    raise PromotionError(told)


def _unfit(tick: Tick, held: HoldOut, late: Delay | None, *, located: bool) -> Outcome | None:
    """Wait where the deciding rows are of one class; raise where no other is ever seen, and where they are stale.

    Where a breach is located in time, its window is recent enough.
    """
    labels = held.rows.labels(held.where)
    if len(labels) < MIN_CLASSES:
        (only,) = labels or ("none",)
        reason = (
            f"the rows {held.told} have one class only, {only!r} in all {sum(labels.values()):,}, and two are needed"
        )
        if len(held.rows.labels()) < MIN_CLASSES:
            raise PromotionError(f"no challenger could be judged: {reason}. Nothing was trained; have all labels come?")
        _check_coming(tick, held.rows.newest(), late, reason)
        return _wait(f"{reason}: training waits for at least 1 row of another class", late)
    newest = held.rows.span(held.where).newest
    if not located:
        _check_coming(tick, newest, late, f"the rows {held.told} are stale")
    return None


def _leaking(splits: Mapping[str, Path], holdout: Path, columns: Mapping[str, str]) -> Iterator[Finding]:

    for name, rows in splits.items():
        found = engines.leakage.between(rows, holdout, columns=columns)
        if found.rows:
            told = ", ".join(repr(each) for each in found.first) + (", ..." if found.rows > len(found.first) else "")
            because = (
                f"{found.rows:,} {'row' if found.rows == 1 else 'rows'} of the hold-out {'is' if found.rows == 1 else 'are'} "
                f"in the training data of {name} ({told}); no row may be both learnt from and judged on"
            )
            yield Finding(name="leakage", verdict=Verdict.BREACH, value=float(found.rows), limit=0.0, because=because)
