"""The door of the program: runs a command; the one place where an exception becomes an exit code."""

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

from retrain_trigger import __version__
from retrain_trigger.cli import commands, terminal
from retrain_trigger.cli.show import to_stderr
from retrain_trigger.core.errors import RetrainCheckError, refused
from retrain_trigger.core.outcomes import ExitCode
from retrain_trigger.core.redaction import redacted


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and end with its exit code."""
    terminal.make_ready()
    try:
        code = commands.cli.main(arguments, prog_name="retrain-check", standalone_mode=False)
        terminal.settle()
        _exit(code if isinstance(code, int) else ExitCode.OK)
    except SystemExit:
        terminal.settle()
        raise
    except BaseException as error:  # noqa: BLE001  (whatever broke has a message and an exit code here)
        terminal.settle()
        _fail(*_translated(error))


def _translated(error: BaseException) -> tuple[str, ExitCode]:
    """Return the message and the exit code of an exception. A signal comes before the errors it caused."""
    if (ending := terminal.ended()) is not None:
        word, code = ending
        return f"{word}; the next run finishes or gives up what was begun", code
    match error:
        case RetrainCheckError():
            return str(error), error.code
        case click.ClickException():
            usage = error.ctx.get_usage() + "\n" if isinstance(error, click.UsageError) and error.ctx else ""
            return f"{usage}Error: {error.format_message()}", ExitCode.USAGE
        case click.Abort() | KeyboardInterrupt():
            return "interrupted; nothing was done", ExitCode.INTERRUPTED
        case OSError():
            return f"{refused(error)}. The next run finishes or gives up what this one began", ExitCode.NOT_PROMOTED
    return (
        f"this is a bug in retrain-check, {_live()}. Send {_saved_traceback()} to its maintainers; the next run finishes "
        f"or gives up what this one had begun"
    ), ExitCode.BUG


def _live() -> str:
    """Say which model the pointer names: the service reads nothing else, so that model is safe."""
    from retrain_trigger.pipeline import tick

    try:
        pointer = tick.registry(commands.settings_in_use[-1]).champion() if commands.settings_in_use else None
    except RetrainCheckError as error:
        return str(error)
    return f"the champion is safe: the pointer names {pointer.version}" if pointer else "there is no champion yet"


def _fail(message: str, code: ExitCode) -> NoReturn:
    to_stderr(message)
    _exit(code)


def _exit(code: int) -> NoReturn:
    raise SystemExit(int(code))


def _saved_traceback() -> Path:
    """Save the traceback in the state folder, else in TMPDIR. It may hold user data, so its mode is 0600."""
    text = f"retrain-check {__version__}, Python {sys.version}\n{redacted(traceback.format_exc())}"
    states: list[Path | None] = [config.state for config in commands.settings_in_use if config.state.is_dir()]
    for folder in (*states, None):
        with suppress(OSError):
            with tempfile.NamedTemporaryFile(
                "w", prefix="retrain-check-bug-", suffix=".txt", dir=folder, delete=False
            ) as file:
                file.write(text)
            return Path(file.name)
    return Path(os.devnull)


if __name__ == "__main__":
    main()
