"""config.yaml becomes a Config: every setting typed, every default filled in, every mistake named with its place."""

import difflib
import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Self, get_args

from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from retrain_trigger.config import values
from retrain_trigger.config.document import BROKEN, Mistake, Node, Place, parse, quoted
from retrain_trigger.config.sections import (
    Cost,
    Data,
    DecideOn,
    Direction,
    Distance,
    Drift,
    Evidence,
    Label,
    LocalPath,
    Logs,
    MetricName,
    ModelFiles,
    Promotion,
    Section,
    Threshold,
    Train,
    Trigger,
    base,
    default,
    is_bounded,
    is_error,
    metric_name,
)
from retrain_trigger.config.values import WrongError, seen
from retrain_trigger.core.errors import ConfigError, UsageError
from retrain_trigger.core.records import Json
from retrain_trigger.judge.metrics import METRICS, Measure
from retrain_trigger.logs.record import Wanted, normal

LARGEST: Final = 1024 * 1024
"""Bytes beyond which a file is not taken for a config.yaml."""

FEWEST_ROWS: Final = {DecideOn.NEWEST: 100, DecideOn.HOLDOUT: 500}
"""`promotion.min_rows: auto`, by which rows decide."""

CERTAINTY: Final = {DecideOn.NEWEST: 0.8, DecideOn.HOLDOUT: 0.95}
"""`promotion.certainty: auto`, by which rows decide: on the newest, of all attempts up to the next promotion together."""

TWO_LINES: Final = "`performance_threshold: 0.85` and `drift_threshold: 0.20`"


class Config(Section):
    """Every setting, with absolute paths."""

    metric: MetricName = default("f1")
    """The metric: f1, f1_macro, accuracy, balanced_accuracy, precision, recall, cost, any name in the metrics log, or a path in it such as current.f1."""
    cost: Cost | None = Field(None, validate_default=True)
    """The weights of `metric: cost`, e.g. {fp: 1, fn: 5}; lower is better."""
    direction: Annotated[Direction, values.one_of(Direction)] = default("higher_is_better")
    """Set lower_is_better for a metric that falls as it improves; rmse and other errors need it."""
    performance_threshold: Threshold
    """The metric must not fall below this (or rise above it, if lower is better). auto: what the champion scored on the rows that decided its promotion, or in its first five windows, less promotion.margin."""
    drift_threshold: Distance = default(0.20)
    """Drift of a column that reaches this is a breach: the PSI that is measured, or the drift that the metrics log states."""
    positive: Label = None
    """The positive label; null: 1, else true, else the rarest label of the first training data."""
    logs: Logs = default({})
    """The logs that monitoring writes."""
    trigger: Trigger = default({})
    """When a retraining starts."""
    drift: Drift = default({})
    """Which columns drift looks at."""
    data: Data = default({})
    """The rows to train on, and the rows that decide."""
    train: Train = default({})
    """The training command."""
    promotion: Promotion = default({})
    """What a challenger must show."""
    model: ModelFiles = default({})
    """Where the pointer and the sealed versions are."""
    state: LocalPath = default(".retrain-check")
    """The folder of the ledger and of temporary files."""

    _file: Path | None = PrivateAttr(default=None)
    _notes: tuple[str, ...] = PrivateAttr(default=())
    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _metric_path: str | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The absolute path of the file this was read from; None for defaults."""
        return self._file

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should write otherwise: keys of earlier versions, read as what they meant."""
        return self._notes

    @property
    def folder(self) -> Path:
        """The absolute folder that relative paths were resolved against."""
        return self._folder

    @property
    def metric_path(self) -> str:
        """Where in a record of the metrics log the metric is: its name, or a dotted path that ends in it."""
        return self._metric_path or self.metric

    @property
    def wanted(self) -> Wanted:
        """What is looked for in the metrics log, and how it is written as far as the settings say."""
        columns = self.logs.columns
        return Wanted(self.metric_path, columns.timestamp, columns.model, self.logs.decimal, self.logs.date_format)

    @property
    def digest(self) -> str:
        """The SHA-256 of the effective settings in hexadecimal, independent of how they are written.

        Paths below the folder count as relative ones: a project may stand elsewhere in a container than outside.
        """
        written = self.model_dump() | {"metric": self.metric_path}
        settings = json.dumps(written, default=str, sort_keys=True, separators=(",", ":"))
        settings = settings.replace(json.dumps(f"{self._folder}/")[1:-1], "")
        return hashlib.sha256(settings.encode()).hexdigest()

    @field_validator("cost")
    @classmethod
    def _is_weighed(cls, value: Cost | None, info: ValidationInfo) -> Cost | None:
        if (info.data.get("metric") == "cost") != (value is not None):
            raise WrongError(
                "and `metric: cost` go together; write `cost: {fp: 1, fn: 5}` with the weights of your own"
            )
        return value

    @field_validator("direction")
    @classmethod
    def _fits_metric(cls, value: Direction, info: ValidationInfo) -> Direction:
        metric = info.data.get("metric")
        if is_bounded(metric) and value is Direction.LOWER_IS_BETTER:
            raise WrongError(f"is {value}, but {metric} is better when higher; leave it out, or name another metric")
        chosen = (info.context or {}).get("directed", False)
        if metric and is_error(metric) and value is Direction.HIGHER_IS_BETTER and not chosen:
            raise WrongError(f"is {value} by default, but {metric} is an error or a loss; write {_LOWER}")
        return value

    @field_validator("logs")
    @classmethod
    def _can_give_the_metric(cls, value: Logs, info: ValidationInfo) -> Logs:
        metric = info.data.get("metric")
        logged = "metrics" in value.model_fields_set or value.metrics.exists()
        if metric and metric not in METRICS and value.predictions and not logged:
            raise WrongError(
                f"cannot give {metric}: a prediction log gives only {', '.join(METRICS)}; set `metric` to one "
                f"of these, or logs.metrics to a log that has {metric}"
            )
        return value

    @field_validator("performance_threshold")
    @classmethod
    def _is_reachable(cls, value: float | None, info: ValidationInfo) -> float | None:
        metric = info.data.get("metric")
        if value is not None and is_bounded(metric) and not 0 <= value <= 1:
            raise WrongError(f"is {value:.12g}, but {metric} is between 0 and 1; write 0.85 or 85%")
        return value

    @field_validator("trigger")
    @classmethod
    def _can_be_sequential(cls, value: Trigger, info: ValidationInfo) -> Trigger:
        metric = info.data.get("metric", "f1")
        if value.evidence is Evidence.SEQUENTIAL and metric not in METRICS:
            raise WrongError(
                f"with evidence: sequential is for {', '.join(METRICS)}, not {metric}; write evidence: auto"
            )
        return value

    @field_validator("promotion")
    @classmethod
    def _has_windows_that_decide(cls, value: Promotion, info: ValidationInfo) -> Promotion:
        data = info.data.get("data")
        if "decide_on" in value.model_fields_set and value.decide_on is DecideOn.NEWEST and data and data.holdout_file:
            raise WrongError("with decide_on: newest goes without data.holdout_file, which always decides; keep one")
        return value

    @property
    def threshold(self) -> float:
        """`performance_threshold` as a number; if it is auto, that of settings in which it has been resolved."""
        assert self.performance_threshold is not None
        return self.performance_threshold

    @property
    def decide_on(self) -> DecideOn:
        """Which rows decide about a challenger: a hold-out of the user's own, or what `promotion.decide_on` says."""
        return DecideOn.HOLDOUT if self.data.holdout_file else self.promotion.decide_on

    @property
    def newest_decide(self) -> bool:
        """Whether the rows of the newest windows decide about a challenger."""
        return self.decide_on is DecideOn.NEWEST

    @property
    def deciding_rows(self) -> int:
        """The least number of deciding rows: `promotion.min_rows`."""
        return self.promotion.min_rows or FEWEST_ROWS[self.decide_on]

    def certainty(self, attempt: int = 0) -> float:
        """Return the certainty of the interval of the difference: `promotion.certainty`, a share of 1.

        `auto` on the newest rows is 1 - 0.2 * 6 / (pi^2 j^2) at the j-th attempt since the last promotion: these parts of
        0.2 add up to 0.2, so that one mistake in five is all that retries without end come to. 0 is none of them: 0.8.

        >>> config = defaults()
        >>> [config.certainty(attempt) for attempt in (0, 1, 2, 16)]
        [0.8, 0.8784, 0.9696, 0.9995]
        """
        base = self.promotion.certainty or CERTAINTY[self.decide_on]
        if self.promotion.certainty or not self.newest_decide or not attempt:
            return base
        return round(1 - (1 - base) * 6 / (math.pi * attempt) ** 2, 4)

    @property
    def positive_label(self) -> str | None:
        """The positive label in the form of the counts, in which 1, 1.0 and true are all '1'; None if it is not set."""
        if self.positive is None:
            return None
        written = str(int(self.positive)) if isinstance(self.positive, bool) else str(self.positive)
        return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", written)

    @property
    def lower_is_better(self) -> bool:
        """Whether the metric gets worse as it rises, by `direction` or because it is a cost."""
        return self.direction is Direction.LOWER_IS_BETTER or self.metric == "cost"

    def measure(self, positive: str = "1") -> Measure:
        """Return the metric as it is asked for, of the positive class."""
        return Measure(self.metric, positive, self.weights, self.lower_is_better)

    @property
    def weights(self) -> tuple[float, float]:
        """The weights of a false positive and a false negative."""
        return (self.cost.fp, self.cost.fn) if self.cost else (1.0, 1.0)

    @model_validator(mode="after")
    def _remember_origin(self, info: ValidationInfo) -> Self:
        context = info.context or {}
        self._file = context.get("file")
        self._folder = base(info)
        self._notes = tuple(context.get("notes", ()))
        self._metric_path = context.get("path")
        return self


DEFAULT_CONFIG = Path("config.yaml")
"""The file that is read if none is named."""


def load(path: Path, overrides: Sequence[str] = (), *, option: str = "--set") -> Config:
    """Read a config.yaml, then apply overrides such as `trigger.cooldown=2h`, which were given by an `option`.

    Relative paths, those of overrides too, are relative to the file's folder. Raises UsageError if the file cannot be
    read, and ConfigError with every mistake in the order of lines, overrides last.
    """
    root, mistakes = parse(_written(path), lambda line, column: Place(line, column, f"{path}:{line}:{column}"))
    if root is None:
        raise ConfigError(_in_order(mistakes))
    if root.value is None:
        mistakes.append(Mistake(root.place, f"the file is empty; two lines are enough: {TWO_LINES}"))
    elif not isinstance(root.value, dict) and root.value is not BROKEN:
        mistakes.append(Mistake(root.place, f"the file holds {seen(root.value)}, not keys; write {TWO_LINES}"))
    if not isinstance(root.value, dict):
        raise ConfigError(_in_order(mistakes))
    file = path.absolute()
    return _config(root, mistakes, overrides, option=option, file=file, folder=file.parent)


def defaults(overrides: Sequence[str] = (), *, option: str = "--set") -> Config:
    """Make the settings that hold without a config.yaml, 0.85 and 0.20, relative to the working folder."""
    nowhere = Place(0, 0, "defaults")
    written = {"performance_threshold": Node(nowhere, 0.85), "drift_threshold": Node(nowhere, 0.20)}
    return _config(Node(nowhere, written), [], overrides, option=option, file=None, folder=Path.cwd())


def _written(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; write one with the two lines {TWO_LINES}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path}: cannot be read ({why}); name a readable file") from None
    if len(content) > LARGEST:
        raise UsageError(f"{path}: larger than {LARGEST} bytes, which no config.yaml is; name another file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        byte = error.object[error.start]
        raise ConfigError([f"{path}:{line}:{column}: the byte 0x{byte:02x} is not UTF-8; save as UTF-8"]) from None


def _config(
    root: Node, mistakes: list[Mistake], overrides: Sequence[str], *, option: str, file: Path | None, folder: Path
) -> Config:
    for number, override in enumerate(overrides):
        mistakes += _override(root, override, Place(_AFTER_ALL_LINES, number, f"{option} {quoted(override)[1:-1]}"))
    notes = _translated(root, mistakes)
    written = root.plain()
    logs = written.get("logs")
    predictions = logs.get("predictions") if isinstance(logs, dict) else None
    metric, path = _metric_of(written), written.get("metric")
    context = {
        "file": file,
        "folder": folder,
        "metric": metric,
        "path": path if isinstance(path, str) and normal(path) != normal(str(metric)) else None,
        "directed": written.get("direction") is not None,
        "predictions": predictions is not None,
        "notes": notes,
    }
    try:
        config = Config.model_validate(written, context=context)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        mistakes += [mistake for problem in problems if (mistake := _mistake(problem, root))]
    if mistakes:
        raise ConfigError(_in_order(mistakes))
    return config


def _translated(root: Node, mistakes: list[Mistake]) -> list[str]:
    """Read `promotion.out_of_time` of earlier versions as what it meant; return what to write in its place."""
    promotion = root.find(["promotion"])
    if promotion is root or not isinstance(promotion.value, dict):
        return []
    old = promotion.value.pop("out_of_time", None)
    if old is None:
        return []
    place, count = old.key or old.place, old.value
    if promotion.value.keys() & {"decide_on", "windows"} or type(count) is not int or count < 0:
        now = "is `decide_on` and `windows` now; write `decide_on: newest` and `windows: 2`, or `decide_on: holdout`"
        mistakes.append(Mistake(place, f"promotion.out_of_time {now}"))
        return []
    meant = {"decide_on": "newest", "windows": count} if count else {"decide_on": "holdout"}
    promotion.value.update({key: Node(old.place, value, place) for key, value in meant.items()})
    means = " and ".join(f"`{key}: {value}`" for key, value in meant.items())
    return [f"{place.name}: promotion.out_of_time: {count} is read as {means} of promotion; write that"]


def _metric_of(written: dict[str, Json]) -> object:
    try:
        return metric_name(written.get("metric", "f1"))
    except WrongError:
        return None


def _override(root: Node, override: str, place: Place) -> list[Mistake]:
    """Put the value into the tree, with its sections; return what is wrong with it."""
    key, equals, text = override.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not last:
        return [Mistake(place, "write key=value, such as trigger.cooldown=2h")]
    value, mistakes = parse(_as_text(text), lambda _line, _column: place)
    at = root
    for section in sections:
        child = at.value.get(section)
        if child is None or child.value is None:
            child = at.value[section] = Node(place, {}, place)
        if not isinstance(child.value, dict):
            return [*mistakes, Mistake(place, f"{quoted(section)} holds a value, not keys; name the key alone")]
        at = child
    at.value[last] = Node(place, value.value if value else BROKEN, place)
    return mistakes


def _as_text(value: str) -> str:
    """Quote a value that begins as no YAML value can, such as `%d.%m.%Y`."""
    return json.dumps(value) if value[:1] in {"%", "@", "`"} else value


def _mistake(problem: Json, root: Node) -> Mistake | None:
    """Say in our words what pydantic found; None if the mistake is named already."""
    error = problem.get("ctx", {}).get("error")
    path = problem["loc"]
    node = root.find(path)
    if node.value is BROKEN:
        return None
    if problem["type"] == "extra_forbidden":
        return Mistake(node.key or node.place, _unknown_key(path))
    if problem["type"] == "missing":
        enough = f"two lines are enough: {TWO_LINES}" if len(path) == 1 else "both weights are needed"
        return Mistake(node.place, f"{_dotted(path)} is missing; {enough}")
    if problem["type"] == "value_error":
        return Mistake(node.place, f"{_dotted(path)} {error}")
    keys = ", ".join(_section(path).model_fields)
    return Mistake(node.place, f"{_dotted(path)} needs keys below it, not {seen(node.value)}; its keys are {keys}")


def _unknown_key(path: Sequence[Json]) -> str:
    *above, key = path
    known = _section(above).model_fields
    of = f"a key of {_dotted(above)}" if above else "a key"
    near = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1)
    near = near or [dotted for dotted in _all_keys(Config) if key in (dotted, dotted.rpartition(".")[2])]
    if near:
        return f"{quoted(key)} is not {of}; did you mean {' or '.join(f'`{name}`' for name in near)}?"
    return f"{quoted(key)} is not {of}; known are {', '.join(known)}"


def _section(path: Sequence[Json]) -> type[BaseModel]:
    section: Json = Config
    for key in path:
        annotation = section.model_fields[key].annotation
        section = next((part for part in get_args(annotation) if _is_section(part)), annotation)
    return section  # type: ignore[no-any-return]


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _all_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name in section.model_fields:
        keys.append(prefix + name)
        below = _section((*prefix.split(".")[:-1], name))
        if _is_section(below):
            keys += _all_keys(below, f"{prefix}{name}.")
    return keys


def _dotted(path: Sequence[Json]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _in_order(mistakes: list[Mistake]) -> list[str]:
    return [str(mistake) for mistake in sorted(mistakes, key=lambda mistake: mistake.place[:2])]


_AFTER_ALL_LINES: Final = 1 << 40
_LOWER: Final = "`direction: lower_is_better`"
