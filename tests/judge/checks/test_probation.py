from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core.events import Standing, Window
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.judge.checks.probation import LEVEL_WINDOWS, MOST_WINDOWS, check, standing
from retrain_trigger.judge.metrics import Measure

F1, COST = Measure("f1"), Measure("cost", cost=(1.0, 5.0))
OPTIONS = {"measure": F1, "margin": 0.02, "looks": 7, "min_rows": 200}
cells = st.tuples(*[st.integers(0, 400)] * 4)
windows = st.lists(cells.map(lambda counts: Window(None, None, counts)), min_size=1, max_size=12)


def counted(right: int, rows: int = 500) -> Window:
    """A window of which so many of 150 positives were found, and as many false ones as missed."""
    missed = 150 - right
    return Window(None, None, (right, missed, missed, rows - 150 - missed))


def judged(before: list[Window], now: list[Window], **options: object) -> Finding:
    was = standing("v1", before, F1, threshold=0.85)
    return check(was, now, **{**OPTIONS, **options})  # type: ignore[arg-type]


@given(windows, windows)
def test_every_table_of_counts_gets_a_finding_and_unknown_has_no_value(before: list[Window], now: list[Window]) -> None:
    finding = judged(before, now)
    assert (finding.value is None) == (finding.verdict is Verdict.UNKNOWN)
    assert finding.value is None or 1 <= finding.value <= 1e300
    if finding.verdict is Verdict.BREACH:
        assert finding.evidence["fall"] >= 0.02


@given(windows)
def test_a_champion_exactly_as_good_is_never_rolled_back(same: list[Window]) -> None:
    was = standing("v1", same, F1, threshold=0.85)
    assert check(was, was.windows[-was.level :], **OPTIONS).verdict is not Verdict.BREACH  # type: ignore[arg-type]


def test_the_worse_it_is_the_longer_the_odds() -> None:
    before = [counted(130)] * 20
    odds = [judged(before, [counted(right)] * 2).value or 0.0 for right in (130, 120, 110, 90, 60)]
    assert all(one < other for one, other in pairwise(odds))
    assert judged(before, [counted(60)]).verdict is Verdict.BREACH


def test_a_fall_of_less_than_the_margin_is_no_reason_however_certain() -> None:
    before, now = (
        [Window(None, None, (8500, 1500, 1500, 88500))] * 10,
        [Window(None, None, (8400, 1600, 1600, 88400))] * 7,
    )
    assert judged(before, now, margin=0.02).verdict is Verdict.PASS
    assert judged(before, now, margin=0.0).verdict is Verdict.BREACH


def test_windows_that_swing_need_a_larger_fall() -> None:
    calm, wild = [counted(130)] * 20, [counted(115), counted(145)] * 10
    now = [counted(115)] * 3
    assert judged(calm, now).verdict is Verdict.BREACH
    assert judged(wild, now).verdict is Verdict.PASS


def test_the_level_is_the_stretch_that_was_found_bad() -> None:
    was = standing("v1", [counted(140)] * 80 + [counted(90)] * 3, F1, threshold=0.85)
    assert (was.level, len(was.windows)) == (3, MOST_WINDOWS)
    good = standing("v1", [counted(140)] * 80, F1, threshold=0.85)
    assert good.level == LEVEL_WINDOWS
    assert decoded(Standing, encoded(was)) == was


@given(st.integers(90, 140), st.integers(1, 6), st.integers(1, 60))
def test_looks_share_one_in_a_hundred(right: int, days: int, looks: int) -> None:
    before, now = [counted(130)] * 20, [counted(right)] * days
    finding = judged(before, now, looks=looks, margin=0.0)
    assert finding.limit == 100 * looks
    assert finding.value == judged(before, now, looks=1, margin=0.0).value  # odds are of what was seen, whoever asks
    assert finding.value is not None
    assert (finding.verdict is Verdict.BREACH) == (finding.value >= 100 * looks)


def test_of_equally_good_champions_at_most_one_in_a_hundred_is_rolled_back_however_often_one_looks() -> None:
    random, probations, looks = np.random.default_rng(9), 300, 7
    share = np.array((0.26, 0.04, 0.04, 0.66))
    drawn = random.multinomial(500, share, size=(probations, 14 + looks))
    rolled_back = once = 0
    for probation in drawn:
        days = [Window(None, None, (int(tp), int(fp), int(fn), int(tn))) for tp, fp, fn, tn in probation]
        was = standing("v1", days[:14], F1, threshold=0.5)
        odds = [
            check(was, days[14 : 15 + look], **{**OPTIONS, "margin": 0.0}).value or 0.0  # type: ignore[arg-type]
            for look in range(looks)
        ]
        rolled_back += max(odds) >= 100 * looks
        once += max(odds) >= 100
    assert rolled_back <= probations / 100
    assert once > probations / 100  # what looking seven times comes to where they do not share


def of_three_classes(right: float, *, days: int, seed: int) -> list[Window]:
    """Windows of 500 rows, half of them of the first class, a tenth of the last; each is right so often."""
    share = np.array((0.5, 0.4, 0.1))
    chances = (np.full((3, 3), (1 - right) / 2) + np.eye(3) * (right - (1 - right) / 2)) * share[:, None]
    drawn = np.random.default_rng(seed).multinomial(500, chances.ravel(), size=days)
    tables = [dict(zip(product("abc", "abc"), map(int, cells), strict=True)) for cells in drawn]
    return [Window(None, 500, None, Confusion(cells)) for cells in tables]


@pytest.mark.parametrize("metric", ["f1_macro", "balanced_accuracy"])
def test_several_classes_are_compared_by_their_tables(metric: str) -> None:
    measure, ended = Measure(metric), dict.fromkeys((0.86, 0.76), 0)
    for probation in range(60):
        before = of_three_classes(0.86, days=14, seed=probation)
        was = standing("v1", before, measure, threshold=0.5)
        for right in ended:
            now = of_three_classes(right, days=7, seed=1000 + probation)
            odds = [
                check(was, now[:look], measure, margin=0.0, looks=7, min_rows=200).value or 0.0 for look in (1, 3, 7)
            ]
            ended[right] += max(odds) >= 700
    assert ended[0.86] <= 1
    assert ended[0.76] >= 58


def test_the_level_of_several_classes_is_the_stretch_that_was_found_bad_and_is_kept_in_the_ledger() -> None:
    days = [*of_three_classes(0.9, days=20, seed=1), *of_three_classes(0.6, days=3, seed=2)]
    was = standing("v1", days, Measure("f1_macro"), threshold=0.8)
    assert was.level == 3
    assert decoded(Standing, encoded(was)) == was
    now = of_three_classes(0.62, days=3, seed=3)
    finding = check(was, now, Measure("f1_macro"), margin=0.02, looks=7, min_rows=200)
    assert finding.verdict is Verdict.PASS
    assert finding.evidence["overdispersion"] >= 1


def test_a_class_that_only_one_of_them_met_is_in_neither_of_the_levels() -> None:
    two = [Window(None, 200, None, Confusion({("a", "a"): 90, ("a", "b"): 10, ("b", "b"): 100}))] * 5
    three = [
        Window(None, 250, None, (two[0].confusion or Confusion({})) + Confusion({("c", "c"): 2, ("c", "b"): 8}))
    ] * 3
    measure = Measure("balanced_accuracy")
    was = standing("v1", two, measure, threshold=0.5)
    finding = check(was, three, measure, margin=0.02, looks=7, min_rows=200)
    assert (finding.verdict, finding.evidence["fall"]) == (Verdict.PASS, 0)


OUTAGE = counted(40)


@pytest.mark.parametrize("place", range(29))
def test_an_outage_day_of_the_predecessor_hides_no_fall_and_makes_none(place: int) -> None:
    before = [counted(132)] * 30
    before[place] = OUTAGE
    assert judged(before, [counted(117)] * 7).verdict is Verdict.BREACH
    assert judged(before, [counted(132)] * 7).verdict is Verdict.PASS


@pytest.mark.parametrize("place", range(1, 7))
def test_an_outage_day_of_its_own_rolls_no_champion_back_and_saves_none(place: int) -> None:
    before, equal, worse = [counted(132)] * 30, [counted(132)] * 7, [counted(117)] * 7
    equal[place] = worse[place] = OUTAGE
    assert all(judged(before, equal[:looks]).verdict is Verdict.PASS for looks in range(1, 8))
    assert judged(before, worse).verdict is Verdict.BREACH


def test_two_bad_days_in_a_row_are_no_outage() -> None:
    before, now = [counted(132)] * 30, [counted(132)] * 3
    assert judged(before, [*now, OUTAGE]).verdict is Verdict.PASS
    assert judged(before, [*now, OUTAGE, OUTAGE]).verdict is Verdict.BREACH


def test_the_first_day_of_a_fall_is_what_a_successor_is_held_against() -> None:
    was = standing("v1", [counted(132)] * 20 + [counted(60)] * 2, F1, threshold=0.85)
    assert was.level == 2
    low = standing("v1", [counted(132)] * 20 + [counted(126)], F1, threshold=0.85)
    assert low.level == LEVEL_WINDOWS  # a window that is a little low is no stretch


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        ([counted(130)] * 9, [], "no f1 was measured since its promotion"),
        ([counted(130)] * 9, [Window(None, None, (0, 20, 20, 60))], "100 labelled rows are fewer than"),
        ([Window(0.9, None, None)] * 2, [Window(0.1, None, None)], "too few windows of champion and predecessor"),
        ([counted(130)] * 9, [Window(None, None, (0, 0, 0, 500))], "too few windows of champion and predecessor"),
    ],
)
def test_unknown_never_acts(before: list[Window], now: list[Window], why: str) -> None:
    finding = judged(before, now)
    assert finding.verdict is Verdict.UNKNOWN
    assert why in finding.because


def test_a_cost_that_rises_is_worse() -> None:
    before = [Window(None, None, (100, 20, 10, 370))] * 10
    now = [Window(None, None, (100, 60, 40, 300))] * 2
    was = standing("v1", before, COST, threshold=0.2)
    assert check(was, now, **{**OPTIONS, "measure": COST}).verdict is Verdict.BREACH  # type: ignore[arg-type]
    assert check(was, before[:2], **{**OPTIONS, "measure": COST}).verdict is Verdict.PASS  # type: ignore[arg-type]
