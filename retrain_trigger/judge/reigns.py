"""Who was champion when, by whose word and on which numbers: the ledger, read as a list of reigns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from retrain_trigger.core.comparisons import Comparison, Trial
from retrain_trigger.core.entries import Entry, only
from retrain_trigger.core.events import Compared, Event, Promoted
from retrain_trigger.core.findings import Verdict
from retrain_trigger.judge import clock, memory


@dataclass(frozen=True, slots=True, kw_only=True)
class PastContest:
    """How a version last did as a challenger: when, in which run, against whom, and which gates it did not pass.

    `comparison` holds the scores, their difference and its bounds.
    """

    also_written: ClassVar = ("passed",)

    at: datetime
    run: str
    champion: str | None
    comparison: Comparison
    failed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return not self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """The time in which one version was live; `until` and `successor` are None while it lasts.

    `by` says how it began (gate, approval, bootstrap, adopt, hand, rollback); `replaced` is the version before it.
    `contest` are the numbers it stood on, None if it had never been compared.
    """

    version: str
    sha256: str
    run: str
    since: datetime
    by: str
    because: str
    replaced: str | None
    until: datetime | None
    successor: str | None
    contest: PastContest | None


def reign_at(entries: Sequence[Entry[Event]], at: datetime) -> Reign | None:
    """Return the reign that a moment falls into, None before the first; `entries` are the ledger's, oldest first."""
    promoted = only(clock.mended(entries), Promoted)
    before = [place for place, entry in enumerate(promoted) if memory.live_since(entry) <= at]
    if not before:
        return None
    place = before[-1]
    entry, pointer = promoted[place], promoted[place].event.pointer
    earlier = promoted[place - 1].event.pointer.version if place else None
    later = promoted[place + 1] if place + 1 < len(promoted) else None
    return Reign(
        version=pointer.version,
        sha256=pointer.sha256,
        run=entry.run,
        since=memory.live_since(entry),
        by=entry.event.by,
        because=entry.event.because,
        replaced=earlier,
        until=memory.live_since(later) if later else None,
        successor=later.event.pointer.version if later else None,
        contest=last_contest([each for each in entries if each.seq < entry.seq], pointer.version),
    )


def last_contest(entries: Iterable[Entry[Event]], version: str) -> PastContest | None:
    """Return how a version did when it was last compared as a challenger, None if it never was."""
    trials = ((entry, trial) for entry in only(entries, Compared) for trial in entry.event.trials)
    own = [_contest(entry, trial) for entry, trial in trials if trial.version == version]
    return own[-1] if own else None


def _contest(entry: Entry[Compared], trial: Trial) -> PastContest:
    accepted = entry.event.verdict == trial.version
    failed = [gate.because for gate in trial.gates if gate.verdict is not Verdict.PASS and not accepted]
    return PastContest(
        at=entry.at,
        run=entry.run,
        champion=entry.event.champion,
        comparison=trial.comparison,
        failed=tuple(failed),
    )
