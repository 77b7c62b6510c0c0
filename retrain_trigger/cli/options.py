"""What a person can type after a command: options that several commands take, and how their values are read."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path

import click

from retrain_trigger.cli.show import Show
from retrain_trigger.config import values
from retrain_trigger.core.measurements import without_leap_second

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
    """Add the options that every command takes: it is given `path`, and how to `show` what it found."""

    @wraps(command)
    def with_show(*, form: str, quiet: bool, verbose: bool, **more: object) -> None:
        command(show=Show(form=form, quiet=quiet, verbose=verbose), **more)

    shown: Callable[..., None] = with_show
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
        shown = option(shown)
    return shown


def worded(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Read `--reason`, which must not be blank."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is blank; write why, for those who read the history later")
    return value


def past_moment(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
    """Read `--since`; None if it is not given."""
    return None if value is None else moment(value)


@dataclass(frozen=True, slots=True)
class Described:
    """What a person says of a model that is adopted."""

    known_as: str | None
    since: datetime | None
    trained_on: Path | None
    reason: str | None

    def __bool__(self) -> bool:
        return self != Described(None, None, None, None)


def of_an_adoption(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe an adopted model: the command is given them as `described`."""

    @wraps(command)
    def with_described(
        *, known_as: str | None, since: datetime | None, trained_on: Path | None, reason: str | None, **more: object
    ) -> None:
        command(described=Described(known_as, since, trained_on, reason), **more)

    shown: Callable[..., None] = with_described
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
        shown = option(shown)
    return shown


at_now = click.option("--now", metavar="TIME", callback=clock, help="Use this time (UTC) instead of the clock's.")
