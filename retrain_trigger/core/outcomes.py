"""How a command ended: exit codes and the one value every command returns."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from retrain_trigger.core.findings import ALERT, Finding, Verdict
from retrain_trigger.core.records import Document, Json, encoded


class ExitCode(IntEnum):
    """What cron and scripts see."""

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

    @property
    def meaning(self) -> str:
        """What a command says with this code, for its help and for docs/reference/commands.md."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "it did its job: healthy, waiting, promoted, or champion kept",
    ExitCode.BUG: "a bug; the traceback is saved, and its path is printed",
    ExitCode.USAGE: "a mistake in the command line or in config.yaml",
    ExitCode.CANNOT_JUDGE: "it cannot judge: a log is missing, stale or unreadable, or has too few rows",
    ExitCode.DATA_REFUSED: "the training data is refused",
    ExitCode.TRAINING_FAILED: "the training failed or timed out",
    ExitCode.NOT_PROMOTED: "a comparison or promotion failed, or the live model is missing, altered or unreadable",
    ExitCode.WOULD_ACT: "with --exit-code only: it would train, promote or roll back, or the challenger is better",
    ExitCode.BUSY: "another run is active, or another program holds the ledger",
    ExitCode.INTERRUPTED: "interrupted (SIGINT)",
    ExitCode.TERMINATED: "terminated (SIGTERM, or SIGHUP of a terminal)",
}


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
    details: Document = field(default_factory=dict)

    @property
    def alerts(self) -> tuple[Finding, ...]:
        """The alerts that no earlier run has told of."""
        breached = (each for each in self.findings if each.name == ALERT and each.verdict is Verdict.BREACH)
        return tuple(finding for finding in breached if not finding.evidence.get("told"))

    @property
    def is_told(self) -> bool:
        """Whether this is told also where only what was done, failed, or alerts is: `--quiet`."""
        return bool(self.alerts) or self.word not in _NOTHING_DONE or self.code not in {ExitCode.OK, ExitCode.WOULD_ACT}

    def to_json(self) -> dict[str, Json]:
        """Return the outcome as a JSON object."""
        return {
            "outcome": self.word.value,
            "exit": int(self.code),
            "because": self.because,
            "findings": encoded(self.findings),
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
