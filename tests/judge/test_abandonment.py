from datetime import UTC, datetime

import pytest

from retrain_trigger.core.entries import Kind, entry
from retrain_trigger.core.events import Compared, Event, Promoting, Sealed, Staging, Training
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.judge.abandonment import SHOWN, may_be_abandoned

POINTER = Pointer(generation=2, version="v2", path="", sha256="s", previous="v1", promoted_at="", run="r")
TRAINED = (Training(), Sealed(version="v2", sha256="s"))
VERDICT = Compared(because="better", verdict="v2", champion="v1")
IN_SHADOW = Compared(because="better", verdict="v2", champion="v1", shadow=True)

CASES: dict[str, tuple[tuple[Event, ...], bool, bool]] = {  # what is unfinished; refused, anything else
    "nothing": ((), False, False),
    "a training": (TRAINED[:1], True, True),
    "a sealed model": (TRAINED, True, True),
    "a comparison": ((*TRAINED, VERDICT), True, True),
    "a promotion": ((*TRAINED, VERDICT, Promoting(by="gate", because="better", pointer=POINTER)), True, False),
    "a staging": ((*TRAINED, VERDICT, Staging(because="better", pointer=POINTER, champion="v1")), True, False),
    "the end of a shadow": ((IN_SHADOW,), True, False),
}


@pytest.mark.parametrize(("events", "refused", "broken"), CASES.values(), ids=list(CASES))
def test_what_a_service_may_have_seen_is_given_up_only_after_a_refusal(
    events: tuple[Event, ...],
    refused: bool,  # noqa: FBT001
    broken: bool,  # noqa: FBT001
) -> None:
    unfinished = [entry(event, at=datetime(2026, 3, 1, tzinfo=UTC), run="r") for event in events]
    assert may_be_abandoned(unfinished, refused=True) is refused
    assert may_be_abandoned(unfinished, refused=False) is broken


def test_each_intent_that_a_service_sees_is_known() -> None:
    assert set(SHOWN) == {Kind.PROMOTING, Kind.STAGING, Kind.UNSTAGING}
