from datetime import UTC, datetime, timedelta

import pytest

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.checks import slices
from retrain_trigger.judge.checks.evidence import begin
from retrain_trigger.judge.checks.point import check as point
from retrain_trigger.judge.checks.slices import MOST, Slice, apart
from retrain_trigger.judge.checks.windows import measured
from retrain_trigger.judge.metrics import Measure
from retrain_trigger.judge.policy import Patience

START = datetime(2026, 1, 5, tzinfo=UTC)
GOOD, BAD = (95, 5, 5, 95), (60, 20, 20, 100)


def window(day: int, **cells: tuple[int, int, int, int] | None) -> WindowCounts:
    """Make a window of tp, fp, fn, tn by region; `nowhere` are the rows without one."""
    pairs = (("1", "1"), ("0", "1"), ("1", "0"), ("0", "0"))
    found = {
        ("region", None if value == "nowhere" else value, *pair): count
        for value, counts in cells.items()
        for pair, count in zip(pairs, counts or (), strict=True)
    }
    rows = sum(found.values())
    return WindowCounts(
        start=START + timedelta(days=day),
        model=None,
        rows=rows,
        labelled=rows,
        confusion=Confusion(dict.fromkeys(pairs, rows // 4)),
        slices=found,
    )


def judged(windows: list[WindowCounts]) -> Finding:
    found = apart(windows, ["region"])
    fresh = begin("f1", threshold=0.85, false_alarm_every=1000 * len(found.windows))
    detectors = {}
    for each, own in found.windows.items():
        detector = fresh
        for m in measured(own, Measure("f1"), coverage=0.0):
            detector = detector.after(m.counts or (0, 0, 0, 0))
        detectors[each] = detector
    return slices.check(detectors, found)


def test_a_slice_that_does_worse_alone_is_named_and_only_warns() -> None:
    finding = judged([window(day, north=BAD, south=GOOD, east=GOOD) for day in range(20)])
    assert finding.verdict is Verdict.BREACH
    assert finding.because.startswith(
        "region 'north' is under performance_threshold 0.85: f1 0.75 over the last 20 windows"
    )
    assert finding.warns
    assert finding.evidence["breached"] == [["region", "north"]]
    assert finding.limit == 1000


def test_good_slices_pass_and_rows_without_a_value_are_a_slice() -> None:
    windows = [window(day, north=GOOD, nowhere=BAD if day > 5 else GOOD) for day in range(30)]
    assert judged(windows[:6]).verdict is Verdict.PASS
    assert judged(windows).evidence["breached"] == [["region", None]]
    assert judged(windows).because.startswith("no region is under performance_threshold")


def test_more_slices_ask_for_more_evidence_of_each() -> None:
    few = [window(day, north=BAD, south=GOOD) for day in range(3)]
    many = [window(day, north=BAD, **{f"r{n}": GOOD for n in range(40)}) for day in range(3)]
    north = Slice("region", "north")
    assert apart(few, ["region"]).windows[north] == apart(many, ["region"]).windows[north]
    assert (judged(few).value or 0) > 2 * (judged(many).value or 0)


def test_at_most_fifty_values_are_judged_and_the_rest_is_said() -> None:
    windows = [window(0, **{f"r{n:03}": (n + 1, 0, 0, 0) for n in range(MOST + 7)})]
    found = apart(windows, ["region", "colour"])
    assert len(found.windows) == MOST
    assert Slice("region", "r056") in found.windows
    assert Slice("region", "r006") not in found.windows
    because = judged(windows).because
    assert "7 more values of region are not judged" in because
    assert apart(windows, ["colour"]).absent == ["colour"]
    assert slices.nothing(apart(windows, ["colour"])).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("rows", "verdict"), [(1, Verdict.BREACH), (201, Verdict.UNKNOWN)])
def test_by_points_a_slice_needs_rows(rows: int, verdict: Verdict) -> None:
    found = apart([window(0, north=BAD)], ["region"])
    points = {
        each: point(
            measured(own, Measure("f1"), coverage=0.0),
            Measure("f1"),
            threshold=0.85,
            min_rows=rows,
            patience=Patience(1, 1),
        )
        for each, own in found.windows.items()
    }
    finding = slices.check_points(points, found, metric="f1", threshold=0.85)
    assert finding.verdict is verdict
    assert finding.warns
    assert ("region 'north': f1 0.75" in finding.because) is (verdict is Verdict.BREACH)
