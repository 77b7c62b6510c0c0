from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core.findings import Finding, Verdict, at_least, below, drifted_alone, unknown
from retrain_trigger.core.measurements import Mark
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates.bootstrap import compare
from retrain_trigger.judge.memory import Attempt, Memory
from retrain_trigger.judge.metrics import Measure
from retrain_trigger.judge.policy import (
    Action,
    Budget,
    Decision,
    Schedule,
    budget_free,
    budget_left,
    cooldown_over,
    decide,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BUDGET = Budget(4, 30 * DAY)

GOOD = at_least("f1", 0.91, 0.85, limit_name="performance_threshold")
BAD = at_least("f1", 0.82, 0.85, limit_name="performance_threshold")
LOST = unknown("f1", "f1 is not a number")
STILL = below("drift", 0.1, 0.2, limit_name="drift_threshold")
MOVED = below("drift", 0.4, 0.2, limit_name="drift_threshold")
WARNED = replace(MOVED, warns=True)
UNSEEN = unknown("drift", "drift of 'age' is not a number")


def tried(*hours_ago: float, refusals: int | None = None) -> Memory:
    attempts = tuple(Attempt(NOON - ago * HOUR, Mark()) for ago in hours_ago)
    return Memory(attempts=attempts, refusals=len(attempts) if refusals is None else refusals)


def decided(
    *findings: Finding,
    fresh: Sequence[Finding] | None = None,
    past: Memory | None = None,
    now: datetime = NOON,
    budget: Budget = BUDGET,
    probe: int | None = None,
    quiet: int = 0,
) -> Decision:
    return decide(
        findings,
        findings if fresh is None else fresh,
        past or Memory(),
        now=now,
        schedule=Schedule(24 * HOUR, budget, probe),
        quiet=quiet,
    )


PATIENT = replace(BAD, verdict=Verdict.PASS, evidence={"watching": True})
"""What the point rule says of a breach that patience does not act on yet."""

CASES = {
    "healthy": (decided(GOOD), Action.HEALTHY, "f1 0.91 is at or above performance_threshold 0.85"),
    "healthy, drift watched": (decided(GOOD, STILL), Action.HEALTHY, "drift 0.1 is under drift_threshold 0.2"),
    "a breach": (decided(BAD), Action.RETRAIN, "f1 0.82 is under performance_threshold 0.85"),
    "drift alone": (decided(GOOD, MOVED), Action.RETRAIN, "drift 0.4 reaches drift_threshold 0.2"),
    "drift only warns": (decided(GOOD, WARNED), Action.WARN, "f1 0.91 is at or above performance_threshold 0.85"),
    "a breach where drift only warns": (decided(BAD, WARNED), Action.RETRAIN, "f1 0.82"),
    "watching": (decided(PATIENT, STILL), Action.WATCH, "f1 0.82 is under performance_threshold 0.85"),
    "patience with drift that only warns": (
        decided(GOOD, replace(WARNED, verdict=Verdict.PASS, evidence={"watching": True})),
        Action.HEALTHY,
        "f1 0.91 is at or above performance_threshold 0.85",
    ),
    "patience and a breach": (decided(PATIENT, MOVED), Action.RETRAIN, "drift 0.4 reaches"),
    "patience and an unknown": (decided(PATIENT, UNSEEN), Action.UNKNOWN, "drift of 'age' is not a number"),
    "nothing measured": (decided(), Action.UNKNOWN, "nothing was measured"),
    "no number": (decided(LOST), Action.UNKNOWN, "f1 is not a number"),
    "unknown beside healthy": (decided(GOOD, UNSEEN), Action.UNKNOWN, "drift of 'age' is not a number"),
    "unknown beside a warning": (decided(LOST, WARNED), Action.UNKNOWN, "f1 is not"),
    "unknown beside a breach": (decided(LOST, MOVED), Action.RETRAIN, "drift 0.4 reaches"),
    "cooldown after the first refusal": (
        decided(BAD, past=tried(23)),
        Action.WAIT,
        "cooldown until 2026-03-01 13:00Z (tried once since the last promotion, champion kept)",
    ),
    "cooldown just over": (decided(BAD, past=tried(24)), Action.RETRAIN, "f1 0.82 is under"),
    "cooldown doubled": (
        decided(BAD, past=tried(80, 47)),
        Action.WAIT,
        "cooldown until 2026-03-01 13:00Z (tried 2 times since the last promotion, champion kept)",
    ),
    "cooldown after a promotion": (
        decided(BAD, past=tried(300, 200, 23, refusals=0)),
        Action.WAIT,
        "cooldown until 2026-03-01 13:00Z (the last training was promoted)",
    ),
    "healthy in a cooldown": (decided(GOOD, past=tried(1)), Action.HEALTHY, "f1 0.91"),
    "unknown in a cooldown": (decided(LOST, past=tried(1)), Action.UNKNOWN, "f1 is not a number"),
    "evidence spent": (
        decided(BAD, fresh=[GOOD], past=tried(30)),
        Action.WAIT,
        "the last training used up this evidence, waiting for 1 new measurement",
    ),
    "evidence spent, new evidence begun": (
        decided(BAD, fresh=[replace(GOOD, evidence={"needs": 3})], past=tried(30)),
        Action.WAIT,
        "waiting for about 3 more such windows",
    ),
    "nothing fresh": (decided(BAD, fresh=[LOST], past=tried(30)), Action.WAIT, "used up this evidence"),
    "fresh drift that only warns": (
        decided(BAD, WARNED, fresh=[GOOD, WARNED], past=tried(30)),
        Action.WAIT,
        "used up this evidence",
    ),
    "budget used up": (
        decided(BAD, past=tried(29 * 24, 25, refusals=0), budget=Budget(2, 30 * DAY)),
        Action.WAIT,
        "the budget of 2 trainings per 30d is used up until 2026-03-02 12:00Z",
    ),
    "budget free again": (
        decided(BAD, past=tried(30 * 24, 25, refusals=0), budget=Budget(2, 30 * DAY)),
        Action.RETRAIN,
        "f1 0.82",
    ),
}


@pytest.mark.parametrize(("decision", "action", "because"), CASES.values(), ids=CASES.keys())
def test_cases(decision: Decision, action: Action, because: str) -> None:
    assert decision.action is action
    assert because in decision.because
    assert decision.until is None or decision.action is Action.WAIT


@pytest.mark.parametrize(
    ("refusals", "days"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30), (5000, 30)]
)
def test_each_refusal_doubles_the_cooldown_up_to_thirty_days(refusals: int, days: int) -> None:
    assert cooldown_over(tried(0, refusals=refusals), cooldown=24 * HOUR) == NOON + days * DAY


def test_a_cooldown_of_more_than_thirty_days_is_kept() -> None:
    assert cooldown_over(tried(0, refusals=3), cooldown=45 * DAY) == NOON + 45 * DAY
    assert cooldown_over(Memory(), cooldown=DAY) is None


def test_a_clock_that_was_set_back_starts_nothing_early_and_one_set_forward_is_believed() -> None:
    past = replace(tried(2), last_seen=NOON)
    back = decided(BAD, past=past, now=NOON - 400 * DAY)
    assert (back.action, back.until) == (Action.WAIT, NOON + 22 * HOUR)
    assert decided(BAD, past=replace(past, last_seen=NOON + 22 * HOUR), now=NOON - DAY).action is Action.RETRAIN
    assert decided(BAD, past=past, now=NOON + 22 * HOUR).action is Action.RETRAIN


FINDINGS = st.sampled_from([GOOD, BAD, LOST, STILL, MOVED, UNSEEN])
SETTINGS = st.tuples(
    st.integers(1, 72).map(lambda hours: hours * HOUR),
    st.builds(Budget, st.integers(1, 5), st.integers(1, 40).map(lambda days: days * DAY)),
)
TICKS = st.lists(
    st.tuples(st.floats(-30, 200).map(lambda hours: hours * HOUR), st.lists(FINDINGS, max_size=2), st.booleans()),
    max_size=60,
)


@given(SETTINGS, TICKS, st.lists(st.sampled_from([LOST, UNSEEN, GOOD, STILL]), max_size=3))
def test_without_a_breach_nothing_ever_starts(
    settings: tuple[timedelta, Budget],
    ticks: Sequence[tuple[timedelta, Sequence[Finding], bool]],
    findings: Sequence[Finding],
) -> None:
    assert played(settings, [(step, findings, promoted) for step, _, promoted in ticks]) == []


@given(SETTINGS, TICKS)
def test_trainings_keep_the_cooldown_and_the_budget_whatever_clock_and_findings_do(
    settings: tuple[timedelta, Budget], ticks: Sequence[tuple[timedelta, Sequence[Finding], bool]]
) -> None:
    cooldown, budget = settings
    attempts = played(settings, ticks)
    assert all(later.at - earlier.at >= cooldown for earlier, later in pairwise(attempts))
    starts = [attempt.at for attempt in attempts if not attempt.drifted]
    for number, start in enumerate(starts):
        for started, other in enumerate(starts[number:], 1):
            if budget.saving:
                assert started <= budget.trainings * (1 + (other - start) / budget.period) + 1e-6
            elif other < start + budget.period:
                assert started <= budget.trainings


def test_eight_trainings_that_are_spent_at_once_come_back_one_by_one_and_never_more_than_eight() -> None:
    budget, spent = Budget(8, 30 * DAY, saving=True), Memory(attempts=(Attempt(NOON, Mark()),) * 8)
    left = [budget_left(spent, budget=budget, now=NOON + days * DAY) for days in (0, 3.7, 3.75, 15, 30, 300)]
    assert left == [0, 0, 1, 4, 8, 8]
    assert budget_free(spent, budget=budget, now=NOON) == NOON + 3.75 * DAY
    rested = Memory(attempts=(Attempt(NOON, Mark()), Attempt(NOON + 300 * DAY, Mark())))
    assert budget_left(rested, budget=budget, now=NOON + 300 * DAY) == 7


@given(st.integers(1, 9), st.integers(1, 60), st.lists(st.integers(1, 2000), max_size=20))
def test_a_saving_budget_has_all_at_first_and_gets_one_back_each_part_of_its_period(
    trainings: int, days: int, hours: list[int]
) -> None:
    budget, at = Budget(trainings, days * DAY, saving=True), NOON
    attempts: list[datetime] = []
    assert budget_left(Memory(), budget=budget, now=NOON) == trainings
    for step in hours:
        at += step * HOUR
        past = Memory(attempts=tuple(Attempt(each, Mark()) for each in attempts))
        free = budget_free(past, budget=budget, now=at)
        assert (free is None) == (budget_left(past, budget=budget, now=at) >= 1)
        if free is not None:
            assert at < free <= at + budget.period / trainings
            assert budget_free(past, budget=budget, now=free) is None
            at = free
        attempts.append(at)


@given(SETTINGS, st.integers(1, 400))
def test_a_standing_breach_is_tried_less_and_less(settings: tuple[timedelta, Budget], hours: int) -> None:
    cooldown, _ = settings
    breached = [(HOUR, [BAD], False)] * hours
    starts = [attempt.at for attempt in played((cooldown, Budget(1000, DAY)), breached)]
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert len(starts) >= 1
    assert all(later == 2 * earlier for earlier, later in pairwise(pauses))


@pytest.mark.parametrize(
    ("quiet", "refusals", "action", "said"),
    [
        (4, 0, Action.HEALTHY, "the next probe is due in 1 window (trigger.probe 5)"),
        (5, 0, Action.RETRAIN, "probe: 5 windows since the last promotion (trigger.probe 5)"),
        (9, 1, Action.HEALTHY, "the next probe is due in 1 window (trigger.probe 5, doubled after each refusal)"),
        (
            10,
            1,
            Action.RETRAIN,
            "probe: 10 windows since the last training (trigger.probe 5, doubled after each refusal)",
        ),
        (37, 3, Action.HEALTHY, "the next probe is due in 3 windows (trigger.probe 5, doubled after each refusal)"),
    ],
)
def test_a_probe_is_due_after_quiet_windows_twice_as_many_after_each_refusal(
    quiet: int, refusals: int, action: Action, said: str
) -> None:
    past = tried(*[1000] * refusals, refusals=refusals)
    found = decided(GOOD, past=past, probe=5, quiet=quiet)
    assert found == Decision(action, f"{GOOD.because}; {said}")


def test_a_probe_that_is_due_waits_for_cooldown_and_budget_and_for_what_can_be_judged() -> None:
    assert decided(GOOD, past=tried(23), probe=1, quiet=1000) == decided(GOOD)
    assert decided(GOOD, past=tried(*[48] * 4), probe=1, quiet=1000) == decided(GOOD)
    assert decided(GOOD, past=tried(48), probe=1, quiet=1000).action is Action.RETRAIN
    assert decided(LOST, probe=1, quiet=1000) == decided(LOST)
    assert decided(GOOD, WARNED, probe=1, quiet=1000).action is Action.RETRAIN
    assert decided(GOOD, quiet=1000) == decided(GOOD)


def test_a_training_that_drift_alone_started_costs_no_budget() -> None:
    dear, free = tried(48, 47, 46, 45, refusals=0), tried(48, 47, 46, 45, refusals=0)
    free = replace(free, attempts=tuple(replace(each, drifted=frozenset({"age"})) for each in free.attempts))
    assert decided(BAD, past=dear).action is Action.WAIT
    assert decided(BAD, past=free).action is Action.RETRAIN
    assert decided(GOOD, MOVED, past=dear).action is Action.RETRAIN
    assert decided(BAD, MOVED, past=dear).action is Action.WAIT
    assert budget_left(free, budget=BUDGET, now=NOON) == 4


def test_a_cooldown_tells_the_scores_of_the_challenger_that_came_closest() -> None:
    joint = JointCounts({("1", "0", "1"): 9, ("0", "1", "0"): 1, ("0", "0", "0"): 90})
    found = compare(joint, Measure("accuracy"), certainty=0.95, challengers=1, seed=1)
    decision = decided(BAD, past=replace(tried(1), closest=found))
    assert "champion kept; the best challenger of the last try scored 1, the champion 0.9" in decision.because


def played(
    settings: tuple[timedelta, Budget], ticks: Iterable[tuple[timedelta, Sequence[Finding], bool]]
) -> list[Attempt]:
    """Tick on, all evidence always fresh; return the attempts, dated in the time that the ledger keeps."""
    cooldown, budget = settings
    past, now, attempts = Memory(), NOON, []
    for step, findings, promoted in ticks:
        now += step
        at = past.clock(now)
        decision = decide(findings, findings, past, now=now, schedule=Schedule(cooldown, budget))
        past = replace(past, last_seen=at)
        if decision.action is Action.RETRAIN:
            attempts.append(Attempt(at, Mark(), drifted_alone(findings)))
            past = past.attempted(attempts[-1])
            past = replace(past, refusals=0) if promoted else past
    return attempts
