"""Slices under the settings: all of them share one rate of false alarms."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from retrain_trigger.config import load as settings
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.pipeline import detection
from retrain_trigger.pipeline.sliced import sliced

START = datetime(2026, 1, 5, tzinfo=UTC)
PAIRS = (("1", "1"), ("0", "1"), ("1", "0"), ("0", "0"))
Cells = dict[str, tuple[int, ...]]


def judged(days: list[Cells], *, alarm: int = 1000) -> Finding:
    """Judge windows of tp, fp, fn, tn by region, as a run does."""
    windows = []
    for day, regions in enumerate(days):
        cells = {
            ("region", region, *pair): count
            for region, counts in regions.items()
            for pair, count in zip(PAIRS, counts, strict=True)
        }
        rows = sum(cells.values())
        windows.append(
            WindowCounts(
                start=START + timedelta(days=day),
                model=None,
                rows=rows,
                labelled=rows,
                confusion=Confusion(dict.fromkeys(PAIRS, rows // 4)),
                slices=cells,
            )
        )
    config = settings.defaults(["trigger.slices=[region]", f"trigger.false_alarm_every={alarm}"])
    finding = sliced(config, windows, positive="1", memo={})
    assert finding is not None
    return finding


@pytest.mark.parametrize("among", [1, 2, 7, 50])
def test_the_evidence_that_an_alarm_takes_grows_with_those_that_share_the_rate(among: int) -> None:
    config = settings.defaults(["trigger.false_alarm_every=300"])
    assert detection.begin(config).false_alarm_every == 300
    assert detection.begin(config, among=among).false_alarm_every == 300 * among


@pytest.mark.parametrize("slices", [1, 2, 5, 20])
def test_a_slice_is_named_exactly_from_the_evidence_on_that_all_slices_share(slices: int) -> None:
    good, bad = (95, 5, 5, 95), (78, 22, 22, 78)
    verdicts = []
    for days in range(1, 25):
        finding = judged([{"north": bad, **{f"r{n}": good for n in range(slices - 1)}}] * days)
        assert finding.value is not None
        assert finding.limit == 1000
        assert (finding.verdict is Verdict.BREACH) == (finding.value >= 1000)
        verdicts.append(finding.verdict)
    assert {Verdict.PASS, Verdict.BREACH} == set(verdicts)


def test_many_slices_at_the_threshold_give_no_more_false_alarms_than_one() -> None:
    def alarms(slices: int, *, alarm: int, streams: int, windows: int) -> int:
        random = np.random.default_rng(20)
        share = np.array((0.85, 0.15, 0.15, 0.85)) / 2  # F1 0.85 exactly
        found = 0
        for _ in range(streams):
            drawn = random.multinomial(60, share, size=(windows, slices))
            days = [{f"r{n}": tuple(map(int, cells)) for n, cells in enumerate(day)} for day in drawn]
            found += judged(days, alarm=alarm).verdict is Verdict.BREACH
        return found

    # The last of ten windows: some slice of 20 is beyond A in one of them, not beyond its share.
    assert alarms(20, alarm=30, streams=40, windows=10) <= 40 * 10 / 30
