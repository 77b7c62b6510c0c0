"""What one tick works with: the settings, the time, the ledger, the registry, and what is remembered."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from retrain_trigger.config.load import Config
from retrain_trigger.core.errors import UsageError
from retrain_trigger.core.events import Event, Mended
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.core.redaction import PROSE, redacted_texts
from retrain_trigger.judge import clock, memory, policy
from retrain_trigger.judge.memory import Memory
from retrain_trigger.store import files, lock, scratch
from retrain_trigger.store.ledger import Ledger
from retrain_trigger.store.registry import Registry

Say = Callable[[str], None]
QUESTION = "question"
"""What stands for the id of a run in a question."""


SPILL = "spill"
"""The folder for what DuckDB has no room for in memory."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One run, holding the lock, or a question that goes the same way up to the first thing a run would start or write.

    `say` tells the person at the terminal what happens now (stderr). `private` is where a question keeps its files; None
    for a run.
    """

    config: Config
    now: datetime
    run: str
    ledger: Ledger
    registry: Registry
    past: Memory
    say: Say
    private: Path | None = None

    @property
    def asks(self) -> bool:
        """Whether this is a question: it starts nothing, and writes nothing but private files."""
        return self.private is not None

    @property
    def scratch(self) -> Path:
        """Return the folder for this run's files: training data, hold-out, logs."""
        state = self.private if self.private and self.run == QUESTION else self.config.state
        return state / "runs" / self.run

    @property
    def training_lock(self) -> Path:
        """Return the lock that a training and everything it starts hold."""
        return self.config.state / "training.lock"

    def record(self, event: Event) -> None:
        """Write a ledger entry for this run, durable when this returns; secrets in what a person reads are left out.

        A question only remembers it, for as long as it lasts.
        """
        told = decoded(type(event), redacted_texts(encoded(event), keys=PROSE))
        self.ledger.append(told, at=self.past.clock(self.now), run=self.run)

    def mended(self, pointer: Pointer | None = None) -> "Tick":
        """Let what was stamped later than now count from now: one entry says so, nothing is rewritten.

        `pointer` is that of a champion which the ledger has not heard of.
        """
        because = f"what was stamped later than {policy.stamp(self.now)} counts from then"
        self.ledger.append(Mended(because=because, pointer=pointer), at=self.now, run=self.run)
        return self.remembering(memory.fold(self.ledger.effects()))

    def discard_files(self) -> None:
        """Remove this run's files. A question leaves those of the run that it asks about."""
        if not self.asks:
            files.remove_folder(self.scratch)

    def remembering(self, past: Memory) -> "Tick":
        """Return the tick with another memory."""
        return replace(self, past=past)

    def resuming(self, run: str) -> "Tick":
        """Return the tick that goes on with an earlier run."""
        return replace(self, run=run)


@contextmanager
def begun(config: Config, *, now: datetime, say: Say, wait: timedelta = timedelta(0)) -> Iterator[Tick]:
    """Hold the lock and the ledger for one tick; `wait` is how long another run's lock is waited for.

    Raises UsageError for a time far ahead of the clock, BusyError, and PromotionError (a damaged ledger).
    """
    _check_clock(now)
    files.make_folder(config.state, mode=0o700)
    held = lock.hold(config.state / "lock", wait=wait.total_seconds(), say=say)
    spilling = scratch.spilling(config.state / SPILL)
    with held, Ledger.writing(config.state / "ledger.sqlite") as ledger, spilling:
        run = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        past = memory.fold(ledger.effects())
        if (told := clock.ahead(now, past.last_seen)) is not None:
            say(told)
        yield Tick(config, now, run, ledger, registry(config), past, say)


def _check_clock(now: datetime) -> None:
    """Refuse a mistyped time: what is recorded at it would hold up every later training until it has come."""
    if now > datetime.now(UTC) + clock.AHEAD:
        raise UsageError(
            f"--now is {policy.stamp(now)}, more than a day ahead of this machine's clock; nothing was done. "
            f"`run --dry-run` and `status` answer for any time"
        )


@contextmanager
def asked(config: Config, *, now: datetime, say: Say) -> Iterator[Tick]:
    """Open a tick for a question: it records nothing, and its files lie in a private folder that is removed."""
    with (
        Ledger.reading(config.state / "ledger.sqlite") as ledger,
        scratch.private() as own,
        scratch.spilling(own / SPILL),
    ):
        past = memory.fold(ledger.effects())
        if (told := clock.ahead(now, past.last_seen)) is not None:
            say(told)
        tick = Tick(config, now, QUESTION, ledger, registry(config), past, say, private=own)
        files.make_folder(tick.scratch, mode=0o700)
        yield tick


def registry(config: Config) -> Registry:
    """Return the registry that the settings name."""
    return Registry(config.model.folder, config.model.pointer)


def nearby(path: Path) -> Path:
    """Return a path relative to where the person stands, where it lies below that: messages name it so."""
    with suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path
