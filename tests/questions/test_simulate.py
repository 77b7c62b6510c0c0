"""`simulate`: what a log would have started, had this been running."""

import gzip
import io
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest
from projects import START, Project

from retrain_trigger.cli.door import main
from retrain_trigger.config import load as settings
from retrain_trigger.config.load import Config
from retrain_trigger.core.findings import drifted_alone
from retrain_trigger.core.measurements import Mark
from retrain_trigger.judge.memory import Attempt, Memory
from retrain_trigger.judge.policy import Action
from retrain_trigger.logs import metrics_log
from retrain_trigger.pipeline import probation
from retrain_trigger.pipeline.check import Observed, judged
from retrain_trigger.questions.simulate import Replay, simulate

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_logs"
SHIPPED = settings.load(ROOT / "config.yaml")


def configured(*overrides: str) -> Config:
    return settings.defaults(overrides)


def replayed(text: str, *overrides: str) -> Replay:
    return simulate(configured(*overrides), [io.BytesIO(text.encode())])


def triggers(replay: Replay) -> list[int]:
    """Return the steps, from 1, at which a retraining would have started."""
    return [step for step, each in enumerate(replay.steps, start=1) if each.decision.action is Action.RETRAIN]


def daily(*values: float) -> str:
    return "".join(
        json.dumps({"timestamp": (START + timedelta(days=day)).isoformat(), "f1": value}) + "\n"
        for day, value in enumerate(values)
    )


def bare(*values: float) -> str:
    return "".join(f"{value}\n" for value in values)


@pytest.mark.parametrize(
    "log", ["healthy.jsonl", "noisy_but_fine.jsonl", "decay.jsonl", "sudden_drop.csv", "dummy.log"]
)
def test_the_sample_logs_with_the_shipped_settings(log: str) -> None:
    found = triggers(simulate(SHIPPED, [SAMPLES / log]))
    assert bool(found) == (log in {"decay.jsonl", "sudden_drop.csv", "dummy.log"})


@pytest.mark.parametrize("write", [daily, bare])
def test_a_standing_breach_is_retried_after_one_two_four_and_eight_days(write: Callable[..., str]) -> None:
    replay = replayed(write(*[0.9] * 3, *[0.8] * 40), "trigger.budget=100 per 30d")
    assert triggers(replay) == [4, 5, 7, 11, 19, 35]
    assert replay.count(Action.HEALTHY) == 3
    assert replay.count(Action.WAIT) == 34
    assert "cooldown until" in replay.steps[5].decision.because


def test_the_budget_stops_what_the_cooldown_would_allow() -> None:
    replay = replayed(daily(*[0.8] * 40), "trigger.budget=2 per 30d", "trigger.cooldown=1h")
    assert triggers(replay) == [1, 2, 31, 32]
    assert "the budget of 2 trainings per 30d is used up until 2026-01-31 00:00Z" in replay.steps[2].decision.because


@pytest.mark.parametrize(("window", "found"), [("7d", [1, 2]), ("1d", [1, 3]), ("12h", [1, 5]), ("30m", [1])])
def test_lines_without_a_time_are_a_window_apart(window: str, found: list[int]) -> None:
    replay = replayed(bare(*[0.8] * 8), f"trigger.window={window}", "trigger.cooldown=2d")
    assert triggers(replay)[:2] == found


def test_a_line_is_judged_at_its_own_time_however_old_and_with_the_lines_before_it_only() -> None:
    replay = replayed(daily(0.9, 0.8, 0.9, 0.8, 0.8), "trigger.patience=2 of 3")
    assert triggers(replay) == [4]
    assert [step.decision.action for step in replay.steps[:3]] == [Action.HEALTHY, Action.WATCH, Action.HEALTHY]
    old = "2001-01-01 f1=0.9\n2001-01-02 f1=0.7\n"
    assert triggers(replayed(old)) == [2]


def test_the_logs_of_several_files_are_one_story(tmp_path: Path) -> None:
    lines = daily(*[0.9] * 5, *[0.8] * 5).splitlines(keepends=True)
    (tmp_path / "odd.jsonl").write_text("".join(lines[::2]))
    (tmp_path / "even.jsonl").write_text("".join(lines[1::2]))
    together = simulate(configured(), [tmp_path / "even.jsonl", tmp_path / "odd.jsonl"])
    assert triggers(together) == triggers(replayed("".join(lines))) == [6, 7, 9]


def test_a_breach_that_comes_back_after_good_days_has_not_lost_its_past() -> None:
    replay = replayed(daily(0.8, *[0.9] * 9, 0.8, 0.8, 0.8, 0.8))
    assert triggers(replay) == [1, 11, 13]


def test_an_unknown_is_neither_healthy_nor_a_trigger() -> None:
    replay = replayed('{"f1": NaN}\n{"f1": 0.7, "n": 10}\n{"f1": 0.9}\n')
    assert [step.decision.action for step in replay.steps] == [Action.UNKNOWN, Action.UNKNOWN, Action.HEALTHY]


def test_drift_beside_the_metric_warns_and_triggers_where_the_settings_say_so() -> None:
    log = "2026-01-01 f1=0.9 drift.age=0.1\n2026-01-02 f1=0.9 drift.age=0.3\n"
    assert triggers(replayed(log)) == triggers(replayed(log, "trigger.on_drift=warn")) == []
    assert triggers(replayed(log, "trigger.on_drift=retrain")) == [2]
    assert triggers(replayed(log, "trigger.on_drift=retrain", "drift.ignore=[age]")) == []


GOOD_DAY, BAD_DAY = "f1=0.9 tp=200 fp=22 fn=22 tn=300", "f1=0.8 tp=200 fp=50 fn=50 tn=300"
SHAPES = {
    "one bad day": lambda day: f"f1={0.8 if day == 5 else 0.9} drift=0.1",
    "no drift": lambda day: f"f1={0.8 if day == 5 else 0.9}",
    "drift once": lambda day: f"f1=0.9 {'drift=0.3' if day == 5 else ''}",
    "a breach without end": lambda day: f"f1={0.8 if day > 40 else 0.9}",
    "drift without end": lambda day: f"f1=0.9 drift.age={0.1 if day < 20 else 0.3}",
    "counts": lambda day: BAD_DAY if day > 40 else GOOD_DAY,
    "counts that come and go": lambda day: BAD_DAY if day // 50 % 2 else GOOD_DAY,
    "nothing to look at": lambda day: "f1=NaN tp=0 fp=0 fn=0 tn=240" if day else GOOD_DAY,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dated", [True, False])
def test_a_log_twice_as_long_takes_twice_the_work(shape: str, *, dated: bool) -> None:
    def calls(lines: int) -> int:
        count = 0

        def counting(_frame: object, _event: str, _what: object) -> None:
            nonlocal count
            count += 1

        times = [f"{1767225600 + 86400 * day} " if dated else "" for day in range(lines)]
        log = "".join(f"{time}{SHAPES[shape](day)}\n" for day, time in enumerate(times))
        sys.setprofile(counting)
        try:
            replayed(log, "trigger.cooldown=2h")
        finally:
            sys.setprofile(None)
        return count

    assert calls(800) < 2.4 * calls(400)


def logged(seed: int) -> str:
    """Return a log in which good, bad and unusable lines take turns, some with counts, drift, no time or the time before."""
    chance = random.Random(seed)
    lines, at = [], START
    for number in range(160):
        at += timedelta(days=chance.choice([0, 1, 1, 1, 1]))
        f1 = min(chance.gauss(0.8 if number // 40 % 2 else 0.9, 0.02), 1.0)
        wrong = round(200 * (1 - f1) / f1)
        counted = chance.random() < (0.9 if seed % 2 else 0.1)
        stated = {
            "timestamp": at.isoformat() if chance.random() >= (seed % 3) / 10 else "",
            "f1": f1 if chance.random() >= 0.03 else "NaN",
            "model": chance.choice(["", "other"]),
            "drift.age": chance.gauss(0.18, 0.03) if chance.random() < 0.5 else "",
        }
        counts = {"tp": 200, "fp": wrong, "fn": wrong, "tn": 300} if counted else {}
        lines.append(json.dumps(stated | counts))
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("trigger.cooldown=1s",),
        ("trigger.cooldown=2h", "trigger.budget=3 per 10d", "trigger.on_drift=retrain"),
        ("trigger.patience=2 of 4", "trigger.evidence=point", "trigger.budget=2 per 9d, saving"),
    ],
)
def test_a_replay_comes_to_what_is_judged_from_scratch_at_any_of_its_moments(
    seed: int, overrides: Sequence[str]
) -> None:
    text, config = logged(seed), configured(*overrides)
    log = metrics_log.read([io.BytesIO(text.encode())], wanted=config.wanted, now=None, final=True).measurements
    steps = replayed(text, *overrides).steps
    past, ends, now = Memory(), dict[str, int](), datetime(2000, 1, 1, tzinfo=UTC)
    assert sum(step.decision.action is Action.RETRAIN for step in steps) > 1
    for place, (line, step) in enumerate(zip(log, steps, strict=True), start=1):
        now = line.at or now + config.trigger.window
        ends[line.file] = line.end
        if place % 7 == seed or step.decision.action is Action.RETRAIN:
            known = Observed(measurements=log[:place])
            scratch = judged(config, known, past, now=now)
            assert (scratch.findings, scratch.decision) == (step.findings, step.decision), place
        if step.decision.action is Action.RETRAIN:
            standing = probation.standing(config, Observed(measurements=log[:place]), past)
            attempt = Attempt(now, Mark(line.at, dict(ends)), drifted_alone(step.findings))
            past = replace(past.attempted(attempt), standing=standing)


def tables(*days: tuple[int, int, int]) -> str:
    """Log a table a day: right and wrong rows of each of two classes, and rows of a rare one, which are right."""
    return "".join(
        json.dumps(
            {
                "timestamp": (START + timedelta(days=day)).isoformat(),
                "confusion": {"a": {"a": right, "b": wrong}, "b": {"b": right, "a": wrong}, "rare": {"rare": rare}},
            }
        )
        + "\n"
        for day, (right, wrong, rare) in enumerate(days)
    )


def test_a_log_of_tables_is_judged_by_evidence_over_pooled_windows() -> None:
    replay = replayed(tables(*[(90, 10, 4)] * 6, *[(60, 40, 4)] * 6), "metric=f1_macro")
    assert triggers(replay) == [12]
    actions = [step.decision.action for step in replay.steps]
    assert actions[:2] == [Action.WAIT] * 2
    assert actions[2:8] == [Action.HEALTHY] * 6
    assert actions[8:11] == [Action.WATCH] * 3
    said = [step.decision.because for step in replay.steps]
    assert said[0] == (
        "f1_macro waits for rows: class 'rare' has 4 of 10 labelled rows in 1 window; windows are pooled until each class has "
        "so many, at most 9 more windows (204 labelled rows, stdin:1)"
    )
    assert said[2] == (
        "f1_macro 0.93 over 3 windows is at or above performance_threshold 0.85: evidence 0 of 1,000 that it is under it "
        "(612 labelled rows, stdin:3)"
    )
    assert said[7].endswith(
        "(612 labelled rows, stdin:6; 2 later windows are pooled with the next: class 'rare' has 8 of 10 labelled rows)"
    )
    assert said[8].startswith(
        "f1_macro 0.73 over 3 windows is under performance_threshold 0.85, not proven yet: evidence "
    )
    assert said[8].endswith("about 3 more such windows would prove it (612 labelled rows, stdin:9)")
    assert said[11].startswith("f1_macro 0.73 over the last 6 windows is under performance_threshold 0.85: evidence ")
    # From the same tables, the point rule looks at each window alone.
    point = replayed(tables(*[(90, 10, 4)] * 3, (60, 40, 4)), "metric=f1_macro", "trigger.evidence=point")
    assert [step.findings[0].value for step in point.steps] == pytest.approx([0.933, 0.933, 0.933, 0.733], abs=0.001)
    assert triggers(point) == [4]


class Said(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


Ask = Callable[..., Said]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    """Run `simulate` in a folder; in this process, as starting one takes longer than a replay."""

    def run(*arguments: str, code: int = 0, stdin: str = "", folder: Path = tmp_path) -> Said:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            main(["simulate", *arguments])
        said = Said(*capsys.readouterr())
        assert ended.value.code == code, said
        return said

    return run


def test_from_a_folder_without_settings_the_defaults_hold_and_it_says_so(ask: Ask, tmp_path: Path) -> None:
    done = ask("--log", str(SAMPLES / "dummy.log"))
    assert "no config.yaml here: performance_threshold 0.85 and drift_threshold 0.2" in done.stderr
    assert "Retrain Triggered" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert "name a metrics log" in ask(code=2).stderr


def test_the_words_stand_on_the_lines_of_triggers_only(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "f1.log").write_text(daily(*[0.9] * 3, *[0.8] * 9, 0.9, 0.9))
    done = ask("--log", "f1.log")
    lines = done.stdout.splitlines()
    with_words = [line for line in lines if "Retrain Triggered" in line]
    assert [line.split()[0] for line in with_words] == ["2026-01-04", "2026-01-05", "2026-01-07", "2026-01-11"]
    for line in with_words:
        assert "Retrain Triggered: f1 0.8 is under performance_threshold 0.85 (f1.log:" in line
    others = [line for line in lines if "Retrain Triggered" not in line]
    assert any("waiting: " in line and "cooldown until 2026-01-07 00:00Z" in line for line in others)
    assert any("and so for 2 more, to 2026-01-10" in line for line in others)
    assert any(
        "14 measurements of f1: 4 retrainings, 5 breaches waited, 0 watched, 0 unknown" in line for line in others
    )
    assert "cannot know how a retrained model would have scored" in others[-1]
    told = json.loads(ask("--log", "f1.log", "--format", "json").stdout)
    assert [step["at"][:10] for step in told["steps"] if step["action"] == "retrain"] == [
        line.split()[0] for line in with_words
    ]


def test_what_waits_for_rows_is_no_breach_that_waits(ask: Ask) -> None:
    log = tables(*[(90, 10, 4)] * 4)
    done = ask("--log", "-", "--set", "metric=f1_macro", stdin=log)
    assert "4 measurements of f1_macro: 0 retrainings, 0 breaches waited, 2 waited for rows, 0 watched" in done.stdout


def test_above_the_threshold_nothing_is_triggered(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "f1.log").write_text(daily(0.9, 0.85, 0.86))
    for more in ((), ("-v",), ("--exit-code",)):
        done = ask("--log", "f1.log", *more)
        assert "Retrain" not in done.stdout
        assert "3 measurements of f1: 0 retrainings" in done.stdout


@pytest.mark.parametrize(
    ("values", "options", "code"),
    [
        ((0.9, 0.8), ("--exit-code",), 10),
        ((0.9, 0.8), (), 0),
        ((0.8, 0.9), ("--exit-code",), 0),
        ((0.8, 0.8, 0.8), ("--exit-code",), 0),
        ((0.8, 0.8, 0.8), ("--exit-code", "--set", "trigger.cooldown=1h"), 10),
        ((0.9, 0.8), ("--exit-code", "--set", "performance_threshold=0.7"), 0),
        ((0.9, 0.8), ("--exit-code", "-q"), 10),
    ],
)
def test_the_exit_code_says_whether_it_would_retrain_now(
    ask: Ask, values: Sequence[float], options: Sequence[str], code: int
) -> None:
    done = ask("--log", "-", *options, code=code, stdin=daily(*values))
    assert bool(done.stdout) == ("-q" not in options)


def test_a_log_that_cannot_be_read_is_exit_3_and_a_setting_that_is_wrong_is_exit_2(ask: Ask) -> None:
    broken = ask("--log", str(SAMPLES / "broken.csv"), code=3)
    assert "broken.csv:4" in broken.stderr
    assert broken.stdout == ""
    assert "no-such.log does not exist" in ask("--log", "no-such.log", code=3).stderr
    assert "trigger.cooldown" in ask("--log", "-", "--set", "trigger.cooldown=soon", code=2).stderr


def test_the_log_of_the_settings_is_replayed_and_a_named_one_is_relative_to_where_you_stand(
    ask: Ask, simple: Project
) -> None:
    simple.log(0.9, 0.8)
    assert "2 measurements of f1: 1 retraining" in ask().stdout
    (simple.folder / "elsewhere").mkdir()
    (simple.folder / "elsewhere/my.log").write_text("0.9\n0.9\n0.7")  # nothing follows: the last line counts
    done = ask("-c", "../config.yaml", "--log", "my.log", folder=simple.folder / "elsewhere")
    assert "3 measurements of f1: 1 retraining" in done.stdout
    assert "no config.yaml" not in done.stderr
    assert not (simple.folder / ".retrain-check").exists()


def predicted(days: int, *, late: int = 0, bad_from: int = 99, metric: bool = False) -> list[dict[str, object]]:
    """Return rows of 300 predictions a day, whose labels come some days later; from one day on a third are wrong."""
    rows: list[dict[str, object]] = []
    for day in range(days):
        for number in range(300):
            at = START + timedelta(days=day, minutes=number)
            label = "yes" if number % 3 == 0 else "no"
            wrong = number % (3 if day >= bad_from else 20) == 1
            rows.append(
                {
                    "timestamp": at.isoformat(),
                    "id": f"{day}-{number}",
                    "age": number % 40,
                    "prediction": label if not wrong else "yes" if label == "no" else "no",
                    "label": label,
                    "labelled_at": (at + timedelta(days=late)).isoformat(),
                    **({"f1": 0.9} if metric else {}),
                }
            )
    return rows


def as_lines(rows: Sequence[object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_the_log_is_an_argument_or_an_option_and_not_both(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "f1.log").write_text(daily(0.9, 0.8))
    named = ask("f1.log")
    assert "2 measurements of f1: 1 retraining" in named.stdout
    assert ask("--log", "f1.log") == named
    assert ask("-", stdin=daily(0.9, 0.8)).stdout == named.stdout.replace("f1.log", "stdin")
    both = ask("f1.log", "--log", "f1.log", code=2)
    assert both.stderr == "name logs with --log or without, not both: retrain-check simulate f1.log f1.log\n"
    assert "no-such.log does not exist" in ask("no-such.log", code=3).stderr


@pytest.mark.parametrize("kind", ["p.jsonl", "p.jsonl.gz", "p.csv", "p.parquet", "folder", "folder/*.csv"])
def test_a_prediction_log_is_known_by_its_content_and_replayed_window_by_window(
    ask: Ask, tmp_path: Path, kind: str
) -> None:
    text = as_lines(predicted(6, bad_from=4))
    (tmp_path / "p.jsonl").write_text(text)
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "folder").mkdir()
    for name in ("p.csv", "p.parquet", "folder/p.csv"):
        duckdb.sql(f"COPY (FROM '{tmp_path}/p.jsonl') TO '{tmp_path}/{name}'")
    done = ask(kind)
    triggers = [line for line in done.stdout.splitlines() if "Retrain Triggered: " in line]
    assert [line[:17] for line in triggers] == ["2026-01-06 00:00Z"]
    assert "6 measurements of f1: 1 retraining" in done.stdout
    assert "f1 is that of the class 'yes'; positive names another" in done.stderr
    halves = ask(kind, "--set", "trigger.window=2h", "--set", "positive=no")
    assert "18 measurements of f1: " in halves.stdout
    assert "positive names" not in halves.stderr


def test_of_late_labels_each_moment_knows_those_that_had_come(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(as_lines(predicted(9, late=2, bad_from=4)))
    steps = json.loads(ask("p.jsonl", "--format", "json").stdout)["steps"]
    judged = [next(each for each in step["findings"] if each["name"] == "f1") for step in steps]
    assert [each["evidence"].get("at", "")[:10] for each in judged] == [
        "",
        "",
        *(f"2026-01-0{day}" for day in range(1, 8)),
    ]
    assert [step["action"] for step in steps[:2]] == ["waiting", "waiting"]
    assert [step["at"][:10] for step in steps if step["action"] == "retrain"] == ["2026-01-08"]


def test_a_metrics_log_may_have_a_column_prediction_and_a_prediction_log_one_of_the_metric(
    ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "m.csv").write_text("timestamp,f1,prediction\n2026-01-01,0.9,churn\n2026-01-02,0.8,churn\n")
    assert "2 measurements of f1: 1 retraining" in ask("m.csv").stdout
    (tmp_path / "p.jsonl").write_text(as_lines(predicted(2, metric=True)))
    assert "2 measurements of f1: 0 retrainings" in ask("p.jsonl").stdout
    several = ask("m.csv", "p.jsonl", code=2).stderr
    assert "p.jsonl is a prediction log, and those are replayed one at a time" in several


def test_the_columns_and_the_window_of_the_settings_hold_for_a_prediction_log_that_is_named(
    ask: Ask, simple: Project
) -> None:
    renamed = [{("said" if key == "prediction" else key): cell for key, cell in row.items()} for row in predicted(4)]
    simple.write("elsewhere.jsonl", as_lines(renamed))
    simple.write(
        "config.yaml", "performance_threshold: 0.85\ntrigger: {window: 2d}\nlogs: {columns: {prediction: said}}\n"
    )
    done = ask("elsewhere.jsonl", folder=simple.folder)
    assert "2 measurements of f1: 0 retrainings" in done.stdout
    assert not (simple.folder / ".retrain-check").exists()


def test_what_of_a_prediction_log_cannot_be_used_is_said(ask: Ask, tmp_path: Path) -> None:
    rows = predicted(3)
    rows[7]["prediction"] = ""
    (tmp_path / "p.jsonl").write_text(as_lines(rows))
    assert "1 row of 900 in logs.predictions cannot be used" in ask("p.jsonl").stderr
    (tmp_path / "p.jsonl").write_text(as_lines([{**row, "timestamp": "soon"} for row in rows[:5]]))
    assert "5 rows of 5 in logs.predictions cannot be used" in ask("p.jsonl").stderr


def test_the_line_is_drawn_as_wide_as_the_terminal_and_not_beside_json(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f1.log").write_text(daily(*[0.9] * 300, *[0.8] * 100))
    for columns, width in (("", 80), ("200", 200)):
        monkeypatch.setenv("COLUMNS", columns)
        lines = ask("f1.log").stdout.splitlines()
        at = next(place for place, line in enumerate(lines) if line.startswith("f1: least 0.8, most 0.9, "))
        assert lines[at + 1] == "█" * (width * 3 // 4) + "▁" * (width // 4)
        assert lines[at + 2].startswith(" " * (width * 3 // 4) + "^^")
        assert lines[at + 3].endswith("; ^ a training would have started")
    assert "least" not in ask("f1.log", "--format", "json").stdout
    assert ask("f1.log", "-q").stdout == ""


def test_lines_without_a_time_that_reach_beyond_all_years_are_refused(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "f1.log").write_text(bare(*[0.9] * 800))
    refused = ask("f1.log", "--set", "trigger.window=3650d", code=3).stderr
    assert "f1.log:701: lines without a time are taken to be trigger.window 3650d apart" in refused
