"""What is not known of a champion that was adopted: what its drift is measured from instead, and what is said of it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from retrain_trigger import engines
from retrain_trigger.config.load import Config
from retrain_trigger.core.errors import PromotionError
from retrain_trigger.core.records import Document, decoded, encoded
from retrain_trigger.counts.histograms import Reference
from retrain_trigger.judge import policy
from retrain_trigger.judge.memory import Champion
from retrain_trigger.pipeline import profile
from retrain_trigger.pipeline.check import BASELINE_ROWS
from retrain_trigger.store.ledger import Ledger
from retrain_trigger.store.registry import Registry


@dataclass(frozen=True, slots=True)
class Kept:
    """A reference as the ledger keeps it, and the state of the files it was counted from."""

    watched: Reference
    files: Sequence[Document] = ()


def first_windows(
    config: Config, registry: Registry, champion: Champion, ledger: Ledger, *, now: datetime
) -> Reference:
    """Return what is watched in the first windows that a champion answers for, as soon as they have BASELINE_ROWS rows.

    It is counted once, and stays: logs are rotated. Nothing if there are too few rows yet. Raises DataError if they
    cannot be read.
    """
    source = config.logs.predictions or ""
    known, key = ledger.counted("reference"), f"first windows of {champion.version} in {source}"
    if key not in known:
        watched = _counted(config, registry, champion, now)
        if watched is None:
            return {}
        ledger.keep_counted("reference", {**known, key: encoded(Kept(watched))})
        return watched
    return decoded(Kept, known[key]).watched


def is_unknown(registry: Registry, version: str) -> bool:
    """Say whether a version was adopted, and what it was trained on is not known."""
    return registry.card(version).adopted_from is not None and registry.profile(version) is None


def told(config: Config, registry: Registry, champion: Champion) -> Iterator[str]:
    """Say what follows from what is not known of a champion, and that another scikit-learn wrote it."""
    card = registry.card(champion.version)
    if card.foreign:
        yield f"{champion.version} {card.foreign}"
    known = registry.profile(champion.version)
    if not card.adopted_from or (known and known.newest):
        return
    at = card.adopted_at or champion.promoted or champion.since
    what = "what it was trained on is not known" if known is None else "the rows it was trained on have no times"
    drift = ""
    if known is None and config.logs.predictions is not None and config.logs.reference is None:
        drift = f", and drift is measured from its first windows, {BASELINE_ROWS:,} rows or more"
    yield f"the champion was adopted, and {what}: rows before {policy.stamp(at)} never decide{drift}"


def _counted(config: Config, registry: Registry, champion: Champion, now: datetime) -> Reference | None:
    spans = [(champion.since, None), *([champion.earlier] if champion.earlier else [])]
    source = config.logs.predictions or ""
    with engines.labelled.opened(
        source, columns=config.logs.names, now=now, need=engines.labelled.Need(label=False, time=False)
    ) as rows:
        where = rows.of_model(champion.names, others=_names(registry) - champion.names, spans=spans)
        end = rows.reached(where, BASELINE_ROWS, window=config.trigger.window, now=now)
        return None if end is None else profile.of_log(rows, rows.until(where, end))


def _names(registry: Registry) -> set[str]:
    """Return the versions that there are, and the names that adopted ones have in the logs."""
    found = set(registry.versions())
    for version in list(found):
        with suppress(PromotionError):
            found |= {name for name in (registry.card(version).known_as,) if name}
    return found
