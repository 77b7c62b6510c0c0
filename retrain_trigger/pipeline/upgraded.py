"""The first run after an upgrade: which defaults of these settings are others than in the version before."""

from collections.abc import Iterator

from retrain_trigger.config.load import Config
from retrain_trigger.config.sections import Section
from retrain_trigger.judge.memory import Memory

DEFAULTS = 2
"""The number of the defaults: each decision says by which it was made, and they have changed as often, less one."""


def notes(config: Config, past: Memory) -> Iterator[str]:
    """List the defaults that changed since the last decision, old and new; what config.yaml names has kept its value."""
    if past.last_decision is None or past.last_decision.defaults >= DEFAULTS:
        return
    changed = list(_second(config))
    if changed:
        yield (
            f"defaults that changed since the last run, which an earlier version did: {', '.join(changed)}; a value in "
            f"config.yaml keeps the old one"
        )


def _second(config: Config) -> Iterator[str]:
    """Say what changed from the first defaults to the second."""
    promotion, trigger, data = config.promotion, config.trigger, config.data
    if config.newest_decide and not _names(promotion, "decide_on"):
        yield "promotion.decide_on is newest (was holdout)"
        if not _names(promotion, "min_rows"):
            yield f"promotion.min_rows {config.deciding_rows} (500)"
        if not _names(promotion, "certainty"):
            yield f"promotion.certainty {config.certainty:.0%} (95%)"
    if not _names(data, "windows"):
        yield "data.windows auto: all rows, the last 10 windows, the last 3 ([all])"
    if not _names(trigger, "budget"):
        yield f"trigger.budget {trigger.budget}, saving (4 per 30d)"


def _names(section: Section, key: str) -> bool:
    return key in section.model_fields_set
