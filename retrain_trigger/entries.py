"""One line of the ledger: what happened, when, in which run."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a ledger entry records. Those in -ING are intents: written before the effect."""

    DECIDED = "decided"
    REFUSED = "data refused"
    TRAINING = "training"
    SEALED = "sealed"
    FAILED = "training failed"
    ABANDONED = "abandoned"
    SELECTED = "selected"
    REFITTING = "refitting"
    RESUMED = "resumed"
    COMPARED = "compared"
    KEPT = "kept"
    STAGING = "staging"
    STAGED = "in shadow"
    UNSTAGING = "ending shadow"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    ASKED = "waits for approval"
    REMOVING = "removing"
    REMOVED = "removed"
    MENDED = "clock mended"


@dataclass(frozen=True, slots=True)
class Entry:
    """`at` is the tick's own time (UTC; `--now` where given); `body` is plain JSON, its keys depend on the kind."""

    seq: int
    at: datetime
    run: str
    kind: Kind
    body: Mapping[str, Any]
