from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from retrain_trigger.judge.checks.lateness import Delay
from retrain_trigger.judge.gates.deciding import Chance, Rows, Terms, lacking

NOW = datetime(2026, 3, 20, tzinfo=UTC)
ASKED = Terms(
    min_rows=500, window=timedelta(days=1), max_age=timedelta(days=3), now=NOW, since=NOW - timedelta(days=30)
)
LATE = Delay(timedelta(days=1), timedelta(days=5), timedelta(days=9))


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


ENOUGH = Rows(
    told="on the hold-out",
    labels={"0": 400, "1": 200},
    classes=2,
    newest=ago(1),
    newest_deciding=ago(1),
    breached=ago(2),
    located=True,
)
FEW = replace(ENOUGH, labels={"0": 300, "1": 100})
ONE = replace(ENOUGH, labels={"0": 600})

CASES = {
    "enough": (ENOUGH, None, ""),
    "enough, of a breach without a time": (replace(ENOUGH, breached=None, located=False), None, ""),
    "few": (
        FEW,
        Chance.COMES,
        "100 rows more needed on the hold-out (promotion.min_rows 500); training waits for them",
    ),
    "few, and labels are late": (replace(FEW, delay=LATE), Chance.COMES, "labels take 5 days (median), 9 days (99 %)"),
    "few, and none has come for long": (replace(FEW, newest=ago(3.1)), Chance.LATE, "give labels the time they came"),
    "few, at the last moment": (replace(FEW, newest=ago(3)), Chance.COMES, "training waits"),
    "few, for as long as labels take": (replace(FEW, newest=ago(12), delay=LATE), Chance.COMES, "training waits"),
    "few, for longer": (replace(FEW, newest=ago(12.1), delay=LATE), Chance.STOPPED, "are labelled rows still written?"),
    "none at all": (replace(FEW, labels={}, newest=None), Chance.LATE, "500 rows more needed"),
    "one class": (ONE, Chance.COMES, "one class only, '0' in all 600, and two are needed"),
    "one class, and no other is known": (replace(ONE, classes=1), Chance.STOPPED, "have all labels come?"),
    "one class, and none has come for long": (replace(ONE, newest=ago(4)), Chance.LATE, "one class only"),
    "no row of the breach": (replace(ENOUGH, located=False), Chance.COMES, "waited for until 2026-03-22 00:00Z"),
    "no row of the breach, labels late": (
        replace(ENOUGH, located=False, breached=ago(9), delay=LATE),
        Chance.COMES,
        "expected about 2026-03-21 00:00Z, and waited for until 2026-03-24 00:00Z",
    ),
    "no row of the breach, for long": (replace(ENOUGH, located=False, breached=ago(4.1)), None, ""),
    "too few windows": (
        replace(ENOUGH, missing=2),
        Chance.COMES,
        "2 more windows of rows needed that the champion was not",
    ),
    "a breach that began within the rows that decide": (
        replace(ENOUGH, after=ago(2), began=ago(2)),
        Chance.COMES,
        "1 more window of rows needed: all rows since 2026-03-18 00:00Z, when the breach began, decide",
    ),
    "that breach, and none has come for long": (
        replace(ENOUGH, after=ago(6), began=ago(6), newest=ago(4)),
        Chance.LATE,
        "when the breach began, decide, and a challenger must learn from some",
    ),
    "a breach that began a window before": (replace(ENOUGH, after=ago(2), began=ago(3)), None, ""),
    "stale": (
        replace(ENOUGH, located=False, breached=None, newest_deciding=ago(4)),
        Chance.LATE,
        "the rows on the hold-out are stale",
    ),
}


@pytest.mark.parametrize(("rows", "chance", "said"), CASES.values(), ids=list(CASES))
def test_what_the_deciding_rows_lack(rows: Rows, chance: Chance | None, said: str) -> None:
    found = lacking(rows, ASKED)
    assert (found and found.chance) == chance
    assert said in (found.because if found else "")


@pytest.mark.parametrize("name", CASES)
def test_a_forced_training_waits_for_nothing_but_the_window_that_breached(name: str) -> None:
    awaited = {"no row of the breach", "no row of the breach, labels late"}
    assert (lacking(CASES[name][0], ASKED, forced=True) is not None) == (name in awaited)
