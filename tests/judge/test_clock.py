"""The edges of doubt, and an alert that is told also where nothing is done."""

from datetime import UTC, datetime, timedelta

from retrain_trigger.core.findings import ALERT, Finding, Verdict
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.judge import clock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY, TICK = timedelta(days=1), timedelta(microseconds=1)


def test_a_run_is_later_than_now_beyond_exactly_one_day() -> None:
    assert clock.ahead(NOW, None) is None
    assert clock.ahead(NOW, NOW + DAY) is None
    assert clock.ahead(NOW, NOW + DAY + TICK) is not None


def test_an_alert_is_told_where_nothing_was_done() -> None:
    def told(*names: str) -> bool:
        findings = tuple(
            Finding(name=name, verdict=Verdict.BREACH, value=2.0, limit=1.0, because="seen", evidence={}, warns=True)
            for name in names
        )
        return Outcome(word=Word.WARNED, code=ExitCode.OK, because="f1 0.9", findings=findings).is_told

    assert told(ALERT)
    assert not told("drift")
    assert not told()
