"""The command: signals end it in order from its first moment on, also while its modules are still being loaded."""

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run a command of the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends it without a word, where Python would print a traceback
    from retrain_trigger.cli import terminal

    terminal.make_ready()
    from retrain_trigger.cli import door

    door.main()


if __name__ == "__main__":
    main()
