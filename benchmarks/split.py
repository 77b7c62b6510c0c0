"""Runs the command line, and writes which part of its processor time went where: `split.py FILE run ...`."""

import atexit
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from retrain_trigger.cli import door
from retrain_trigger.engines import portable, prediction_log
from retrain_trigger.pipeline import run
from retrain_trigger.store.ledger import Ledger

WHERE = {
    "reading": [(prediction_log, "count")],
    "counting": [(portable, name) for name in ("cells", "histograms", "tallies")],
    "judging": [(run, "run")],
    "ledger": [(Ledger, name) for name in ("append", "effects", "counted", "keep_counted")],
}
"""The functions that a part is spent in, without what they spend in those of another part; judging is the rest of a tick."""


class Spent:
    """Seconds of processor time, of all threads, by part."""

    def __init__(self) -> None:
        self.seconds = Counter[str]()
        self._parts = ["start"]
        self._since = 0.0

    def count(self) -> None:
        """Add what was spent since the last time to the part that is going on."""
        now = time.process_time()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, what it spends counted to a part."""

        @wraps(function)
        def called(*arguments: Any, **options: Any) -> Any:
            self.count()
            self._parts.append(part)
            try:
                return function(*arguments, **options)
            finally:
                self.count()
                self._parts.pop()

        return called

    def write(self, path: Path) -> None:
        """Write what was spent until now."""
        self.count()
        path.write_text(json.dumps(self.seconds))


if __name__ == "__main__":
    spent = Spent()
    for part, functions in WHERE.items():
        for owner, name in functions:
            setattr(owner, name, spent.timed(part, getattr(owner, name)))
    atexit.register(spent.write, Path(sys.argv.pop(1)))
    door.main()
