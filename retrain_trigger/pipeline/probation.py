"""The probation of a new champion: it is rolled back by itself, and quarantined, where it does worse than the one before."""

from dataclasses import replace
from datetime import datetime

from retrain_trigger.config.load import Config
from retrain_trigger.core.errors import PromotionError
from retrain_trigger.core.events import Grounds, Quarantined, Standing
from retrain_trigger.core.findings import Finding, Verdict, unknown
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.judge import lineage, policy
from retrain_trigger.judge.checks import probation
from retrain_trigger.judge.memory import Memory
from retrain_trigger.pipeline import pause, promote, staging, threshold
from retrain_trigger.pipeline.check import Judgement, Observed, champion_measurements
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.store.registry import Registry


def standing(config: Config, observed: Observed, past: Memory) -> Standing | None:
    """Return how the champion is doing, to hold its successor against; None if nothing was measured.

    A replay has none, and what is measured is that of one without a name.
    """
    measurements = champion_measurements(config, observed, past)
    windows = pause.latest(config, measurements)
    if not windows:
        return None
    version = past.champion.version if past.champion else ""
    config = threshold.resolved(config, past, measurements)
    if config.performance_threshold is None:  # its first windows, none of which is bad or good yet
        return Standing(version=version, windows=tuple(windows), level=len(windows))
    return probation.standing(
        version,
        windows,
        config.measure(),
        threshold=config.threshold,
    )


def judged(config: Config, observed: Observed, past: Memory, *, now: datetime) -> Finding | None:
    """Judge a champion on probation by the windows that began within it; None if there is no probation now.

    Labels may come until `trigger.max_age` after its end.
    """
    length, champion = config.promotion.probation, past.champion
    if length is None or champion is None or past.probation is None:
        return None
    until = champion.since + length
    if past.clock(now) > until + config.trigger.max_age:
        return None
    if past.probation.standing is None:
        return unknown("probation", "nothing was measured of its predecessor", warns=True)
    own = (each for each in champion_measurements(config, observed, past) if each.at is None or each.at < until)
    finding = probation.check(
        past.probation.standing,
        pause.windows(config, own),
        config.measure(),
        margin=config.promotion.margin,
        looks=-(-length // config.trigger.window),
        min_rows=config.trigger.min_rows,
    )
    because = f"{finding.because} (on probation until {policy.stamp(until)})"
    return replace(finding, because=because, warns=True)


def failed(judgement: Judgement) -> Finding | None:
    """Return the finding of a champion that does worse than its predecessor."""
    found = (finding for finding in judgement.findings if finding.name == "probation")
    return next((finding for finding in found if finding.verdict is Verdict.BREACH), None)


def obstacle(registry: Registry, past: Memory, finding: Finding) -> str | None:
    """Say why a champion that does worse cannot be rolled back by itself; None if it can."""
    predecessor = finding.evidence["predecessor"]
    try:
        because = f"{predecessor} is quarantined" if registry.verified(predecessor) in past.quarantined else None
    except PromotionError as error:
        because = str(error)
    return because and f"{because}. Go back further with `retrain-check rollback VERSION`"


def rolled_back(tick: Tick, finding: Finding) -> Outcome:
    """Make the predecessor the champion again, and quarantine the one that did worse."""
    current = tick.registry.champion()
    assert current is not None
    target = finding.evidence["predecessor"]
    before = lineage.served(tick.ledger.effects()).get(target)
    tick = staging.withdraw(tick, f"{current.version}, the champion beside it, is rolled back")
    because = f"rolled back from {current.version}, which is quarantined: {finding.because}"
    worse = Quarantined(version=current.version, sha256=current.sha256)
    grounds = Grounds(by="probation", because=because, quarantined=worse)
    promote.promote(tick, target, grounds, previous=before.previous if before else None)
    return Outcome(
        word=Word.ROLLED_BACK,
        code=ExitCode.OK,
        because=f"{target} is the champion again; {because}",
        run=tick.run,
        details={"version": target, "quarantined": current.version},
    )
