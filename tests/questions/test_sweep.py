"""`backtest --log`: when other settings would have acted on a log, chosen on its first part and reported on the last."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from projects import START

from retrain_trigger.cli.door import main
from retrain_trigger.config import load as settings
from retrain_trigger.core.errors import CannotJudgeError, UsageError
from retrain_trigger.judge.memory import Memory
from retrain_trigger.pipeline import evaluate
from retrain_trigger.pipeline.check import judged
from retrain_trigger.pipeline.tick import registry
from retrain_trigger.questions.simulate import replays, simulate
from retrain_trigger.questions.sweep import LEAST, Part, Sweep, sweep
from retrain_trigger.store.ledger import Ledger

GOOD, BAD = 0.9, 0.8
FALL_AND_DIP = [*[GOOD] * 5, *[BAD] * 5, *[GOOD] * 2, 0.84, *[GOOD] * 10, *[BAD] * 4, *[GOOD] * 3]
"""A fall of five windows, one low window among good ones, and, in the last third, a fall of four."""


def daily(*values: float, **more: Sequence[object]) -> str:
    return "".join(
        json.dumps(
            {"timestamp": (START + timedelta(days=day)).isoformat(), "f1": value}
            | {name: each[day] for name, each in more.items()}
        )
        + "\n"
        for day, value in enumerate(values)
    )


def configured(folder: Path, *more: str) -> Path:
    path = folder / "config.yaml"
    path.write_text("\n".join(["performance_threshold: 0.85", "drift_threshold: 0.2", *more]) + "\n")
    return path


def swept(path: Path | None, text: str, *tried: str) -> Sweep:
    return sweep(path, [io.BytesIO(text.encode())], tried)


def test_each_setting_is_counted_in_both_parts(tmp_path: Path) -> None:
    found = swept(configured(tmp_path), daily(*FALL_AND_DIP), "trigger.patience=1 of 1,2 of 3")
    assert (found.windows, found.threshold, [at[:10] for at in found.times]) == (
        30,
        0.85,
        ["2026-01-01", "2026-01-21", "2026-01-30"],
    )
    once, twice = found.tried
    assert once.first == Part(falls=1, trainings=2, needless=1, again=2, waited=1, after=1)
    assert once.last == Part(falls=1, trainings=1, needless=0, again=0, waited=1, after=1)
    assert (found.own.first, found.own.last) == (once.first, once.last)
    assert [at[:10] for at in once.acts] == [f"2026-01-{day:02}" for day in (6, 7, 9, 13, 24)]
    assert twice.first == Part(falls=1, trainings=1, needless=0, again=1, waited=2, after=2)
    assert twice.last == Part(falls=1, trainings=1, needless=1, again=0, waited=2, after=2)
    assert once.best
    assert twice.best
    assert found.chosen is None


def test_what_beats_the_settings_on_the_first_part_is_a_change_only_if_it_does_so_on_the_last(tmp_path: Path) -> None:
    slow, tried = configured(tmp_path, "trigger: {patience: 3 of 3}"), "trigger.patience=1 of 1,2 of 2"
    twice = [*[GOOD] * 5, *[BAD] * 9, *[GOOD] * 11, *[BAD] * 9, *[GOOD] * 2]
    found = swept(slow, daily(*twice), tried)
    assert found.chosen is not None
    assert found.chosen.given == ("trigger.patience=1 of 1",)
    assert (found.chosen.first.waited, found.own.first.waited) == (1, 3)
    assert [each.best for each in (found.own, *found.tried)] == [False, True, False]
    assert found.change is found.chosen
    dip = [*twice[:25], *[GOOD] * 2, 0.8, *[GOOD] * 8]
    found = swept(slow, daily(*dip), tried)
    assert found.chosen is not None
    assert found.chosen.given == ("trigger.patience=1 of 1",)
    assert (found.chosen.last.needless, found.own.last.trainings, found.change) == (1, 0, None)


def test_without_a_fall_nothing_is_chosen_for_what_never_acts_would_be_best(tmp_path: Path) -> None:
    dips = [*[GOOD] * 7, BAD, *[GOOD] * 22]
    found = swept(configured(tmp_path), daily(*dips), "performance_threshold=0.1")
    assert found.own.first == Part(falls=0, trainings=1, needless=1, again=0, waited=0, after=None)
    assert found.tried[0].first.beats(found.own.first)
    assert found.chosen is None


def test_all_are_held_against_the_threshold_of_the_settings_as_they_are(tmp_path: Path) -> None:
    found = swept(configured(tmp_path), daily(*FALL_AND_DIP), "performance_threshold=0.79,0.95")
    never, always = found.tried
    assert never.first == Part(falls=1, trainings=0, needless=0, again=0, waited=5, after=None)
    assert (always.first.falls, always.acts[0][:10]) == (1, "2026-01-01")
    found = swept(None, daily(*FALL_AND_DIP), "promotion.margin=0.01,0.06")
    assert found.threshold == pytest.approx(0.88)
    assert [each.first.waited for each in found.tried] == [1, 1]


def test_a_fall_ends_with_the_model_and_what_another_did_later_says_nothing_of_a_training(tmp_path: Path) -> None:
    values = [*[GOOD] * 8, *[BAD] * 2, *[GOOD] * 20]
    alone = swept(configured(tmp_path), daily(*values), "trigger.patience=1 of 1")
    assert alone.own.first == Part(falls=0, trainings=2, needless=2, again=0, waited=0, after=None)
    falls = daily(*[GOOD] * 5, *[BAD] * 9, *[GOOD] * 16, model=["a"] * 9 + ["b"] * 21)
    assert swept(configured(tmp_path), falls, "trigger.patience=1 of 1").own.first.falls == 2
    models = ["a"] * 10 + ["b"] * 20
    named = swept(configured(tmp_path), daily(*values, model=models), "trigger.patience=1 of 1")
    assert named.own.first == Part(falls=1, trainings=1, needless=0, again=1, waited=1, after=1)


def test_windows_together_are_judged_by_their_rows_where_these_are_counted(tmp_path: Path) -> None:
    """A low window of many rows outweighs the four good ones of few rows that follow it; as values, it does not."""
    small, large = {"tp": 18, "fp": 2, "fn": 2, "tn": 40}, {"tp": 1600, "fp": 400, "fn": 400, "tn": 4000}
    shapes = [*[small] * 6, *[large] * 2, *[small] * 22]
    counted = "".join(
        json.dumps({"timestamp": (START + timedelta(days=day)).isoformat(), **each}) + "\n"
        for day, each in enumerate(shapes)
    )
    valued = daily(*[GOOD if each is small else BAD for each in shapes])
    path = configured(tmp_path, "trigger: {evidence: point, min_rows: 10}")
    assert swept(path, counted, "trigger.patience=1 of 1").own.first.falls == 1
    assert swept(path, valued, "trigger.patience=1 of 1").own.first.falls == 0


def test_several_classes_are_judged_by_their_table_and_an_error_by_its_rise(tmp_path: Path) -> None:
    def table(rows: int, wrong: int) -> dict[str, Any]:
        said_of = {name: {said: rows - 2 * wrong if name == said else wrong for said in "abc"} for name in "abc"}
        return {"confusion": said_of}

    small, large = table(60, 2), table(6000, 900)
    shapes = [*[small] * 6, *[large] * 2, *[small] * 22]
    text = "".join(
        json.dumps({"timestamp": (START + timedelta(days=day)).isoformat(), **each}) + "\n"
        for day, each in enumerate(shapes)
    )
    path = configured(tmp_path, "metric: f1_macro", "trigger: {evidence: point, min_rows: 10}")
    assert swept(path, text, "trigger.patience=1 of 1").own.first.falls == 1
    rmse = "".join(f"rmse={10 * (1 - each):.2f}\n" for each in FALL_AND_DIP)
    path.write_text("metric: rmse\ndirection: lower_is_better\nperformance_threshold: 1.5\n")
    found = swept(path, rmse, "trigger.patience=2 of 3")
    assert (found.own.first.falls, found.own.last.falls, found.tried[0].first.waited) == (1, 1, 2)


FORMS: dict[str, Callable[[datetime, float], str]] = {
    "semicolons": lambda day, value: f"{day:%d.%m.%Y};prod;{str(value).replace('.', ',')}\n",
    "logfmt": lambda day, value: f'ts={day:%Y-%m-%dT%H:%M:%SZ} level=info msg="evaluated" f1={value}\n',
    "nested": lambda day, value: (
        json.dumps({"time": day.isoformat(), "current": {"f1": value}, "old": {"f1": 0.1}}) + "\n"
    ),
    "bare": lambda _day, value: f"{value}\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_a_log_makes_no_difference(tmp_path: Path, form: str) -> None:
    header = "Datum;Umgebung;F1\n" if form == "semicolons" else ""
    text = header + "".join(FORMS[form](START + timedelta(days=day), each) for day, each in enumerate(FALL_AND_DIP))
    path = configured(tmp_path, "metric: current.f1" if form == "nested" else "metric: f1")
    found = swept(path, text, "trigger.patience=2 of 3")
    plain = swept(configured(tmp_path), daily(*FALL_AND_DIP), "trigger.patience=2 of 3")
    assert [found.own.first, found.own.last, found.tried[0].first] == [
        plain.own.first,
        plain.own.last,
        plain.tried[0].first,
    ]


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prediction log: 18 days of 300 rows, labels up to two days late; from the seventh to the eleventh many are wrong."""
    path = tmp_path_factory.mktemp("predictions") / "p.parquet"
    right = "i % 20 < if(i // 300 BETWEEN 6 AND 10, 13, 19)"
    duckdb.sql(
        f"COPY (SELECT i AS id, TIMESTAMP '2026-01-01' + INTERVAL (i * 288) SECOND AS timestamp, i % 2 AS label, "
        f"if({right}, i % 2, 1 - i % 2) AS prediction, timestamp + INTERVAL (i % 7 * 8) HOUR AS labelled_at "
        f"FROM range(18 * 300) t(i)) TO '{path}'"
    )
    return path


def test_a_prediction_log_is_replayed_as_simulate_does_under_each_of_the_settings(
    tmp_path: Path, predictions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configs = [
        settings.defaults([f"trigger.label_coverage={coverage}", f"trigger.false_alarm_every={every}"])
        for coverage, every in ((0.8, 1000), (0.3, 1000), (0.8, 50), (0.3, 50))
    ]
    together = replays(configs, [predictions])
    assert [each.steps for each in together] == [simulate(each, [predictions]).steps for each in configs]
    found = sweep(configured(tmp_path), [predictions], ["trigger.label_coverage=0.3,0.8"])
    early, late = found.tried
    assert found.windows == 18
    assert (early.first.falls, early.first.trainings, late.first.trainings) == (1, 1, 1)
    assert early.first.waited < late.first.waited == found.own.first.waited


def test_of_late_labels_each_moment_is_judged_as_from_scratch(
    tmp_path: Path, predictions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("performance_threshold=0.1", "trigger.label_coverage=0.3", f"logs.predictions={predictions}")
    config, until = settings.defaults(given), START + timedelta(days=99)
    with (
        Ledger.reading(config.state / "ledger.sqlite") as ledger,
        evaluate.replaying(config, registry(config), None, ledger, until=until) as log,
    ):
        moments = [(end, replace(log.known_at(end), newest=None)) for end in log.ends]
    found = simulate(config, [])
    assert [step.findings for step in found.steps] == [
        judged(config, observed, Memory(), now=end).findings for end, observed in moments
    ]


def test_of_several_models_in_a_window_the_one_of_the_most_rows_counts(
    tmp_path: Path, predictions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = "if(id % 6 = 0, 'z', 'a') AS model"
    duckdb.sql(f"COPY (SELECT *, {named} FROM '{predictions}') TO '{tmp_path}/models.parquet'")
    found = simulate(settings.defaults(), [tmp_path / "models.parquet"])
    assert [each and each.model for each in found.measured] == ["a"] * 18


def test_without_labels_it_says_when_it_would_act_and_chooses_nothing(tmp_path: Path, predictions: Path) -> None:
    duckdb.sql(f"COPY (SELECT id, timestamp, prediction FROM '{predictions}') TO '{tmp_path}/unlabelled.parquet'")
    found = sweep(configured(tmp_path), [tmp_path / "unlabelled.parquet"], ["trigger.patience=2 of 3"])
    assert (found.windows, found.own.first.falls, found.own.acts, found.chosen) == (18, 0, (), None)


def test_a_key_that_makes_no_difference_is_named(tmp_path: Path) -> None:
    tried = ("trigger.patience=1 of 1,2 of 3", "promotion.margin=0.01,0.02")
    assert swept(configured(tmp_path), daily(*FALL_AND_DIP), *tried).idle == ("promotion.margin",)
    assert swept(None, daily(*FALL_AND_DIP), tried[0], "promotion.margin=0.01,0.08").idle == ()
    assert swept(configured(tmp_path), daily(*FALL_AND_DIP), "promotion.margin=0.01").idle == ()


@pytest.mark.parametrize(
    ("tried", "said"),
    [
        ((), "name the settings to try"),
        (
            ("trigger.patiense=2 of 3",),
            "--try trigger.patiense=2 of 3: `patiense` is not a key of trigger; did you mean",
        ),
        (("trigger.patience=1 of 1,4 of 3",), "--try trigger.patience=4 of 3: trigger.patience is 4 of 3"),
        (("trigger.patience",), "--try trigger.patience: write KEY=VALUE"),
        (("trigger.window=7d",), "--try trigger.window: a log cannot show what that changes"),
        (("metric=accuracy",), "--try metric: a log cannot show what that changes"),
        (("trigger.budget=2 per 30d", "trigger.budget=4 per 30d"), "trigger.budget is tried twice"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_read(tmp_path: Path, tried: Sequence[str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        sweep(configured(tmp_path), [tmp_path / "no such log"], tried)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (daily(GOOD), "config.yaml", f"the log has 1 of at least {LEAST} windows that a sweep needs"),
        ("", "config.yaml", "no whole line yet"),
        ("".join(daily(*[GOOD] * 4)) + '{"f1": NaN}\n' * 16, None, "1 too few"),
    ],
)
def test_a_log_that_is_too_short_is_said(tmp_path: Path, text: str, path: str | None, said: str) -> None:
    configured(tmp_path)
    with pytest.raises(CannotJudgeError) as refused:
        swept(tmp_path / path if path else None, text, "trigger.patience=2 of 3")
    assert said in str(refused.value)


def command(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["backtest", *arguments])
    out, err = capsys.readouterr()
    assert ended.value.code == code, err
    return out, err


def test_the_command_shows_a_table_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    configured(tmp_path)
    (tmp_path / "f1.log").write_text(daily(*FALL_AND_DIP))
    asked = ("--log", "f1.log", "--try", "trigger.patience=2 of 3")
    out, _ = command(capsys, *asked)
    assert out.startswith("f1 in 30 windows, 2026-01-01 to 2026-01-30, held against performance_threshold 0.85\n")
    document: dict[str, Any] = json.loads(command(capsys, *asked, "--format", "json")[0])
    (tried,) = document["tried"]
    assert tried["settings"] == {"trigger.patience": "2 of 3"}
    assert (tried["best"], tried["first"]["waited"], tried["last"]["waited"]) == (True, 2, 2)
    assert (document["as_configured"]["settings"], document["chosen"], document["change"]) == ({}, None, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "f1.log"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--try", "trigger.patience=2 of 3"), "name labelled rows with --data, to train on them, or a log with --log"),
        (("--log", "f1.log", "--data", "rows.parquet"), "--data cannot go with --log"),
        (("--log", "f1.log", "--jobs", "1", "--late", "2d"), "--late and --jobs cannot go with --log"),
        (
            ("--log", "f1.log", "--first", "3", "--baseline", "--check"),
            "--first, --baseline and --check cannot go with",
        ),
        (("--log", "f1.log", "--cache", "here"), "--cache cannot go with --log"),
    ],
)
def test_what_trains_does_not_go_with_a_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in command(capsys, *arguments, code=2)[1]
