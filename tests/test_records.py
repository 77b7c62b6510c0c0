"""Records survive JSON, whichever version wrote it."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.events import Said, Selected, Span, Standing, Training, Window
from retrain_trigger.findings import Finding, Verdict
from retrain_trigger.measurements import Mark
from retrain_trigger.records import decoded, encoded

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
TRAININGS = st.builds(
    Training,
    champion=st.none() | TEXTS,
    bootstrap=st.booleans(),
    reaches=st.lists(TEXTS, max_size=3).map(tuple),
    mark=st.builds(Mark, st.none() | TIMES, st.dictionaries(TEXTS, st.integers(0, 10**12)), st.none() | TIMES),
    deciding=SPANS,
    selection=st.none()
    | st.builds(Selected, holdout=TEXTS, deciding=SPANS, left_out_after=TIMES, refits=st.dictionaries(TEXTS, TEXTS)),
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


def test_a_finding_of_an_earlier_ledger_warns_by_its_evidence() -> None:
    document = {"name": "drift", "verdict": "PASS", "value": 0.1, "limit": 0.2, "because": "it is"}
    assert decoded(Finding, {**document, "evidence": {"warns": True}}).warns
    assert not decoded(Finding, {**document, "warns": False, "evidence": {"warns": True}}).warns


@pytest.mark.parametrize("document", [[], 3, None, {"mark": {"at": "yesterday"}}, {"standing": {"windows": [[1]]}}])
def test_a_document_of_another_kind_is_refused(document: object) -> None:
    with pytest.raises((TypeError, ValueError, KeyError)):
        decoded(Training, document)


def test_times_are_written_as_iso_8601() -> None:
    assert encoded(Span(rows=1, oldest=datetime(2026, 1, 5, tzinfo=UTC))) == {
        "rows": 1,
        "oldest": "2026-01-05T00:00:00+00:00",
        "newest": None,
    }
