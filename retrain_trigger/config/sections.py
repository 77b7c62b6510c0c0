"""The sections of config.yaml: their keys, allowed values and defaults. The docstrings are the documentation of the keys."""

import difflib
import glob
import os
import re
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from retrain_trigger.config import values
from retrain_trigger.config.document import quoted
from retrain_trigger.config.values import WrongError
from retrain_trigger.core.records import Json
from retrain_trigger.judge.metrics import METRICS
from retrain_trigger.judge.policy import Budget, OnDrift, Patience, Schedule
from retrain_trigger.logs.record import built_in, normal

CHALLENGER: Final = "challenger.json"
"""The file beside the pointer that names the challenger in shadow."""


class Direction(StrEnum):
    """Which way a metric improves."""

    HIGHER_IS_BETTER = "higher_is_better"
    LOWER_IS_BETTER = "lower_is_better"


class Evidence(StrEnum):
    """The rule that finds decay; `auto` is sequential if counts are known."""

    AUTO = "auto"
    SEQUENTIAL = "sequential"
    POINT = "point"


class DecideOn(StrEnum):
    """Which rows decide about a challenger: those of the newest windows, or those that are held out by a hash."""

    NEWEST = "newest"
    HOLDOUT = "holdout"


class Feedback(StrEnum):
    """What signs of a feedback loop do: warn, or also refuse a challenger."""

    WARN = "warn"
    BLOCK = "block"


class Mode(StrEnum):
    """Whether a challenger that passed every gate is promoted at once, or waits for a person."""

    AUTO = "auto"
    ASK = "ask"


def metric_name(value: object) -> str:
    """Read the name of the metric: the last part of a dotted path, and a built-in metric by its own name.

    >>> metric_name("F1"), metric_name("current.f1"), metric_name("weighted avg.f1-score"), metric_name("Revenue")
    ('f1', 'f1', 'f1', 'Revenue')
    """
    written = values.text(value)
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
    """Say whether the name of a metric is that of an error or a loss.

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
        values.needs("a label: text, a whole number, true or false", value)
    return value


def _path(value: object, info: ValidationInfo) -> Path:
    return base(info) / os.path.expanduser(values.text(value))  # noqa: PTH111  (Path.expanduser raises without a home)


def _path_if_any(value: object, info: ValidationInfo) -> Path | None:
    return None if value is None else _path(value, info)


def _source_if_any(value: object, info: ValidationInfo) -> str | None:
    """Make a path or glob absolute; the folder's own name is not part of the pattern."""
    if value is None:
        return None
    text = os.path.expanduser(values.text(value))  # noqa: PTH111
    folder = str(base(info))
    return os.path.join(glob.escape(folder) if glob.has_magic(text) else folder, text)  # noqa: PTH118  (a pattern, not a path)


def base(info: ValidationInfo) -> Path:
    """Return the folder that relative paths are resolved against."""
    return (info.context or {}).get("folder") or Path.cwd()


def _several(value: object) -> list[Json] | None:
    if value == "auto":
        return None
    if not isinstance(value, list) or not value:
        values.needs("auto, or a list such as [all] or [7d, 30d, all]", value, " that is empty" if value == [] else "")
    return value


def _list(value: object) -> list[Json]:
    if not isinstance(value, list):
        values.needs("a list of columns such as [month]", value)
    return value


def _mark(value: object) -> str:
    if value not in (".", ","):
        values.needs('"." or ","', value)
    return str(value)


def _date_format(value: object) -> str:
    """Read a date format of `strptime` with year, month and day."""
    written = values.text(value)
    day = datetime(2026, 8, 31)  # noqa: DTZ001  (only its date is written and read)
    try:
        read = datetime.strptime(day.strftime(written), written)  # noqa: DTZ007
    except ValueError as error:
        raise WrongError(f"is {quoted(written)}, which is no date format ({error}); write such as %d.%m.%Y") from None
    if read.date() != day.date():
        raise WrongError(f"is {quoted(written)}, which leaves out year, month or day; write such as %d.%m.%Y")
    return written


def _distinct(value: tuple[timedelta | None, ...] | None) -> tuple[timedelta | None, ...] | None:
    if value and len(set(value)) < len(value):
        raise WrongError("names the same window twice; keep one")
    return value


_NO_MISSPELLING: Final = frozenset({"f1_micro"})
_ERRORS: Final = frozenset(
    {"rmse", "mae", "mse", "mape", "smape", "wape", "rmsle", "msle", "medae", "logloss", "brier", "loss", "error"}
    | {"err", "crossentropy", "entropy", "deviance", "perplexity", "wer", "cer", "eer", "ece"}
)

Text = Annotated[str, values.TEXT]
Name = Annotated[str | None, values.optional(values.TEXT)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_list)]
Count = Annotated[int, values.COUNT]
CountIfAny = Annotated[int | None, values.optional(values.COUNT)]
Whole = Annotated[int, values.WHOLE]
Duration = Annotated[timedelta, values.DURATION]
Horizon = Annotated[timedelta | None, values.HORIZON]
DurationIfAny = Annotated[timedelta | None, values.optional(values.DURATION)]
Reach = Annotated[timedelta | None, values.REACH]
Threshold = Annotated[float | None, values.automatic(values.share("0.85 or 85%"))]
Distance = Annotated[float, values.number("0.20", gt=0, le=5)]
Held = Annotated[float, values.share("20%", gt=0, le=0.5)]
Missing = Annotated[float, values.share("5%", ge=0, le=1)]
Coverage = Annotated[float, values.share("0.8", gt=0, le=1)]
Weight = Annotated[float, values.number("5", ge=0)]
Margin = Annotated[float, values.share("0.02 or 2%", ge=0)]
Certainty = Annotated[float | None, values.automatic(values.share("95%", gt=0.5, lt=1))]
Rows = Annotated[int | None, values.automatic(values.COUNT)]
Times = Annotated[float | None, values.optional(values.share("3", ge=1))]
Floor = Annotated[float | None, values.optional(values.share("0.8"))]
DecimalMark = Annotated[str | None, values.optional(values.Form(_mark, {"enum": [".", ","]}))]
DateFormat = Annotated[str | None, values.optional(values.Form(_date_format, {"type": "string"}))]
MetricName = Annotated[str, values.Form(metric_name, {"type": "string", "examples": list(METRICS)})]
Label = Annotated[str | int | bool | None, values.Form(label, {"type": ["string", "integer", "boolean", "null"]})]
LocalPath = Annotated[Path, PlainValidator(_path), WithJsonSchema({"type": "string"})]
LocalPathIfAny = Annotated[Path | None, PlainValidator(_path_if_any), WithJsonSchema({"type": ["string", "null"]})]
Source = Annotated[str | None, PlainValidator(_source_if_any), WithJsonSchema({"type": ["string", "null"]})]


def default(written: object) -> Json:
    """Give a setting its default as it would be written in config.yaml."""
    return Field(written, validate_default=True)


class Section(BaseModel):
    """A group of keys; an empty section has its defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        return {} if value is None else value


class Columns(Section):
    """Names of the columns that have a role, in logs and labelled data. Every other column is a feature."""

    timestamp: Text = default("timestamp")
    """When the row was predicted."""
    id: Text = default("id")
    """The id that joins a row with its label."""
    prediction: Text = default("prediction")
    """The prediction."""
    score: Text = default("score")
    """The probability of the positive class."""
    label: Text = default("label")
    """The true label."""
    labelled_at: Text = default("labelled_at")
    """When the label arrived."""
    model: Text = default("model")
    """The model version that made the prediction."""
    exposed: Text = default("exposed")
    """True if the model's own decision caused the label."""

    @field_validator("label")
    @classmethod
    def _is_no_answer(cls, value: str, info: ValidationInfo) -> str:
        for role in ("prediction", "score"):
            if info.data.get(role) == value:
                raise WrongError(f"is {quoted(value)}, and so is {role}; the truth needs a column of its own")
        return value


class LabelColumns(Section):
    """Column names in the label files; null: the same as in the prediction log."""

    id: Name = None
    """The id that joins a label with its row."""
    label: Name = None
    """The true label."""
    labelled_at: Name = None
    """When the label arrived."""


class Logs(Section):
    """The logs that monitoring writes."""

    metrics: LocalPath = default("logs/metrics.jsonl")
    """The metrics log: one measurement per line."""
    predictions: Source = None
    """The prediction log: a file, a folder or a glob such as logs/predictions/*.parquet."""
    labels: Source = None
    """Labels that arrive later, joined to the prediction log by id."""
    reference: Source = None
    """The data that drift is measured from; null: the champion's training data, or the first windows of an adopted model."""
    columns: Columns = default({})
    """Names of the columns that have a role."""
    label_columns: LabelColumns = default({})
    """Names that differ in logs.labels; null: the same as in logs.columns."""
    label_horizon: Horizon = default("auto")
    """How long after its end a window waits for more labels, once label_coverage is reached. auto: twice as long as 99 % of the labels take, and at least 30d."""
    decimal: DecimalMark = None
    """The decimal mark of numbers in text; null: found from the values, if they are unambiguous."""
    date_format: DateFormat = None
    """The date format of all logs, e.g. "%d.%m.%Y"; null: found from the values, if they are unambiguous."""

    @field_validator("labels", "reference")
    @classmethod
    def _belongs_to_predictions(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("predictions") is None:
            raise WrongError("goes with logs.predictions; name the prediction log, too")
        return value

    @property
    def names(self) -> dict[str, str]:
        """The columns by their role; `labels.ROLE` is the name in label files, if it differs."""
        own = {f"labels.{role}": name for role, name in self.label_columns.model_dump().items() if name is not None}
        return self.columns.model_dump() | own


class Trigger(Section):
    """When a retraining starts."""

    window: Duration = default("1d")
    """Length of a window of the prediction log (UTC), and of one line of a metrics log without times."""
    min_rows: Count = default(200)
    """A window with fewer rows is not judged. A metrics log that states no rows is judged anyway."""
    label_coverage: Coverage = default(0.8)
    """Share of a window's rows that must have a label before the window is judged."""
    max_unusable: Missing = default("20%")
    """A window with a larger share of unusable rows is not judged."""
    max_age: Duration = default("3d")
    """If the newest record is older, nothing is judged (exit 3)."""
    evidence: Annotated[Evidence, values.one_of(Evidence)] = default("auto")
    """The rule that finds decay: sequential adds up evidence over windows, point compares each window alone. auto: sequential if counts are known (for f1_macro and balanced_accuracy, the confusion table)."""
    false_alarm_every: Count = default(1000)
    """Sequential rule: on average, at most one false alarm in this many windows, however often cron runs."""
    patience: Annotated[Patience, values.PATIENCE] = default("1 of 1")
    """Point rule: 2 of 3 needs a breach in two of the last three measurements, one of them the latest."""
    on_drift: Annotated[OnDrift, values.one_of(OnDrift)] = default("auto")
    """What drift does. auto: it warns if the metric is measured as well, else it retrains."""
    slices: Texts = default([])
    """Columns such as [region]: a warning names each value on which the model does worse than allowed."""
    cooldown: Duration = default("24h")
    """The wait after a training. It doubles after each refused challenger, up to 30d."""
    budget: Annotated[Budget, values.BUDGET] = default("8 per 30d, saving")
    """At most this many trainings in any period of this length. saving: one comes back after each part of it (3.75d of 8 per 30d), so that what was not spent is there when it is needed."""
    probe: CountIfAny = None
    """E.g. 5: also train a challenger after five windows without a breach; the number doubles after each refused challenger. null: only a breach trains."""

    @property
    def schedule(self) -> Schedule:
        """How often a training may start."""
        return Schedule(self.cooldown, self.budget, self.probe)


class Drift(Section):
    """Which columns drift looks at."""

    ignore: Texts = default([])
    """Columns that drift does not look at, because they are no inputs, e.g. [customer_id, month]."""


class Data(Section):
    """The rows to train on, and the rows that decide.

    `labelled` and `holdout_file` become absolute paths or globs; with both, all labelled rows are trained on, and those
    of the file decide. A window of None reaches back to the beginning; shares are of 1.
    """

    labelled: Source = None
    """Labelled rows: .parquet, .csv or .jsonl; null: the labelled rows of logs.predictions."""
    windows: Annotated[tuple[Reach, ...] | None, BeforeValidator(_several), AfterValidator(_distinct)] = default("auto")
    """How far back training reaches, e.g. [7d, 30d, all]: one challenger is trained for each. auto: all rows, those of the last 10 windows and of the last 3; only the champion's reach if it took over 10 minutes to train."""
    holdout: Held = default("20%")
    """Share of the labelled rows that is held out: chosen by a hash of the id, or of the row if it has no id."""
    holdout_file: Source = None
    """Your own hold-out, instead of a share. Without data.labelled, the training command finds its data itself."""
    group: Name = None
    """Column of what several rows are of, e.g. customer_id: such rows are held out together, never stand on both sides, and count for less where they are alike."""
    max_missing: Missing = default("5%")
    """How far the share of missing values in a column may exceed the champion's. A column without any value is refused, unless data.unchecked names it."""
    unchecked: Texts = default([])
    """Columns whose values are not checked before training, e.g. [month]. They must exist."""
    command: Name = None
    """Your own check before training. Exit 0 accepts the data, any other exit refuses it."""


class Train(Section):
    """The training command, which runs in the folder of config.yaml."""

    command: Text = default("make train-model")
    """The command that trains a model. It runs in the folder of config.yaml."""
    timeout: Duration = default("2h")
    """How long one training may take."""
    output: LocalPathIfAny = None
    """Where the command leaves the model, if not at RETRAIN_OUTPUT."""


class Shadow(Section):
    """How long a challenger runs in shadow."""

    rows: Count = default(5000)
    """Labelled rows that both models must have predicted."""
    hours: Whole = default(24)
    """The least number of hours in shadow."""


class Promotion(Section):
    """What a challenger must show.

    Shares are of 1; `margin` and `floor` are in units of the metric, `latency` and `size` how many times the champion's.
    """

    margin: Margin = default(0.02)
    """How much better the challenger must be, in units of the metric."""
    decide_on: Annotated[DecideOn, values.one_of(DecideOn)] = default("newest")
    """newest: all rows of the newest windows, which neither model was trained on; the winner is then refitted on them. holdout: the rows that are held out. A data.holdout_file always decides."""
    windows: Count = default(2)
    """With decide_on newest: at least so many of the newest windows decide, and as many as hold min_rows."""
    certainty: Certainty = default("auto")
    """Certainty of the two-sided interval of the difference, shared among the challengers. auto: where the newest windows decide, 80% for all attempts since the last promotion together (88% in the first, 97% in the second), 95% on a hold-out."""
    min_rows: Rows = default("auto")
    """The least number of deciding rows. auto: 100 where the newest windows decide, 500 on a hold-out."""
    slices: Texts = default([])
    """Columns such as [region]: the challenger must not be clearly worse on any of their values."""
    latency: Times = None
    """E.g. 3: the challenger may take at most three times the champion's time per row."""
    size: Times = None
    """E.g. 10: the challenger's file may be at most ten times as large as the champion's."""
    floor: Floor = None
    """E.g. 0.80: a challenger under this value is refused, however bad the champion is."""
    golden: Source = None
    """Labelled rows that a challenger must predict without a mistake."""
    shadow: Shadow | None = None
    """E.g. {rows: 5000, hours: 24}: run beside the champion first, and be compared on what both predicted there."""
    probation: DurationIfAny = None
    """E.g. 7d: roll back automatically if the new champion does worse than its predecessor in this time."""
    feedback: Annotated[Feedback, values.one_of(Feedback)] = default("warn")
    """What signs of a feedback loop do: warn, or block the challenger."""
    mode: Annotated[Mode, values.one_of(Mode)] = default("auto")
    """auto promotes a challenger that passes every gate; ask lets it wait for `retrain-check promote`."""

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
    """Where the pointer and the sealed versions are."""

    pointer: LocalPath = default("models/champion.json")
    """The file that names the champion."""
    folder: LocalPath = default("models")
    """The folder of the sealed versions."""
    keep: Count = default(5)
    """How many old versions are kept: this many of the newest, and this many of those that were champion last."""

    @field_validator("pointer")
    @classmethod
    def _is_not_the_challengers(cls, value: Path) -> Path:
        if value.name == CHALLENGER:
            raise WrongError(f"is {value.name}, which names the challenger in shadow; choose another name")
        return value


class Cost(Section):
    """The weights of `metric: cost`, which is the sum of both costs per labelled row."""

    fp: Weight
    """The cost of a false positive."""
    fn: Weight
    """The cost of a false negative."""
