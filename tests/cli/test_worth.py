"""What a person reads of a backtest."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from retrain_trigger.cli import worth
from retrain_trigger.judge.metrics import Measure
from retrain_trigger.judge.worth import Gain
from retrain_trigger.questions.backtest import Beside, Report
from retrain_trigger.questions.lives import Hindsight, Life

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def beside(name: str, score: float, gain: Gain) -> Beside:
    return Beside(name=name, score=score, trainings=3, seconds=4.5, gain=gain)


def report(*tried: Beside, left_out: Mapping[str, int] = MappingProxyType({})) -> Report:
    attempts = (
        Hindsight(window=2, promoted=True, gain=0.1, wrong=False),
        Hindsight(window=5, promoted=False, gain=-0.1, wrong=True),
        Hindsight(window=7, promoted=False, gain=None, wrong=False),
    )
    return Report(
        metric="f1",
        windows=tuple(START + day * DAY for day in range(9)),
        length=DAY,
        live=Life(name="live", windows=(), measure=Measure("f1"), attempts=attempts),
        score=0.84,
        trainings=7,
        seconds=12.3,
        others=(beside("never", 0.7, Gain(0.14, 0.1, 0.2)),),
        tried=tried,
        stretch=(START, START + 5 * DAY, 0.5, 0.4),
        left_out=left_out,
    )


def test_the_score_comes_first_then_what_else_might_have_been_and_what_became_of_attempts() -> None:
    lines = worth.lines(report())
    assert lines[0] == "f1 0.8400: what was live in 9 windows, 2026-01-01 to 2026-01-10"
    assert [line.split() for line in lines[3:5]] == [
        ["live", "0.8400", "7", "12.3"],
        ["never", "0.7000", "3", "4.5", "+0.1400,", "+0.1000", "to", "+0.2000"],
    ]
    assert "attempts: 3; promoted 1 (0 wrongly), kept the champion 2 (1 wrongly)" in lines
    assert lines[-1] == "worst stretch: 2026-01-01 to 2026-01-06, f1 0.5000 live, 0.4000 never"


def test_the_setting_to_change_is_named_only_if_it_is_better_beyond_chance() -> None:
    chance, better = Gain(-0.05, -0.11, 0.01), Gain(-0.04, -0.06, -0.02)
    assert worth.lines(report(beside("trigger.probe=5", 0.89, chance)))[-1] == (
        "to change: nothing; none of the settings tried is better beyond chance"
    )
    tried = (beside("trigger.probe=5", 0.89, chance), beside("promotion.margin=0.01", 0.88, better))
    assert worth.lines(report(*tried))[-1] == "to change: promotion.margin: 0.01 is better by 0.04, beyond chance"


def test_rows_that_could_not_be_played_are_counted() -> None:
    found = report(left_out={"dated later than now": 1, "without a label": 1200})
    assert worth.lines(found)[-1] == "left out: 1 row dated later than now, 1,200 without a label"
    assert found.to_json()["left_out"] == {"dated later than now": 1, "without a label": 1200}
