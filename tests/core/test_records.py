"""Records survive JSON, whichever version wrote it."""

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core import events
from retrain_trigger.core.comparisons import Comparison, Trial
from retrain_trigger.core.entries import EVENTS, KINDS, Kind
from retrain_trigger.core.events import (
    Event,
    Grounds,
    Promoting,
    Said,
    Selecting,
    Span,
    Standing,
    Told,
    Training,
    Window,
)
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.core.measurements import Mark
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates.bootstrap import compare
from retrain_trigger.judge.metrics import Measure

TIMES = st.datetimes(timezones=st.just(UTC))
TEXTS = st.text(max_size=20)
COUNTS = st.tuples(*[st.integers(0, 10**9)] * 4)
WINDOWS = st.builds(Window, st.none() | st.floats(0, 1), st.none() | st.integers(0, 10**9), st.none() | COUNTS)
SPANS = st.builds(Span, rows=st.integers(0, 10**9), oldest=st.none() | TIMES, newest=st.none() | TIMES)
FINDINGS = st.builds(
    Finding,
    name=TEXTS,
    verdict=st.sampled_from([Verdict.PASS, Verdict.BREACH]),
    value=st.floats(allow_nan=False),
    limit=st.none() | st.floats(0, 1),
    because=TEXTS,
    warns=st.booleans(),
    evidence=st.dictionaries(TEXTS, st.integers() | st.lists(TEXTS, max_size=3), max_size=3),
)
SHARES = st.integers(-1000, 1000).map(lambda thousandths: thousandths / 1000)
for kind, values in ((datetime, TIMES), (float, SHARES), (int, st.integers(0, 1000)), (Finding, FINDINGS)):
    st.register_type_strategy(kind, values)
TRAININGS = st.builds(
    Training,
    champion=st.none() | TEXTS,
    bootstrap=st.booleans(),
    reaches=st.lists(TEXTS, max_size=3).map(tuple),
    mark=st.builds(Mark, st.none() | TIMES, st.dictionaries(TEXTS, st.integers(0, 10**12)), st.none() | TIMES),
    deciding=SPANS,
    selection=st.none()
    | st.builds(Selecting, holdout=TEXTS, deciding=SPANS, left_out_after=TIMES, refits=st.dictionaries(TEXTS, TEXTS)),
    worn=st.lists(FINDINGS, max_size=2).map(tuple),
    served=st.none() | st.builds(Said, version=TEXTS, rows=st.integers(0), positives=st.integers(0)),
    standing=st.none()
    | st.builds(Standing, version=TEXTS, windows=st.lists(WINDOWS, max_size=4).map(tuple), level=st.integers(0, 60)),
)


@given(TRAININGS)
def test_a_record_is_what_it_was_after_json(training: Training) -> None:
    assert decoded(Training, json.loads(json.dumps(encoded(training)))) == training


def test_what_an_earlier_version_did_not_write_has_its_default_and_what_nobody_reads_is_left_out() -> None:
    written = {"champion": "v1", "served": {"version": "v1", "rows": 3, "positives": 1, "scores": None}, "gone": 1}
    assert decoded(Training, written) == Training(champion="v1", served=Said(version="v1", rows=3, positives=1))


def test_a_window_of_an_earlier_ledger_has_no_confusion_table() -> None:
    written = {"version": "v1", "windows": [[0.9, 500, [1, 2, 3, 4]]], "level": 1}
    assert decoded(Standing, written).windows == (Window(0.9, 500, (1, 2, 3, 4), None),)
    assert encoded(decoded(Standing, written)) == written
    for window in ([0.9, 500], [0.9, 500, None, None, "more"]):
        with pytest.raises((TypeError, ValueError)):
            decoded(Standing, {**written, "windows": [window]})


def test_a_finding_of_an_earlier_ledger_warns_by_its_evidence() -> None:
    document = {"name": "drift", "verdict": "PASS", "value": 0.1, "limit": 0.2, "because": "it is"}
    assert decoded(Finding, {**document, "evidence": {"warns": True}}).warns
    assert not decoded(Finding, {**document, "warns": False, "evidence": {"warns": True}}).warns


@pytest.mark.parametrize("document", [[], 3, None, {"mark": {"at": "yesterday"}}, {"standing": {"windows": [[1]]}}])
def test_a_document_of_another_kind_is_refused(document: object) -> None:
    with pytest.raises((TypeError, ValueError, KeyError)):
        decoded(Training, document)


@given(st.sampled_from(sorted(KINDS.values())).flatmap(lambda kind: st.from_type(EVENTS[kind])))
def test_every_event_is_what_it_was_after_the_ledger(event: Event) -> None:
    body = json.loads(json.dumps(encoded(event)))
    assert decoded(type(event), body) == event


def test_every_kind_of_entry_has_an_event_of_its_own() -> None:
    assert set(EVENTS) == set(Kind)
    assert len(KINDS) == len(EVENTS)
    made = {each for each in vars(events).values() if isinstance(each, type) and issubclass(each, Event)}
    assert made - {Event, Told} == set(KINDS)


def test_what_a_promotion_does_not_know_is_not_written() -> None:
    pointer = Pointer(generation=1, version="v1", path="", sha256="ab", previous=None, promoted_at="", run="r")
    grounds = Grounds(by="adopt", because="it is live", known_as="churn-7")
    assert grounds.leading_to(Promoting, pointer=pointer) == Promoting(
        by="adopt", because="it is live", known_as="churn-7", pointer=pointer
    )
    assert set(encoded(grounds)) == {"by", "because", "known_as"}


def test_a_comparison_is_written_with_what_follows_from_it_and_null_where_it_is_undefined() -> None:
    lost = compare(JointCounts({}), Measure("f1", "1"), certainty=0.9, challengers=1, seed=0, resamples=1)
    written = json.loads(json.dumps(encoded(lost), allow_nan=False))
    assert (written["difference"], written["lower"], written["rows_needed"], written["mcnemar"]) == (None,) * 3 + (1.0,)
    assert math.isnan(decoded(Comparison, written).difference)
    joint = {("1", "0", "1"): 3, ("0", "0", "0"): 7}
    trial = encoded(Trial(version="v1", comparison=lost, joint=joint, gates=()))
    assert trial["joint"] == [["0", "0", "0", 7], ["1", "0", "1", 3]]
    assert decoded(Trial, trial).joint == joint


def test_times_are_written_as_iso_8601() -> None:
    assert encoded(Span(rows=1, oldest=datetime(2026, 1, 5, tzinfo=UTC))) == {
        "rows": 1,
        "oldest": "2026-01-05T00:00:00+00:00",
        "newest": None,
    }
