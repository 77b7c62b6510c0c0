from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core.entries import entry
from retrain_trigger.core.events import Compared, Selected, Span
from retrain_trigger.core.findings import Verdict
from retrain_trigger.judge import memory
from retrain_trigger.judge.gates import wear
from retrain_trigger.judge.gates.wear import WORN, Use

START = datetime(2026, 1, 1, tzinfo=UTC)
USES = st.lists(
    st.builds(lambda run, day: Use(f"r{run}", START + timedelta(days=day)), st.integers(0, 9), st.integers(0, 9))
)


@given(USES, st.integers(0, 9), st.integers(0, 9))
def test_newer_rows_are_never_more_worn_and_an_attempt_counts_once(uses: list[Use], one: int, other: int) -> None:
    older, newer = (wear.judge(uses, oldest=START + timedelta(days=day)) for day in sorted((one, other)))
    assert newer.value is not None
    assert older.value is not None
    assert newer.value <= older.value <= len({use.run for use in uses})
    assert (older.verdict is Verdict.BREACH) == (older.value >= WORN)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)), st.timedeltas(timedelta(0), timedelta(days=3)))  # noqa: DTZ001
def test_rows_are_shared_from_the_newest_that_decided_on(newest: datetime, apart: timedelta) -> None:
    used, tick = [Use("earlier", newest)], timedelta(microseconds=1)
    assert wear.judge(used, oldest=newest - apart).value == 1  # exactly as old is shared
    assert wear.judge(used, oldest=newest + tick + apart).value == 0


@given(USES, st.integers(0, 9), st.integers(0, 9))
def test_each_earlier_attempt_that_reaches_in_counts_and_counts_once(uses: list[Use], day: int, run: int) -> None:
    oldest, own = START + timedelta(days=day), f"r{run}"
    reaching = {use.run for use in uses if use.newest >= oldest}
    assert wear.judge(uses * 3, oldest=oldest).value == len(reaching)
    assert wear.judge(uses, oldest=oldest, run=own).value == len(reaching - {own})
    assert wear.judge(uses, oldest=None).value == 0


def test_it_is_warned_of_from_the_fifth_attempt_on() -> None:
    assert WORN == 5
    for attempts in range(8):
        found = wear.judge([Use(f"r{n}", START) for n in range(attempts)], oldest=START)
        assert (found.verdict is Verdict.BREACH) == (attempts >= 5)
        assert found.warns
        assert ("let newer rows come" in found.because) == (attempts >= 5)


def test_comparisons_are_remembered_by_the_rows_that_decided() -> None:
    entries = [
        entry(event(because="so", verdict=None, champion="v1", deciding=deciding), at=START, run="r")
        for event in (Selected, Compared)
        for deciding in (Span(rows=9, newest=START), Span())
    ]
    assert memory.fold(entries).uses == (Use("r", START), Use("r", START))
