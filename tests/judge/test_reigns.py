from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core.comparisons import Trial
from retrain_trigger.core.entries import Entry, entry
from retrain_trigger.core.events import Compared, Event, Promoted
from retrain_trigger.core.findings import at_least
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates.bootstrap import compare
from retrain_trigger.judge.metrics import Measure
from retrain_trigger.judge.reigns import last_contest, reign_at

START = datetime(2026, 1, 1, tzinfo=UTC)


def promoted(seq: int, at: datetime, version: str) -> Entry[Event]:
    pointer = Pointer(
        generation=seq + 1, version=version, path="", sha256="ab", previous=None, promoted_at="", run=f"run-{seq}"
    )
    return entry(Promoted(pointer=pointer, by="gate", because="better"), at=at, run=f"run-{seq}", seq=seq)


def compared(seq: int, version: str, *, verdict: str | None, passed: bool) -> Entry[Event]:
    gate = at_least("margin", 0.1 if passed else 0.0, 0.02, limit_name="promotion.margin")
    scores = compare(JointCounts({}), Measure("f1"), certainty=0.9, challengers=1, seed=0, resamples=1)
    event = Compared(
        because="so",
        verdict=verdict,
        champion="v0",
        trials=(Trial(version=version, comparison=scores, gates=(gate,)),),
    )
    return entry(event, at=START, run=f"run-{seq}", seq=seq)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(-5, 60))
def test_reigns_follow_each_other_without_gap(gaps: list[int], moment: int) -> None:
    at, entries = START, list[Entry[Event]]()
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
    assert last.failed == ("margin 0 is under promotion.margin 0.02",)
    reign = reign_at(entries, START)
    assert reign is not None
    assert reign.contest is not None
    assert (reign.contest.run, reign.contest.passed) == ("run-1", True)
    assert last_contest(entries, "v2") is None
