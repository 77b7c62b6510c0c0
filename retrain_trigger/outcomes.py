"""How a command ended: exit codes and the one value every command returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from retrain_trigger.findings import ALERT, Finding, Verdict


class ExitCode(IntEnum):
    """What cron and scripts see; the README's table is compared with these by a test."""

    OK = 0
    BUG = 1
    USAGE = 2
    CANNOT_JUDGE = 3
    DATA_REFUSED = 4
    TRAINING_FAILED = 5
    NOT_PROMOTED = 6
    WOULD_ACT = 10
    BUSY = 75
    INTERRUPTED = 130
    TERMINATED = 143


class Word(StrEnum):
    """What one tick came to, in the words that `history` uses."""

    HEALTHY = "healthy"
    WARNED = "healthy, warned"
    WATCHING = "watching"
    WAITING = "waiting"
    UNKNOWN = "unknown"
    WOULD_RETRAIN = "would retrain"
    WOULD_RESUME = "would resume"
    WOULD_PROMOTE = "would promote"
    WOULD_STAGE = "would run in shadow"
    WOULD_ASK = "would wait for approval"
    WOULD_KEEP = "would keep"
    DATA_REFUSED = "data refused"
    SEALED = "sealed"
    KEPT = "kept"
    ASKED = "waits for approval"
    STAGED = "in shadow"
    ROLLED_BACK = "rolled back"
    WOULD_ROLL_BACK = "would roll back"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a tick: a word, the exit code, one sentence, and the findings that led there."""

    word: Word
    code: ExitCode
    because: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    run: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_told(self) -> bool:
        """Whether this is told also where only what was done, failed, or alerts is: `--quiet`."""
        alerts = any(finding.name == ALERT and finding.verdict is Verdict.BREACH for finding in self.findings)
        return alerts or self.word not in _NOTHING_DONE or self.code not in {ExitCode.OK, ExitCode.WOULD_ACT}

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as a JSON object."""
        return {
            "outcome": self.word.value,
            "exit": int(self.code),
            "because": self.because,
            "findings": [finding.to_json() for finding in self.findings],
            "notes": list(self.notes),
            "run": self.run,
            **self.details,
        }


_NOTHING_DONE = frozenset(
    {
        Word.HEALTHY,
        Word.WARNED,
        Word.WATCHING,
        Word.WAITING,
        *(word for word in Word if word.value.startswith("would ")),
    }
)
