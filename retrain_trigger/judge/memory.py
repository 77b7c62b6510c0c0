"""The ledger, folded into what judging needs to know of the past."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from retrain_trigger.core.comparisons import Comparison, closest
from retrain_trigger.core.entries import Entry, Kind, last, says
from retrain_trigger.core.events import (
    Asked,
    Compared,
    Decided,
    Event,
    Limited,
    Mended,
    Promoted,
    Said,
    Score,
    Sealed,
    Selected,
    Staged,
    Standing,
    Training,
)
from retrain_trigger.core.findings import drifted_alone
from retrain_trigger.core.lines import since
from retrain_trigger.core.measurements import Located, Mark
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.judge import clock
from retrain_trigger.judge.gates.wear import Use

Observed = TypeVar("Observed", bound=Located)
_ENDS = frozenset({Kind.FAILED, Kind.ABANDONED, Kind.KEPT, Kind.STAGED, Kind.ASKED, Kind.PROMOTED})
_ASIDE = frozenset({Kind.DECIDED, Kind.REFUSED, Kind.REMOVING, Kind.REMOVED, Kind.MENDED, Kind.LIMITED})
"""Entries that belong to no attempt."""


@dataclass(frozen=True, slots=True)
class Champion:
    """The version in production: since when, how far the logs had been read then, and the pointer that named it.

    `promoted` is when it was pointed at, later than `since` for one that was adopted while it was live; `known_as` is
    the name that such a one has in the logs. `earlier` is the time, up to its end, for which such a one answers as well
    where it was rolled back to: from when it went live to when it was first replaced.
    """

    version: str
    since: datetime
    mark: Mark = field(default_factory=Mark)
    pointer: Pointer | None = None
    known_as: str | None = None
    promoted: datetime | None = None
    earlier: tuple[datetime, datetime] | None = None

    @property
    def names(self) -> frozenset[str]:
        """The names under which logs have it: its version, and the one that it was adopted under."""
        return frozenset(name for name in (self.version, self.known_as) if name is not None)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One training that a decision started; `mark` is the evidence it used up.

    `drifted` are the columns whose drift alone started it: none if anything else did. `saved` is what the budget had saved
    up just before it, where earlier attempts are not remembered.
    """

    at: datetime
    mark: Mark
    drifted: frozenset[str] = frozenset()
    saved: float | None = None


@dataclass(frozen=True, slots=True)
class Shadow:
    """A challenger that runs beside a champion: its version and hash, since when, beside whom."""

    version: str
    sha256: str
    since: datetime
    champion: str


@dataclass(frozen=True, slots=True)
class Probation:
    """What a champion on probation is held against: how its predecessor was doing, and the refusals before it.

    `standing` is None if nothing of the predecessor was measured.
    """

    refusals: int
    standing: Standing | None


@dataclass(frozen=True, slots=True)
class Memory:
    """What the past means for the next decision.

    `attempts` are all trainings that a breach or a person started, oldest first. `refusals` counts those since the
    last promotion that did not end in one. `last_seen` is the latest time any tick had, None before the first.
    `reserved` is the largest share of rows ever held out: such rows are never trained on later. `reserved_by` has the
    groups that they were held out by ("": by themselves), and when each was last in use. `unfinished` are the
    entries of a run that was cut off, oldest first. `served` is what each champion had said when a training to replace
    it began, oldest champion first. `uses` are all comparisons by the rows that decided.
    `asked` is the entry of a version that waits for a person's approval: a later one takes its place, and so does every
    promotion. `shadow` is the challenger that runs beside the champion, `probation` what the champion is held against
    since a comparison promoted it, `quarantined` the hashes of models that did worse than their predecessor. `standing`,
    `found_better` and `closest`, the challenger that came closest to a promotion, are of the latest attempt. `known_as` are the names in the logs of adopted versions, `lives` the
    times of those that were live before they were adopted, up to when they were replaced. `scores` are those of versions
    on the rows that decided their promotion, or that were held out of a first training; `limits` the thresholds so far.
    """

    champion: Champion | None = None
    attempts: tuple[Attempt, ...] = ()
    refusals: int = 0
    last_seen: datetime | None = None
    reserved: float = 0.0
    reserved_by: Mapping[str, datetime] = field(default_factory=dict)
    versions: frozenset[str] = frozenset()
    unfinished: tuple[Entry[Event], ...] = ()
    served: Mapping[str, Said] = field(default_factory=dict)
    last_decision: Decided | None = None
    uses: tuple[Use, ...] = ()
    asked: Entry[Asked] | None = None
    shadow: Shadow | None = None
    probation: Probation | None = None
    quarantined: frozenset[str] = frozenset()
    standing: Standing | None = None
    found_better: str | None = None
    closest: Comparison | None = None
    known_as: Mapping[str, str] = field(default_factory=dict)
    lives: Mapping[str, tuple[datetime, datetime]] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)
    limits: tuple[Limited, ...] = ()

    def attempted(self, attempt: Attempt) -> "Memory":
        """Return the memory after one more attempt that did not change the champion."""
        return replace(self, attempts=(*self.attempts, attempt), refusals=self.refusals + 1)

    @property
    def drifted(self) -> frozenset[str]:
        """Return the columns whose drift alone has started a training against this champion."""
        against = self.attempts[-self.refusals :] if self.refusals else ()
        return frozenset[str]().union(*(attempt.drifted for attempt in against))

    def clock(self, now: datetime) -> datetime:
        """Return the later of the clock and the last time seen: a clock set back does not end a cooldown early."""
        return now if self.last_seen is None else max(now, self.last_seen)


def fold(entries: Iterable[Entry[Event]]) -> Memory:
    """Fold ledger entries, oldest first, into memory."""
    memory = Memory()
    for entry in clock.mended(list(entries)):
        memory = _folded(memory, entry)
    return memory


def answered_for(observed: Sequence[Observed], memory: Memory) -> Sequence[Observed]:
    """Return the measurements or windows that the champion answers for.

    Those that carry its version, and those that began after its promotion unless they carry another known version, or
    any other name in a log that names the champion. Without a champion (a replay of a bare log) all of them count.
    """
    champion = memory.champion
    if champion is None:
        return observed
    named = any(_is_named(champion, each) for each in observed)
    others = memory.versions | {each.model for each in observed if each.model} if named else memory.versions
    return tuple(each for each in observed if _answers(champion, each, others))


def unspent(observed: Sequence[Observed], memory: Memory) -> Sequence[Observed]:
    """Return the measurements or windows that no attempt has used up: the evidence a new attempt may rest on.

    They are the last ones, as measurements come in order of time; so only those are looked at, however long the log.
    What a champion that was rolled back to did earlier has been used up as well, where it was trained against.
    """
    returned = memory.champion is not None and memory.champion.earlier is not None
    if not memory.attempts or not (memory.refusals or returned):
        return observed
    return since(observed, memory.attempts[-1].mark)


def _answers(champion: Champion, observed: Located, others: frozenset[str]) -> bool:
    if _is_named(champion, observed):
        return True
    if observed.model in others:
        return False
    if observed.at is not None:
        first, last = champion.earlier or (champion.since, champion.since)
        return observed.at >= champion.since or first <= observed.at < last
    return champion.mark.is_before(observed)


def _is_named(champion: Champion, observed: Located) -> bool:
    return observed.model is not None and observed.model in champion.names


def _folded(memory: Memory, entry: Entry[Event]) -> Memory:
    memory = replace(memory, last_seen=memory.clock(entry.at))
    if entry.kind not in _ASIDE:
        return _went_on(memory, entry)
    if says(entry, Decided):
        return replace(memory, last_decision=entry.event)
    if says(entry, Limited):
        return replace(memory, limits=(*memory.limits, entry.event))
    if says(entry, Mended) and memory.champion is None and entry.event.pointer:
        pointer = entry.event.pointer  # of a champion that this ledger had not heard of
        since = min(entry.at, datetime.fromisoformat(pointer.promoted_at).astimezone(UTC))
        return replace(memory, champion=Champion(pointer.version, since, Mark(), pointer))
    return memory


def _went_on(memory: Memory, entry: Entry[Event]) -> Memory:
    """Note one step of an attempt."""
    if entry.kind in _ENDS:
        memory = replace(memory, unfinished=(), shadow=None)
    else:
        memory = replace(memory, unfinished=(*memory.unfinished, entry))
    if says(entry, Training):
        memory = _begun(memory, entry)
    elif says(entry, Sealed):
        memory = replace(memory, versions=memory.versions | {entry.event.version})
    elif says(entry, Selected):
        memory = _used(memory, entry)
    elif says(entry, Compared):
        memory = _compared(memory, entry)
    elif says(entry, Staged):
        pointer = entry.event.pointer
        shadow = Shadow(pointer.version, pointer.sha256, entry.at, entry.event.champion)
        memory = replace(memory, shadow=shadow)
    elif says(entry, Asked):
        memory = replace(memory, asked=entry)
    elif says(entry, Promoted):
        memory = _promoted(memory, entry)
    return memory


def _begun(memory: Memory, entry: Entry[Training]) -> Memory:
    begun = entry.event
    told = {**memory.served, begun.served.version: begun.served} if begun.served else memory.served
    if begun.reserved:
        by = {**memory.reserved_by, begun.group: entry.at}
        memory = replace(memory, reserved=max(memory.reserved, begun.reserved), reserved_by=by)
    memory = replace(memory, served=told, standing=begun.standing, found_better=None, closest=None)
    if begun.bootstrap:
        return memory
    alone = frozenset[str]() if begun.reason.forced else drifted_alone(begun.reason.findings)
    return memory.attempted(Attempt(entry.at, _mark(entry), alone))


def _used(memory: Memory, entry: Entry[Selected]) -> Memory:
    """Note which rows have decided, and which challenger came closest."""
    newest, best = entry.event.deciding.newest, closest(entry.event.trials)
    memory = replace(memory, closest=best.comparison if best else None)
    return replace(memory, uses=(*memory.uses, Use(entry.run, newest))) if newest else memory


def _compared(memory: Memory, entry: Entry[Compared]) -> Memory:
    """Note whether a challenger was found better, and than what; after a shadow, that is the champion as it is by then."""
    verdict = entry.event
    standing = verdict.standing if verdict.shadow else memory.standing
    scores = {**memory.scores, **_scores(memory, verdict)}
    return _used(replace(memory, found_better=verdict.verdict, standing=standing, scores=scores), entry)


def _scores(memory: Memory, verdict: Compared) -> dict[str, Score]:
    """Return the score of a version that was found better; that of a refit is its candidate's on the rows that selected."""
    if verdict.verdict is None:
        return {}
    selected = None if verdict.shadow else last(memory.unfinished, Selected)
    decided, better = (selected.event, selected.event.verdict) if selected else (verdict, verdict.verdict)
    found = next((trial.comparison for trial in decided.trials if trial.version == better), None)
    if found is None or math.isnan(found.challenger):
        return {}
    on = f"on {found.rows:,} rows that decided its promotion"
    return {verdict.verdict: Score(metric=found.metric, value=found.challenger, on=on)}


def _promoted(memory: Memory, entry: Entry[Promoted]) -> Memory:
    version, score = entry.event.pointer.version, entry.event.score
    if score is not None:
        memory = replace(memory, scores={**memory.scores, version: score})
    memory = _named(memory, version, entry.event.known_as)
    memory = _replaced(memory, version, live_since(entry))
    return _succeeded(memory, entry, _champion(memory, entry))


def live_since(promoted: Entry[Promoted]) -> datetime:
    """Return since when a champion is live: since its promotion, or earlier where it was adopted later than that."""
    live = promoted.event.since
    return min(promoted.at, live) if live else promoted.at


def _named(memory: Memory, version: str, name: str | None) -> Memory:
    """Note the name in the logs of an adopted version: such rows are no other champion's."""
    if name is None:
        return memory
    return replace(memory, known_as={**memory.known_as, version: name}, versions=memory.versions | {name})


def _replaced(memory: Memory, successor: str, at: datetime) -> Memory:
    """Note how long a champion was live that had been so before it was adopted: logs may tell those times by nothing else."""
    old = memory.champion
    if old is None or old.promoted is None or old.since >= old.promoted or old.version == successor:
        return memory
    return replace(memory, lives={**memory.lives, old.version: (old.since, max(at, old.since))})


def _champion(memory: Memory, promoted: Entry[Promoted]) -> Champion:
    pointer = promoted.event.pointer
    return Champion(
        pointer.version,
        live_since(promoted),
        _mark(promoted),
        pointer,
        known_as=memory.known_as.get(pointer.version),
        promoted=promoted.at,
        earlier=memory.lives.get(pointer.version),
    )


def _mark(entry: Entry[Training] | Entry[Promoted]) -> Mark:
    """Return an entry's mark; no log had been read further than to the time of the entry, as it counts."""
    mark = entry.event.mark
    return replace(mark, at=min(mark.at, entry.at)) if mark.at else mark


def _succeeded(memory: Memory, entry: Entry[Promoted], champion: Champion) -> Memory:
    """Change the champion: a comparison's begins its probation, and a failed probation counts as a refusal."""
    proved = champion.version == memory.found_better
    began = Probation(memory.refusals, memory.standing) if proved else None
    worse = entry.event.quarantined
    refusals, quarantined = 0, frozenset({worse.sha256} if worse else ())
    if worse and memory.probation and memory.attempts:
        refusals = max(1, memory.probation.refusals)
        ended = replace(memory.attempts[-1], at=entry.at, mark=Mark(entry.at, champion.mark.ends))
        memory = replace(memory, attempts=(*memory.attempts[:-1], ended))
    return replace(
        memory,
        champion=champion,
        refusals=refusals,
        versions=memory.versions | {champion.version},
        quarantined=memory.quarantined | quarantined,
        probation=began,
        asked=None,
        standing=None,
        found_better=None,
        closest=None,
    )
