from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core.comparisons import Comparison, Trial
from retrain_trigger.core.entries import EVENTS, Entry, Kind, entry
from retrain_trigger.core.events import (
    Compared,
    Decided,
    Event,
    Promoted,
    Promoting,
    Quarantined,
    Reason,
    Sealed,
    Staged,
    Standing,
    Training,
)
from retrain_trigger.core.findings import at_least, below, unknown
from retrain_trigger.core.measurements import Mark, Measurement
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates.bootstrap import compare
from retrain_trigger.judge.memory import Champion, Memory, answered_for, fold, unspent
from retrain_trigger.judge.metrics import Measure

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MARK = Mark(at=MONDAY, ends={"log": 120})


def written(*happened: tuple[str, Kind], hours: int = 1) -> list[Entry[Event]]:
    """Write what happened, as (run, kind), one entry an hour; each run has one version, of its own name."""
    return told(*((run, event(run, kind)) for run, kind in happened), apart=hours * HOUR)


def told(*happened: tuple[str, Event], apart: timedelta = DAY) -> list[Entry[Event]]:
    return [entry(each, at=MONDAY + seq * apart, run=run, seq=seq) for seq, (run, each) in enumerate(happened)]


def event(run: str, kind: Kind) -> Event:
    known: dict[Kind, Event] = {
        Kind.TRAINING: Training(bootstrap=run == "first", mark=MARK, reserved=0.2),
        Kind.SEALED: Sealed(version=run, sha256=f"sha of {run}"),
        Kind.PROMOTING: Promoting(by="gate", because="of this", pointer=pointer(run)),
        Kind.PROMOTED: Promoted(by="gate", because="of this", pointer=pointer(run), mark=MARK),
        Kind.DECIDED: Decided(because="of this", action="healthy"),
        Kind.COMPARED: Compared(because="of this", verdict=None, champion="first"),
    }
    return known.get(kind) or decoded(EVENTS[kind], {"because": "of this"})


def pointer(version: str) -> Pointer:
    digest = f"sha of {version}"
    return Pointer(generation=1, version=version, path="", sha256=digest, previous=None, promoted_at="", run=version)


FIRST = [("first", kind) for kind in (Kind.TRAINING, Kind.SEALED, Kind.PROMOTING, Kind.PROMOTED)]
ATTEMPT = [
    ("second", kind)
    for kind in (Kind.DECIDED, Kind.TRAINING, Kind.SEALED, Kind.COMPARED, Kind.PROMOTING, Kind.PROMOTED)
]


@pytest.mark.parametrize("cut", range(len(FIRST) + 1))
def test_a_first_champion_cut_off_anywhere(cut: int) -> None:
    past = fold(written(*FIRST[:cut]))
    done = cut == len(FIRST)
    assert [entry.kind for entry in past.unfinished] == ([] if done else [kind for _, kind in FIRST[:cut]])
    assert (past.champion is not None) == done
    assert past.attempts == (), "a first training is not an attempt at a better champion"
    assert past.refusals == 0


@pytest.mark.parametrize("cut", range(len(ATTEMPT) + 1))
def test_an_attempt_cut_off_anywhere(cut: int) -> None:
    past = fold(written(*FIRST, *ATTEMPT[:cut]))
    kinds = [kind for _, kind in ATTEMPT[:cut]]
    promoted = Kind.PROMOTED in kinds
    started = Kind.TRAINING in kinds
    assert [entry.kind for entry in past.unfinished] == (
        [] if promoted else [k for k in kinds if k is not Kind.DECIDED]
    )
    assert past.champion is not None
    assert past.champion.version == ("second" if promoted else "first")
    assert len(past.attempts) == started, "it costs cooldown, budget and evidence from its start on"
    assert past.refusals == (started and not promoted)
    assert past.versions == {"first"} | ({"second"} if Kind.SEALED in kinds else set())
    assert past.last_seen == MONDAY + (len(FIRST) + cut - 1) * HOUR


@pytest.mark.parametrize("end", [Kind.FAILED, Kind.ABANDONED, Kind.KEPT])
@pytest.mark.parametrize("cut", range(2, len(ATTEMPT)))
def test_an_attempt_that_ends_without_promotion_leaves_nothing_unfinished(end: Kind, cut: int) -> None:
    past = fold(written(*FIRST, *ATTEMPT[:cut], ("second", end)))
    assert past.unfinished == ()
    assert past.refusals == 1
    assert [attempt.mark for attempt in past.attempts] == [MARK]
    assert past.champion is not None
    assert past.champion.version == "first"


def test_refused_data_costs_nothing() -> None:
    past = fold(written(*FIRST, ("second", Kind.DECIDED), ("second", Kind.REFUSED)))
    assert (past.attempts, past.refusals, past.unfinished) == ((), 0, ())
    assert past.last_decision is not None


def test_refusals_add_up_until_a_promotion_and_the_attempts_stay() -> None:
    refused = [(run, kind) for run in "abc" for kind in (Kind.TRAINING, Kind.KEPT)]
    past = fold(written(*FIRST, *refused))
    assert (len(past.attempts), past.refusals) == (3, 3)
    past = fold(written(*FIRST, *refused, ("b", Kind.PROMOTING), ("b", Kind.PROMOTED)))
    assert (len(past.attempts), past.refusals) == (3, 0)


def test_the_largest_share_ever_held_out_is_remembered() -> None:
    entries = written(*FIRST, *ATTEMPT)
    shares = {1: 0.4, 6: 0.1}
    for seq, share in shares.items():
        entries[seq - 1] = entry(Training(reserved=share), at=MONDAY, run="x")
    assert fold(entries).reserved == 0.4


@given(st.lists(st.integers(-1000, 1000), min_size=1))
def test_time_never_goes_back(hours: list[int]) -> None:
    entries = [entry(event("r", Kind.DECIDED), at=MONDAY + hour * HOUR, run="r") for hour in hours]
    past = fold(entries)
    assert past.clock(MONDAY - 2000 * HOUR) == past.last_seen == MONDAY + max(hours) * HOUR
    assert past.clock(MONDAY + 2000 * HOUR) == MONDAY + 2000 * HOUR


@given(st.none() | st.datetimes(timezones=st.just(UTC)), st.dictionaries(st.text(), st.integers(0)))
def test_a_mark_survives_the_ledger(at: datetime | None, ends: dict[str, int]) -> None:
    assert decoded(Mark, encoded(Mark(at, ends))) == Mark(at, ends)


def line(
    number: int, *, day: float | None = None, model: str | None = None, file: str = "log", value: float = 0.9
) -> Measurement:
    at = None if day is None else MONDAY + day * DAY
    return Measurement(value=value, where=f"{file}:{number}", file=file, end=number * 10, at=at, model=model)


CHAMPION = Memory(
    champion=Champion("new", MONDAY, Mark(MONDAY - DAY, {"log": 50})), versions=frozenset({"old", "new", "other"})
)


@pytest.mark.parametrize(
    ("measurement", "answers"),
    [
        pytest.param(line(1, day=0), True, id="began with the promotion"),
        pytest.param(line(1, day=2), True, id="began later"),
        pytest.param(line(9, day=-0.01), False, id="began before, though logged after"),
        pytest.param(line(9, day=-3, model="new"), True, id="its own, wherever the time"),
        pytest.param(line(1, day=2, model="old"), False, id="another version, still in use"),
        pytest.param(line(1, day=2, model="fraud-model-v3"), True, id="a name that is no version"),
        pytest.param(line(1, day=-2, model="fraud-model-v3"), False, id="a name that is no version, before"),
        pytest.param(line(5), False, id="no time, read before the promotion"),
        pytest.param(line(6), True, id="no time, written after the mark"),
        pytest.param(line(1, file="rotated"), True, id="no time, in a file begun since"),
        pytest.param(line(2, model="new"), True, id="no time, but its own"),
        pytest.param(line(6, model="old"), False, id="no time, another's"),
    ],
)
def test_what_the_champion_answers_for(measurement: Measurement, answers: bool) -> None:  # noqa: FBT001
    assert list(answered_for([measurement], CHAMPION)) == [measurement] * answers


def test_without_a_champion_every_line_counts() -> None:
    lines = [line(1, day=-5), line(2), line(3, model="any")]
    assert answered_for(lines, Memory()) == lines


def after_an_attempt(mark: Mark) -> Memory:
    entries = written(*FIRST, ("second", Kind.TRAINING), ("second", Kind.KEPT))
    entries[-2] = entry(Training(mark=mark), at=MONDAY, run="second")
    return fold(entries)


@pytest.mark.parametrize(
    ("mark", "lines", "fresh"),
    [
        (Mark(at=MONDAY), [line(1, day=-1), line(2, day=0), line(3, day=0.1), line(4, day=1)], 2),
        (Mark(at=MONDAY), [line(1, day=-1), line(2, day=0)], 0),
        (Mark(ends={"log": 20}), [line(1), line(2), line(3)], 1),
        (Mark(ends={"log": 30}), [line(1), line(2), line(3)], 0),
        (Mark(ends={"log": 30}), [line(3), line(1, file="rotated")], 1),
        (Mark(), [line(1), line(2, day=1)], 2),
    ],
)
def test_evidence_is_used_up_by_the_attempt_that_it_caused(
    mark: Mark, lines: Sequence[Measurement], fresh: int
) -> None:
    assert list(unspent(lines, after_an_attempt(mark))) == list(lines[len(lines) - fresh :])


def test_before_an_attempt_and_after_a_promotion_all_evidence_is_fresh() -> None:
    lines = [line(1, day=-1), line(2, day=1)]
    assert list(unspent(lines, Memory())) == lines
    assert list(unspent(lines, fold(written(*FIRST, *ATTEMPT)))) == lines


def test_a_failed_probation_counts_as_a_refusal_from_then_on() -> None:
    standing = Standing(version="first", windows=(), level=0)
    worse = Quarantined(version="second", sha256="sha of second")
    entries = told(
        ("first", event("first", Kind.PROMOTED)),
        ("second", Training(mark=MARK, standing=standing)),
        ("second", Compared(because="better", verdict="second", champion="first")),
        ("second", event("second", Kind.PROMOTED)),
        ("third", Promoted(by="probation", because="worse", pointer=pointer("first"), quarantined=worse)),
    )
    on_probation, ended = fold(entries[:4]), fold(entries)
    assert on_probation.probation is not None
    assert on_probation.probation.standing == standing
    assert (on_probation.refusals, on_probation.quarantined) == (0, frozenset())
    assert (ended.refusals, ended.quarantined, ended.probation) == (1, frozenset({"sha of second"}), None)
    assert [attempt.at for attempt in ended.attempts] == [MONDAY + 4 * DAY], "the cooldown begins with the rollback"
    assert not ended.attempts[-1].mark.is_before(Measurement(value=0.5, where="", file="", end=0, at=MONDAY + 3 * DAY))


def test_a_promotion_against_the_comparison_is_no_probation() -> None:
    lost = [
        *FIRST,
        *[("second", kind) for kind in (Kind.TRAINING, Kind.SEALED, Kind.COMPARED, Kind.KEPT, Kind.PROMOTED)],
    ]
    assert fold(written(*lost)).probation is None


def test_a_shadow_lasts_until_its_attempt_ends() -> None:
    staged = Staged(because="better", champion="first", pointer=pointer("second"))
    entries = [*written(*FIRST), entry(staged, at=MONDAY + DAY, run="second")]
    past = fold(entries)
    assert past.shadow is not None
    assert (past.shadow.version, past.shadow.since, past.unfinished) == ("second", MONDAY + DAY, ())
    for ends in (Kind.KEPT, Kind.ABANDONED, Kind.PROMOTED):
        ended = entry(event("second", ends), at=MONDAY + 2 * DAY, run="second")
        assert fold([*entries, ended]).shadow is None


def test_columns_are_remembered_whose_drift_alone_started_a_training_until_a_promotion() -> None:
    moved = below("drift", 0.4, 0.2, limit_name="drift_threshold", evidence={"breached": ["age", "sum"]})
    fell = at_least("f1", 0.8, 0.85, limit_name="performance_threshold")
    warned, lost = replace(fell, warns=True), unknown("f1", "no label has come")
    for findings, forced, columns in (
        ((moved,), False, {"age", "sum"}),
        ((moved, warned, lost), False, {"age", "sum"}),
        ((moved, fell), False, set()),
        ((moved,), True, set()),
        ((replace(moved, warns=True), fell), False, set()),
        ((replace(moved, evidence={"features": ["f"]}),), False, {"f"}),
        ((replace(moved, evidence={"features": []}),), False, {""}),
    ):
        reason = Reason(because="drift", forced=forced, findings=findings)
        begun = [*written(*FIRST), *told(("second", Training(reason=reason)))]
        assert fold(begun).drifted == columns, findings
    assert fold([*begun, *written(("second", Kind.PROMOTED))]).drifted == set()


def test_the_challenger_that_came_closest_is_that_of_the_last_attempt() -> None:
    trials = tuple(Trial(version=str(gain), comparison=scored(gain), gates=()) for gain in (0, 6, 3))
    compared = Compared(because="of this", verdict=None, champion="first", trials=trials)
    entries = [*written(*FIRST), *told(("second", Training()), ("second", compared))]
    assert fold(entries).closest == scored(6)
    assert fold([*entries, *told(("third", Training()))]).closest is None
    assert fold([*entries, *told(("second", event("second", Kind.PROMOTED)))]).closest is None


def scored(gain: int) -> Comparison:
    """Compare a challenger that alone is right on so many rows."""
    joint = JointCounts({("1", "0", "1"): gain, ("0", "0", "0"): 90})
    return compare(joint, Measure("accuracy"), certainty=0.95, challengers=1, seed=1)
