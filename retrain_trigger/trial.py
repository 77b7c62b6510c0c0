"""The trial of a challenger: champion and challenger on the same held-out rows, and the gates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain_trigger.errors import PromotionError
from retrain_trigger.findings import Finding
from retrain_trigger.tick import Tick


@dataclass(frozen=True, slots=True)
class Trial:
    """A challenger's comparison with the champion: scores and bounds, the joint counts, and the gates."""

    version: str
    findings: tuple[Finding, ...]
    comparison: Mapping[str, Any]
    joint: Sequence[Sequence[Any]]
    passed: bool

    def to_json(self) -> dict[str, Any]:
        """Return the trial as a JSON object."""
        gates = [finding.to_json() for finding in self.findings]
        return {"version": self.version, "comparison": dict(self.comparison), "joint": list(self.joint), "gates": gates}


def compared(tick: Tick, begun: Mapping[str, Any], sealed: Sequence[str], *, holdout: Path) -> list[Trial]:
    """Score the champion and each challenger on the hold-out and judge what they said.

    A challenger that cannot be scored drops out; raises PromotionError where none is left, or the champion cannot.
    """
    from retrain_trigger.judge import comparison, gates  # noqa: PLC0415  (NumPy: not on the healthy path)
    from retrain_trigger.judge.counts import JointCounts  # noqa: PLC0415
    from retrain_trigger.world import labelled  # noqa: PLC0415  (DuckDB: not on the healthy path)

    said = {version: _scored(tick, version, holdout, begun) for version in (begun["champion"],)}
    lost = []
    for version in sealed:
        try:
            said[version] = _scored(tick, version, holdout, begun)
        except PromotionError as error:
            lost.append(str(error))
            tick.say(str(error))
    challengers = [version for version in sealed if version in said]
    if not challengers:
        raise PromotionError(f"{lost[-1]}; the champion is kept")
    trials = []
    for version in challengers:
        counted = labelled.joint_counts(
            holdout, label=begun["label"], champion=said[begun["champion"]], challenger=said[version]
        )
        found = comparison.compare(
            JointCounts.from_json(counted),
            metric=tick.config.metric,
            positive=begun["positive"],
            certainty=tick.config.promotion.certainty,
            challengers=len(sealed),
            cost=tick.config.weights,
            seed=int(begun["holdout"][:8], 16),
        )
        findings = gates.judge(found, margin=tick.config.promotion.margin, min_rows=tick.config.promotion.min_rows)
        trials.append(Trial(version, findings, found.to_json(), counted, gates.promotes(findings)))
    return trials


def explained(trial: Trial) -> str:
    """Say how champion and challenger scored and, where it is kept, every gate that was not passed."""
    found = trial.comparison
    if found["difference"] is None:
        scores = f"challenger {trial.version} cannot be compared"
    else:
        bounds = "unknown bounds"
        if found["lower"] is not None and found["upper"] is not None:
            bounds = f"{found['certainty']:.0%} interval {found['lower']:+.3f} to {found['upper']:+.3f}"
        scores = (
            f"challenger {trial.version} has {found['metric']} {found['challenger']:.3f} against the champion's "
            f"{found['champion']:.3f} on {found['rows']:,} deciding rows: {found['difference']:+.3f} ({bounds})"
        )
    if trial.passed:
        return f"{scores}; promoted"
    failed = "; ".join(finding.because for finding in trial.findings if finding.verdict != "PASS")
    return f"{scores}; the champion is kept: {failed}"


def _scored(tick: Tick, version: str, holdout: Path, begun: Mapping[str, Any]) -> Path:
    from retrain_trigger.world import models  # noqa: PLC0415  (only a comparison needs it)

    tick.registry.verified(version)
    predictions = tick.scratch / f"{version}.predictions.parquet"
    models.score(
        tick.registry.model(version),
        folder=tick.config.folder,
        scratch=tick.scratch,
        rows=holdout,
        features=begun["features"],
        predictions=predictions,
        hidden=(begun["label"],),
        patience=min(models.PATIENCE, tick.config.train.timeout.total_seconds()),
    )
    return predictions
