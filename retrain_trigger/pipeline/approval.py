"""A person's say over a promotion: what waits for it, and what speaks against a version that a person names."""

from collections.abc import Sequence

from retrain_trigger.core.entries import Entry, last, only, says
from retrain_trigger.core.errors import PromotionError
from retrain_trigger.core.events import Abandoned, Asked, Compared, Event, Kept, Sealed, Training
from retrain_trigger.judge import lineage, policy
from retrain_trigger.judge.reigns import last_contest
from retrain_trigger.pipeline.tick import Tick


def ask(tick: Tick, version: str, because: str) -> str:
    """Record that a version passed every gate and waits for a person; return the sentence that says so."""
    champion = tick.past.champion.version if tick.past.champion else None
    because = f"{because}; it waits for approval (promotion.mode: ask): {how_to(version)}"
    digest = tick.registry.verified(version)
    tick.record(Asked(version=version, sha256=digest, champion=champion, because=because))
    return because


def how_to(version: str) -> str:
    """Say what a person types to promote a version."""
    return f"`retrain-check promote {version} --reason ...`"


def pending(asked: Entry[Asked]) -> str:
    """Say which version waits for approval, and since when."""
    version = asked.event.version
    return f"{version} waits for approval since {policy.stamp(asked.at)}: {how_to(version)}"


def grants(tick: Tick, version: str) -> bool:
    """Say whether promoting a version is what the person was asked for."""
    return tick.past.asked is not None and tick.past.asked.event.version == version


def objection(tick: Tick, version: str) -> str | None:
    """Say what speaks against making a version the champion by hand, None if nothing does.

    It was quarantined; its last comparison did not find it better, could not be made, or was with another champion than
    today's. To confirm what the ledger or the pointer names already, nothing needs to be shown.
    """
    entries = tick.ledger.effects()
    champion = tick.past.champion.version if tick.past.champion else None
    if version in {champion, _pointed_at(tick)}:
        return None
    if tick.registry.verified(version) in tick.past.quarantined:
        return f"{version} is quarantined: on probation it did worse than its predecessor"
    found = last_contest(entries, version)
    if found is None:
        return _never_compared(entries, version)
    compared = f"the last comparison of {version} ({policy.stamp(found.at)}, run {found.run})"
    if not found.passed:
        return f"{compared} did not find it better than {found.champion}: {'; '.join(found.failed)}"
    if found.champion == champion or version in lineage.served(entries):
        return None
    return (
        f"{compared} was with {found.champion}, and the champion is {champion} now; "
        f"`retrain-check compare {version}` compares it with that one"
    )


def _pointed_at(tick: Tick) -> str | None:
    try:
        pointer = tick.registry.champion()
    except PromotionError:  # torn: the promotion by hand that is asked about settles it
        return None
    return pointer.version if pointer else None


def _never_compared(entries: Sequence[Entry[Event]], version: str) -> str | None:
    """Say why a version that should have been compared was not; None if nothing was there to compare it on."""
    runs = [entry.run for entry in only(entries, Sealed) if entry.event.version == version]
    own = [entry for entry in entries if entry.run in runs]
    begun = last(own, Training)
    if begun is None or begun.event.bootstrap or begun.event.uncompared:
        return None
    first = next((entry for entry in own if says(entry, Compared) or says(entry, Kept)), own[-1])
    if says(first, Compared):
        return f"run {first.run}, which trained {version}, compared others and not it"
    if says(first, Kept) or says(first, Abandoned):
        return f"{version} could not be compared in run {first.run}: {first.event.because}"
    return None
