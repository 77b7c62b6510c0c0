"""The command line: parse, call, print, exit."""

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import click

from retrain_trigger import __version__
from retrain_trigger.cli import terminal
from retrain_trigger.config import load as settings
from retrain_trigger.config import values
from retrain_trigger.config.load import DEFAULT_CONFIG, Config
from retrain_trigger.core.errors import RetrainCheckError, UsageError, refused
from retrain_trigger.core.measurements import without_leap_second
from retrain_trigger.core.outcomes import ExitCode, Outcome
from retrain_trigger.core.records import Json, encoded
from retrain_trigger.core.redaction import redacted, redacted_texts

_FIRST_YEAR, _LAST_YEAR = 1970, 2285


def clock(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime:
    """Read `--now`; by default, the clock's time."""
    return datetime.now(UTC) if value is None else moment(value)


def moment(value: str) -> datetime:
    """Read a time: ISO 8601, in UTC if it names no zone."""
    try:
        at = datetime.fromisoformat(without_leap_second(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time such as 2026-01-31T06:00Z") from None
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise click.BadParameter(f"{value!r} is not between {_FIRST_YEAR} and {_LAST_YEAR}")
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def duration(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta:
    """Read a duration such as 10m; no wait if it is not given."""
    try:
        return timedelta(0) if value is None else values.duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every command takes."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Show every finding."),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            help="Print one line if something was done, failed or is an alert; else nothing.",
        ),
        click.option(
            "--format",
            "form",
            type=click.Choice(["text", "json"]),
            default="text",
            help="The form of the result on stdout.",
        ),
        click.option(
            "-c", "--config", "path", type=click.Path(path_type=Path), help="The settings file; default: ./config.yaml."
        ),
    ):
        command = option(command)
    return command


def worded(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Read `--reason`, which must not be blank."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is blank; write why, for those who read the history later")
    return value


def past_moment(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
    """Read `--since`; None if it is not given."""
    return None if value is None else moment(value)


def of_an_adoption(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe an adopted model."""
    for option in (
        click.option(
            "--reason",
            callback=worded,
            help="Adopting: why, for the history. Required if there is a champion already.",
        ),
        click.option(
            "--trained-on", type=click.Path(path_type=Path), help="Adopting: the labelled rows it was trained on."
        ),
        click.option(
            "--since", metavar="TIME", callback=past_moment, help="Adopting: when it went live; default: now."
        ),
        click.option("--known-as", metavar="NAME", help="Adopting: its name in the column or key `model` of the logs."),
    ):
        command = option(command)
    return command


at_now = click.option("--now", metavar="TIME", callback=clock, help="Use this time (UTC) instead of the clock's.")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExit codes:\n" + "\n".join(f"{code:>5}  {code.meaning}" for code in ExitCode),
)
@click.version_option(__version__, prog_name="retrain-check")
def cli() -> None:
    """Decide from cron whether a model must be retrained; retrain it; promote only what is clearly better."""


@cli.command()
@common
@at_now
@click.option("--dry-run", is_flag=True, help="Say what a run would do, and write nothing.")
@click.option("--exit-code", is_flag=True, help="With --dry-run: exit 10 if it would train, promote or roll back.")
@click.option("--force", metavar="REASON", help="Train now, whatever the checks, the cooldown and the budget say.")
@click.option("--no-promote", is_flag=True, help="Train, seal and compare, but keep the champion.")
@click.option(
    "--wait",
    is_flag=False,
    flag_value="10m",
    metavar="[DURATION]",
    callback=duration,
    help="Wait for another active run, 10m if no duration is given; default: exit 75 at once.",
)
@click.option(
    "--mend-clock", is_flag=True, help="After a clock that was ahead: count everything stamped in the future as of now."
)
@click.option("--bootstrap", is_flag=True, help="Make the first champion, without a comparison.")
@click.option(
    "--adopt",
    "adopted",
    type=click.Path(path_type=Path),
    help="With --bootstrap: take over the model at this path instead of training one.",
)
@of_an_adoption
def run(
    *,
    path: Path | None,
    form: str,
    quiet: bool,
    verbose: bool,
    now: datetime,
    dry_run: bool,
    exit_code: bool,
    force: str | None,
    no_promote: bool,
    wait: timedelta,
    mend_clock: bool,
    bootstrap: bool,
    adopted: Path | None,
    known_as: str | None,
    since: datetime | None,
    trained_on: Path | None,
    reason: str | None,
) -> None:
    """Evaluate the model; on a breach, retrain, compare and promote. Made for cron."""
    from retrain_trigger.pipeline import by_hand
    from retrain_trigger.pipeline import run as tick

    described = (known_as, since, trained_on, reason) != (None, None, None, None)
    for wrong, because in (
        (adopted is not None and not bootstrap, "--adopt goes with --bootstrap"),
        (adopted is None and described, "--known-as, --since, --trained-on and --reason go with --adopt"),
        (
            bootstrap and (force is not None or dry_run or no_promote),
            "--bootstrap goes with none of --force, --dry-run and --no-promote",
        ),
        (mend_clock and (bootstrap or dry_run), "--mend-clock goes with neither --bootstrap nor --dry-run"),
        (force is not None and not force.strip(), "--force needs a reason, for the history"),
    ):
        if wrong:
            raise UsageError(because)
    config, say = _settings(path), _sayer(quiet=quiet)
    wish = tick.Wish(force=force, promotes=not no_promote)
    if bootstrap:
        adoption = None
        if adopted is not None:
            adoption = by_hand.Adoption(
                path=_followed(adopted), known_as=known_as, since=since, trained_on=trained_on, reason=reason
            )
        outcome = by_hand.bootstrap(config, now=now, say=say, wait=wait, adopt=adoption)
    elif dry_run:
        outcome = tick.dry_run(config, now=now, wish=wish)
    else:
        outcome = tick.run(config, now=now, say=say, wish=wish, wait=wait, mend_clock=mend_clock)
    _conclude(outcome, form=form, quiet=quiet, verbose=verbose, would_act=exit_code)


@cli.command()
@common
@click.option("--log", "logs", multiple=True, metavar="FILE", help="A metrics log; repeatable; - for stdin.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a setting, e.g. trigger.cooldown=2h; repeatable.",
)
@click.option("--exit-code", is_flag=True, help="Exit 10 if it would retrain now.")
def simulate(
    *,
    path: Path | None,
    form: str,
    quiet: bool,
    verbose: bool,
    logs: tuple[str, ...],
    overrides: tuple[str, ...],
    exit_code: bool,
) -> None:
    """Show when a log would have started a retraining. Writes nothing; needs no config.yaml."""
    from retrain_trigger.cli import printing
    from retrain_trigger.questions.simulate import simulate as replayed

    config = _settings(path, overrides, optional=True)
    if config.file is None:
        _to_stderr(
            f"no config.yaml here: performance_threshold {config.performance_threshold:g} and drift_threshold "
            f"{config.drift_threshold:g}, everything else by default"
        )
        if not logs:
            raise UsageError("name a metrics log: retrain-check simulate --log FILE")
    sources = [sys.stdin.buffer if log == "-" else Path(log) for log in logs]
    found = replayed(config, sources)
    _notes(found.notes, quiet=quiet)
    if not quiet:
        document = {"steps": [step.to_json() for step in found.steps], "would_retrain_now": found.would_retrain_now}
        _print(form, document, printing.replay_lines(found, config, verbose=verbose))
    if exit_code and found.would_retrain_now:
        raise SystemExit(ExitCode.WOULD_ACT)


@cli.command()
@common
@at_now
def status(*, path: Path | None, form: str, quiet: bool, verbose: bool, now: datetime) -> None:
    """Show the champion, and what is judged and waited for. Also what is not watched. Writes nothing."""
    from retrain_trigger.cli import printing
    from retrain_trigger.questions import standing

    config = _settings(path)
    past, outcome = standing.standing(config, now=now)
    champion = past.champion
    document = {
        "champion": None if champion is None else {"version": champion.version, "since": champion.since.isoformat()},
        "unfinished": past.unfinished[-1].run if past.unfinished else None,
        "waits_for_approval": past.asked.event.version if past.asked else None,
        **outcome.to_json(),
    }
    if not quiet:
        _print(form, document, printing.status_lines(config, past, outcome, verbose=verbose))
    if "live_model" in outcome.details:
        if quiet:
            _to_stderr(outcome.because)
        raise SystemExit(outcome.code)


@cli.command()
@common
@click.option("--at", metavar="TIME", help="Show which version was live then, who promoted it, and on which figures.")
@click.option(
    "--verify", is_flag=True, help="Only check that no entry of the ledger was changed or removed; exit 6 if one was."
)
def history(*, path: Path | None, form: str, quiet: bool, verbose: bool, at: str | None, verify: bool) -> None:
    """Show what happened, oldest first. Writes nothing."""
    from retrain_trigger.cli import printing
    from retrain_trigger.questions import standing

    config = _settings(path)
    if verify:
        count, newest = standing.verified(config)
        if not quiet:
            said = f"{count} entries, each as it was written; hash of the newest: {newest or 'none'}"
            if count and not newest:
                said = (
                    f"{count} entries, all there; an earlier version wrote them without hashes, the next run adds them"
                )
            _print(form, {"entries": count, "newest": newest}, [said])
        return
    if at is not None:
        then = moment(at)
        reign = standing.reign(config, at=then)
        document = {"at": then.isoformat(), "champion": encoded(reign)}
        if not quiet:
            _print(form, document, printing.reign_lines(reign, at=then))
        return
    entries = standing.history(config)
    if not quiet:
        lines = printing.explain_lines(entries) if verbose and entries else printing.history_lines(entries)
        _print(form, [_document(entry) for entry in entries], lines)


@cli.command()
@common
@click.argument("run_id", required=False, metavar="[RUN]")
def explain(*, path: Path | None, form: str, quiet: bool, verbose: bool, run_id: str | None) -> None:
    """Explain a run step by step. By default, the last run that did something. Writes nothing."""
    from retrain_trigger.cli import printing
    from retrain_trigger.questions import standing

    entries = standing.explained(_settings(path), run_id)
    if not quiet:
        _print(form, [_document(entry) for entry in entries], printing.explain_lines(entries))


@cli.command()
@common
@at_now
@click.argument("challenger", required=False)
@click.option("--champion", metavar="VERSION", help="Compare with this version; default: the champion.")
@click.option("--exit-code", is_flag=True, help="Exit 10 if the challenger passes every gate.")
def compare(
    *,
    path: Path | None,
    form: str,
    quiet: bool,
    verbose: bool,
    now: datetime,
    challenger: str | None,
    champion: str | None,
    exit_code: bool,
) -> None:
    """Compare CHALLENGER with the champion. By default, the newest sealed version. Writes nothing."""
    from retrain_trigger.cli import printing
    from retrain_trigger.questions.compare import compare as compared

    found = compared(_settings(path), challenger, champion=champion, now=now, say=_sayer(quiet=quiet))
    _notes(found.notes, quiet=quiet)
    if not quiet:
        _print(form, found.to_json(), printing.contest_lines(found))
    if exit_code and found.better:
        raise SystemExit(ExitCode.WOULD_ACT)


@cli.command()
@common
@at_now
@click.argument("version")
@click.option("--reason", required=True, callback=worded, help="Why, for the history.")
@click.option("--even-if-worse", is_flag=True, help="Promote it even if no comparison found it better.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def promote(
    *,
    path: Path | None,
    form: str,
    quiet: bool,
    verbose: bool,
    now: datetime,
    version: str,
    reason: str,
    even_if_worse: bool,
    yes: bool,
) -> None:
    """Make a sealed VERSION the champion by hand."""
    from retrain_trigger.pipeline import by_hand

    _confirm(f"make {version} the champion?", yes=yes)
    outcome = by_hand.promote(
        _settings(path), version, reason=reason, now=now, say=_sayer(quiet=quiet), even_if_worse=even_if_worse
    )
    _conclude(outcome, form=form, quiet=quiet, verbose=verbose)


@cli.command()
@common
@at_now
@click.argument("model", metavar="PATH", type=click.Path(path_type=Path))
@of_an_adoption
@click.option("--yes", is_flag=True, help="Do not ask.")
def adopt(
    *,
    path: Path | None,
    form: str,
    quiet: bool,
    verbose: bool,
    now: datetime,
    model: Path,
    known_as: str | None,
    since: datetime | None,
    trained_on: Path | None,
    reason: str | None,
    yes: bool,
) -> None:
    """Take over the live model at PATH as the champion."""
    from retrain_trigger.pipeline import by_hand

    if reason is not None:
        _confirm(f"make the model at {model} the champion?", yes=yes)
    adoption = by_hand.Adoption(
        path=_followed(model), known_as=known_as, since=since, trained_on=trained_on, reason=reason
    )
    outcome = by_hand.adopt(_settings(path), adoption, now=now, say=_sayer(quiet=quiet))
    _conclude(outcome, form=form, quiet=quiet, verbose=verbose)


@cli.command()
@common
@at_now
@click.argument("version", required=False)
@click.option("--reason", default="rolled back by hand", callback=worded, help="Why, for the history.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rollback(
    *,
    path: Path | None,
    form: str,
    quiet: bool,
    verbose: bool,
    now: datetime,
    version: str | None,
    reason: str,
    yes: bool,
) -> None:
    """Go back to the champion before this one, or to VERSION."""
    from retrain_trigger.pipeline import by_hand

    _confirm(f"go back to {version or 'the champion before this one'}?", yes=yes)
    outcome = by_hand.rollback(_settings(path), version, reason=reason, now=now, say=_sayer(quiet=quiet))
    _conclude(outcome, form=form, quiet=quiet, verbose=verbose)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command; the one place where an exception becomes an exit code."""
    terminal.make_ready()
    try:
        code = cli.main(arguments, prog_name="retrain-check", standalone_mode=False)
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
        pointer = tick.registry(_settings_in_use[-1]).champion() if _settings_in_use else None
    except RetrainCheckError as error:
        return str(error)
    return f"the champion is safe: the pointer names {pointer.version}" if pointer else "there is no champion yet"


_settings_in_use: list[Config] = []
"""The settings that this command has loaded, for the message of a bug."""


def _settings(path: Path | None, overrides: Sequence[str] = (), *, optional: bool = False) -> Config:
    given = path is not None or not optional or DEFAULT_CONFIG.exists()
    config = settings.load(path or DEFAULT_CONFIG, overrides) if given else settings.defaults(overrides)
    _settings_in_use[:] = [config]
    return config


def _followed(path: Path) -> Path:
    """Resolve a path; return it as it is if its links form a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _sayer(*, quiet: bool) -> Callable[[str], None]:
    def say(text: str) -> None:
        if not quiet:
            _to_stderr(text)

    return say


def _conclude(outcome: Outcome, *, form: str, quiet: bool, verbose: bool, would_act: bool = False) -> None:
    from retrain_trigger.cli import printing

    _notes(outcome.notes, quiet=quiet)
    if not quiet:
        _print(form, outcome.to_json(), printing.outcome_lines(outcome, verbose=verbose))
    elif outcome.is_told:
        _print(form, outcome.to_json(), printing.told_lines(outcome))
    if outcome.code is ExitCode.WOULD_ACT and not would_act:
        raise SystemExit(ExitCode.OK)
    raise SystemExit(outcome.code)


def _notes(notes: Sequence[str], *, quiet: bool) -> None:
    if not quiet:
        for note in notes:
            _to_stderr(note)


def _print(form: str, document: Json, lines: Sequence[str]) -> None:
    from retrain_trigger.cli import printing

    text = (
        json.dumps(redacted_texts(document), indent=2) if form == "json" else printing.clean(redacted("\n".join(lines)))
    )
    if (lost := terminal.write(sys.stdout, text)) is not None:
        _to_stderr(f"the result could not be written ({lost.strerror}); what was done is in `retrain-check history`")


def _to_stderr(text: str) -> None:
    from retrain_trigger.cli import printing

    terminal.write(sys.stderr, printing.clean(redacted(text)))


def _document(entry: Any) -> dict[str, Json]:
    at = entry.at.isoformat()
    return {"seq": entry.seq, "at": at, "run": entry.run, "kind": entry.kind.value, **entry.body}


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def _fail(message: str, code: ExitCode) -> NoReturn:
    _to_stderr(message)
    _exit(code)


def _exit(code: int) -> NoReturn:
    raise SystemExit(int(code))


def _saved_traceback() -> Path:
    """Save the traceback in the state folder, else in TMPDIR. It may hold user data, so its mode is 0600."""
    text = f"retrain-check {__version__}, Python {sys.version}\n{redacted(traceback.format_exc())}"
    states: list[Path | None] = [config.state for config in _settings_in_use if config.state.is_dir()]
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
