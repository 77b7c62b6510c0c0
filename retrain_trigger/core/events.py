"""What the ledger records: one frozen dataclass for each kind of entry, and what they are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from retrain_trigger.core.comparisons import Trial
from retrain_trigger.core.findings import Finding
from retrain_trigger.core.measurements import Mark
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.core.records import SPARSE
from retrain_trigger.counts.confusion import Confusion

Promotion = TypeVar("Promotion", bound="Grounds")


class Window(NamedTuple):
    """One window of a champion: the metric, the labelled rows, and tp, fp, fn, tn; None if the log does not say.

    `confusion` is the whole table, where the metric is one of several classes.
    """

    value: float | None
    rows: int | None
    counts: tuple[int, int, int, int] | None
    confusion: Confusion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a champion was doing when a training to replace it began: its windows, oldest first.

    The latest `level` of them are what its successor is held against: those for which it was found bad, where it was.
    """

    version: str
    windows: tuple[Window, ...]
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one champion said in its time: `positives` of `rows` predicted positive."""

    version: str
    rows: int
    positives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a training was started; `forced` is one that a person asked for."""

    because: str
    forced: bool = False
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """How many rows decide, and the times of the oldest and the newest of them."""

    rows: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selecting:
    """Out of time: the SHA-256 of the rows that select, of those that each reach is refitted on, and what they are."""

    holdout: str
    deciding: Span
    left_out_after: datetime
    refits: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A version, by its bytes too, that did worse than its predecessor: no comparison may promote it again."""

    version: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a model scored by a metric; `on` says on which rows."""

    metric: str
    value: float
    on: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """How it came to a promotion.

    `by` is who says so: gate, shadow, approval, bootstrap, adopt, hand, rollback or probation. `quarantined` is what it
    takes the place of for good. An adopted model is live `since` then, and `known_as` that name in the logs. `score` is
    that of a first champion, on rows held out of its training.
    """

    by: str
    because: str
    quarantined: Quarantined | None = field(default=None, metadata=SPARSE)
    since: datetime | None = field(default=None, metadata=SPARSE)
    known_as: str | None = field(default=None, metadata=SPARSE)
    score: Score | None = field(default=None, metadata=SPARSE)

    def leading_to(self, event: type[Promotion], **more: Any) -> Promotion:
        """Return an event of a promotion on these grounds."""
        return event(**{each.name: getattr(self, each.name) for each in fields(Grounds)}, **more)


class Event:
    """What an entry of the ledger says."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Event):
    """An event of which there is nothing to say but why."""

    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Told):
    """A tick has decided; `on_drift` is the setting, None if an earlier version decided, which had none.

    `defaults` is the number of the defaults of the settings by which it did.
    """

    action: str
    findings: tuple[Finding, ...] = ()
    on_drift: str | None = None
    defaults: int = field(default=1, metadata=SPARSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Told):
    """The data was refused; nothing was trained."""

    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Training(Event):
    """An attempt has begun, the `attempt`-th since the last promotion: all that it takes to go on with it after a crash.

    `deadline` is in seconds since 1970, `deadline_since_boot` by the clock that counts from the start of the machine.
    `holdout` is the SHA-256 of the rows that decide, `reserved` the share of rows that was held out, by the column `group`
    if it is not empty, `mark` how far the logs had been read, `breached` the starts of the windows that breached. `uncompared` says why no comparison will be possible. `served` and `standing` are the champion's;
    `promotes` is False if the attempt stops short of the pointer.
    """

    champion: str | None = None
    attempt: int = field(default=0, metadata=SPARSE)
    bootstrap: bool = False
    reason: Reason = field(default_factory=lambda: Reason(because=""))
    command: str = ""
    deadline: float = 0.0
    deadline_since_boot: float | None = None
    reaches: tuple[str, ...] = ()
    reserved: float = 0.0
    group: str = field(default="", metadata=SPARSE)
    mark: Mark = field(default_factory=Mark)
    breached: tuple[datetime, ...] = field(default=(), metadata=SPARSE)
    config: str = ""
    holdout: str | None = None
    deciding: Span = field(default_factory=Span)
    selection: Selecting | None = None
    worn: tuple[Finding, ...] = ()
    label: str = ""
    features: tuple[str, ...] = ()
    positive: str = ""
    uncompared: str | None = None
    served: Said | None = None
    standing: Standing | None = None
    promotes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed(Event):
    """A version lies in the registry, for good; `reach` is how far back it was trained."""

    version: str
    sha256: str
    reach: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Told):
    """No model came out of a training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned(Told):
    """A run that was cut off, or a shadow, is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Told):
    """A later run goes on with one that was cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected(Told):
    """Challengers were compared on the rows whose SHA-256 is `holdout`; `verdict` is the better version, None without one.

    `champion`, `holdout` and `config` are what the verdict is bound to, `deciding` says which rows these are.
    """

    verdict: str | None
    champion: str | None
    holdout: str | None = None
    config: str = ""
    deciding: Span = field(default_factory=Span)
    findings: tuple[Finding, ...] = ()
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared(Selected):
    """The verdict that is acted on: of the hold-out, or of a `shadow` that has ended.

    After a shadow, `sha256` is the challenger's and `standing` how the champion is doing.
    """

    shadow: bool = field(default=False, metadata=SPARSE)
    sha256: str | None = field(default=None, metadata=SPARSE)
    standing: Standing | None = field(default=None, metadata=SPARSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refitting(Told):
    """The recipe of a candidate that was selected is trained again, as `version`; the deadlines are those of Training."""

    version: str
    candidate: str
    deadline: float
    deadline_since_boot: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Told):
    """The champion is kept; `versions` are those that it was not replaced by."""

    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging(Told):
    """A challenger is about to run in shadow, beside a champion."""

    champion: str
    pointer: Pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged(Staging):
    """A challenger runs in shadow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstaging(Told):
    """A shadow is about to end without a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoting(Grounds, Event):
    """The pointer is about to move from `origin`, None if it is not there or torn."""

    pointer: Pointer
    origin: Pointer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted(Grounds, Event):
    """The pointer has moved; `mark` is how far the metrics log had been read then."""

    pointer: Pointer
    mark: Mark = field(default_factory=Mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Told):
    """A version has passed every gate against a champion, and waits for a person."""

    version: str
    sha256: str
    champion: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Removing(Event):
    """Old versions are about to be removed; `keep` is how many stay."""

    versions: tuple[str, ...]
    keep: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed(Told):
    """Old versions are removed; `keep` was how many stay."""

    versions: tuple[str, ...]
    keep: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended(Told):
    """What was stamped later counts from now; `pointer` is that of a champion which the ledger had not heard of."""

    pointer: Pointer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited(Told):
    """The threshold of a champion, which the settings of this digest leave to its `score`; `origin` says where that is from."""

    version: str
    metric: str
    score: float
    threshold: float
    origin: str
    config: str
