"""What is known of a sealed version besides its model: why and when it was trained, and by what."""

from dataclasses import dataclass, field
from datetime import datetime

from retrain_trigger.core.events import Reason
from retrain_trigger.core.records import SPARSE


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """The newest windows that a candidate was trained without: how many, and after which time their rows are."""

    windows: int
    after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What stands beside a sealed model as card.json; `version` and `sha256` are written when it is sealed.

    A trained model has the time (`trained_at`), the `reason`, the `command` with its `seconds`, how far back it
    `reach`es, the SHA-256 of its `train_data`, and the `positive` label. A candidate has what was `left_out`, its refit
    which version it is a `refit_of`. An adopted model has where and when it was `adopted_from`, the name it was
    `known_as` in the logs, its `features` and `classes`. `foreign` says that another scikit-learn wrote it. `config` is
    the digest of the settings.
    """

    run: str | None = None
    version: str = ""
    sha256: str = ""
    config: str | None = field(default=None, metadata=SPARSE)
    trained_at: datetime | None = field(default=None, metadata=SPARSE)
    reason: Reason | None = field(default=None, metadata=SPARSE)
    command: str | None = field(default=None, metadata=SPARSE)
    seconds: float | None = field(default=None, metadata=SPARSE)
    reach: str | None = field(default=None, metadata=SPARSE)
    train_data: str | None = field(default=None, metadata=SPARSE)
    positive: str | None = field(default=None, metadata=SPARSE)
    left_out: LeftOut | None = field(default=None, metadata=SPARSE)
    refit_of: str | None = field(default=None, metadata=SPARSE)
    adopted_from: str | None = field(default=None, metadata=SPARSE)
    adopted_at: datetime | None = field(default=None, metadata=SPARSE)
    known_as: str | None = field(default=None, metadata=SPARSE)
    features: tuple[str, ...] | None = field(default=None, metadata=SPARSE)
    classes: tuple[str, ...] | None = field(default=None, metadata=SPARSE)
    foreign: str | None = field(default=None, metadata=SPARSE)
