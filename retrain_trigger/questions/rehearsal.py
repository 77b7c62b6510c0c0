"""A rehearsal of a challenger: it and the champion answer the newest logged requests again, with or without labels."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain_trigger import engines
from retrain_trigger.core.errors import DataError
from retrain_trigger.core.records import Json
from retrain_trigger.counts.confusion import Confusion, JointCounts
from retrain_trigger.judge import metrics
from retrain_trigger.judge.gates.agreement import Agreement
from retrain_trigger.judge.memory import Champion
from retrain_trigger.pipeline import compare, prepare
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.process.scoring import models
from retrain_trigger.store import files

if TYPE_CHECKING:
    from retrain_trigger.engines.logged_requests import Said

REQUESTS = 20_000
"""Logged requests that are answered again: the shares are then known to less than a percentage point."""

SLICE_VALUES = 20
"""Values of a slice for which the agreement is told, those with the most rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What both models say of logged requests.

    `said` pairs champion and challenger; `slices` does so for each value of a slice, by `column=value`. `skew` pairs
    what the champion logged with what it says when asked again, None if the log has no row of it. `scores` are
    the metric of champion and challenger on the `labelled` rows, None if it is not defined.
    """

    said: Agreement
    slices: Mapping[str, Agreement]
    skew: Agreement | None
    labelled: int
    scores: tuple[float | None, float | None]

    def to_json(self) -> dict[str, Json]:
        """Return the rehearsal as a JSON object."""
        return {
            **self.said.to_json(),
            "slices": {name: agreement.to_json() for name, agreement in self.slices.items()},
            "skew": self.skew.to_json() if self.skew else None,
            "labelled": self.labelled,
            "scores": dict(zip(("champion", "challenger"), self.scores, strict=True)),
        }


def rehearse(tick: Tick, champion: Champion, challenger: str) -> Rehearsal:
    """Ask both models again for the newest REQUESTS rows of `logs.predictions`, which must be set.

    Raises DataError if the log cannot be read or is empty, PromotionError if a model cannot answer.
    """
    logs, folder = tick.config.logs, tick.scratch / "rehearsal"
    columns, requests = logs.names, folder / "requests.parquet"
    files.make_folder(folder, mode=0o700)
    rows, features = engines.logged_requests.write_newest(
        logs.predictions or "", labels=logs.labels, columns=columns, now=tick.now, at_most=REQUESTS, target=requests
    )
    if not rows:
        raise DataError("no request has been logged yet")
    said: dict[str, Path] = {}
    for version in (champion.version, challenger):
        said[version] = folder / f"{version}.parquet"
        request = models.Request(tables={requests: said[version]}, features=features)
        compare.asked(tick.config, tick.registry.model(version), request, scratch=folder)
    answers = engines.logged_requests.Said(
        requests=requests, columns=columns, champion=said[champion.version], challenger=said[challenger]
    )
    return _tallied(tick, champion, answers)


def _tallied(tick: Tick, champion: Champion, answers: "Said") -> Rehearsal:
    cells = answers.tally(names=champion.names, since=champion.since)
    own = _agreement((row[1], row[3], row[5]) for row in cells if row[0] and row[1] is not None)
    joint = JointCounts.counted([row[2:] for row in cells if row[2] is not None])
    return Rehearsal(
        said=_agreement(row[3:] for row in cells),
        slices={
            f"{column}={value}": _agreement(counts)
            for column in tick.config.promotion.slices
            for value, counts in answers.sliced(column, at_most=SLICE_VALUES).items()
        },
        skew=own if own.rows else None,
        labelled=joint.rows,
        scores=_scores(tick, champion, joint),
    )


def _scores(tick: Tick, champion: Champion, joint: JointCounts) -> tuple[float | None, float | None]:
    if not joint.rows or tick.config.metric not in metrics.METRICS:
        return None, None
    label = prepare.positive(tick, champion, joint.labels)

    def score(said: Confusion) -> float | None:
        found = metrics.score(said, tick.config.metric, label, cost=tick.config.weights)
        return None if math.isnan(found) else found

    return score(joint.champion), score(joint.challenger)


def _agreement(counts: Iterable[Any]) -> Agreement:
    cells: dict[tuple[str, str], int] = {}
    for first, second, n in counts:
        cells[first, second] = cells.get((first, second), 0) + n
    return Agreement(cells)
