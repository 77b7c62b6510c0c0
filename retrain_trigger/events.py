"""What the ledger records: one frozen dataclass for each kind of entry that a later step, or a later run, goes on from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from retrain_trigger.findings import Finding
from retrain_trigger.measurements import Mark


class Window(NamedTuple):
    """One window of a champion: the metric, the labelled rows, and tp, fp, fn, tn; None where the log does not say."""

    value: float | None
    rows: int | None
    counts: tuple[int, int, int, int] | None


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
class Selected:
    """Out of time: the SHA-256 of the rows that select, of those that each reach is refitted on, and what they are."""

    holdout: str
    deciding: Span
    left_out_after: datetime
    refits: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """An attempt has begun: all that it takes to go on with it after a crash.

    `deadline` is in seconds since 1970, `deadline_since_boot` by the clock that counts from the start of the machine.
    `holdout` is the SHA-256 of the rows that decide, `reserved` the share of rows that was held out, `mark` how far the
    logs had been read. `uncompared` says why no comparison will be possible. `served` and `standing` are the champion's;
    `promotes` is False where the attempt stops short of the pointer.
    """

    champion: str | None = None
    bootstrap: bool = False
    reason: Reason = field(default_factory=lambda: Reason(because=""))
    command: str = ""
    deadline: float = 0.0
    deadline_since_boot: float | None = None
    reaches: tuple[str, ...] = ()
    reserved: float = 0.0
    mark: Mark = field(default_factory=Mark)
    config: str = ""
    holdout: str | None = None
    deciding: Span = field(default_factory=Span)
    selection: Selected | None = None
    worn: tuple[Finding, ...] = ()
    label: str = ""
    features: tuple[str, ...] = ()
    positive: str = ""
    uncompared: str | None = None
    served: Said | None = None
    standing: Standing | None = None
    promotes: bool = True
