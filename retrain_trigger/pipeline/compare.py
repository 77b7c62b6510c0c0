"""The trial of a challenger: champion and challenger on the same held-out rows, and the gates."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from retrain_trigger import engines
from retrain_trigger.config.load import Config
from retrain_trigger.core.comparisons import INDEPENDENT, Comparison, Design, Part, Trial
from retrain_trigger.core.errors import PromotionError
from retrain_trigger.core.events import Score
from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge import gates
from retrain_trigger.judge.gates import design
from retrain_trigger.judge.metrics import Measure
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.process.scoring import models
from retrain_trigger.process.scoring.models import ModelFacts
from retrain_trigger.store import files
from retrain_trigger.store.registry import Registry

if TYPE_CHECKING:
    from retrain_trigger.engines.tallies import Answers as Said
    from retrain_trigger.judge.gates.gates import Facts, Golden
    from retrain_trigger.judge.gates.slices import Slice


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """The rows that a champion and its challengers are compared on: a file, its columns, and the positive label.

    `breached` are the starts of the windows that breached, `older` a file of rows on which both are shown beside. It is
    the `attempt`-th since the last promotion; 0 where that does not matter.
    """

    champion: str
    rows: Path
    label: str
    features: tuple[str, ...]
    positive: str
    breached: tuple[datetime, ...] = ()
    older: Path | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Answers:
    """What a sealed model said: files of its predictions for the hold-out, golden and older rows, and facts about it."""

    version: str
    predictions: Path
    golden: Path | None
    older: Path | None
    facts: "Facts"
    foreign: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The counts of what champion and challenger said, in all and by slice, how alike rows are, and what is known of both.

    It is the `attempt`-th since the last promotion; 0 where that does not matter.
    """

    joint: JointCounts
    design: Design = INDEPENDENT
    parts: Sequence["Slice"] = ()
    champion: "Facts | None" = None
    challenger: "Facts | None" = None
    golden: "Golden | None" = None
    attempt: int = 0


def compared(tick: Tick, held: HeldOut, sealed: Sequence[str], *, shared_among: int | None = None) -> list[Trial]:
    """Score the champion and each challenger on the hold-out and judge what they said.

    The interval is shared among so many challengers, all that were trained to choose from; by default those given.
    A challenger that cannot be scored drops out; raises PromotionError if none is left, the champion cannot, or the
    gate fails its proof. One with the champion's bytes is kept out without being scored.
    """
    champion = tick.registry.verified(held.champion)
    same = [version for version in sealed if tick.registry.verified(version) == champion]
    shared = shared_among or len(sealed)
    trials = [_identical(tick.config, version, held.positive, challengers=shared) for version in same]
    others = [version for version in sealed if version not in same]
    if not others:
        return trials
    golden = prepared_golden(tick.config, tick.scratch)
    own = _answered(tick, held, held.champion, golden)
    said, lost = _all_answered(tick, held, others, golden)
    if not said and not trials:
        raise PromotionError(f"{lost[-1]}; the champion is kept")
    seed = int(files.sha256(held.rows)[:8], 16)
    for each in said:
        seen = _seen(tick.config, held, own, each, golden)
        trial = judged(tick.config, each.version, seen, positive=held.positive, challengers=shared, seed=seed)
        foreign = tuple(f"{model.version} {model.foreign}" for model in (own, each) if model.foreign)
        trials.append(replace(trial, parts=_parts(tick.config, held, own, each), notes=(*trial.notes, *foreign)))
    return trials


def scored(tick: Tick, held: HeldOut, version: str) -> Score | None:
    """Score one sealed model on held-out rows; None if the metric has no value there. Raises PromotionError."""
    said = _answered(tick, held, version, None).predictions
    answers = engines.tallies.Answers(rows=held.rows, label=held.label, champion=said, challenger=said)
    counts = engines.tallies.joint_counts(answers)
    value = tick.config.measure(held.positive).score(counts.champion)
    on = f"on {counts.rows:,} rows held out of its training"
    return None if math.isnan(value) else Score(metric=tick.config.metric, value=value, on=on)


def asked(config: Config, model: Path, request: models.Request, *, scratch: Path) -> ModelFacts:
    """Let a model predict: it is never given the truth, and no longer than a training. Raises PromotionError."""
    truth = (config.logs.columns.label, config.logs.columns.labelled_at)
    return models.ask(
        model,
        replace(request, hidden=truth),
        folder=config.folder,
        scratch=scratch,
        patience=min(models.PATIENCE, config.train.timeout.total_seconds()),
    )


def judged(config: Config, version: str, seen: Seen, *, positive: str, challengers: int, seed: int) -> Trial:
    """Judge a challenger by the counts of what both said, and by what is known of the models, where it is.

    Raises PromotionError if the gate would let through what none may: then it decides nothing.
    """
    asked, measure = config.promotion, config.measure(positive)
    wanted = gates.gates.Terms(
        margin=asked.margin, min_rows=config.deciding_rows, floor=asked.floor, latency=asked.latency, size=asked.size
    )
    by_slice = gates.slices.judge(seen.parts, measure, margin=asked.margin, seed=seed)
    interval = partial(
        gates.bootstrap.compare,
        measure=measure,
        certainty=config.certainty(seen.attempt),
        challengers=challengers,
        seed=seed,
    )

    def compare(table: JointCounts) -> Comparison:
        return design.stretched(interval(table), seen.design)

    found = compare(seen.joint)
    findings = gates.gates.judge(
        gates.gates.Case(
            comparison=found,
            asked=wanted,
            champion=seen.champion,
            challenger=seen.challenger,
            slices=by_slice,
            golden=seen.golden,
        )
    )

    def court(table: JointCounts) -> Sequence[Finding]:
        return gates.gates.judge(gates.gates.Case(comparison=compare(table), asked=wanted))

    let_through = gates.proof.failures(seen.joint, court, margin=asked.margin)
    if let_through:
        raise PromotionError(
            f"the gate failed its own proof, so it decides nothing: it would let through {' and '.join(let_through)}. "
            f"The champion is kept; this installation of retrain-check is not to be trusted with a promotion"
        )
    notes = (_on_disagreements(found), design.told(found))
    return Trial(
        version=version, comparison=found, joint=seen.joint.cells, gates=findings, slices=by_slice, notes=notes
    )


def check_settings(tick: Tick, columns: Collection[str]) -> None:
    """Raise PromotionError if a comparison would break on what is configured; `columns` are the hold-out's."""
    absent = [name for name in tick.config.promotion.slices if name not in columns]
    if absent:
        raise PromotionError(
            f"promotion.slices names column {absent[0]!r}, and the labelled rows have no such column; they have "
            f"{', '.join(columns)}. Nothing was trained"
        )
    try:
        prepared_golden(tick.config, tick.scratch)
    except PromotionError as error:
        raise PromotionError(f"{error}. Nothing was trained") from error


def prepared_golden(config: Config, scratch: Path) -> Path | None:
    """Copy the golden rows to `scratch`; None if there are none. Raises PromotionError if they cannot be read."""
    if config.promotion.golden is None:
        return None

    golden = scratch / "golden.parquet"
    engines.tallies.write_golden(config.promotion.golden, golden, columns=config.logs.names)
    return golden


def explained(trial: Trial) -> str:
    """Say how champion and challenger scored and, where it is kept, every gate that was not passed."""
    found = trial.comparison
    if math.isnan(found.difference):
        scores = f"challenger {trial.version} {'cannot be compared' if trial.joint else 'was not scored'}"
    else:
        bounds = "unknown bounds"
        if not math.isnan(found.lower + found.upper):
            bounds = f"{found.certainty * 100:g}% interval {found.lower:+.3f} to {found.upper:+.3f}"
        scores = (
            f"challenger {trial.version} has {found.metric} {found.challenger:.3f} against the champion's "
            f"{found.champion:.3f} on {found.rows:,} deciding rows: {found.difference:+.3f} ({bounds})"
        )
    if trial.passed:
        return scores
    failed = "; ".join(finding.because for finding in trial.gates if finding.verdict is not Verdict.PASS)
    return f"{scores}; the champion is kept: {failed}"


def _all_answered(
    tick: Tick, held: HeldOut, versions: Sequence[str], golden: Path | None
) -> tuple[list[Answers], list[str]]:
    """Ask each challenger; return what they said, and why the others could not be scored, which is told."""
    said, lost = [], []
    for version in versions:
        try:
            said.append(_answered(tick, held, version, golden))
        except PromotionError as error:
            lost.append(str(error))
            tick.say(str(error))
    return said, lost


def _answered(tick: Tick, held: HeldOut, version: str, golden: Path | None) -> Answers:
    """Ask a sealed model for the hold-out, and the golden rows; its predictions are files in the run's scratch."""
    tick.registry.verified(version)
    model, scratch = tick.registry.model(version), tick.scratch
    predictions = scratch / f"{version}.predictions.parquet"
    for_golden = scratch / f"{version}.golden.parquet" if golden else None
    for_older = scratch / f"{version}.older.parquet" if held.older else None
    request = models.Request(
        tables={held.rows: predictions, **({golden: for_golden} if golden and for_golden else {})},
        features=held.features,
        timed=tick.config.promotion.latency is not None,
    )
    ask = partial(asked, tick.config, model, scratch=scratch)
    try:
        more = {held.older: for_older} if held.older and for_older else {}
        found = ask(replace(request, tables={**request.tables, **more}))
    except PromotionError:
        if not for_older:
            raise
        found, for_older = ask(request), None  # rows that only show something must not keep a model out
    facts = gates.gates.Facts(
        features=found.features,
        width=found.width,
        types=_trained_types(tick.config, tick.registry, version),
        classes=found.classes,
        seconds=found.seconds,
        sample=found.sample,
        size=model.stat().st_size,
    )
    return Answers(version, predictions, for_golden, for_older, facts, found.foreign)


def _seen(config: Config, held: HeldOut, champion: Answers, challenger: Answers, golden: Path | None) -> Seen:
    """Count what two models said."""
    answers = engines.tallies.Answers(
        rows=held.rows, label=held.label, champion=champion.predictions, challenger=challenger.predictions
    )
    parts = [
        gates.slices.Slice(column, value, joint)
        for column in config.promotion.slices
        for value, joint in engines.tallies.sliced_counts(answers, column, at_most=gates.slices.MAX_VALUES).items()
    ]
    tally = None
    if golden is not None and challenger.golden is not None:
        found = engines.tallies.golden_tally(golden, label=held.label, predictions=challenger.golden)
        tally = gates.gates.Golden(found.rows, found.wrong, found.first)
    joint = engines.tallies.joint_counts(answers)
    return Seen(
        joint=joint,
        design=_design(config, answers, joint, config.measure(held.positive)),
        parts=parts,
        champion=champion.facts,
        challenger=challenger.facts,
        golden=tally,
        attempt=held.attempt,
    )


def _design(config: Config, answers: "Said", joint: JointCounts, measure: Measure) -> Design:
    """Return how alike rows of one `data.group` are, or of one hour."""
    by = config.data.group
    influence = design.influences(joint, measure)
    if any(math.isnan(each) for each in influence.values()):
        return INDEPENDENT
    groups = engines.tallies.groups(answers, influence, column=by, time=config.logs.columns.timestamp)
    if groups is None:
        return INDEPENDENT
    return design.of(groups, joint, influence, by=by or design.HOUR, least=0 if by else design.LEAST_HOURS)


def _parts(config: Config, held: HeldOut, champion: Answers, challenger: Answers) -> tuple[Part, ...]:
    """Score both models on the rows that decide, on those of the windows that breached, and on older ones."""
    measure, time, length = config.measure(held.positive), config.logs.columns.timestamp, config.trigger.window
    spans = [(start, start + length) for start in held.breached]
    files_of = [(held.rows, champion.predictions, challenger.predictions)]
    if held.older and champion.older and challenger.older:
        files_of.append((held.older, champion.older, challenger.older))
    found = [
        engines.tallies.parted(
            engines.tallies.Answers(rows=rows, label=held.label, champion=own, challenger=new), spans, time=time
        )
        for rows, own, new in files_of
    ]
    (breached, other), *older = found
    tables = {
        "rows that decide": breached + other,
        "breached windows": sum((inside for inside, _ in older), breached),
        "older rows, held out": sum((outside for _, outside in older), JointCounts({})),
    }
    return tuple(
        Part(on=on, rows=joint.rows, champion=measure.score(joint.champion), challenger=measure.score(joint.challenger))
        for on, joint in tables.items()
        if joint.rows
    )


def _identical(config: Config, version: str, positive: str, *, challengers: int) -> Trial:
    """Return the trial of a challenger that is the champion: nothing was scored, and nothing passed."""
    because = "its file is the champion's, byte for byte: the training gave the same model again"
    finding = Finding(name="bytes", verdict=Verdict.BREACH, value=0.0, limit=1.0, because=because)
    nothing = gates.bootstrap.compare(
        JointCounts({}),
        config.measure(positive),
        certainty=config.certainty(),
        challengers=challengers,
        seed=0,
        resamples=1,
    )
    return Trial(version=version, comparison=nothing, gates=(finding,))


def _trained_types(config: Config, registry: Registry, version: str) -> dict[str, str]:
    """Return the types of the columns that a version was trained on, as far as they are known and checked."""
    profile = registry.profile(version)
    if profile is None:
        return {}
    return {
        name: column.type
        for name, column in profile.columns.items()
        if column.missing < profile.rows and name not in config.data.unchecked
    }


def _on_disagreements(found: Comparison) -> str:
    """Say on how many rows one alone is right, and what McNemar's test makes of it."""
    return (
        f"the models differ on {found.disagreements:,} of {found.rows:,} rows: the challenger alone is right on "
        f"{found.challenger_alone:,}, the champion alone on {found.champion_alone:,} (McNemar's exact test: "
        f"p = {found.mcnemar:.2g}; right and wrong only, it decides nothing)"
    )
