"""Neighbours in a log, without a copy of them."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from operator import eq

from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core.lines import Lines, Log, carries_drift, has_time, only, since
from retrain_trigger.core.measurements import Mark, Measurement

START = datetime(2026, 1, 1, tzinfo=UTC)
PLACES = st.one_of(st.none(), st.integers(-30, 30))


@st.composite
def logs(draw: st.DrawFn) -> list[Measurement]:
    """Draw a log in which some lines have no time, some state drift, and times may be the same."""
    found: list[Measurement] = []
    for place, (step, dated, drifts) in enumerate(
        draw(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), max_size=25))
    ):
        at = START + timedelta(days=step + sum(1 for _ in found))
        drift = {"age": 0.1} if drifts else {}
        found.append(
            Measurement(value=0.9, where=f"f:{place}", file="f", end=place, at=at if dated else None, drift=drift)
        )
    return found


@given(logs(), st.integers(0, 25), st.integers(0, 25), PLACES, PLACES, st.sampled_from([None, 1, 2, -1, -3]))
def test_they_are_what_a_slice_of_a_list_is(
    log: list[Measurement], end: int, first: int, start: int | None, stop: int | None, step: int | None
) -> None:
    plain = log[:end][first:]
    lines = Lines(Log(log), min(first, end, len(log)), min(end, len(log)))
    assert list(lines) == plain
    assert list(reversed(lines)) == plain[::-1]
    assert list(lines[start:stop:step]) == plain[start:stop:step]
    assert [lines[place] for place in range(-len(plain), len(plain))] == plain * 2
    for asked in (carries_drift, has_time):
        assert list(only(lines, asked)) == only(plain, asked)
        assert list(only(only(lines, carries_drift), asked)) == only(only(plain, carries_drift), asked)


@given(logs(), st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), max_size=12))
def test_what_came_after_a_mark_is_the_same_in_whichever_order_it_is_asked(
    log: list[Measurement], questions: list[tuple[int, int]]
) -> None:
    whole = Log(log)
    for end, marked in questions:
        mark = Mark(log[marked].at if marked < len(log) else None, {"f": marked})
        plain = log[:end]
        newest = list(takewhile(mark.is_before, reversed(plain)))[::-1]
        lines = since(whole.until(min(end, len(log))), mark)
        assert list(map(eq, lines, newest)) == [True] * len(newest)
        assert len(lines) == len(newest) == len(since(plain, mark))
        assert (
            list(since(Lines(whole, min(2, end, len(log)), min(end, len(log))), mark))
            == newest[-max(len(plain) - 2, 0) :][: len(plain[2:])]
        )


def test_the_same_lines_and_more_go_on_and_others_do_not() -> None:
    log = Log([Measurement(value=0.9, where="f:1", file="f", end=9)] * 4)
    assert log.until(3).goes_on(log.until(2))
    assert not log.until(2).goes_on(log.until(3))
    assert not Lines(log, 1, 3).goes_on(log.until(2))
    assert not log.until(3).goes_on(Log(log.all).until(2))
    assert not log.until(3).goes_on(list(log.until(2)))
