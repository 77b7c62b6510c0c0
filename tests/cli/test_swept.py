"""What a person reads of a sweep over a log."""

from dataclasses import replace

import pytest

from retrain_trigger.cli import swept
from retrain_trigger.questions.sweep import Part, Sweep, Tried

NOTHING = Part(falls=0, trainings=0, needless=0, again=0, waited=0, after=None)
SLOW = replace(NOTHING, falls=2, trainings=2, waited=1_100, after=5.5, again=3)
QUICK = replace(SLOW, waited=1, trainings=1, needless=1, after=1)


def tried(*given: str, first: Part = SLOW, last: Part = SLOW, best: bool = False) -> Tried:
    return Tried(given=given, first=first, last=last, acts=(), best=best)


def swept_over(own: Tried, *others: Tried, chosen: Tried | None = None, idle: tuple[str, ...] = ()) -> list[str]:
    return swept.lines(
        Sweep(
            metric="f1",
            threshold=0.85,
            windows=1_200,
            times=("2026-01-01T00:00:00+00:00", "2028-03-11T00:00:00+00:00", "f1.log:1200"),
            own=own,
            tried=others,
            chosen=chosen,
            idle=idle,
            notes=(),
        )
    )


def test_a_row_has_both_parts_and_marks_what_none_beats() -> None:
    lines = swept_over(tried(), tried("trigger.patience=1 of 1", first=QUICK, best=True), idle=("promotion.margin",))
    assert lines[:2] == [
        "f1 in 1,200 windows, 2026-01-01 to f1.log:1200, held against performance_threshold 0.85",
        "falls: 2 in the first two thirds, 2 in the last (from 2028-03-11)",
    ]
    assert [line.split() for line in lines[4:7]] == [
        ["trainings", "waited", "after", "needless", "again", "trainings", "waited", "settings"],
        ["2", "1,100", "5.5", "0", "3", "2", "1,100", "as", "configured"],
        ["*", "1", "1", "1", "1", "3", "2", "1,100", "trigger.patience=1", "of", "1"],
    ]
    assert "promotion.margin makes no difference here" in lines


def test_a_fall_in_which_nothing_started_has_no_time_after_it() -> None:
    lines = swept_over(tried(first=replace(SLOW, after=None)))
    assert lines[5].split()[:3] == ["2", "1,100", "-"]


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (QUICK, "to change: trigger.patience: 1 of 1"),
        (SLOW, "to change: nothing; what was chosen is not better on the last third"),
    ],
)
def test_what_was_chosen_is_reported_on_the_last_third(last: Part, said: str) -> None:
    quick = tried("trigger.patience=1 of 1", first=QUICK, last=last)
    told = "1 training, 1 window waited" if last is QUICK else "2 trainings, 1,100 windows waited"
    assert swept_over(tried(), quick, chosen=quick)[-3:] == [
        "chosen on the first two thirds: trigger.patience=1 of 1; 1 training, 1 window waited; as configured: 2 trainings, 1,100 windows waited",
        f"on the last third: {told}; as configured: 2 trainings, 1,100 windows waited",
        said,
    ]


def test_where_nothing_was_chosen_it_says_why() -> None:
    other = tried("trigger.patience=1 of 1")
    assert swept_over(tried(), other)[-1].startswith(
        "to change: nothing; on the first two thirds, no setting tried has"
    )
    assert swept_over(tried(first=NOTHING), other)[-1] == (
        "to change: nothing; without a fall in the first two thirds there is nothing to choose by"
    )
