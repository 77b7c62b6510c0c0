from datetime import UTC, datetime

import click
import pytest

from retrain_trigger.cli.options import moment


@pytest.mark.parametrize(
    ("typed", "at"),
    [
        ("2026-01-31T06:00Z", datetime(2026, 1, 31, 6, tzinfo=UTC)),
        ("2026-01-31T06:00", datetime(2026, 1, 31, 6, tzinfo=UTC)),
        ("2026-01-31T06:00+02:00", datetime(2026, 1, 31, 4, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
    ],
)
def test_a_time_is_in_the_zone_that_it_names_else_in_utc(typed: str, at: datetime) -> None:
    assert moment(typed) == at
    assert moment(typed).tzinfo is UTC


@pytest.mark.parametrize("typed", ["tomorrow", "1969-12-31", "2286-01-01", ""])
def test_what_is_no_time_of_ours_is_refused(typed: str) -> None:
    with pytest.raises(click.BadParameter):
        moment(typed)
