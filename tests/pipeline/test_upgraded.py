from collections.abc import Sequence

import pytest

from retrain_trigger.config import load as settings
from retrain_trigger.core.events import Decided
from retrain_trigger.judge.memory import Memory
from retrain_trigger.pipeline import upgraded

EARLIER = Memory(last_decision=Decided(because="of this", action="healthy"))


def told(*overrides: str, past: Memory = EARLIER) -> str:
    return " ".join(upgraded.defaults(settings.defaults(overrides), past))


def test_each_default_that_changed_is_listed_with_the_old_value_and_the_new_one() -> None:
    assert told() == (
        "an earlier version made the last run, and these defaults have changed since: promotion.decide_on is newest (was "
        "holdout), promotion.min_rows 100 (500), promotion.certainty 80% for all attempts since the last promotion together (95%), data.windows auto: all rows, the last 10 "
        "windows, the last 3 ([all]), trigger.budget 8 per 30d, saving (4 per 30d); to keep an old one, write it in "
        "config.yaml"
    )


@pytest.mark.parametrize(
    ("overrides", "unsaid"),
    [
        (("promotion.decide_on=holdout",), ("decide_on", "min_rows", "certainty")),
        (("data.holdout_file=held.csv", "data.labelled=rows.csv"), ("decide_on", "min_rows", "certainty")),
        (("promotion.min_rows=500",), ("min_rows",)),
        (("promotion.certainty=95%",), ("certainty",)),
        (("data.windows=[all]",), ("data.windows",)),
        (("trigger.budget=4 per 30d",), ("budget",)),
    ],
)
def test_what_config_names_has_kept_its_value(overrides: Sequence[str], unsaid: Sequence[str]) -> None:
    assert not any(each in told(*overrides) for each in unsaid)
    assert len(told(*overrides)) > 100


def test_it_is_said_once_and_not_to_who_never_ran_an_earlier_version() -> None:
    decided = Decided(because="of this", action="healthy", defaults=upgraded.DEFAULTS)
    assert told(past=Memory(last_decision=decided)) == ""
    assert told(past=Memory()) == ""
