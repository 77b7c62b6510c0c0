import json
import math
from collections.abc import Iterable, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_trigger.core.findings import Verdict
from retrain_trigger.core.records import encoded
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.judge.checks.classes import FALLS, Influences, OfClasses, estimate, margins, shares
from retrain_trigger.judge.checks.detector import MOST_EVIDENCE, MOST_POOLED, Detector
from retrain_trigger.judge.checks.evidence import alert, begin, check
from retrain_trigger.judge.metrics import METRICS, score

OF_CLASSES = ["f1_macro", "balanced_accuracy"]
COUNTS = st.one_of(st.integers(0, 40), st.integers(0, 10**9))


def square(cells: Sequence[Sequence[int]], names: Sequence[str] = "abcdefghij") -> Confusion:
    """The table of a list of lists."""
    own = names[: len(cells)]
    return Confusion(
        {
            (label, said): rows
            for label, row in zip(own, cells, strict=True)
            for said, rows in zip(own, row, strict=True)
        }
    )


def squares(classes: int, counts: st.SearchStrategy[int] = COUNTS) -> st.SearchStrategy[list[list[int]]]:
    return st.lists(st.lists(counts, min_size=classes, max_size=classes), min_size=classes, max_size=classes)


def begun(metric: str = "f1_macro", threshold: float = 0.85, alarm: float = 1000) -> Detector[Confusion]:
    return begin(metric, threshold=threshold, false_alarm_every=alarm)


def after(detector: Detector[Confusion], windows: Iterable[Confusion]) -> Detector[Confusion]:
    return reduce(Detector.after, windows, detector)


def even(right: int, wrong: int, classes: int = 3) -> Confusion:
    """A table in which each class has so many right rows, and so many taken for the next one."""
    names = "abcdefghij"[:classes]
    cells = {(name, name): right for name in names}
    return Confusion(cells | {(name, names[place - 1]): wrong for place, name in enumerate(names)})


@pytest.mark.parametrize("metric", OF_CLASSES)
@settings(max_examples=60, deadline=None)
@given(tables=st.integers(2, 4).flatmap(lambda k: st.lists(squares(k), max_size=14)))
def test_any_tables_are_valid_and_every_number_is_finite(metric: str, tables: list[list[list[int]]]) -> None:
    detector = after(begun(metric), map(square, tables))
    assert 0 <= detector.evidence <= MOST_EVIDENCE
    assert 1 <= detector.overdispersion < math.inf
    assert detector.windows == sum(square(each).rows > 0 for each in tables)
    json.dumps(encoded(check(detector)), allow_nan=False)


@pytest.mark.parametrize("metric", OF_CLASSES)
@given(cells=squares(3, st.integers(10, 200)))
def test_it_is_the_metric_of_the_same_name(metric: str, cells: list[list[int]]) -> None:
    assert begun(metric).after(square(cells)).latest_value == pytest.approx(score(square(cells), metric, "a"))


@pytest.mark.parametrize("metric", OF_CLASSES)
@settings(max_examples=40, deadline=None)
@given(tables=st.lists(squares(4, st.integers(0, 60)), min_size=1, max_size=8), order=st.permutations(range(4)))
def test_other_names_in_another_order_are_the_same_evidence(
    metric: str, tables: list[list[list[int]]], order: list[int]
) -> None:
    moved = [square([[cells[i][j] for j in order] for i in order], ["zebra", "1", "Ä", "-"]) for cells in tables]
    one, other = after(begun(metric), map(square, tables)), after(begun(metric), moved)
    assert one.logs == other.logs
    assert one.swings == other.swings
    assert (one.stretch_windows, one.pooled, one.alone) == (other.stretch_windows, other.pooled, other.alone)


@pytest.mark.parametrize("metric", OF_CLASSES)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), classes=st.integers(2, 4))
def test_the_influence_of_a_row_is_the_derivative_of_the_metric(metric: str, data: st.DataObject, classes: int) -> None:
    cells = data.draw(squares(classes, st.integers(1, 50)))
    label, said = (data.draw(st.integers(0, classes - 1)) for _ in range(2))
    many = 10**7
    table = square([[many * count for count in row] for row in cells])
    own = Influences.on(metric, shares(metric, margins(table), table.classes))
    moved = table + Confusion({("abcd"[label], "abcd"[said]): many // 1000})
    change = score(moved, metric, "a") - score(table, metric, "a")
    found = own.of(("abcd"[label], "abcd"[said]))
    assert found * (many // 1000) == pytest.approx(change, rel=0.01, abs=1e-12)
    # The rows themselves pull in all directions: together they change nothing.
    rows = table.cells.items()
    assert math.fsum(count * own.of(cell) for cell, count in rows) == pytest.approx(0, abs=1e-9)


def test_a_class_that_is_left_out_moves_nothing_and_mistakes_for_it_count_still() -> None:
    rows = margins(square([[30, 5, 5], [4, 30, 6], [0, 3, 4]]))
    own = Influences.on("f1_macro", shares("f1_macro", rows, rows.kept))
    assert rows.kept == {"a", "b"}
    assert own.of(("c", "c")) == 0
    assert own.of(("c", "b")) < 0
    assert own.of(("a", "c")) < 0


def test_the_formulas_by_hand() -> None:
    table = square([[40, 10], [5, 45]])
    # F1 is 80/95 and 90/105. With half a row on the diagonal and half a row over the mistakes of each label it is
    # 81/97 and 91/107.
    first, second = 81 / 97, 91 / 107
    right = 40 * ((2 - 2 * first) / (2 * 97)) ** 2 + 45 * ((2 - 2 * second) / (2 * 107)) ** 2
    wrong = 15 * ((first / 97 + second / 107) / 2) ** 2
    value, spread = estimate("f1_macro", table)
    assert (value, spread) == pytest.approx(((80 / 95 + 90 / 105) / 2, right + wrong))
    recalls = [40.5 / 51, 45.5 / 51]
    balanced, variance = estimate("balanced_accuracy", table)
    assert (balanced, variance) == pytest.approx((0.85, sum(r * (1 - r) / 50 for r in recalls) / 4))
    won = OfClasses("f1_macro", 0.9).won(table)
    assert (FALLS[0], FALLS[-1], len(FALLS)) == (0.004, pytest.approx(0.4), 12)
    assert won == pytest.approx([(fall * (0.9 - value) - fall**2 / 2) / spread for fall in FALLS])
    other = square([[48, 2], [3, 47]])
    twice = after(begun(threshold=0.9), [table, other])
    theta, v = estimate("f1_macro", other)
    assert twice.swings == pytest.approx(((theta - value) ** 2 / (v + spread),))
    assert begun(threshold=0.9).after(table).evidence == pytest.approx(np.exp(won).mean())


@pytest.mark.parametrize("metric", OF_CLASSES)
@pytest.mark.parametrize("alarm", [20, 108, 1000, 10**9])
def test_one_window_alone_never_alarms_and_two_do(metric: str, alarm: float) -> None:
    once = begun(metric, alarm=alarm).after(even(10**5, 10**6))
    assert once.evidence == pytest.approx(min(math.sqrt(12 * alarm), alarm / 3))
    assert not once.alarms
    assert once.after(even(10**5, 10**6)).alarms


@pytest.mark.parametrize("metric", OF_CLASSES)
def test_a_model_without_a_mistake_never_alarms(metric: str) -> None:
    detector = begun(metric, threshold=1.0, alarm=2)
    for rows in (10, 500, 10**9) * 5:
        detector = detector.after(even(rows, 0))
        assert not detector.alarms


def test_windows_that_swing_are_tempered_and_one_outage_does_not_hide_a_fall() -> None:
    swinging = after(begun(), [even(900, 100), even(800, 200)] * 20)
    assert swinging.overdispersion > 20
    told = after(begun(), [even(90, 10)] * 40).after(even(40, 60))
    assert (told.alerts, told.alarms) == (True, False)
    recovered = after(told, [even(90, 10)] * 7)
    assert not recovered.alarms
    assert after(recovered, [even(75, 25)] * 4).alarms


@pytest.mark.parametrize("metric", OF_CLASSES)
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_the_evidence_of_a_window_averages_one_or_less_at_the_threshold(metric: str, classes: int) -> None:
    tables = drawn(metric, classes=classes, at=0.85, rows=400, windows=1500)
    found = np.exp([begun(metric).game.won(table) for table in tables]).mean(axis=1)
    assert found.mean() <= 1 + 3 * found.std() / math.sqrt(len(found))
    # The bound is no empty one, and a worse model goes far beyond it.
    assert found.mean() >= 0.3
    worse = drawn(metric, classes=classes, at=0.75, rows=400, windows=50)
    assert np.median(np.exp([begun(metric).game.won(table) for table in worse]).mean(axis=1)) > 10


def drawn(metric: str, *, classes: int, at: float, rows: int, windows: int) -> list[Confusion]:
    """Tables of a model whose metric is exactly `at`: equal chances of being right, classes of 1, 1/2, 1/3, ... of the rows."""
    names = "abcdefghij"[:classes]
    share = 1 / np.arange(1, classes + 1)
    share /= share.sum()

    def chances(right: float) -> npt.NDArray[np.float64]:
        spread = np.tile(share, (classes, 1)) * (1 - np.eye(classes))
        wrong = spread / spread.sum(axis=1, keepdims=True) * (1 - right)
        found: npt.NDArray[np.float64] = (wrong + right * np.eye(classes)) * share[:, None]
        return found

    def exact(right: float) -> float:
        table = square(np.rint(chances(right) * 10**12).astype(int).tolist())
        return float(score(table, metric, "a"))

    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if exact(middle) < at else (low, middle)
    found = np.random.default_rng(5).multinomial(rows, chances(low).ravel(), size=windows)
    return [square(each.reshape(classes, classes).tolist(), names) for each in found]


@pytest.mark.parametrize("metric", OF_CLASSES)
@settings(max_examples=40, deadline=None)
@given(tables=st.lists(squares(3, st.integers(2, 6)), max_size=16))
def test_pooled_windows_are_the_sum_of_their_tables(metric: str, tables: list[list[list[int]]]) -> None:
    pieces, sums = list(map(square, tables)), []
    pool = Confusion({})
    for piece in pieces:
        pool = pool + piece
        if OfClasses(metric, 0.85).is_full(pool):
            sums.append(pool)
            pool = Confusion({})
    found, expected = after(begun(metric), pieces), after(begun(metric), sums)
    for field in ("logs", "swings", "alone", "latest", "stretch", "evidence", "alarms"):
        assert getattr(found, field) == getattr(expected, field)
    assert found.pool.rows == pool.rows
    assert found.windows == len(pieces)


def test_a_class_with_too_few_rows_is_waited_for_then_left_out_and_named() -> None:
    daily = Confusion.naming({("a", "a"): 80, ("a", "b"): 30, ("b", "b"): 70, ("b", "c"): 20}, "abc")
    waiting = begun().after(daily)
    finding = check(waiting, note="2026-01-05")
    assert (finding.verdict, finding.evidence["needs"], finding.evidence["until"]) == (Verdict.UNKNOWN, 9, None)
    assert finding.because == (
        "f1_macro waits for rows: class 'c' has 0 of 10 labelled rows in 1 window; windows are pooled until each class "
        "has so many, at most 9 more windows (2026-01-05)"
    )
    full = after(waiting, [daily] * (MOST_POOLED - 1))
    f1 = {name: METRICS["f1"].of({name: Confusion(daily.cells).one_vs_rest(name)}, name) for name in "ab"}
    assert full.latest_value == pytest.approx(sum(f1.values()) / 2)
    assert check(full, note="2026-01-14").because == (
        "f1_macro 0.79 over 10 windows is under performance_threshold 0.85, not proven yet: evidence 72 of 1,000, "
        "about 10 more such windows would prove it (2026-01-14; left out: class 'c' has 0 of 10 labelled rows)"
    )
    later = check(full.after(daily), note="2026-01-14").because
    assert later.endswith("; 1 later window is pooled with the next: class 'c' has 0 of 10 labelled rows)")
    assert "about 9 more such windows" in later
    found = check(after(full, [daily] * MOST_POOLED), note="2026-01-24")
    assert found.verdict is Verdict.BREACH
    assert found.because.startswith("f1_macro 0.79 over the last 20 windows is under performance_threshold 0.85: ")


def test_classes_come_to_have_rows_as_soon_as_they_do() -> None:
    rare = even(50, 10) + Confusion({("c", "c"): 4 - 50, ("c", "b"): -10})
    detector = after(begun(), [rare] * 2)
    assert (detector.pooled, check(detector).evidence["needs"]) == (2, 1)
    assert (detector.after(rare).pooled, detector.after(rare).latest_windows) == (0, 3)


def test_without_half_of_the_classes_nothing_can_be_told() -> None:
    daily = Confusion.naming({("a", "a"): 80, ("a", "b"): 30, ("b", "b"): 3}, "abcd")
    detector = after(begun(), [even(50, 5), *[daily] * 5])
    assert check(detector).verdict is Verdict.PASS
    detector = after(begun(), [Confusion.naming({("a", "a"): 80, ("a", "b"): 30}, "abcde")] * MOST_POOLED)
    finding = check(detector)
    assert (finding.verdict, detector.evidence, "until" in finding.evidence) == (Verdict.UNKNOWN, 0, False)
    assert finding.because == (
        "f1_macro cannot be told: classes 'b' (0), 'c' (0), 'd' (0) and 1 more have fewer than 10 labelled rows in 10 "
        "windows, so more than half of the classes would be left out"
    )


def test_ten_rows_of_a_class_are_enough_and_half_of_the_classes_are() -> None:
    ten, nine = (even(50, 5) + Confusion({("d", "d"): rows}) for rows in (10, 9))
    assert begun().after(ten).latest_windows == 1
    assert begun().after(nine).latest_windows == 0
    half = Confusion.naming({("a", "a"): 80, ("a", "b"): 30, ("b", "b"): 70}, "abcd")
    kept = after(begun(), [half] * MOST_POOLED)
    assert kept.latest_value == pytest.approx(score(half, "f1_macro", "a"))
    more = Confusion.naming(half.cells, "abcde")
    assert math.isnan(after(begun(), [more] * MOST_POOLED).latest_value)


def test_two_windows_are_apart_by_the_classes_that_both_have() -> None:
    game = begun("balanced_accuracy").game
    three = Confusion({("a", "a"): 90, ("a", "b"): 10, ("b", "b"): 100, ("c", "b"): 100})
    two = Confusion.naming({("a", "a"): 90, ("a", "b"): 10, ("b", "b"): 100}, "abc")
    assert game.value(three) == pytest.approx(1.9 / 3)
    assert game.value(two) == pytest.approx(1.9 / 2)
    assert game.swing(three, two) == game.swing(two, three) == 0
    assert game.swing(three, Confusion({})) is None


def test_rows_of_one_class_say_nothing() -> None:
    detector = after(begun(), [Confusion({("a", "a"): 500})] * MOST_POOLED)
    assert check(detector).verdict is Verdict.UNKNOWN
    assert "all rows are of class 'a'" in check(detector).because


def test_a_class_that_was_seen_once_is_known_from_then_on() -> None:
    detector = after(begun(), [even(50, 5, classes=4), even(50, 5), even(50, 5)])
    assert detector.pooled == 2
    assert detector.game.short(detector.pool) == {"d": 0}


def test_pooled_windows_alert_as_one_and_the_sentence_says_how_many() -> None:
    half = Confusion({cell: rows // 2 for cell, rows in even(6, 12).cells.items()})
    good = even(500, 20)
    detector = after(begun(), [*[good] * 10, half])
    assert not detector.alerts
    told = detector.after(half)
    assert told.alerts
    finding = alert(told, note="2026-01-05")
    assert finding is not None
    assert "beyond chance: evidence " in finding.because
    assert " from these 2 windows alone, alerts begin at 1,000,000 (2026-01-05)" in finding.because
    assert told.last_alert is not None
    assert (told.last_alert.window, told.last_alert.rows) == (12, 54)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        begun().after(Confusion({("a", "a"): -1}))
