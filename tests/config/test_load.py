import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from retrain_trigger.config.load import LARGEST, Config, defaults, load
from retrain_trigger.config.sections import Direction
from retrain_trigger.core.errors import ConfigError, UsageError
from retrain_trigger.judge.policy import Budget, OnDrift, Patience

TWO_LINES = "performance_threshold: 0.85\ndrift_threshold: 0.20\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], Path]:
    monkeypatch.chdir(tmp_path)

    def written(content: str | bytes) -> Path:
        path = Path("config.yaml")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


def mistakes_of(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    return caught.value.mistakes


def test_two_lines_are_a_whole_config(write: Callable[[str], Path], tmp_path: Path) -> None:
    config = load(write(TWO_LINES))
    assert (config.performance_threshold, config.drift_threshold) == (0.85, 0.20)
    assert (config.metric, config.direction, config.positive) == ("f1", Direction.HIGHER_IS_BETTER, None)
    assert config.logs.metrics == tmp_path / "logs/metrics.jsonl"
    assert config.logs.columns.labelled_at == "labelled_at"
    assert (config.trigger.window, config.trigger.max_age) == (timedelta(days=1), timedelta(days=3))
    assert (config.trigger.cooldown, config.trigger.min_rows) == (timedelta(hours=24), 200)
    assert (config.trigger.patience, config.trigger.budget) == (
        Patience(1, 1),
        Budget(8, timedelta(days=30), saving=True),
    )
    assert config.trigger.on_drift is OnDrift.AUTO
    assert (config.data.labelled, config.data.holdout_file, config.data.windows) == (None, None, None)
    assert (config.data.holdout, config.data.max_missing) == (0.2, 0.05)
    assert (config.train.command, config.train.timeout) == ("make train-model", timedelta(hours=2))
    assert config.train.output is None
    assert (config.promotion.margin, config.promotion.windows, config.newest_decide) == (0.02, 2, True)
    assert (config.certainty(), config.certainty(1), config.deciding_rows) == (0.8, 0.8784, 100)
    assert (config.model.pointer, config.model.folder) == (tmp_path / "models/champion.json", tmp_path / "models")
    assert config.state == tmp_path / ".retrain-check"
    assert (config.file, config.folder) == (tmp_path / "config.yaml", tmp_path)


@pytest.mark.parametrize("settings", ["promotion: {decide_on: holdout}", "data: {holdout_file: held.parquet}"])
def test_rows_that_are_held_out_are_asked_for_more(write: Callable[[str], Path], settings: str) -> None:
    config = load(write(TWO_LINES + settings))
    assert (config.newest_decide, config.certainty(3), config.deciding_rows) == (False, 0.95, 500)


@pytest.mark.parametrize(
    ("count", "meant", "instead"),
    [(3, (True, 3), "`decide_on: newest` and `windows: 3`"), (0, (False, 2), "`decide_on: holdout`")],
)
def test_out_of_time_is_read_as_what_it_meant(
    write: Callable[[str], Path], count: int, meant: tuple[bool, int], instead: str
) -> None:
    config = load(write(f"{TWO_LINES}promotion: {{out_of_time: {count}, min_rows: 70}}"))
    assert (config.newest_decide, config.promotion.windows) == meant
    assert config.deciding_rows == 70
    assert config.notes == (
        f"config.yaml:3:13: promotion.out_of_time: {count} is read as {instead} of promotion; write that",
    )


def test_defaults_are_the_two_lines_without_a_file(write: Callable[[str], Path], tmp_path: Path) -> None:
    config = load(write(TWO_LINES))
    assert defaults().model_dump() == config.model_dump()
    assert (defaults().file, defaults().folder) == (None, tmp_path)
    assert defaults(["performance_threshold=0.9"]).performance_threshold == 0.9


def test_every_setting_can_be_written(write: Callable[[str], Path], tmp_path: Path) -> None:
    config = load(
        write(
            """\
performance_threshold: 12.5
drift_threshold: 1
metric: Revenue per user
direction: higher_is_better
positive: yes
logs: {metrics: /var/log/f1.log, columns: {label: y, id: 'no'}}
trigger:
  window: 2w
  min_rows: 50
  max_age: 90s
  patience: 2 of 3
  on_drift: warn
  cooldown: 45m
  budget: 10 per 1d
data:
  labelled: data/*.csv
  windows: [7d, all]
  holdout: 0.5
  max_missing: 5.5%
train:
  command: |
    make train-model
  timeout: 1 h
  output: out/model.joblib
promotion: {margin: 3, certainty: 0.9, min_rows: 1}
model: {pointer: m/c.json, folder: m}
state: state
"""
        )
    )
    assert (config.metric, config.positive, config.performance_threshold) == ("Revenue per user", "yes", 12.5)
    assert (config.logs.metrics, config.logs.columns.label) == (Path("/var/log/f1.log"), "y")
    assert (config.trigger.window, config.trigger.max_age) == (timedelta(weeks=2), timedelta(seconds=90))
    assert (config.trigger.patience, config.trigger.budget) == (Patience(2, 3), Budget(10, timedelta(days=1)))
    assert config.data.labelled == str(tmp_path / "data/*.csv")
    assert (config.data.windows, config.data.max_missing) == ((timedelta(days=7), None), 0.055)
    assert (config.train.output, config.promotion.margin) == (tmp_path / "out/model.joblib", 3)


def test_five_mistakes_are_named_at_once_in_the_order_of_lines(write: Callable[[str], Path]) -> None:
    path = write(
        """\
performance_threshold: yes
drift_treshold: 0.2
trigger:
  cooldown: 24
  window: 12:30
  patience: 2 of 3
  patience: 1 of 1
data:
  holdout: 60%
"""
    )
    assert mistakes_of(path) == [
        "config.yaml:1:24: performance_threshold needs a number such as 0.85 or 85%, not the text `yes`; or write auto",
        "config.yaml:2:1: `drift_treshold` is not a key; did you mean `drift_threshold`?",
        "config.yaml:4:13: trigger.cooldown needs a duration with its unit, not `24`; write 24h or 1d",
        "config.yaml:5:11: trigger.window needs a duration such as 90s, 45m, 24h, 7d or 2w, not the text `12:30`",
        "config.yaml:7:3: `patience` appears twice, first on line 6; keep one",
        "config.yaml:9:12: data.holdout is 0.6; write a number above 0 and at most 0.5, such as 20%",
    ]


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("cooldown: 2h", "3:1: `cooldown` is not a key; did you mean `trigger.cooldown`?"),
        ("PROMOTION: {}", "3:1: `PROMOTION` is not a key; did you mean `promotion`?"),
        ("trigger: {cooldwn: 2h}", "3:11: `cooldwn` is not a key of trigger; did you mean `cooldown`?"),
        ("train: {epochs: 2}", "3:9: `epochs` is not a key of train; known are command, timeout, output"),
        ("min_rows: 5", "3:1: `min_rows` is not a key; did you mean `trigger.min_rows` or `promotion.min_rows`?"),
        ("train: make", "3:8: train needs keys below it, not the text `make`; its keys are command, timeout, output"),
        ("metric: 5", "3:9: metric needs text, not `5`; put it in quotes"),
        ("metric:", "3:8: metric needs text, not nothing"),
        ('metric: " "', "3:9: metric needs text, not the text ` `"),
        ("state: true", "3:8: state needs text, not `true`; put it in quotes"),
        ("positive: 1.5", "3:11: positive needs a label: text, a whole number, true or false, not `1.5`"),
        ("direction: up", "3:12: direction needs higher_is_better or lower_is_better, not the text `up`"),
        (
            "direction: lower_is_better",
            "3:12: direction is lower_is_better, but f1 is better when higher; leave it out, or name another metric",
        ),
        ("trigger: {min_rows: true}", "3:21: trigger.min_rows needs a whole number, not `true`"),
        ("trigger: {min_rows: 2.0}", "3:21: trigger.min_rows needs a whole number, not `2.0`"),
        ("trigger: {min_rows: 0}", "3:21: trigger.min_rows is 0; write a number from 1 to 1000000000"),
        ("trigger: {window: 0d}", "3:19: trigger.window is 0d; write a duration from 1s to 36500d"),
        ("trigger: {window: 99999999999w}", "3:19: trigger.window is 99999999999w; write a duration from 1s to 36500d"),
        (
            "trigger: {max_age: 1.5h}",
            "3:20: trigger.max_age needs a duration such as 90s, 45m, 24h, 7d or 2w, not the text `1.5h`",
        ),
        (
            "trigger: {patience: 3 of 2}",
            "3:21: trigger.patience is 3 of 2; the first number must be from 1 to the second; write e.g. 2 of 3",
        ),
        (
            "trigger: {patience: 0 of 2}",
            "3:21: trigger.patience is 0 of 2; the first number must be from 1 to the second; write e.g. 2 of 3",
        ),
        ("trigger: {patience: 2}", "3:21: trigger.patience needs a count such as 1 of 1 or 2 of 3, not `2`"),
        (
            "trigger: {budget: 4}",
            "3:19: trigger.budget needs a count and a duration such as 4 per 30d, or 8 per 30d, saving, not `4`",
        ),
        ("trigger: {budget: 0 per 1d}", "3:19: trigger.budget is 0; write a number from 1 to 1000000000"),
        (
            "data: {windows: 7d}",
            "3:17: data.windows needs auto, or a list such as [all] or [7d, 30d, all], not the text `7d`",
        ),
        (
            "data: {windows: []}",
            "3:17: data.windows needs auto, or a list such as [all] or [7d, 30d, all], not a list that is empty",
        ),
        (
            "data: {unchecked: month}",
            "3:19: data.unchecked needs a list of columns such as [month], not the text `month`",
        ),
        ("data: {unchecked: [month, 1]}", "3:27: data.unchecked[1] needs text, not `1`; put it in quotes"),
        ("data: {command: []}", "3:17: data.command needs text, not a list"),
        ("data: {windows: [7d, 1w]}", "3:17: data.windows names the same window twice; keep one"),
        (
            "data: {windows: [all, 7]}",
            "3:23: data.windows[1] needs a duration with its unit such as 30d, or all, not `7`",
        ),
        (
            "data: {holdout_file: h}\npromotion: {decide_on: newest}",
            "4:12: promotion with decide_on: newest goes without data.holdout_file, which always decides; keep one",
        ),
        (
            "promotion: {out_of_time: 2, decide_on: holdout}",
            "3:13: promotion.out_of_time is `decide_on` and `windows` now; write `decide_on: newest` and `windows: 2`, or `decide_on: holdout`",
        ),
        ("data: {max_missing: 5}", "3:21: data.max_missing is 5; write a number from 0 to 1, such as 5%"),
        (
            "promotion: {certainty: 95}",
            "3:24: promotion.certainty is 95; write a number above 0.5 and under 1, such as 95%",
        ),
        ("promotion: {margin: 2}", "3:21: promotion.margin is 2, but f1 is between 0 and 1; write 0.02 or 2%"),
        ("promotion: {margin: -1}", "3:21: promotion.margin is -1; write a number from 0 up, such as 0.02 or 2%"),
        ("promotion: {floor: 80}", "3:20: promotion.floor is 80, but f1 is between 0 and 1; write 0.80 or 80%"),
        (
            "logs: {columns: {label: prediction}}",
            "3:25: logs.columns.label is `prediction`, and so is prediction; the truth needs a column of its own",
        ),
        (
            "shadowing: null",
            "3:1: `shadowing` is not a key; known are metric, cost, direction, performance_threshold, ",
        ),
    ],
)
def test_a_mistake_says_where_what_and_what_to_do(line: str, mistake: str, write: Callable[[str], Path]) -> None:
    (found,) = mistakes_of(write(TWO_LINES + line + "\n"))
    assert found.startswith(f"config.yaml:{mistake}")
    assert found == f"config.yaml:{mistake}" or mistake.endswith(", ")


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (b"", "1:1: the file is empty; two lines are enough: "),
        (b"# only words\n", "1:1: the file is empty; two lines are enough: "),
        (b"0.85\n", "1:1: the file holds `0.85`, not keys; write `performance_threshold: 0.85`"),
        (b"metric: f1\n", "1:1: performance_threshold is missing; two lines are enough: "),
        (b"performance_threshold: 85\n", "1:24: performance_threshold is 85, but f1 is between 0 and 1; write 0.85"),
        (b"performance_threshold: yes\n", "1:24: performance_threshold needs a number such as 0.85 or 85%, not the "),
        (b"performance_threshold: nan\n", "1:24: performance_threshold needs a number such as 0.85 or 85%, not the "),
        (
            b"performance_threshold: true\n",
            "1:24: performance_threshold needs a number such as 0.85 or 85%, not `true`",
        ),
        (b"performance_threshold: 0.8\ndrift_threshold: 0\n", "2:18: drift_threshold is 0; write a number above 0"),
        (
            b"\xef\xbb\xbfperformance_threshold: 0.8\r\nx\xc3\xa9: \xff",
            "2:5: the byte 0xff is not UTF-8; save as UTF-8",
        ),
        (b"\xef\xbb\xbfperformance_threshold: x", "1:24: performance_threshold needs a number"),
        (b"\xff\xfea\x00", "1:1: the byte 0xff is not UTF-8; save as UTF-8"),
    ],
)
def test_a_file_that_is_no_config_says_what_is_enough(
    content: bytes, mistake: str, write: Callable[[bytes], Path]
) -> None:
    (found,) = mistakes_of(write(content))
    assert found.startswith(f"config.yaml:{mistake}")


def test_a_byte_order_mark_and_windows_line_ends_are_fine(write: Callable[[bytes], Path]) -> None:
    assert load(write(b"\xef\xbb\xbfperformance_threshold: 85%\r\ntrigger:\r\n")).performance_threshold == 0.85


def test_what_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config.yaml: no such file; write one .*performance_threshold: 0.85"):
        load(tmp_path / "config.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "a\0b")
    large = tmp_path / "large.yaml"
    large.write_text("#" * (LARGEST + 1))
    with pytest.raises(UsageError, match="larger than"):
        load(large)


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a[b]"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = Path("a[b]/config.yaml")
    path.write_text(TWO_LINES + "data: {labelled: 'd/*.csv'}\nstate: ~/state\n")
    config = load(path, ["train.output=out"])
    assert (config.logs.metrics, config.train.output) == (folder / "logs/metrics.jsonl", folder / "out")
    assert config.data.labelled == str(tmp_path / "a[[]b]" / "d/*.csv")
    assert load(path, ["data.labelled=d.csv"]).data.labelled == str(folder / "d.csv")
    assert config.state == tmp_path / "home/state"
    assert (config.file, config.folder) == (folder / "config.yaml", folder)


def test_overrides_are_read_as_the_file_is_and_the_last_counts(write: Callable[[str], Path]) -> None:
    path = write(TWO_LINES + "trigger: {cooldown: 1h}\ndata:\n")
    config = load(path, ["trigger.cooldown=2h", "trigger.cooldown=3h", "data.windows=[7d, all]", "data.labelled="])
    assert config.trigger.cooldown == timedelta(hours=3)
    assert (config.data.windows, config.data.labelled) == ((timedelta(days=7), None), None)


def test_an_override_that_begins_as_no_yaml_value_can_is_a_text() -> None:
    assert defaults(["logs.date_format=%m/%d/%Y"]).logs.date_format == "%m/%d/%Y"


def test_a_built_in_metric_is_known_in_any_case() -> None:
    assert defaults(["metric=F1_Macro"]).metric == "f1_macro"
    assert defaults(["metric=f1_macro", "trigger.evidence=sequential"]).trigger.evidence == "sequential"
    assert defaults(["metric=Revenue"]).metric == "Revenue"


@pytest.mark.parametrize(
    ("written", "name", "path"),
    [
        ("f1", "f1", "f1"),
        ("F1", "f1", "f1"),
        ("current.f1", "f1", "current.f1"),
        ("weighted avg.f1-score", "f1", "weighted avg.f1-score"),
        ("f1_score", "f1", "f1_score"),
        ("val.Revenue", "Revenue", "val.Revenue"),
        ("Revenue p.a.", "Revenue p.a.", "Revenue p.a."),
    ],
)
def test_a_path_says_where_the_metric_is_and_its_last_part_which(written: str, name: str, path: str) -> None:
    config = defaults([f"metric={written}"])
    assert (config.metric, config.metric_path) == (name, path)


def test_settings_that_read_another_path_have_another_digest() -> None:
    paths = ("f1", "current.f1", "best.f1")
    assert len({defaults([f"metric={path}"]).digest for path in paths}) == len(paths)


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("metric: f1_marco", "1:9: metric is f1_marco, which is no metric that is known; write f1_macro"),
        ("metric: f1-macro", "1:9: metric is f1-macro, which is no metric that is known; write f1_macro"),
        ("metric: acuracy", "1:9: metric is acuracy, which is no metric that is known; write accuracy"),
        ("metric: rmse", "rmse is an error or a loss; write `direction: lower_is_better`"),
        ("metric: val.log_loss", "log_loss is an error or a loss; write `direction: lower_is_better`"),
        (
            "metric: roc_auc\nlogs: {predictions: p.csv}",
            "logs cannot give roc_auc: a prediction log gives only f1, f1_macro, ",
        ),
        (
            "metric: gini\ntrigger: {evidence: sequential}",
            "sequential is for f1, f1_macro, accuracy, balanced_accuracy, precision, recall, cost, not gini; write evidence: auto",
        ),
        ("logs: {decimal: x}", 'logs.decimal needs "." or ","'),
        ("logs: {date_format: '%d.%m'}", "logs.date_format is `%d.%m`, which leaves out year, month or day"),
        ("logs: {date_format: d.m.Y}", "logs.date_format is `d.m.Y`, which leaves out year, month or day"),
    ],
)
def test_what_would_judge_the_wrong_thing_is_a_mistake(write: Callable[[str], Path], line: str, mistake: str) -> None:
    (found,) = mistakes_of(write(f"{line}\n{TWO_LINES}"))
    assert mistake in found


def test_a_drift_threshold_that_nothing_reaches_is_a_mistake(write: Callable[[str], Path]) -> None:
    (found,) = mistakes_of(write("performance_threshold: 0.85\ndrift_threshold: 20\n"))
    assert "drift_threshold is 20; write a number above 0 and at most 5, such as 0.20" in found


@pytest.mark.parametrize(
    "line",
    [
        "metric: rmse\ndirection: lower_is_better",
        "metric: neg_log_loss",
        "metric: neg_mean_squared_error",
        "metric: f1_micro",
        "metric: recall_at_5",
        "metric: roc_auc",
        "metric: roc_auc\nlogs: {predictions: p.csv, metrics: auc.csv}",
        "logs: {decimal: ',', date_format: '%d.%m.%y %H:%M'}",
    ],
)
def test_a_metric_of_ones_own_is_none(write: Callable[[str], Path], line: str) -> None:
    load(write(f"{line}\n{TWO_LINES}"))


def test_mistakes_of_overrides_follow_those_of_the_file(write: Callable[[str], Path]) -> None:
    path = write(TWO_LINES + "metric: f1\ntrigger: {window: no}\n")
    assert mistakes_of(path, "trigger.cooldown=x", "triger.window=1d", "metric.x=1", "cooldown", "state=[") == [
        "config.yaml:4:19: trigger.window needs a duration such as 90s, 45m, 24h, 7d or 2w, not the text `no`",
        "--set trigger.cooldown=x: trigger.cooldown needs a duration such as 90s, 45m, 24h, 7d or 2w, not the text `x`",
        "--set triger.window=1d: `triger` is not a key; did you mean `trigger`?",
        "--set metric.x=1: `metric` holds a value, not keys; name the key alone",
        "--set cooldown: write key=value, such as trigger.cooldown=2h",
        "--set state=[: a bracket is not closed, or there is a comma too few or too many",
    ]


def test_the_digest_is_the_same_wherever_the_project_stands(tmp_path: Path) -> None:
    digests = set()
    for place in ("here", "over there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "config.yaml").write_text(f"{TWO_LINES}data: {{labelled: rows/*.parquet}}\n")
        digests.add(load(tmp_path / place / "config.yaml").digest)
    assert len(digests) == 1


def test_the_digest_is_of_what_holds_not_of_how_it_is_written(write: Callable[[str], Path]) -> None:
    plain = load(write(TWO_LINES)).digest
    assert len(plain) == 64
    assert load(write("# said at length\ndrift_threshold: 0.2\nperformance_threshold: 85%\ntrigger:\n")).digest == plain
    assert load(write(TWO_LINES), ["trigger.cooldown=1d"]).digest == plain
    changes = ["trigger.cooldown=2d", "positive=1", "positive='1'", "positive=true", "data.windows=[1d]", "state=s"]
    assert len({plain, *(load(write(TWO_LINES), [change]).digest for change in changes)}) == len(changes) + 1


def test_a_config_cannot_be_changed(write: Callable[[str], Path]) -> None:
    config = load(write(TWO_LINES))
    with pytest.raises(ValidationError):
        config.trigger.min_rows = 1


def keys(section: Any = Config, prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, field in section.model_fields.items():
        below = hasattr(field.annotation, "model_fields")
        found += keys(field.annotation, f"{prefix}{name}.") if below else [prefix + name]
    return found


@given(
    key=st.sampled_from(keys()),
    value=st.text(max_size=20)
    | st.from_regex(r"\A-?[0-9]{1,30}[smhdw%.]?[0-9]?( of | per )?[0-9]{0,15}[dw]?\Z")
    | st.sampled_from(["[no, *a]", "{a: 1}", "[[[[1]]]]", "~", "~root", "true", "[7d, x]", ".nan", "1.0e+400"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_value_of_any_key_is_accepted_or_named(key: str, value: str) -> None:
    try:
        config = defaults([f"{key}={value}"])
    except ConfigError as error:
        assert error.mistakes  # noqa: PT017
        assert all(mistake.startswith("--set ") and "\n" not in mistake for mistake in error.mistakes)  # noqa: PT017
    else:
        assert config.digest
        assert config.trigger.patience.hits <= config.trigger.patience.of


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: (TWO_LINES + text).encode("utf-8", "replace")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_file_loads_or_names_its_mistakes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    try:
        load(path)
    except ConfigError as error:
        assert all(mistake.startswith(f"{path}:") and "\n" not in mistake for mistake in error.mistakes)  # noqa: PT017


def test_loading_imports_nothing_heavy(write: Callable[[str], Path]) -> None:
    write(TWO_LINES)
    program = (
        "import sys; from pathlib import Path; from retrain_trigger.config.load import load; load(Path('config.yaml'));"
        "print(sorted({'numpy', 'scipy', 'sklearn', 'joblib', 'duckdb', 'pandas'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def leaves(schema: Any, section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the JSON Schema of each key that has none below it."""
    for name, described in section["properties"].items():
        inner = described.get("$ref") or next(
            (each["$ref"] for each in described.get("anyOf", ()) if "$ref" in each), ""
        )
        if inner:
            yield from leaves(schema, schema["$defs"][inner.rpartition("/")[2]], f"{prefix}{name}.")
        else:
            yield prefix + name, described


def test_the_json_schema_says_type_range_and_meaning_of_every_key() -> None:
    schema = Config.model_json_schema()
    found = dict(leaves(schema, schema))
    assert set(keys()) - {"cost", "promotion.shadow"} <= set(found)
    for key, described in found.items():
        assert described["description"].endswith("."), key
        assert {"type", "anyOf", "enum"} & described.keys(), key
        written = described.get("default")
        if "pattern" in described:
            assert re.fullmatch(described["pattern"], written), key
    share, count = found["data.holdout"]["anyOf"], found["trigger.min_rows"]
    assert share[0] == {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}
    assert re.fullmatch(share[1]["pattern"], "20%")
    assert (count["type"], count["minimum"]) == ("integer", 1)
    assert found["trigger.on_drift"]["enum"] == ["auto", "retrain", "warn"]
