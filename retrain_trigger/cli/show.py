"""What a command found, on stdout, and what it has to tell, on stderr; secrets are left out of both."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from retrain_trigger.cli import terminal
from retrain_trigger.core.outcomes import ExitCode, Outcome
from retrain_trigger.core.records import Json
from retrain_trigger.core.redaction import redacted, redacted_texts


@dataclass(frozen=True, slots=True)
class Show:
    """How a result is shown: its form (text or json), and how much of it."""

    form: str
    quiet: bool
    verbose: bool

    def say(self, text: str) -> None:
        """Tell the person what happens now."""
        if not self.quiet:
            to_stderr(text)

    @property
    def progress(self) -> Callable[[str], None] | None:
        """Return what tells how far a long command is; None if nobody looks on: without a terminal it is asked for by -v."""
        return self.say if self.verbose or sys.stderr.isatty() else None

    def notes(self, notes: Sequence[str]) -> None:
        """Tell the person what stands beside a result."""
        for note in notes:
            self.say(note)

    def result(self, document: Json, lines: Sequence[str]) -> None:
        """Print a result in the form that is wanted; nothing if only what was done is to be told."""
        if not self.quiet:
            self._print(document, lines)

    def conclude(self, outcome: Outcome, *, would_act: bool = False) -> None:
        """Print how a run ended, and end with its exit code; with that of an act that is only planned if asked."""
        from retrain_trigger.cli import printing

        self.notes(outcome.notes)
        if not self.quiet:
            self._print(outcome.to_json(), printing.outcome_lines(outcome, verbose=self.verbose))
        elif outcome.is_told:
            self._print(outcome.to_json(), printing.told_lines(outcome))
        if outcome.code is ExitCode.WOULD_ACT and not would_act:
            raise SystemExit(ExitCode.OK)
        raise SystemExit(outcome.code)

    def _print(self, document: Json, lines: Sequence[str]) -> None:
        from retrain_trigger.cli import printing

        text = printing.clean(redacted("\n".join(lines)))
        if self.form == "json":
            text = json.dumps(redacted_texts(document), indent=2)
        if (lost := terminal.write(sys.stdout, text)) is not None:
            to_stderr(f"the result could not be written ({lost.strerror}); what was done is in `retrain-check history`")


def to_stderr(text: str) -> None:
    """Write a line for a person, without secrets and control characters."""
    from retrain_trigger.cli import printing

    terminal.write(sys.stderr, printing.clean(redacted(text)))
