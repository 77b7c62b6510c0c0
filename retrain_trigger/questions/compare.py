"""Two sealed versions side by side: on the hold-out, as a run would compare them, and on the newest logged requests."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from retrain_trigger import engines
from retrain_trigger.config.load import Config
from retrain_trigger.core.comparisons import Trial
from retrain_trigger.core.entries import only
from retrain_trigger.core.errors import PromotionError, RetrainCheckError, UsageError
from retrain_trigger.core.events import Promoted, Sealed
from retrain_trigger.core.records import Json, encoded
from retrain_trigger.judge.memory import Champion
from retrain_trigger.judge.metrics import METRICS
from retrain_trigger.pipeline import collect, prepare, promote
from retrain_trigger.pipeline import holdout as holdouts
from retrain_trigger.pipeline.compare import HeldOut, compared, explained
from retrain_trigger.pipeline.tick import Say, Tick, asked
from retrain_trigger.questions import rehearsal
from retrain_trigger.questions.rehearsal import Rehearsal

NOTHING_TO_COMPARE_ON = "there is nothing to compare on: set data.labelled or data.holdout_file (a hold-out), or logs.predictions (requests)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """How two versions did; `trial` is None without a hold-out, `rehearsal` without logged requests: `notes` say why."""

    champion: str
    challenger: str
    metric: str
    trial: Trial | None
    rehearsal: Rehearsal | None
    notes: tuple[str, ...]

    @property
    def better(self) -> bool:
        """Whether the challenger passed every gate."""
        return self.trial is not None and self.trial.passed

    @property
    def because(self) -> str | None:
        """How they scored on the hold-out, and every gate that was not passed."""
        return explained(self.trial) if self.trial else None

    def to_json(self) -> dict[str, Json]:
        """Return the contest as a JSON object."""
        return {
            "champion": self.champion,
            "challenger": self.challenger,
            "better": self.better,
            "because": self.because,
            "holdout": encoded(self.trial),
            "rehearsal": self.rehearsal.to_json() if self.rehearsal else None,
            "notes": list(self.notes),
        }


def compare(config: Config, challenger: str | None, *, champion: str | None, now: datetime, say: Say) -> Contest:
    """Compare two sealed versions, by default the newest with the champion; nothing is recorded, nothing is left.

    Raises UsageError if there are no two versions, PromotionError if one cannot be used or there is nothing to
    compare on, DataError if the rows cannot be read.
    """
    with asked(config, now=now, say=say) as tick:
        first = _champion(tick, champion)
        second = challenger or _newest(tick, first.version)
        if second == first.version:
            raise UsageError(f"{second} is the champion itself; name another version")
        for version in (first.version, second):
            collect.check_there(tick.registry, tick.ledger.effects(), version)
            tick.registry.verified(version)
        held, told = _on_holdout(tick, first, second)
        rehearsed, lost = _on_requests(tick, first, second)
        notes = tuple(note for note in (told, lost) if note)
        if held is None and rehearsed is None:
            raise PromotionError("; ".join(notes))
        return Contest(
            champion=first.version,
            challenger=second,
            metric=config.metric,
            trial=held,
            rehearsal=rehearsed,
            notes=notes,
        )


def _champion(tick: Tick, version: str | None) -> Champion:
    """Return the version that is compared with: the champion, or a named one as if it were."""
    if version is None:
        pointer = promote.champion(tick)
        if pointer is None:
            raise UsageError("there is no champion to compare with; name a version with --champion")
        since = datetime.fromisoformat(pointer.promoted_at).astimezone(UTC)
        return tick.past.champion or Champion(pointer.version, since)
    collect.check_there(tick.registry, tick.ledger.effects(), version)
    promoted = only(tick.ledger.effects(), Promoted)
    own = [entry.at for entry in promoted if entry.event.pointer.version == version]
    tick.registry.verified(version)
    trained = tick.registry.card(version).trained_at
    since = own[-1] if own else trained or tick.now
    return Champion(version, since, known_as=tick.past.known_as.get(version))


def _newest(tick: Tick, champion: str) -> str:
    there = set(tick.registry.versions()) - {champion}
    sealed = [entry.event.version for entry in only(tick.ledger.effects(), Sealed)]
    others = [version for version in sealed if version in there]
    if not others:
        raise UsageError(f"there is no sealed version beside {champion} to compare it with")
    return others[-1]


def _on_holdout(tick: Tick, champion: Champion, challenger: str) -> tuple[Trial | None, str | None]:
    """Compare on rows that neither was trained on, and say which they are; None with the reason if there are none."""
    data, logs = tick.config.data, tick.config.logs
    source = data.holdout_file or data.labelled or logs.predictions
    if source is None:
        return None, NOTHING_TO_COMPARE_ON
    if tick.config.metric not in METRICS:
        return None, f"no comparison on a hold-out: metric {tick.config.metric!r} cannot be computed from predictions"
    holdout = tick.scratch / "holdout.parquet"
    try:
        held, which = _held_out(tick, champion, challenger, source, holdout)
    except RetrainCheckError as error:
        if logs.predictions is None:
            raise
        return None, f"no comparison on a hold-out: {error}"
    if held is None:
        return None, f"no comparison on a hold-out: it has no row newer than what {champion.version} was trained on"
    (found,) = compared(tick, held, [challenger])
    return found, which


def _held_out(
    tick: Tick, champion: Champion, challenger: str, source: str, holdout: Path
) -> tuple[HeldOut | None, str | None]:
    """Write the rows that neither version was trained on, and say which they are; None without a row.

    They are the held-out rows newer than the champion's training data and, where the newest windows decide, all rows
    newer than those of both.
    """
    data, logs = tick.config.data, tick.config.logs
    truth = logs.labels if source == logs.predictions else None
    need = engines.labelled.Need(reserve=holdouts.reserve(tick, data.holdout))
    with engines.labelled.opened(source, labels=truth, columns=logs.names, now=tick.now, need=need) as rows:
        after = prepare.trained_until(tick, champion)
        since = holdouts.held_out_since(tick)  # rows that another group held out, or none, either may have learnt from
        held_after = max(after, since) if after and since else after or since
        deciding = rows.newer(after) if source == data.holdout_file else rows.deciding(after=held_after)
        which = None
        if tick.config.newest_decide:
            learnt = [prepare.trained_until(tick, each) for each in (champion, Champion(challenger, tick.now))]
            newer = rows.unlearnt(max(at for at in learnt if at is not None))
            held, both = rows.count(f"{deciding} AND NOT ({newer})"), rows.count(newer)
            which = (
                f"neither was trained on these rows: {held:,} are held out, {both:,} are newer than what both learnt"
            )
            deciding = f"(({deciding}) OR ({newer}))"
        if not rows.count(deciding):
            return None, None
        rows.write(deciding, holdout)
        held_out = HeldOut(
            champion=champion.version,
            rows=holdout,
            label=rows.columns["label"],
            features=rows.features,
            positive=prepare.positive(tick, champion, rows.labels()),
            attempt=tick.past.refusals + 1,
        )
        return held_out, which


def _on_requests(tick: Tick, champion: Champion, challenger: str) -> tuple[Rehearsal | None, str | None]:
    """Let both models answer the newest logged requests again; None with the reason if they cannot."""
    if tick.config.logs.predictions is None:
        return None, None
    try:
        return rehearsal.rehearse(tick, champion, challenger), None
    except RetrainCheckError as error:
        return None, f"logged requests cannot be answered again: {error}"
