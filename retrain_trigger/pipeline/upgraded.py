"""The first run after an upgrade: what it does otherwise than the version before, with the same config.yaml."""

from collections.abc import Iterator, Sequence

from retrain_trigger.config.load import Config
from retrain_trigger.config.sections import Section
from retrain_trigger.core.findings import DRIFT, Finding
from retrain_trigger.judge.memory import Memory
from retrain_trigger.judge.policy import OnDrift
from retrain_trigger.pipeline import drifting

DEFAULTS = 2
"""The number of the defaults: each decision says by which it was made, and they have changed as often, less one."""


def notes(config: Config, findings: Sequence[Finding], past: Memory, *, labelled: bool) -> Iterator[str]:
    """Say what changed since the last decision; nothing if this version made it."""
    yield from drift(config, findings, past, labelled=labelled)
    yield from defaults(config, past)


def drift(config: Config, findings: Sequence[Finding], past: Memory, *, labelled: bool) -> Iterator[str]:
    """Say that drift no longer retrains where it did. Decisions before that do not say what `trigger.on_drift` was."""
    older = past.last_decision is not None and past.last_decision.on_drift is None
    automatic = config.trigger.on_drift is OnDrift.AUTO and drifting.decides(config, labelled=labelled) is OnDrift.WARN
    if older and automatic and any(finding.name == DRIFT for finding in findings):
        yield (
            f"drift only warns from this version on, since {config.metric} is measured as well (trigger.on_drift: auto); "
            "earlier versions retrained on it, and `trigger: {on_drift: retrain}` still does"
        )


def defaults(config: Config, past: Memory) -> Iterator[str]:
    """List the defaults that changed, old and new; what config.yaml names has kept its value."""
    if past.last_decision is None or past.last_decision.defaults >= DEFAULTS:
        return
    changed = list(_second(config))
    if changed:
        yield (
            f"an earlier version made the last run, and these defaults have changed since: {', '.join(changed)}; to keep "
            f"an old one, write it in config.yaml"
        )


def _second(config: Config) -> Iterator[str]:
    """Say what changed from the first defaults to the second."""
    promotion, trigger, data = config.promotion, config.trigger, config.data
    if config.newest_decide and not _names(promotion, "decide_on"):
        yield "promotion.decide_on is newest (was holdout)"
        if not _names(promotion, "min_rows"):
            yield f"promotion.min_rows {config.deciding_rows} (500)"
        if not _names(promotion, "certainty"):
            yield "promotion.certainty 80% for all attempts since the last promotion together (95%)"
    if not _names(data, "windows"):
        yield "data.windows auto: all rows, the last 10 windows, the last 3 ([all])"
    if not _names(trigger, "budget"):
        yield f"trigger.budget {trigger.budget}, saving (4 per 30d)"


def _names(section: Section, key: str) -> bool:
    return key in section.model_fields_set
