"""Words that hold: over many logs of every form, `healthy` is said of healthy windows only, and every wait has an end."""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from projects import START

from retrain_trigger.cli import printing
from retrain_trigger.config import load as settings
from retrain_trigger.config.load import Config
from retrain_trigger.questions.simulate import Replay, simulate

ROOT = Path(__file__).parents[1]
SAMPLES = ["healthy.jsonl", "noisy_but_fine.jsonl", "decay.jsonl", "sudden_drop.csv", "dummy.log"]
HAS_AN_END = re.compile(
    r"until \d{4}-\d\d-\d\d \d\d:\d\dZ|\d[\d,]* (more |new |more such )?(windows?|measurements?|rows?)\b"
)
"""A time, or how many more."""
IS_COUNTED = re.compile(r"\d[\d,]* more such windows?|patience is \d+ of \d+|may be chance")

Cells = tuple[int, int, int, int]


@dataclass(frozen=True)
class Seen:
    """One window as it was logged; `cells` are tp, fp, fn, tn, where they are logged."""

    value: float
    cells: Cells | None = None
    drift: float | None = None

    @property
    def fields(self) -> dict[str, float]:
        cells = zip(("tp", "fp", "fn", "tn"), self.cells or (), strict=False)
        return {**dict(cells), **({} if self.drift is None else {"drift": self.drift})}


def jsonl(times: Sequence[datetime], windows: Sequence[Seen], metric: str) -> str:
    rows = [
        {"timestamp": at.isoformat(), metric: seen.value, **seen.fields}
        for at, seen in zip(times, windows, strict=True)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(mark: str) -> Callable[[Sequence[datetime], Sequence[Seen], str], str]:
    def write(times: Sequence[datetime], windows: Sequence[Seen], metric: str) -> str:
        lines = [["timestamp", metric, *windows[0].fields]]
        for at, seen in zip(times, windows, strict=True):
            lines.append([at.isoformat(), repr(seen.value), *map(repr, seen.fields.values())])
        return "".join(mark.join(line) + "\n" for line in lines)

    return write


def worded(opening: str) -> Callable[[Sequence[datetime], Sequence[Seen], str], str]:
    def write(times: Sequence[datetime], windows: Sequence[Seen], metric: str) -> str:
        lines = []
        for at, seen in zip(times, windows, strict=True):
            pairs = {metric: seen.value, **seen.fields}
            lines.append(at.strftime(opening) + " ".join(f"{name}={value!r}" for name, value in pairs.items()))
        return "".join(f"{line}\n" for line in lines)

    return write


FORMS: Mapping[str, Callable[[Sequence[datetime], Sequence[Seen], str], str]] = {
    "jsonl": jsonl,
    "csv": table(","),
    "tsv": table("\t"),
    "logfmt": worded("ts=%Y-%m-%dT%H:%M:%SZ level=info "),
    "python": worded("%Y-%m-%d %H:%M:%S,000 INFO monitor: "),
    "text": worded("%Y-%m-%dT%H:%M:%SZ "),
    "numbers": lambda _times, windows, _metric: "".join(f"{seen.value!r}\n" for seen in windows),
}


def drawn(random: Random, metric: str, *, form: str) -> list[Seen]:
    """Draw a dozen windows of a model that is fine at first, and may fall, slowly or at once, and recover."""
    counted = form != "numbers" and random.random() < 0.6
    drifts = form != "numbers" and random.random() < 0.3
    level, windows = random.uniform(0.8, 0.97), []
    for _ in range(random.randint(1, 14)):
        level = random.choice([level, level, level, min(max(level + random.gauss(0, 0.1), 0.02), 0.99)])
        cells = _counted(random, level) if counted else None
        value = _of_cells(metric, cells) if cells else round(random.gauss(level, 0.03), random.choice([2, 4, 12]))
        drift = round(random.expovariate(8), 3) if drifts else None
        windows.append(Seen(min(max(value, 0.0), 1.0), cells, drift))
    return windows


def _counted(random: Random, right: float) -> Cells:
    positives, rest = random.randint(1, 200), random.randint(200, 400)
    tp, tn = round(positives * right), round(rest * right)
    return (tp, rest - tn, positives - tp, tn)


def _of_cells(metric: str, cells: Cells) -> float:
    tp, fp, fn, tn = cells
    if metric == "accuracy":
        return (tp + tn) / sum(cells)
    if metric == "cost":
        return (fp + fn) / sum(cells)
    return 2 * tp / (2 * tp + fp + fn)


def fuzzed(seed: int) -> tuple[Config, list[Seen], str, str]:
    """Return settings, windows, the form and the text of a log."""
    random = Random(seed)
    metric = random.choice(["f1", "f1", "accuracy", "cost"])
    form = random.choice(list(FORMS))
    windows = drawn(random, metric, form=form)
    threshold = 0.15 if metric == "cost" else random.choice([0.8, 0.85, 0.9])
    chosen = [
        f"performance_threshold={threshold}",
        "drift_threshold=0.2",
        f"metric={metric}",
        *(["cost={fp: 1, fn: 1}"] if metric == "cost" else []),
        f"trigger.patience={random.choice(['1 of 1', '2 of 3'])}",
        f"trigger.on_drift={random.choice(['warn', 'retrain'])}",
        f"trigger.cooldown={random.choice(['1h', '24h', '9d'])}",
        f"trigger.budget={random.choice(['1 per 5d', '4 per 30d'])}",
    ]
    times = [START + timedelta(days=day) for day in range(len(windows))]
    return settings.defaults(chosen), windows, form, FORMS[form](times, windows, metric)


def is_good(config: Config, value: float) -> bool:
    lower = config.metric == "cost" or config.direction == "lower_is_better"
    return value <= config.threshold if lower else value >= config.threshold


def held(config: Config, replay: Replay, windows: Sequence[Seen]) -> Iterator[str]:
    """Yield what is said of each window, after holding it against what was logged."""
    told: list[list[str]] = []
    for line in printing.replay_lines(replay, config, verbose=True):
        if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\dZ  |line \d+ ", line):
            told.append([line])
        elif line.strip().startswith("warns:") and told:
            told[-1].append(line)
    assert len(told) == len(windows)
    for (line, *warnings), seen in zip(told, windows, strict=True):
        word = line[17:].strip().partition(":")[0]
        good = is_good(config, seen.value)
        moved = seen.drift is not None and seen.drift >= config.drift_threshold
        retrains = config.trigger.on_drift.value == "retrain"
        match word:
            case "healthy":
                assert good, line
                assert not moved or (not retrains and config.trigger.patience.hits > 1), line
                assert not warnings, line
            case "healthy, warned":
                assert good, line
                assert moved, line
                assert warnings, line
                assert not retrains or "has started a training already" in warnings[0], line
            case "watching":
                assert not good or (moved and retrains), line
                assert IS_COUNTED.search(line), line
            case "waiting":
                assert HAS_AN_END.search(line.rpartition("; ")[2]), line
            case _:
                assert word in {"Retrain Triggered", "unknown"}, line
        yield word


@pytest.mark.parametrize("part", range(10))
def test_over_a_thousand_logs_no_line_says_healthy_beside_a_value_on_the_wrong_side(part: int) -> None:
    words: set[str] = set()
    for seed in range(100 * part, 100 * part + 100):
        config, windows, form, text = fuzzed(seed)
        replay = simulate(config, [io.BytesIO(text.encode())])
        assert len(replay.steps) == len(windows), (seed, form)
        words |= set(held(config, replay, windows))
    assert words >= {"healthy", "healthy, warned", "watching", "waiting", "Retrain Triggered"}


@pytest.mark.parametrize("log", SAMPLES)
def test_over_the_sample_logs(log: str) -> None:
    config = settings.load(ROOT / "config.yaml")
    replay = simulate(config, [ROOT / "sample_logs" / log])
    seen = [Seen(finding.value or 0) for step in replay.steps for finding in step.findings if finding.name == "f1"]
    for step, line in zip(replay.steps, printing.replay_lines(replay, config, verbose=True), strict=False):
        assert ("healthy" in line) is (step.decision.action.value.startswith("healthy"))
    if all(step.findings[0].evidence["rule"] == "point" for step in replay.steps):
        assert list(held(config, replay, seen))


def tables(seed: int) -> str:
    """A log of confusion tables: some classes are rare, a few never come, and the model may fall and recover."""
    random = Random(seed)
    names = ["a", "b", "c", "d", "e"][: random.randint(1, 5)]
    rows = {name: random.choice([0, 1, 4, 30, 90]) if name > "a" else 60 for name in names}
    right, lines = random.uniform(0.75, 0.95), []
    for number in range(random.randint(1, 40)):
        right = random.choice([right] * 8 + [random.uniform(0.4, 0.98)])
        cells = {label: dict.fromkeys(names, 0) for label in names}
        for label, most in rows.items():
            for _ in range(random.randint(0, 2 * most)):
                cells[label][label if random.random() < right else random.choice(names)] += 1
        lines.append({"timestamp": (START + timedelta(days=number)).isoformat(), "confusion": cells})
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.mark.parametrize("metric", ["f1_macro", "balanced_accuracy"])
def test_over_logs_of_tables_no_line_says_healthy_beside_a_value_on_the_wrong_side(metric: str) -> None:
    config = settings.defaults([f"metric={metric}", "performance_threshold=0.8", "trigger.cooldown=4d"])
    words: set[str] = set()
    for seed in range(60):
        replay = simulate(config, [io.BytesIO(tables(seed).encode())])
        lines = [line for line in printing.replay_lines(replay, config, verbose=True) if re.match(r"\d{4}-", line)]
        assert len(lines) == len(replay.steps)
        for line in lines:
            word = line[17:].strip().partition(":")[0]
            value = re.search(rf": {metric} (0(\.\d+)?|1) ", line)
            words.add(word)
            match word:
                case "healthy" | "healthy, warned":
                    assert value, line
                    assert float(value[1]) >= 0.8, line
                case "watching":
                    assert value, line
                    assert float(value[1]) < 0.8, line
                    assert IS_COUNTED.search(line), line
                case "waiting":
                    assert HAS_AN_END.search(line), line
                case _:
                    assert word in {"Retrain Triggered", "unknown"}, line
    assert words >= {"healthy", "watching", "waiting", "Retrain Triggered", "unknown"}
