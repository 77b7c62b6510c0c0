from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.entries import Entry, Kind
from retrain_trigger.judge.reigns import last_contest, reign_at

START = datetime(2026, 1, 1, tzinfo=UTC)


def promoted(seq: int, at: datetime, version: str) -> Entry:
    body = {"pointer": {"version": version, "sha256": "ab"}, "by": "gate", "because": "better"}
    return Entry(seq, at, f"run-{seq}", Kind.PROMOTED, body)


def compared(seq: int, version: str, *, verdict: str | None, passed: bool) -> Entry:
    gate = {"verdict": "PASS" if passed else "BREACH", "because": "is under promotion.margin"}
    trial: dict[str, Any] = {"version": version, "gates": [gate], "comparison": {"difference": 0.1}}
    body = {"verdict": verdict, "champion": "v0", "trials": [trial]}
    return Entry(seq, START, f"run-{seq}", Kind.COMPARED, body)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(-5, 60))
def test_reigns_follow_each_other_without_gap(gaps: list[int], moment: int) -> None:
    at, entries = START, []
    for seq, gap in enumerate(gaps):
        at += timedelta(hours=gap)
        entries.append(promoted(seq, at, f"v{seq}"))
    now = START + timedelta(hours=moment)
    reign = reign_at(entries, now)
    begun = [entry for entry in entries if entry.at <= now]
    if not begun:
        assert reign is None
        return
    assert reign is not None
    assert reign.version == f"v{begun[-1].seq}"
    assert reign.since <= now
    assert reign.until is None or now < reign.until
    assert reign.replaced == (f"v{begun[-1].seq - 1}" if begun[-1].seq else None)
    assert reign.until is None or reign == reign_at(entries, reign.until - timedelta(microseconds=1))


def test_the_last_contest_counts_and_one_after_the_promotion_is_not_what_it_stood_on() -> None:
    entries = [
        compared(0, "v1", verdict=None, passed=False),
        compared(1, "v1", verdict="v1", passed=True),
        promoted(2, START, "v1"),
        compared(3, "v1", verdict=None, passed=False),
    ]
    last = last_contest(entries, "v1")
    assert last is not None
    assert not last.passed
    assert last.failed == ("is under promotion.margin",)
    reign = reign_at(entries, START)
    assert reign is not None
    assert reign.contest is not None
    assert (reign.contest.run, reign.contest.passed) == ("run-1", True)
    assert last_contest(entries, "v2") is None
