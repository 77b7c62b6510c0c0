"""The sections of config.yaml: their keys, what each may hold, and its default as it would be written."""

import difflib
import glob
import os
import re
from datetime import datetime, timedelta
from enum import StrEnum
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
    WithJsonSchema,
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


def _mark(value: object) -> str:
    if value not in (".", ","):
        units.needs('"." or ","', value)
    return str(value)


def _date_format(value: object) -> str:
    """Read how dates are written, as `strptime` has it; year, month and day must be there."""
    written = units.text(value)
    day = datetime(2026, 8, 31)  # noqa: DTZ001  (only its date is written and read)
    try:
        read = datetime.strptime(day.strftime(written), written)  # noqa: DTZ007
    except ValueError as error:
        raise WrongError(f"is {quoted(written)}, which is no date format ({error}); write such as %d.%m.%Y") from None
    if read.date() != day.date():
        raise WrongError(f"is {quoted(written)}, which leaves out year, month or day; write such as %d.%m.%Y")
    return written


def _distinct(value: tuple[timedelta | None, ...]) -> tuple[timedelta | None, ...]:
    if len(set(value)) < len(value):
        raise WrongError("names the same window twice; keep one")
    return value


_NO_MISSPELLING: Final = frozenset({"f1_micro"})
_ERRORS: Final = frozenset(
    {"rmse", "mae", "mse", "mape", "smape", "wape", "rmsle", "msle", "medae", "logloss", "brier", "loss", "error"}
    | {"err", "crossentropy", "entropy", "deviance", "perplexity", "wer", "cer", "eer", "ece"}
)

Text = Annotated[str, units.TEXT]
Name = Annotated[str | None, units.optional(units.TEXT)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_list)]
Count = Annotated[int, units.COUNT]
Whole = Annotated[int, units.WHOLE]
Duration = Annotated[timedelta, units.DURATION]
DurationIfAny = Annotated[timedelta | None, units.optional(units.DURATION)]
Reach = Annotated[timedelta | None, units.REACH]
Threshold = Annotated[float, units.share("0.85 or 85%")]
Distance = Annotated[float, units.number("0.20", gt=0, le=5)]
Held = Annotated[float, units.share("20%", gt=0, le=0.5)]
Missing = Annotated[float, units.share("5%", ge=0, le=1)]
Coverage = Annotated[float, units.share("0.8", gt=0, le=1)]
Weight = Annotated[float, units.number("5", ge=0)]
Margin = Annotated[float, units.share("0.02 or 2%", ge=0)]
Certainty = Annotated[float, units.share("95%", gt=0.5, lt=1)]
Times = Annotated[float | None, units.optional(units.share("3", ge=1))]
Floor = Annotated[float | None, units.optional(units.share("0.8"))]
DecimalMark = Annotated[str | None, units.optional(units.Form(_mark, {"enum": [".", ","]}))]
DateFormat = Annotated[str | None, units.optional(units.Form(_date_format, {"type": "string"}))]
MetricName = Annotated[str, units.Form(metric_name, {"type": "string", "examples": list(METRICS)})]
Label = Annotated[str | int | bool | None, units.Form(label, {"type": ["string", "integer", "boolean", "null"]})]
LocalPath = Annotated[Path, PlainValidator(_path), WithJsonSchema({"type": "string"})]
LocalPathIfAny = Annotated[Path | None, PlainValidator(_path_if_any), WithJsonSchema({"type": ["string", "null"]})]
Source = Annotated[str | None, PlainValidator(_source_if_any), WithJsonSchema({"type": ["string", "null"]})]


def default(written: object) -> Any:
    """Give a setting its default as it would be written in config.yaml."""
    return Field(written, validate_default=True)


class Section(BaseModel):
    """Keys that stand together; a section with nothing below it has its defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        return {} if value is None else value


class Columns(Section):
    """The names under which logs and labelled data hold what has a role."""

    timestamp: Text = default("timestamp")
    """When the row was predicted."""
    id: Text = default("id")
    """What joins a row with its label."""
    prediction: Text = default("prediction")
    """What the model said."""
    score: Text = default("score")
    """The probability of the positive class."""
    label: Text = default("label")
    """The truth."""
    labelled_at: Text = default("labelled_at")
    """When the label came."""
    model: Text = default("model")
    """Which version predicted the row."""
    exposed: Text = default("exposed")
    """True where the model's own decision brought the label about."""

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
    """What joins a label with its row."""
    label: Name = None
    """The truth."""
    labelled_at: Name = None
    """When the label came."""


class Logs(Section):
    """What monitoring writes."""

    metrics: LocalPath = default("logs/metrics.jsonl")
    """One measurement per line."""
    predictions: Source = None
    """logs/predictions/*.parquet (or .jsonl, .csv): needed for drift and for evidence."""
    labels: Source = None
    """Ground truth that arrives later, joined by id."""
    reference: Source = None
    """What drift is measured from; null: the champion's training data, or the first windows of an adopted one."""
    columns: Columns = default({})
    """Names of the columns that have a role."""
    label_columns: LabelColumns = default({})
    """Names of their own in logs.labels; null: those of logs.columns."""
    decimal: DecimalMark = None
    """Of the metrics log: "." or ","; null: what its values leave no doubt of."""
    date_format: DateFormat = None
    """Of all logs: e.g. "%d.%m.%Y"; null: what its values leave no doubt of."""

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
    """When a retraining starts."""

    window: Duration = default("1d")
    """Cuts prediction logs (UTC); what one line of a metrics log without times stands for."""
    min_rows: Count = default(200)
    """A measurement on fewer rows is unknown, where rows are stated."""
    label_coverage: Coverage = default(0.8)
    """Share of a window's rows that must have their label before it is judged."""
    max_unusable: Missing = default("20%")
    """Share of a window's rows that may be unusable; above it the window is unknown."""
    max_age: Duration = default("3d")
    """Newest record older than this: cannot judge, exit 3."""
    evidence: Annotated[Evidence, units.one_of(Evidence)] = default("auto")
    """Sequential where counts are known, else point: each measurement for itself."""
    false_alarm_every: Count = default(1000)
    """Sequential: at most one needless alarm in so many windows, however often cron runs."""
    patience: Annotated[Patience, units.PATIENCE] = default("1 of 1")
    """Point: e.g. 2 of 3: so many of the last so many measurements, the latest among them."""
    on_drift: Annotated[OnDrift, units.one_of(OnDrift)] = default("auto")
    """Drift warns where the metric is measured as well, else it retrains; or warn, retrain."""
    slices: Texts = default([])
    """Columns such as [region]: a value of theirs that does worse alone is warned of."""
    cooldown: Duration = default("24h")
    """After a training; doubled after each refused challenger, at most 30d."""
    budget: Annotated[Budget, units.BUDGET] = default("4 per 30d")
    """At most so many trainings in any such time."""


class Drift(Section):
    """What drift is measured of: `ignore` are columns that are no inputs, such as ids, versions and months."""

    ignore: Texts = default([])
    """Columns that are no inputs, e.g. [customer_id, month]: drift does not look at them."""


class Data(Section):
    """What is trained on and what decides.

    `labelled` and `holdout_file` become absolute paths or globs; with both, all labelled rows are trained on, and those
    of the file decide. A window of None reaches back to the beginning; shares are of 1.
    """

    labelled: Source = None
    """Labelled rows, .parquet, .csv or .jsonl; null: logs.predictions with their labels."""
    windows: Annotated[tuple[Reach, ...], BeforeValidator(_several), AfterValidator(_distinct)] = default(["all"])
    """One challenger for each, e.g. [7d, 30d, all]: how far back its training reaches."""
    holdout: Held = default("20%")
    """Reserved by hash of the id (of the row where there is none)."""
    holdout_file: Source = None
    """A hold-out of your own instead; without data.labelled, make finds its data by itself."""
    max_missing: Missing = default("5%")
    """Above the champion's own rate; a column with no value is always refused."""
    unchecked: Texts = default([])
    """Columns whose values may be anything, e.g. [month]."""
    command: Name = None
    """A check of your own before training: exit 0 is fit, anything else refuses the data."""


class Train(Section):
    """The training command, which runs in the folder of config.yaml."""

    command: Text = default("make train-model")
    """What trains a model, in the folder of config.yaml."""
    timeout: Duration = default("2h")
    """How long one training may take."""
    output: LocalPathIfAny = None
    """Where it leaves the model, if not at RETRAIN_OUTPUT."""


class Shadow(Section):
    """How much a challenger must have said beside the champion: rows with their label, and hours."""

    rows: Count = default(5000)
    """Rows with their label that both must have said something of."""
    hours: Whole = default(24)
    """How long it runs at least."""


class Promotion(Section):
    """What a challenger must show.

    Shares are of 1; `margin` and `floor` are in units of the metric, `latency` and `size` how many times the champion's.
    """

    margin: Margin = default(0.02)
    """How much better, in the metric."""
    certainty: Certainty = default("95%")
    """Two-sided interval, shared among the challengers."""
    min_rows: Count = default(500)
    """Deciding rows."""
    out_of_time: Whole = default(0)
    """E.g. 2: first train without the newest 2 windows and be judged on all their rows; then refit."""
    slices: Texts = default([])
    """Columns such as [region]: no value of theirs may get clearly worse."""
    latency: Times = None
    """E.g. 3: at most 3 times the champion's time per row."""
    size: Times = None
    """E.g. 10: at most 10 times the champion's file."""
    floor: Floor = None
    """E.g. 0.80: no challenger under this, however bad the champion is."""
    golden: Source = None
    """Labelled rows that a challenger must all answer right."""
    shadow: Shadow | None = None
    """{rows: 5000, hours: 24}: first run beside the champion, then be judged on what both said."""
    probation: DurationIfAny = None
    """E.g. 7d: roll back by itself when the new champion does worse than the one before."""
    feedback: Annotated[Feedback, units.one_of(Feedback)] = default("warn")
    """Or block: signs of a feedback loop keep a challenger out."""
    mode: Annotated[Mode, units.one_of(Mode)] = default("auto")
    """Or ask: a challenger that passes waits for `retrain-check promote`."""

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
    """The file that names the champion."""
    folder: LocalPath = default("models")
    """Where sealed versions are."""
    keep: Count = default(5)
    """So many old versions stay, besides those that served."""

    @field_validator("pointer")
    @classmethod
    def _is_not_the_challengers(cls, value: Path) -> Path:
        if value.name == CHALLENGER:
            raise WrongError(f"is {value.name}, which names the challenger in shadow; choose another name")
        return value


class Cost(Section):
    """What a false positive and a false negative cost; `metric: cost` is their sum per labelled row."""

    fp: Weight
    """Of a false positive."""
    fn: Weight
    """Of a false negative."""
