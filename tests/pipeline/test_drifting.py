"""What a breach of drift does under the settings, and which columns are named as no inputs."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from retrain_trigger.config import load as settings
from retrain_trigger.core.events import Decided
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.measurements import Mark, Measurement
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.counts.histograms import Bins, Histogram, Watched
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.memory import Attempt, Memory
from retrain_trigger.judge.policy import Action, OnDrift
from retrain_trigger.pipeline import drifting, upgraded
from retrain_trigger.pipeline.check import Judgement, Observed, judged

START = datetime(2026, 1, 1, tzinfo=UTC)
BINS = Bins.numeric([float(edge) for edge in range(1, 10)], [], low=0.0, high=10.0)
NOTHING_YET = Memory()
SAME, MOVED = (*[50] * 10, 0), (*[20] * 5, *[80] * 5, 0)
BEYOND, BELOW = (*[0] * 9, 500, 0), (500, *[0] * 10)


@pytest.mark.parametrize(
    ("overrides", "labelled", "does"),
    [
        ((), False, OnDrift.WARN),
        (("logs.predictions=p.jsonl",), False, OnDrift.RETRAIN),
        (("logs.predictions=p.jsonl",), True, OnDrift.WARN),
        (("logs.predictions=p.jsonl", "logs.labels=l.jsonl"), False, OnDrift.WARN),
        (("logs.predictions=p.jsonl", "logs.metrics=m.jsonl"), False, OnDrift.WARN),
        (("logs.predictions=p.jsonl", "metric=revenue", "logs.metrics=m.jsonl"), False, OnDrift.WARN),
        (("trigger.on_drift=retrain",), True, OnDrift.RETRAIN),
        (("logs.predictions=p.jsonl", "trigger.on_drift=warn"), False, OnDrift.WARN),
    ],
)
def test_drift_retrains_where_it_is_all_there_is_or_where_the_settings_say_so(
    overrides: Sequence[str], *, labelled: bool, does: OnDrift
) -> None:
    assert drifting.decides(settings.defaults(overrides), labelled=labelled) is does


def found(
    days: int,
    *,
    latest: tuple[int, ...] = MOVED,
    usual: tuple[int, ...] = MOVED,
    ignore: str = "",
    past: Memory = NOTHING_YET,
) -> Judgement:
    """Judge so many days of a prediction log with the columns `seq`, as given, and `age`, which never moves."""
    windows = [
        WindowCounts(
            start=START + timedelta(days=day),
            model=None,
            rows=500,
            labelled=0,
            confusion=Confusion({}),
            histograms={"seq": Histogram(latest if day == days - 1 else usual), "age": Histogram(SAME)},
        )
        for day in range(days)
    ]
    reference = {name: Watched(BINS, Histogram((*[500] * 10, 0))) for name in ("seq", "age")}
    config = settings.defaults(["logs.predictions=p.jsonl", f"drift.ignore=[{ignore}]"])
    return judged(config, Observed(windows=windows, reference=reference), past, now=START + timedelta(days=days))


def drift_of(judgement: Judgement) -> Finding:
    return next(finding for finding in judgement.findings if finding.name == "drift")


def test_a_column_that_breaches_in_every_window_of_a_month_is_named_with_the_key() -> None:
    finding = drift_of(found(30))
    assert finding.evidence["always"] == ["seq"]
    assert "seq breached in every window of 30 days" in finding.because
    assert "`drift: {ignore: [seq]}` leaves it out" in finding.because
    assert "every window" not in drift_of(found(29)).because
    assert "every window" not in drift_of(found(40, usual=SAME)).because


def test_drift_alone_starts_one_training_for_each_column_until_a_promotion() -> None:
    assert found(3).decision.action is Action.RETRAIN
    tried = Memory().attempted(Attempt(START + timedelta(days=1), Mark(), frozenset({"seq"})))
    again = found(3, past=tried)
    assert again.decision.action is not Action.RETRAIN
    assert (
        "this drift has started a training already, and the champion was kept: now it only warns"
        in drift_of(again).because
    )
    other = Memory().attempted(Attempt(START + timedelta(days=1), Mark(), frozenset({"age"})))
    assert found(3, past=other).decision.action is Action.RETRAIN
    assert found(3, past=replace(tried, refusals=0)).decision.action is Action.RETRAIN


@pytest.mark.parametrize("latest", [BEYOND, BELOW])
def test_a_column_all_of_which_is_new_is_named_at_once(latest: tuple[int, ...]) -> None:
    finding = drift_of(found(1, latest=latest))
    assert finding.evidence["beyond"] == ["seq"]
    assert "`drift: {ignore: [seq]}` leaves it out" in finding.because
    assert "ignore" not in drift_of(found(1)).because


def test_a_column_that_is_left_out_never_breaches() -> None:
    assert drift_of(found(30, ignore="seq")).verdict is Verdict.PASS


def test_drift_that_a_log_states_for_a_month_is_named_too() -> None:
    lines = [
        Measurement(
            value=0.9, where=f"log:{day}", file="", end=day, at=START + timedelta(days=day), drift={"month": 0.5}
        )
        for day in range(30)
    ]
    config = settings.defaults()

    def says(measurements: Sequence[Measurement]) -> str:
        now = START + timedelta(days=30)
        return drift_of(judged(config, Observed(measurements=measurements), Memory(), now=now)).because

    assert "`drift: {ignore: [month]}`" in says(lines)
    reached = replace(lines[9], drift={"month": config.drift_threshold})
    assert "`drift: {ignore: [month]}`" in says([*lines[:9], reached, *lines[10:]])
    assert "ignore" not in says([*lines[:9], replace(lines[9], drift={"month": 0.1}), *lines[10:]])


def test_the_first_run_after_an_older_version_says_that_drift_only_warns_now_and_no_later_one_does() -> None:
    finding = drift_of(found(1))
    config = settings.defaults()

    def notes(*overrides: str, on_drift: str | None = None) -> list[str]:
        past = Memory(last_decision=Decided(action="healthy", because="", on_drift=on_drift))
        return list(upgraded.drift(settings.defaults(overrides), (finding,), past, labelled=False))

    (said,) = notes()
    assert said.startswith("drift only warns from this version on, since f1 is measured as well")
    assert notes(on_drift="auto") == notes("trigger.on_drift=retrain") == []
    assert list(upgraded.drift(config, (finding,), Memory(), labelled=False)) == []
    assert list(upgraded.drift(config, (), Memory(), labelled=False)) == []
