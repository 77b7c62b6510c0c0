"""The commands: parse, call, show."""

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
from click.core import ParameterSource

from retrain_trigger import __version__
from retrain_trigger.cli.options import Described, at_now, common, duration, moment, of_an_adoption, worded
from retrain_trigger.cli.show import Show, to_stderr
from retrain_trigger.config import load as settings
from retrain_trigger.config.load import DEFAULT_CONFIG, Config
from retrain_trigger.core.entries import Entry
from retrain_trigger.core.errors import UsageError
from retrain_trigger.core.events import Event
from retrain_trigger.core.outcomes import ExitCode
from retrain_trigger.core.records import Json, encoded

if TYPE_CHECKING:
    from retrain_trigger.pipeline import by_hand

settings_in_use: list[Config] = []
"""The settings that this command has loaded, for the message of a bug."""


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
    show: Show,
    now: datetime,
    dry_run: bool,
    exit_code: bool,
    force: str | None,
    no_promote: bool,
    wait: timedelta,
    mend_clock: bool,
    bootstrap: bool,
    adopted: Path | None,
    described: Described,
) -> None:
    """Evaluate the model; on a breach, retrain, compare and promote. Made for cron."""
    from retrain_trigger.pipeline import run as tick
    from retrain_trigger.pipeline.decide import Wish

    for wrong, because in (
        (adopted is not None and not bootstrap, "--adopt goes with --bootstrap"),
        (adopted is None and bool(described), "--known-as, --since, --trained-on and --reason go with --adopt"),
        (
            bootstrap and (force is not None or dry_run or no_promote),
            "--bootstrap goes with none of --force, --dry-run and --no-promote",
        ),
        (mend_clock and (bootstrap or dry_run), "--mend-clock goes with neither --bootstrap nor --dry-run"),
        (force is not None and not force.strip(), "--force needs a reason, for the history"),
    ):
        if wrong:
            raise UsageError(because)
    config = _settings(show, path)
    wish = Wish(force=force, promotes=not no_promote)
    if bootstrap:
        from retrain_trigger.pipeline import by_hand

        adoption = _adoption(adopted, described) if adopted else None
        outcome = by_hand.bootstrap(config, now=now, say=show.say, wait=wait, adopt=adoption)
    elif dry_run:
        outcome = tick.dry_run(config, now=now, wish=wish)
    else:
        outcome = tick.run(config, now=now, say=show.say, wish=wish, wait=wait, mend_clock=mend_clock)
    show.conclude(outcome, would_act=exit_code)


@cli.command()
@common
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--log", "logs", multiple=True, metavar="FILE", help="The same as FILE; repeatable; - for stdin.")
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
    show: Show,
    files: tuple[str, ...],
    logs: tuple[str, ...],
    overrides: tuple[str, ...],
    exit_code: bool,
) -> None:
    """Show when a log would have started a retraining: metrics logs, or a prediction log. Writes nothing; needs no config.yaml."""
    from retrain_trigger.cli import printing
    from retrain_trigger.questions.simulate import simulate as replayed

    if files and logs:
        raise UsageError(
            f"name logs with --log or without, not both: retrain-check simulate {' '.join([*files, *logs])}"
        )
    config = _settings(show, path, overrides, optional=True)
    logs = files or logs
    if config.file is None:
        threshold = "auto" if config.performance_threshold is None else f"{config.performance_threshold:g}"
        to_stderr(
            f"no config.yaml here: performance_threshold {threshold} and drift_threshold {config.drift_threshold:g}, "
            f"everything else by default"
        )
        if not logs:
            raise UsageError("name a metrics log or a prediction log: retrain-check simulate FILE")
    found = replayed(config, _sources(logs))
    show.notes(found.notes)
    if show.form == "json":
        show.result(found.to_json(), [])
    else:
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
        show.result(None, printing.replay_lines(found, config, verbose=show.verbose, encoding=encoding))
    if exit_code and found.would_retrain_now:
        raise SystemExit(ExitCode.WOULD_ACT)


@cli.command()
@common
@click.option("--data", type=click.Path(path_type=Path), help="Labelled rows with times: Parquet, CSV or JSONL.")
@click.option(
    "--log",
    "logs",
    multiple=True,
    metavar="FILE",
    help="Instead of --data: replay this log, as simulate does, and train nothing; repeatable; - for stdin.",
)
@click.option(
    "--try",
    "tried",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="Play these values of a setting, too, e.g. promotion.margin=0.01,0.02; repeatable: all combinations.",
)
@click.option("--first", type=click.IntRange(1), help="Windows that train the first champion; default: a tenth.")
@click.option("--late", callback=duration, metavar="DURATION", help="How long labels take, if the rows do not say it.")
@click.option("--baseline", is_flag=True, help="Train a built-in gradient boosting model, not train.command.")
@click.option("--check", is_flag=True, help="Only prove that no decision looks ahead: play parts of the data again.")
@click.option("--cache", type=click.Path(path_type=Path), help="Keeps trained models; default: backtest in `state`.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Lives that are played at a time.")
def backtest(
    *,
    path: Path | None,
    show: Show,
    data: Path | None,
    logs: tuple[str, ...],
    tried: tuple[str, ...],
    first: int | None,
    late: timedelta,
    baseline: bool,
    check: bool,
    cache: Path | None,
    jobs: int,
) -> None:
    """Play the policy on labelled rows of the past: would it have been worth it? The service's models are untouched.

    With --log, no model is trained: a log shows when other settings would have acted.
    """
    given = _settings(show, path, optional=True).file
    if logs:
        _sweep(show, given, logs, tried)
        return
    if data is None:
        raise UsageError("name labelled rows with --data, to train on them, or a log with --log, to replay it")
    from retrain_trigger.cli import worth
    from retrain_trigger.questions import backtest as played

    asked = played.Asked(data=data, tried=tried, late=late, first=first, cache=cache, jobs=jobs, baseline=baseline)
    if given is None:
        to_stderr("no config.yaml here: performance_threshold auto, the built-in model, everything else by default")
    if check:
        found = played.looked_ahead(given, asked, say=show.say, progress=show.progress)
        show.result({"look_ahead": found}, [found or "no decision looks ahead: parts of the data led to the same ones"])
        raise SystemExit(ExitCode.BUG if found else ExitCode.OK)
    report = played.backtest(given, asked, say=show.say, progress=show.progress)
    show.result(report.to_json(), worth.lines(report))


def _sweep(show: Show, given: Path | None, logs: tuple[str, ...], tried: tuple[str, ...]) -> None:
    """Replay logs under the settings tried. Nothing that only a training can use may be named beside them."""
    from retrain_trigger.cli import swept
    from retrain_trigger.questions.sweep import sweep

    source = click.get_current_context().get_parameter_source
    if trains := [f"--{name}" for name in _OF_DATA if source(name) is ParameterSource.COMMANDLINE]:
        *first, last = trains
        listed = f"{', '.join(first)} and {last}" if first else last
        raise UsageError(f"{listed} cannot go with --log, which trains nothing; leave one of both out")
    if given is None:
        to_stderr("no config.yaml here: performance_threshold auto, everything else by default")
    found = sweep(given, _sources(logs), tried)
    show.notes(found.notes)
    show.result(found.to_json(), swept.lines(found))


_OF_DATA = ("data", "first", "late", "baseline", "check", "cache", "jobs")
"""What `backtest` takes only where it trains."""


def _sources(logs: Sequence[str]) -> list[Path | BinaryIO]:
    return [sys.stdin.buffer if log == "-" else Path(log) for log in logs]


@cli.command()
@common
@at_now
def status(*, path: Path | None, show: Show, now: datetime) -> None:
    """Show the champion, and what is judged and waited for. Also what is not watched. Writes nothing."""
    from retrain_trigger.cli import printing
    from retrain_trigger.questions import standing

    config = _settings(show, path)
    past, outcome = standing.standing(config, now=now)
    champion = past.champion
    document = {
        "champion": None if champion is None else {"version": champion.version, "since": champion.since.isoformat()},
        "unfinished": past.unfinished[-1].run if past.unfinished else None,
        "waits_for_approval": past.asked.event.version if past.asked else None,
        **outcome.to_json(),
    }
    show.result(document, printing.status_lines(config, past, outcome, verbose=show.verbose))
    if "live_model" in outcome.details:
        if show.quiet:
            to_stderr(outcome.because)
        raise SystemExit(outcome.code)


@cli.command()
@common
@click.option("--at", metavar="TIME", help="Show which version was live then, who promoted it, and on which figures.")
@click.option(
    "--verify", is_flag=True, help="Only check that no entry of the ledger was changed or removed; exit 6 if one was."
)
def history(*, path: Path | None, show: Show, at: str | None, verify: bool) -> None:
    """Show what happened, oldest first. Writes nothing."""
    from retrain_trigger.cli import printing
    from retrain_trigger.questions import standing

    config = _settings(show, path)
    if verify:
        count, newest = standing.verified(config)
        said = f"{count} entries, each as it was written; hash of the newest: {newest or 'none'}"
        if count and not newest:
            said = f"{count} entries, all there; an earlier version wrote them without hashes, the next run adds them"
        show.result({"entries": count, "newest": newest}, [said])
        return
    if at is not None:
        then = moment(at)
        reign = standing.reign(config, at=then)
        document = {"at": then.isoformat(), "champion": encoded(reign)}
        show.result(document, printing.reign_lines(reign, at=then))
        return
    entries = standing.history(config)
    lines = printing.explain_lines(entries) if show.verbose and entries else printing.history_lines(entries)
    show.result([_document(entry) for entry in entries], lines)


@cli.command()
@common
@click.argument("run_id", required=False, metavar="[RUN]")
def explain(*, path: Path | None, show: Show, run_id: str | None) -> None:
    """Explain a run step by step. By default, the last run that did something. Writes nothing."""
    from retrain_trigger.cli import printing
    from retrain_trigger.questions import standing

    entries = standing.explained(_settings(show, path), run_id)
    show.result([_document(entry) for entry in entries], printing.explain_lines(entries))


@cli.command()
@common
@at_now
@click.argument("challenger", required=False)
@click.option("--champion", metavar="VERSION", help="Compare with this version; default: the champion.")
@click.option("--exit-code", is_flag=True, help="Exit 10 if the challenger passes every gate.")
def compare(
    *,
    path: Path | None,
    show: Show,
    now: datetime,
    challenger: str | None,
    champion: str | None,
    exit_code: bool,
) -> None:
    """Compare CHALLENGER with the champion. By default, the newest sealed version. Writes nothing."""
    from retrain_trigger.cli import printing
    from retrain_trigger.questions.compare import compare as compared

    found = compared(_settings(show, path), challenger, champion=champion, now=now, say=show.say)
    show.notes(found.notes)
    show.result(found.to_json(), printing.contest_lines(found))
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
    show: Show,
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
        _settings(show, path), version, reason=reason, now=now, say=show.say, even_if_worse=even_if_worse
    )
    show.conclude(outcome)


@cli.command()
@common
@at_now
@click.argument("model", metavar="PATH", type=click.Path(path_type=Path))
@of_an_adoption
@click.option("--yes", is_flag=True, help="Do not ask.")
def adopt(
    *,
    path: Path | None,
    show: Show,
    now: datetime,
    model: Path,
    described: Described,
    yes: bool,
) -> None:
    """Take over the live model at PATH as the champion."""
    from retrain_trigger.pipeline import by_hand

    if described.reason is not None:
        _confirm(f"make the model at {model} the champion?", yes=yes)
    outcome = by_hand.adopt(_settings(show, path), _adoption(model, described), now=now, say=show.say)
    show.conclude(outcome)


@cli.command()
@common
@at_now
@click.argument("version", required=False)
@click.option("--reason", default="rolled back by hand", callback=worded, help="Why, for the history.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rollback(
    *,
    path: Path | None,
    show: Show,
    now: datetime,
    version: str | None,
    reason: str,
    yes: bool,
) -> None:
    """Go back to the champion before this one, or to VERSION."""
    from retrain_trigger.pipeline import by_hand

    _confirm(f"go back to {version or 'the champion before this one'}?", yes=yes)
    outcome = by_hand.rollback(_settings(show, path), version, reason=reason, now=now, say=show.say)
    show.conclude(outcome)


def _settings(show: Show, path: Path | None, overrides: Sequence[str] = (), *, optional: bool = False) -> Config:
    given = path is not None or not optional or DEFAULT_CONFIG.exists()
    config = settings.load(path or DEFAULT_CONFIG, overrides) if given else settings.defaults(overrides)
    settings_in_use[:] = [config]
    show.notes(config.notes)
    return config


def _adoption(path: Path, described: Described) -> "by_hand.Adoption":
    """Return what is adopted, by the path that a link leads to; by the path itself where links form a circle."""
    from retrain_trigger.pipeline import by_hand

    try:
        path = path.resolve()
    except (OSError, RuntimeError):
        path = path.absolute()
    return by_hand.Adoption(
        path=path,
        known_as=described.known_as,
        since=described.since,
        trained_on=described.trained_on,
        reason=described.reason,
    )


def _document(entry: Entry[Event]) -> dict[str, Json]:
    at = entry.at.isoformat()
    return {"seq": entry.seq, "at": at, "run": entry.run, "kind": entry.kind.value, **entry.body}


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)
