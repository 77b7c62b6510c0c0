"""Before a training starts: is the data fit, can a challenger be judged, and which rows does it get."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from retrain_trigger import engines
from retrain_trigger.core.card import LeftOut
from retrain_trigger.core.errors import PromotionError, UsageError
from retrain_trigger.core.events import Reason, Span
from retrain_trigger.core.findings import Finding
from retrain_trigger.core.outcomes import ExitCode, Outcome, Word
from retrain_trigger.core.records import decoded, encoded
from retrain_trigger.counts.table import Profile
from retrain_trigger.judge.checks.lateness import AT_ONCE
from retrain_trigger.judge.gates.deciding import Breach
from retrain_trigger.judge.memory import Champion
from retrain_trigger.judge.metrics import METRICS, positive_label
from retrain_trigger.pipeline import compare, data_check, holdout, never, profile, reaches
from retrain_trigger.pipeline.tick import Tick
from retrain_trigger.store import files

if TYPE_CHECKING:
    from retrain_trigger.engines.labelled import LabelledRows

NO_HOLDOUT = "no hold-out: set data.labelled or data.holdout_file, or `retrain-check promote VERSION --reason ...`"
OLDER_ROWS = 20_000
"""Older rows on which models are shown beside the newest: the newest of them, at most so many."""

_BINARY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What one challenger is trained on: how far back it reaches, the rows (None: `make` finds its own).

    `name` tells the files of this training from those of others in the same attempt.
    """

    reach: str
    rows: Path | None
    profile: Profile | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The newest windows decide: the recipes are first trained without what is `left_out`, and judged on it.

    `holdout` is the file of all rows of these windows; `deciding` says how many, and from when to when they are.
    `refits` are the splits, one for each reach, that a winner is refitted on.
    """

    holdout: Path
    deciding: Span
    left_out: LeftOut
    refits: tuple[Split, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Fit data, split. `uncompared` says why no comparison will be possible; None if `holdout` decides.

    `deciding` says how many rows the hold-out has, and from when to when they are.
    """

    splits: tuple[Split, ...]
    holdout: Path | None = None
    deciding: Span = field(default_factory=Span)
    selection: Selection | None = None
    label: str = ""
    features: tuple[str, ...] = ()
    positive: str = ""
    reserved: float = 0.0
    breached: tuple[datetime, ...] = ()
    uncompared: str | None = None
    findings: tuple[Finding, ...] = ()


def prepare(tick: Tick, champion: Champion | None, *, breach: Breach, forced: bool, because: str) -> Prepared | Outcome:
    """Validate and split the data; an Outcome where it is refused (exit 4), or too little of it is there yet (a wait).

    `breach` tells the windows that the rows which decide must contain. `forced` trains even where too few rows
    can decide. `because` is told to a check of the user's own. Raises DataError if the data cannot be read,
    PromotionError if it is too old to judge by, or a new version would have no place.
    """
    tick.registry.check_writable()  # else a training of hours would end in a model that has no place
    prepared = _prepared(tick, champion, breach, forced=forced)
    if isinstance(prepared, Outcome):
        return prepared
    reason = Reason(because=because, forced=forced, findings=prepared.findings)
    checked = data_check.judged(tick, _by_name(prepared), reason=reason)
    # The check of one's own has been given these files, too: leakage is looked for in what it left of them.
    findings = (*prepared.findings, *checked, *_leaks(tick, prepared))
    return replace(prepared, findings=findings) if reaches.all_pass(findings) else _refused(findings)


def refit(tick: Tick, reach: str) -> Split:
    """Return the split that `prepare` wrote for the refit of a winner, also after a crash. Raises PromotionError."""
    name = f"refit-{reach}"
    try:
        known = decoded(Profile, json.loads((tick.scratch / f"{name}.profile.json").read_text()))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PromotionError(f"the profile of {name} cannot be read: {error}; the champion is kept") from error
    return Split(reach=reach, rows=tick.scratch / f"{name}.parquet", profile=known, name=name)


def _by_name(prepared: Prepared) -> dict[str, Path | None]:
    """Return all files that will be trained on, by the reach, and `refit-` before it for the second training."""
    refits = prepared.selection.refits if prepared.selection else ()
    return {**{split.reach: split.rows for split in prepared.splits}, **{split.name: split.rows for split in refits}}


def _leaks(tick: Tick, prepared: Prepared) -> tuple[Finding, ...]:
    leaks = partial(holdout.leaks, columns=tick.config.logs.names, group=tick.config.data.group)
    files_of = {name: rows for name, rows in _by_name(prepared).items() if rows is not None}
    found = leaks(files_of, prepared.holdout) if prepared.holdout else ()
    if prepared.selection is None:
        return found
    first = {split.reach: split.rows for split in prepared.splits if split.rows is not None}
    return (*found, *leaks(first, prepared.selection.holdout))


def _prepared(tick: Tick, champion: Champion | None, breach: Breach, *, forced: bool) -> Prepared | Outcome:
    files.remove_folder(tick.scratch.parent)
    files.make_folder(tick.scratch, mode=0o700)
    data = tick.config.data
    own = Split(reach="all", rows=None, profile=None, name="train-all")
    logs = tick.config.logs
    if data.labelled is None and data.holdout_file is None and logs.predictions is None:
        return Prepared(splits=(own,), uncompared=NO_HOLDOUT)
    if tick.config.metric not in METRICS:
        because = f"metric {tick.config.metric!r} cannot be computed from predictions: promote VERSION by hand"
        return Prepared(splits=(own,), uncompared=because)

    share = data.holdout if data.holdout_file is None else 0.0
    need = engines.labelled.Need(reserve=holdout.reserve(tick, share))
    opened = partial(engines.labelled.opened, columns=logs.names, now=tick.now, need=need)
    if data.labelled is None and data.holdout_file is not None:
        with opened(data.holdout_file, key="data.holdout_file") as held:
            return _own_holdout(tick, held, champion, own, breach, forced=forced)
    source = data.labelled or logs.predictions or ""
    truth = logs.labels if source == logs.predictions else None
    with opened(source, labels=truth) as rows:
        if data.holdout_file is None:
            return _split(tick, rows, champion, breach, held=None, forced=forced)
        with opened(data.holdout_file, key="data.holdout_file") as held:
            return _split(tick, rows, champion, breach, held=held, forced=forced)


def _own_holdout(
    tick: Tick,
    rows: "LabelledRows",
    champion: Champion | None,
    own: Split,
    breach: Breach,
    *,
    forced: bool,
) -> Prepared | Outcome:
    held = _deciding(tick, rows, trained_until(tick, champion))
    missing = None if champion is None else holdout.lacking(tick, held, breach, forced=forced)
    if missing is not None:
        return missing
    return _with_holdout(tick, rows, champion, held, (own,))


def _split(
    tick: Tick,
    rows: "LabelledRows",
    champion: Champion | None,
    breach: Breach,
    *,
    held: "LabelledRows | None",
    forced: bool,
) -> Prepared | Outcome:
    """Split labelled rows; `held` are those of a hold-out of the user's own, else a share of the rows is reserved."""
    until = trained_until(tick, champion)
    newest = partial(holdout.newest, tick, rows, until=until)
    decides = newest(least=tick.config.deciding_rows) if champion and tick.config.newest_decide else None
    left_out = decides.left_out if decides else None
    end = left_out.after if left_out else None
    stages = {"train": reaches.wheres(tick, rows, champion, until=end)}
    if left_out:
        stages["refit"] = reaches.wheres(tick, rows, champion, until=None)
    max_age = None if forced else tick.config.trigger.max_age + (holdout.delay(tick, rows) or AT_ONCE).most
    recent = holdout.recent(tick, rows, until) if until else None
    described = reaches.described(tick, rows, champion, recent, stages, max_age=max_age)
    if not described.reaches:
        if left_out:
            never.check_deciding(tick.config, left_out, described.tables)
        return _refused(described.findings)
    deciding = decides or _deciding(tick, held or rows, until)
    missing = holdout.lacking(tick, deciding, breach, forced=forced) if champion else None
    if missing is not None:
        return missing
    for reach, because in described.left_out.items():
        tick.say(f"no challenger is trained on the rows of {reach}: {because}")
    veto = _deciding(tick, rows, end) if left_out else deciding
    prepared = _with_holdout(tick, rows, champion, veto, _written(tick, rows, stages["train"], described, "train"))
    prepared = replace(prepared, reserved=rows.reserve.share, breached=breach.windows, findings=described.findings)
    if left_out is None:
        return prepared
    refits = _written(tick, rows, stages["refit"], described, "refit")
    return replace(prepared, selection=_selection(tick, deciding, left_out, refits))


def _selection(tick: Tick, deciding: holdout.HoldOut, left_out: LeftOut, refits: tuple[Split, ...]) -> Selection:
    """Write the rows of the newest windows, which select, and older ones that nobody learns from, to show."""
    rows, all_rows = tick.scratch / "selection.parquet", deciding.rows
    all_rows.write(deciding.where, rows)
    older = all_rows.until(all_rows.deciding(after=holdout.held_out_since(tick)), left_out.after)
    all_rows.write(older, tick.scratch / "older.parquet", at_most=OLDER_ROWS)
    return Selection(holdout=rows, deciding=deciding.rows.span(deciding.where), left_out=left_out, refits=refits)


def _written(
    tick: Tick, rows: "LabelledRows", wheres: Mapping[str, str], described: reaches.Described, stage: str
) -> tuple[Split, ...]:
    """Write the rows and the profile of each split; the profile of a refit is a file, too, for it may be made later."""
    splits = []
    for reach in described.reaches:
        name, where = f"{stage}-{reach}", wheres[reach]
        target = tick.scratch / f"{name}.parquet"
        rows.write(where, target)
        known = profile.of(described.tables[name], watched=profile.of_training(rows, where))
        if stage == "refit":
            files.write(tick.scratch / f"{name}.profile.json", json.dumps(encoded(known)).encode())
        splits.append(Split(reach=reach, rows=target, profile=known, name=name))
    return tuple(splits)


def _deciding(tick: Tick, rows: "LabelledRows", until: datetime | None) -> holdout.HoldOut:
    """Return the rows that decide: newer than the champion's, and held out unless all of a file decide."""
    if tick.config.data.holdout_file is not None:
        return holdout.HoldOut(rows, rows.newer(until), f"in {tick.config.data.holdout_file} (data.holdout_file)")
    return holdout.HoldOut(rows, rows.deciding(after=until), "on the hold-out")


def _with_holdout(
    tick: Tick, rows: "LabelledRows", champion: Champion | None, deciding: holdout.HoldOut, splits: tuple[Split, ...]
) -> Prepared:
    labels = rows.labels()
    if len(labels) > _BINARY and METRICS[tick.config.metric].of_one_class:
        raise UsageError(
            f"metric {tick.config.metric} is for two classes, and the labels are {', '.join(labels)}: "
            f"set `metric: f1_macro`"
        )
    _check_positive(tick, labels)
    path = None
    if champion is not None:
        compare.check_settings(tick, rows.types)
    # With `performance_threshold: auto`, a first champion is held against what it scores on these rows.
    if champion is not None or tick.config.performance_threshold is None:
        path = tick.scratch / "holdout.parquet"
        deciding.rows.write(deciding.where, path)
    return Prepared(
        splits=splits,
        holdout=path,
        deciding=deciding.rows.span(deciding.where) if path else Span(),
        label=rows.columns["label"],
        features=rows.features,
        positive=positive(tick, champion, labels),
    )


def _check_positive(tick: Tick, labels: Mapping[str, int]) -> None:
    """Raise UsageError if the metric looks at a class that no row has: then it has no value, and nothing can be compared."""
    config, named = tick.config, tick.config.positive_label
    if named is not None and named not in labels and len(labels) >= _BINARY and METRICS[config.metric].of_one_class:
        raise UsageError(
            f"positive is {named!r}, and of {sum(labels.values()):,} labelled rows none has that label: the labels are "
            f"{', '.join(labels)}. {config.metric} looks at the positive one"
        )


def _refused(findings: Sequence[Finding]) -> Outcome:
    because = f"the training data is refused: {reaches.reasons(findings)}. Nothing was trained"
    return Outcome(word=Word.DATA_REFUSED, code=ExitCode.DATA_REFUSED, because=because, findings=tuple(findings))


def trained_until(tick: Tick, champion: Champion | None) -> datetime | None:
    """Return the time of the newest row that the champion was trained on; its promotion if that is not known."""
    return holdout.trained_until(tick.registry, champion)


def positive(tick: Tick, champion: Champion | None, labels: Mapping[str, int]) -> str:
    """Return the positive label: of the settings, else the champion's, else chosen from the rows of each label."""
    fixed = tick.config.positive_label
    if fixed is None and champion is not None:
        fixed = tick.registry.card(champion.version).positive
    return positive_label(labels, fixed or None)
