"""The sections of config.yaml: their keys, what each may hold, and its default as it would be written."""

import difflib
import glob
import math
import os
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from retrain_trigger import units
from retrain_trigger.document import quoted
from retrain_trigger.judge.metrics import METRICS
from retrain_trigger.judge.policy import Budget, OnDrift, Patience
from retrain_trigger.units import WrongError
from retrain_trigger.world.log_record import built_in, normal

CHALLENGER: Final = "challenger.json"
"""Beside the pointer, this names the challenger that runs in shadow."""


class Direction(StrEnum):
    """Which way a metric improves."""

    HIGHER_IS_BETTER = "higher_is_better"
    LOWER_IS_BETTER = "lower_is_better"


class Evidence(StrEnum):
    """Which rule finds decay: `auto` is sequential where counts are known."""

    AUTO = "auto"
    SEQUENTIAL = "sequential"
    POINT = "point"


class Feedback(StrEnum):
    """What signs of a feedback loop do: they are told, or they also keep a challenger out."""

    WARN = "warn"
    BLOCK = "block"


class Mode(StrEnum):
    """Whether a challenger that passed every gate is promoted at once, or a person is asked."""

    AUTO = "auto"
    ASK = "ask"


def metric_name(value: object) -> str:
    """Read which metric is judged: the last part of a dotted path, a built-in one by its own name.

    >>> metric_name("F1"), metric_name("current.f1"), metric_name("weighted avg.f1-score"), metric_name("Revenue")
    ('f1', 'f1', 'f1', 'Revenue')
    """
    written = units.text(value)
    above, _, last = written.rpartition(".")
    name = last.strip() or written
    if name.lower() in METRICS:
        return name.lower()
    known = built_in(name)
    if known is not None and (above or normal(name) != known):
        return known
    meant = known or _misspelt(normal(name))
    if meant:
        raise WrongError(f"is {written}, which is no metric that is known; write {meant}")
    return name


def _misspelt(name: str) -> str | None:
    near = difflib.get_close_matches(name, METRICS, n=1, cutoff=0.8)
    # `recall_5` and `f1_micro` are metrics of their own.
    if not near or name in _NO_MISSPELLING or set(near[0].split("_")) < set(name.split("_")):
        return None
    return near[0]


def is_error(metric: str) -> bool:
    """Say whether a metric is by its name an error or a loss.

    >>> is_error("val RMSE"), is_error("log-loss"), is_error("neg_log_loss"), is_error("lossless_share")
    (True, True, False, False)
    """
    words = set(re.split(r"[^a-z0-9]+", metric.lower()))
    return bool(words & _ERRORS) and not words & {"neg", "negative"}


def is_bounded(metric: object) -> bool:
    """Say whether a metric is known to lie between 0 and 1, and to be better when higher."""
    return metric in METRICS and not METRICS[str(metric)].lower_is_better


def label(value: object) -> str | int | bool | None:
    """Read a label as it was written."""
    if value is not None and not isinstance(value, str | int):
        units.needs("a label: text, a whole number, true or false", value)
    return value


def _path(value: object, info: ValidationInfo) -> Path:
    return base(info) / os.path.expanduser(units.text(value))  # noqa: PTH111  (Path.expanduser raises without a home)


def _path_if_any(value: object, info: ValidationInfo) -> Path | None:
    return None if value is None else _path(value, info)


def _source_if_any(value: object, info: ValidationInfo) -> str | None:
    """Make a path or glob absolute; the folder's own name is no part of the pattern."""
    if value is None:
        return None
    text = os.path.expanduser(units.text(value))  # noqa: PTH111
    folder = str(base(info))
    return os.path.join(glob.escape(folder) if glob.has_magic(text) else folder, text)  # noqa: PTH118  (a pattern, not a path)


def base(info: ValidationInfo) -> Path:
    """Return the folder that relative paths are resolved against."""
    return (info.context or {}).get("folder") or Path.cwd()


def _several(value: object) -> list[Any]:
    if not isinstance(value, list) or not value:
        units.needs("a list such as [all] or [7d, 30d, all]", value, " that is empty" if value == [] else "")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        units.needs("a list of columns such as [month]", value)
    return value


def _text_if_any(value: object) -> str | None:
    return None if value is None else units.text(value)


def _mark_if_any(value: object) -> str | None:
    if value not in (None, ".", ","):
        units.needs('"." or ","', value)
    return value


def _date_format_if_any(value: object) -> str | None:
    """Read how dates are written, as `strptime` has it; year, month and day must be there."""
    if value is None:
        return None
    written = units.text(value)
    day = datetime(2026, 8, 31)  # noqa: DTZ001  (only its date is written and read)
    try:
        read = datetime.strptime(day.strftime(written), written)  # noqa: DTZ007
    except ValueError as error:
        raise WrongError(f"is {quoted(written)}, which is no date format ({error}); write such as %d.%m.%Y") from None
    if read.date() != day.date():
        raise WrongError(f"is {quoted(written)}, which leaves out year, month or day; write such as %d.%m.%Y")
    return written


def _number_if_any(allowed: str, fits: Callable[[float], bool]) -> Callable[[object], float | None]:
    read = units.share(allowed, fits)

    def read_if_any(value: object) -> float | None:
        return None if value is None else read(value)

    return read_if_any


def _duration_if_any(value: object) -> timedelta | None:
    return None if value is None else units.duration(value)


def _distinct(value: tuple[timedelta | None, ...]) -> tuple[timedelta | None, ...]:
    if len(set(value)) < len(value):
        raise WrongError("names the same window twice; keep one")
    return value


_HALF: Final = 0.5
_FARTHEST: Final = 5
_NO_MISSPELLING: Final = frozenset({"f1_micro"})
_ERRORS: Final = frozenset(
    {"rmse", "mae", "mse", "mape", "smape", "wape", "rmsle", "msle", "medae", "logloss", "brier", "loss", "error"}
    | {"err", "crossentropy", "entropy", "deviance", "perplexity", "wer", "cer", "eer", "ece"}
)

Text = Annotated[str, PlainValidator(units.text)]
Count = Annotated[int, PlainValidator(units.count)]
Duration = Annotated[timedelta, PlainValidator(units.duration)]
Reach = Annotated[timedelta | None, PlainValidator(units.reach)]
Threshold = Annotated[float, PlainValidator(units.share("such as 0.85 or 85%", math.isfinite))]
Distance = Annotated[
    float, PlainValidator(units.number("above 0 and at most 5, such as 0.20", lambda x: 0 < x <= _FARTHEST))
]
Held = Annotated[float, PlainValidator(units.share("above 0 and at most 0.5, such as 20%", lambda x: 0 < x <= _HALF))]
Missing = Annotated[float, PlainValidator(units.share("from 0 to 1, such as 5%", lambda x: 0 <= x <= 1))]
Coverage = Annotated[float, PlainValidator(units.share("above 0 and at most 1, such as 0.8", lambda x: 0 < x <= 1))]
Whole = Annotated[int, PlainValidator(partial(units.count, least=0))]
Weight = Annotated[float, PlainValidator(units.number("from 0 up, such as 5", lambda x: x >= 0))]
Margin = Annotated[float, PlainValidator(units.share("from 0 up, such as 0.02 or 2%", lambda x: x >= 0))]
Certainty = Annotated[float, PlainValidator(units.share("above 0.5 and under 1, such as 95%", lambda x: _HALF < x < 1))]
Times = Annotated[float | None, PlainValidator(_number_if_any("from 1 up, such as 3", lambda x: x >= 1))]
Floor = Annotated[float | None, PlainValidator(_number_if_any("such as 0.8", math.isfinite))]
Name = Annotated[str | None, PlainValidator(_text_if_any)]
LocalPath = Annotated[Path, PlainValidator(_path)]
Source = Annotated[str | None, PlainValidator(_source_if_any)]


def default(written: object) -> Any:
    """Give a setting its default as it would be written in config.yaml."""
    return Field(written, validate_default=True)


class Section(BaseModel):
    """Keys that stand together; a section with nothing below it has its defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        return {} if value is None else value


class Columns(Section):
    """The names under which logs and labelled data hold what has a role."""

    timestamp: Text = default("timestamp")
    id: Text = default("id")
    prediction: Text = default("prediction")
    score: Text = default("score")
    label: Text = default("label")
    labelled_at: Text = default("labelled_at")
    model: Text = default("model")
    exposed: Text = default("exposed")

    @field_validator("label")
    @classmethod
    def _is_no_answer(cls, value: str, info: ValidationInfo) -> str:
        for role in ("prediction", "score"):
            if info.data.get(role) == value:
                raise WrongError(f"is {quoted(value)}, and so is {role}; the truth needs a column of its own")
        return value


class LabelColumns(Section):
    """The names that files of labels have for the id, the label and the time it came; None: those of the log."""

    id: Name = None
    label: Name = None
    labelled_at: Name = None


class Logs(Section):
    """What monitoring writes.

    `decimal` is the mark of the metrics log, `date_format` how logs write dates, as strptime has it; None: what leaves no
    doubt is read.
    """

    metrics: LocalPath = default("logs/metrics.jsonl")
    predictions: Source = None
    labels: Source = None
    reference: Source = None
    columns: Columns = default({})
    label_columns: LabelColumns = default({})
    decimal: Annotated[str | None, PlainValidator(_mark_if_any)] = None
    date_format: Annotated[str | None, PlainValidator(_date_format_if_any)] = None

    @field_validator("labels", "reference")
    @classmethod
    def _belongs_to_predictions(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("predictions") is None:
            raise WrongError("goes with logs.predictions; name the prediction log, too")
        return value

    @property
    def names(self) -> dict[str, str]:
        """The columns by their role; `labels.ROLE` is the name that files of labels have for it, where it is another."""
        own = {f"labels.{role}": name for role, name in self.label_columns.model_dump().items() if name is not None}
        return self.columns.model_dump() | own


class Trigger(Section):
    """When a retraining starts; `window` is what one line of a log without timestamps stands for.

    A window of which more than the share `max_unusable` cannot be used is unknown.
    """

    window: Duration = default("1d")
    min_rows: Count = default(200)
    label_coverage: Coverage = default(0.8)
    max_unusable: Missing = default("20%")
    max_age: Duration = default("3d")
    evidence: Annotated[Evidence, PlainValidator(units.one_of(Evidence))] = default("auto")
    false_alarm_every: Annotated[int, PlainValidator(units.count)] = default(1000)
    patience: Annotated[Patience, PlainValidator(units.patience)] = default("1 of 1")
    on_drift: Annotated[OnDrift, PlainValidator(units.one_of(OnDrift))] = default("auto")
    slices: Annotated[tuple[Text, ...], BeforeValidator(_list)] = default([])
    cooldown: Duration = default("24h")
    budget: Annotated[Budget, PlainValidator(units.budget)] = default("4 per 30d")


class Drift(Section):
    """What drift is measured of: `ignore` are columns that are no inputs, such as ids, versions and months."""

    ignore: Annotated[tuple[Text, ...], BeforeValidator(_list)] = default([])


class Data(Section):
    """What is trained on and what decides.

    `labelled` and `holdout_file` are absolute paths or globs; with both, all labelled rows are trained on, and those of
    the file decide. A window of None reaches back to the beginning; `holdout` and `max_missing` are shares of 1. `unchecked` are columns whose values may be anything;
    `command` is a check of one's own.
    """

    labelled: Source = None
    windows: Annotated[tuple[Reach, ...], BeforeValidator(_several), AfterValidator(_distinct)] = default(["all"])
    holdout: Held = default("20%")
    holdout_file: Source = None
    max_missing: Missing = default("5%")
    unchecked: Annotated[tuple[Text, ...], BeforeValidator(_list)] = default([])
    command: Annotated[str | None, PlainValidator(_text_if_any)] = None


class Train(Section):
    """The training command, which runs in the folder of config.yaml."""

    command: Text = default("make train-model")
    timeout: Duration = default("2h")
    output: Annotated[Path | None, PlainValidator(_path_if_any)] = None


class Shadow(Section):
    """How much a challenger must have said beside the champion: rows with their label, and hours."""

    rows: Count = default(5000)
    hours: Whole = default(24)


class Promotion(Section):
    """What a challenger must show.

    `certainty` is a share of 1; `margin` and `floor` are in units of the metric; `latency` and `size` are how many
    times the champion's; `golden` are labelled rows that must be answered right; `out_of_time` is in windows.
    """

    margin: Margin = default(0.02)
    certainty: Certainty = default("95%")
    min_rows: Count = default(500)
    out_of_time: Whole = default(0)
    slices: Annotated[tuple[Text, ...], BeforeValidator(_list)] = default([])
    latency: Times = None
    size: Times = None
    floor: Floor = None
    golden: Source = None
    shadow: Shadow | None = None
    probation: Annotated[timedelta | None, PlainValidator(_duration_if_any)] = None
    feedback: Annotated[Feedback, PlainValidator(units.one_of(Feedback))] = default("warn")
    mode: Annotated[Mode, PlainValidator(units.one_of(Mode))] = default("auto")

    @field_validator("margin")
    @classmethod
    def _is_possible(cls, value: float, info: ValidationInfo) -> float:
        metric = (info.context or {}).get("metric")
        if is_bounded(metric) and value >= 1:
            raise WrongError(f"is {value:.12g}, but {metric} is between 0 and 1; write 0.02 or 2%")
        return value

    @field_validator("floor")
    @classmethod
    def _is_reachable(cls, value: float | None, info: ValidationInfo) -> float | None:
        metric = (info.context or {}).get("metric")
        if value is not None and is_bounded(metric) and not 0 <= value <= 1:
            raise WrongError(f"is {value:.12g}, but {metric} is between 0 and 1; write 0.80 or 80%")
        return value

    @field_validator("shadow")
    @classmethod
    def _has_a_log(cls, value: Shadow | None, info: ValidationInfo) -> Shadow | None:
        if value is not None and not (info.context or {}).get("predictions", True):
            raise WrongError("needs logs.predictions: there the service logs `shadow_prediction` beside `prediction`")
        return value


class ModelFiles(Section):
    """Where pointer and sealed versions are; `keep` of the newest versions, and of those that served, are not removed."""

    pointer: LocalPath = default("models/champion.json")
    folder: LocalPath = default("models")
    keep: Count = default(5)

    @field_validator("pointer")
    @classmethod
    def _is_not_the_challengers(cls, value: Path) -> Path:
        if value.name == CHALLENGER:
            raise WrongError(f"is {value.name}, which names the challenger in shadow; choose another name")
        return value


class Cost(Section):
    """What a false positive and a false negative cost; `metric: cost` is their sum per labelled row."""

    fp: Weight
    fn: Weight
