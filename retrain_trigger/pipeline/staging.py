"""The file that names the challenger in shadow, beside the pointer: the service asks that model, too."""

from datetime import UTC
from pathlib import Path

from retrain_trigger.config.sections import CHALLENGER
from retrain_trigger.core.events import Abandoned, Staged, Staging, Unstaging
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.judge import memory
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.store import files
from retrain_trigger.store.registry import Registry


def path(registry: Registry) -> Path:
    """Return where the challenger in shadow is named."""
    return registry.pointer.with_name(CHALLENGER)


def named(registry: Registry) -> Pointer | None:
    """Return the challenger that the file names. Raises PromotionError if it cannot be read."""
    return Registry(registry.folder, path(registry)).champion()


def stage(tick: Tick, version: str, because: str) -> None:
    """Let a sealed version run beside the champion. Raises PromotionError if it is not what was sealed."""
    champion = tick.past.champion
    assert champion is not None
    pointer = Pointer(
        generation=(champion.pointer.generation if champion.pointer else 0) + 1,
        version=version,
        path=tick.registry.relative_path(version),
        sha256=tick.registry.verified(version),
        previous=champion.version,
        promoted_at=tick.past.clock(tick.now).astimezone(UTC).isoformat().replace("+00:00", "Z"),
        run=tick.run,
    )
    intent = Staging(champion=champion.version, pointer=pointer, because=because)
    tick.record(intent)
    _write(tick, intent)


def complete(tick: Tick, intent: Staging) -> None:
    """Finish a staging that was cut off. Raises PromotionError if the version is not what was sealed."""
    tick.registry.verified(intent.pointer.version)
    _write(tick, intent)


def remove(tick: Tick) -> None:
    """Take the file away; the caller has written why, and writes what came of it. A question leaves it."""
    if tick.asks:
        return
    files.remove(path(tick.registry))
    files.sync_folder(path(tick.registry).parent)


def withdraw(tick: Tick, because: str) -> Tick:
    """End a shadow without a verdict; nothing is done if none runs and no file is left of one."""
    if tick.past.shadow is None and not path(tick.registry).exists():
        return tick
    ended = "would be ended" if tick.asks else "is ended"
    told = f"the shadow of {tick.past.shadow.version} {ended}: {because}" if tick.past.shadow else because
    tick.record(Unstaging(because=told))
    remove(tick)
    tick.record(Abandoned(because=told))
    tick.say(told)
    return tick.remembering(memory.fold(tick.ledger.effects()))


def _write(tick: Tick, intent: Staging) -> None:
    files.make_folder(path(tick.registry).parent)
    files.write(path(tick.registry), intent.pointer.encoded())
    tick.record(Staged(champion=intent.champion, pointer=intent.pointer, because=intent.because))
