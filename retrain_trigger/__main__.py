"""The command: signals end it in order from its first moment on, also while its modules are still being loaded."""

import sys
from typing import NoReturn

from retrain_trigger import terminal


def main() -> NoReturn:
    """Run a command of the command line."""
    terminal.make_ready()
    try:
        from retrain_trigger import cli  # noqa: PLC0415  (it takes a moment, in which a signal may come)
    except terminal.Ended:
        ending = terminal.ended()
        assert ending is not None
        terminal.write(sys.stderr, f"{ending[0]}; nothing was done")
        raise SystemExit(int(ending[1])) from None
    cli.main()


if __name__ == "__main__":
    main()
