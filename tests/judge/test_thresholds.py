from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core.events import Limited, Score
from retrain_trigger.judge.memory import Champion, Memory
from retrain_trigger.judge.thresholds import DESCENT, FIRST, Terms, settled

F1 = Terms(metric="f1", margin=0.02, sign=1, bounded=True, config="one")
COST = Terms(metric="cost", margin=0.1, sign=-1, bounded=False, config="one")


def reigning(version: str, *limits: Limited, score: float | None = None, metric: str = "f1") -> Memory:
    scores = {} if score is None else {version: Score(metric=metric, value=score, on="on 500 rows that decided")}
    champion = Champion(version, datetime(2026, 3, 2, tzinfo=UTC))
    return Memory(champion=champion, limits=limits, scores=scores)


def limited(past: Memory, values: Sequence[float] = (), asked: Terms = F1) -> Limited:
    found = settled(past, values, asked)
    assert isinstance(found, Limited)
    return found


def test_the_threshold_is_a_margin_worse_than_what_the_champion_scored() -> None:
    found = limited(reigning("v1", score=0.85))
    assert found.threshold == pytest.approx(0.83)
    assert found.because == (
        "performance_threshold is 0.83: v1 scored 0.85 on 500 rows that decided, less promotion.margin 0.02"
    )
    assert limited(reigning("v1", score=3.0, metric="cost"), asked=COST).threshold == pytest.approx(3.1)


@given(st.lists(st.floats(0, 1), max_size=9))
def test_without_a_score_it_takes_the_first_windows_whatever_comes_later(values: list[float]) -> None:
    found = settled(reigning("v1"), values, F1)
    if len(values) < FIRST:
        assert found == FIRST - len(values)
    else:
        assert found == settled(reigning("v1"), [*values[:FIRST], 0.0, 1.0], F1)
        assert isinstance(found, Limited)
        assert found.threshold == pytest.approx(max(sum(values[:FIRST]) / FIRST - 0.02, 0))


def test_a_score_by_another_metric_is_none_of_this_one() -> None:
    assert settled(reigning("v1", score=0.85, metric="accuracy"), [], F1) == FIRST


@given(scores=st.lists(st.floats(0, 1), min_size=2, max_size=8), lower_is_better=st.booleans())
def test_however_champions_sink_no_threshold_lies_further_from_the_best_than_the_descent(
    scores: list[float], *, lower_is_better: bool
) -> None:
    asked, metric = (COST, "cost") if lower_is_better else (F1, "f1")
    limits: tuple[Limited, ...] = ()
    for number, score in enumerate(scores):
        limits = (*limits, limited(reigning(f"v{number}", *limits, score=score, metric=metric), asked=asked))
    thresholds = [asked.sign * limit.threshold for limit in limits]
    best = [max(thresholds[: place + 1]) for place in range(len(thresholds))]
    assert all(each >= high - DESCENT - 1e-9 for each, high in zip(thresholds, best, strict=True))
    assert all(later >= earlier for earlier, later in pairwise(best))
    assert all(
        limit.threshold == pytest.approx(min(max(score - 0.02, 0), 1)) or "but no threshold" in limit.because
        for limit, score in zip(limits, scores, strict=True)
        if not lower_is_better
    )


def test_the_sentence_says_that_a_sunken_score_takes_no_threshold_along() -> None:
    first = limited(reigning("v1", score=0.85))
    found = limited(reigning("v2", first, score=0.70))
    assert found.threshold == pytest.approx(0.78)
    assert found.because == (
        "performance_threshold is 0.78: v2 scored 0.7 on 500 rows that decided, but no threshold lies more than 0.05 "
        "below the highest since the settings changed, 0.83"
    )


def test_other_settings_begin_anew_with_the_score_that_is_known() -> None:
    first = limited(reigning("v1"), [0.9] * 5)
    assert settled(reigning("v1", first), [0.1] * 9, F1) == first
    other = replace(F1, config="two", margin=0.04)
    again = limited(reigning("v1", first), [0.1] * 9, other)
    assert again.threshold == pytest.approx(0.86)
    assert again.because.startswith(
        "performance_threshold is 0.86: the mean of the first 5 judged windows of v1 is 0.9"
    )
    sunk = limited(reigning("v2", first, score=0.5), asked=other)
    assert sunk.threshold == pytest.approx(0.46)
    assert settled(reigning("v1", first), [0.1] * 3, replace(F1, metric="accuracy")) == 2


def test_a_champion_that_was_rolled_back_to_has_the_threshold_that_it_had() -> None:
    first = limited(reigning("v1", score=0.52))
    second = limited(reigning("v2", first, score=0.85))
    assert settled(reigning("v1", first, second, score=0.52), [], F1) == first
