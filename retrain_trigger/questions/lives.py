"""Lives of a model: what would have been live under a policy, or under a plain rule, window by window."""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from retrain_trigger import engines
from retrain_trigger.config import load as settings
from retrain_trigger.config.load import Config
from retrain_trigger.core.comparisons import closest
from retrain_trigger.core.entries import Entry, only
from retrain_trigger.core.errors import RetrainCheckError, TrainingError, UsageError
from retrain_trigger.core.events import Compared, Event, Promoted, Reason, Selected, Training
from retrain_trigger.core.outcomes import Word
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.judge import memory
from retrain_trigger.judge.metrics import Measure
from retrain_trigger.judge.worth import pooled
from retrain_trigger.pipeline import by_hand, compare, run
from retrain_trigger.pipeline.tick import registry
from retrain_trigger.process import cached, training, warm
from retrain_trigger.process.scoring import models
from retrain_trigger.store import files
from retrain_trigger.store.ledger import Ledger

REACH = 10
"""Windows that the plain rules train on, and windows that an attempt is judged by afterwards, at most."""

PAUSE = 24
"""A run comes a part of a window after its end: one of so many."""

PROGRESS = "progress"
"""The file in the folder of a life that says how far it is."""

_RUN = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a life goes through: rows in windows, of which the `first` train the first champion.

    `cache` keeps the `models` that were trained, and `said` what models said of these rows. `file` has the settings, None
    for defaults; `overrides` hold for every life. `command` trains, and leaves its model at `output` if that is not None;
    `baseline` says that it trains the built-in model. `owner` is the process of the backtest.
    """

    stream: "engines.stream.Stream"
    first: int
    cache: Path
    said: Path
    file: Path | None
    overrides: tuple[str, ...]
    command: str
    output: Path | None = None
    baseline: bool = False
    owner: int = 0

    @property
    def models(self) -> Path:
        """Where trained models are kept."""
        return self.cache / "models"

    @property
    def lives(self) -> Path:
        """Where lives have their folders."""
        return self.cache / "lives"

    @property
    def windows(self) -> range:
        """The windows that are lived through."""
        return range(self.first, len(self.stream.starts))

    def warmed(self, *, threads: int) -> AbstractContextManager[None]:
        """Keep a process ready for the built-in model, if that is trained."""
        return warm.serving(self.models, threads=threads) if self.baseline else nullcontext()

    def served(self) -> AbstractContextManager[None]:
        """Let the built-in model be scored there, in this process."""
        return warm.used(self.models if self.baseline else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindsight:
    """An attempt at a better champion, in hindsight.

    It came at the end of a `window`, counted from the first that is played. `gain` is by how much what was decided did
    better than the other in the windows until the next attempt, in units of the metric: a promoted model than the one
    before, a kept one than the best challenger; None if there is no such window, or nothing to compare. It was `wrong` to
    promote a worse one, or to refuse one that was better by the margin.
    """

    window: int
    promoted: bool
    gain: float | None
    wrong: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What was live in each window, counted against the truth; the attempts; and what was decided after each window.

    `measure` is the metric, `threshold` what it was held against at first, `said` what the first champion said of
    all rows, `trainings` the models that were trained, by their names in the cache.
    """

    name: str
    windows: tuple[Confusion, ...]
    measure: Measure
    attempts: tuple[Hindsight, ...] = ()
    decisions: tuple[str, ...] = ()
    threshold: float | None = None
    said: Path | None = None
    trainings: tuple[str, ...] = ()


@dataclass(frozen=True)  # without slots: what models said is remembered
class Player:
    """A project in a folder of its own that lives through a world."""

    world: World
    folder: Path
    overrides: tuple[str, ...] = ()
    heard: dict[str, tuple[Confusion, ...]] = field(default_factory=dict)
    trained: list[str] = field(default_factory=list)
    timed: set[str] = field(default_factory=set)

    @cached_property
    def config(self) -> Config:
        """The settings of the person, with all that is written in the folder of this life."""
        world, folder = self.world, self.folder
        own = {
            "state": folder / "state",
            "model.folder": folder / "models",
            "model.pointer": folder / "models" / "champion.json",
            "logs.metrics": folder / "no metrics.jsonl",
            "logs.predictions": folder / "log" / "*.parquet",
            "data.labelled": folder / "rows" / "*.parquet",
        }
        chosen = [f"{key}={json.dumps(str(path))}" for key, path in own.items()]
        chosen += ["logs.labels=", "logs.reference=", "data.holdout_file=", "data.command=", "train.output="]
        chosen += ["promotion.shadow=", "promotion.mode=auto", "model.keep=100000"]
        chosen += [f"train.command={json.dumps(cached.command(world.models, world.command, world.output))}"]
        given = [*world.overrides, *self.overrides, *chosen]
        return (
            settings.load(world.file, given, option="--try") if world.file else settings.defaults(given, option="--try")
        )

    def policy(self, name: str) -> Life:
        """Live by the settings: the very runs that cron would have started, each a little after its window."""
        stream = self.world.stream
        self._born()
        lived, decisions = [], []
        for window in self._told_windows(name):
            said = self._said(self._live())
            stream.write(window, self.folder / "rows" / f"{window:06}.parquet")
            stream.write(window, self.folder / "log" / f"{window:06}.parquet", said=said)
            lived.append(self._counts(said)[window])
            try:
                outcome = run.run(self.config, now=self._after(window), say=_unheard)
                decided = f"{outcome.word.value}: {outcome.because}"
            except RetrainCheckError as error:
                decided = f"exit {int(error.code)}: {error}"
            decisions.append(self._told(decided))
            self._time()
        with Ledger.reading(self.config.state / "ledger.sqlite") as ledger:
            entries = ledger.entries()
            limits = memory.fold(ledger.effects()).limits
        threshold = self.config.performance_threshold
        return Life(
            name=name,
            windows=tuple(lived),
            attempts=tuple(self._attempts(entries)),
            decisions=tuple(decisions),
            measure=self._measure(),
            threshold=threshold if threshold is not None else next((limit.threshold for limit in limits), None),
            trainings=self._trainings(),
        )

    def never(self) -> Life:
        """Live with the first champion alone."""
        said = self._said(self._born())
        lived = self._counts(said)[self.world.first :]
        return Life(name="never", windows=lived, measure=self._measure(), trainings=self._trainings(), said=said)

    def plain(self, name: str, first: Life, when: Callable[[int, Sequence[Confusion]], bool]) -> Life:
        """Live by a plain rule: train on the last REACH windows and promote, whenever it says so after a window.

        `first` is the life of the first champion alone.
        """
        world, said = self.world, first.said
        assert said is not None
        files.remove_folder(self.folder)
        files.make_folder(self.folder)
        lived: list[Confusion] = []
        attempts = []
        for window in self._told_windows(name):
            lived.append(self._counts(said)[window])
            if window < world.windows[-1] and when(window, lived):
                attempts.append(Hindsight(window=window - world.first, promoted=True, gain=None, wrong=False))
                model = self._trained(window)
                said = self._said(model) if model else said
        return Life(
            name=name,
            windows=tuple(lived),
            attempts=tuple(attempts),
            measure=first.measure,
            trainings=(*first.trainings, *self._trainings()),
        )

    def _born(self) -> Path:
        """Make the first champion from the first windows; return its model. Raises RetrainCheckError if there is none."""
        files.remove_folder(self.folder)
        for name in ("rows", "log", "models"):
            files.make_folder(self.folder / name)
        for window in range(self.world.first):
            self.world.stream.write(window, self.folder / "rows" / f"{window:06}.parquet")
        outcome = by_hand.bootstrap(self.config, now=self._after(self.world.first - 1), say=_unheard)
        if outcome.word is not Word.PROMOTED:
            raise UsageError(f"there is no first champion: {outcome.because}")
        self._time()
        return self._live()

    def _told_windows(self, name: str) -> Iterator[int]:
        """Go through the windows that are lived through, and leave word of it for who waits."""
        windows, told = self.world.windows, self.folder / PROGRESS
        for window in windows:
            number = len(self.trained) + sum(1 for _ in self._logs())
            trainings = f"{number} training{'' if number == 1 else 's'}"
            told.write_text(f"{name}: window {window + 1 - windows.start} of {len(windows)}, {trainings}")
            yield window
        files.remove(told)

    def _time(self) -> None:
        """Write on the cards of new versions how long their trainings took when they were run: now the cache may have spared them.

        `data.windows: auto` goes by it, so a backtest that is played again decides as the first did.
        """
        sealed = registry(self.config)
        for version in sealed.versions():
            names = [] if version in self.timed else cached.named(sealed.folder / version / "train.log")
            self.timed.add(version)
            if names:
                took = sum(cached.seconds(self.world.models, name) for name in names)
                sealed.rewrite(replace(sealed.card(version), seconds=took))

    def _live(self) -> Path:
        pointer = registry(self.config).champion()
        assert pointer is not None
        return self.config.model.pointer.parent / pointer.path

    def _trained(self, window: int) -> Path | None:
        """Train on the last windows, up to this one; None if no model came out: then the one before stays live."""
        stream, folder = self.world.stream, self.folder / "plain" / f"{window:06}"
        rows, model = folder / "rows.parquet", folder / "model.joblib"
        files.make_folder(folder)
        since = stream.starts[max(0, window + 1 - REACH)]
        engines.stream.write_training(stream, rows, since=since, now=self._after(window))
        known = cached.taken(self.world.models, rows, self.world.command, self.config.folder)
        if known is not None:
            self.trained.append(known.stem)
            return known
        reason = Reason(because="a plain rule")
        try:
            training.train(
                self.config.train.command,
                folder=self.config.folder,
                environment=training.environment(
                    f"window-{window}", reason, rows=rows, output=model, settings=self.world.file
                ),
                timeout=self.config.train.timeout.total_seconds(),
                log=folder / "train.log",
                training_lock=self.folder / "training.lock",
            )
        except TrainingError:
            return None
        return model if model.exists() else None

    def _said(self, model: Path) -> Path:
        """Return the file of what a model says of all rows; it is asked once, whoever asks."""
        target = self.world.said / f"{files.sha256(model)[:32]}.parquet"
        if not target.exists():
            scratch = self.folder / "asked"
            files.make_folder(scratch)
            answers = scratch / "answers.parquet"
            request = models.Request(tables={self.world.stream.path: answers}, features=self.world.stream.features)
            compare.asked(self.config, model, request, scratch=scratch)
            files.make_folder(target.parent)
            files.publish(answers, target)
        return target

    def _counts(self, said: Path) -> tuple[Confusion, ...]:
        if said.name not in self.heard:
            self.heard[said.name] = self.world.stream.counts(said)
        return self.heard[said.name]

    def _after(self, window: int) -> datetime:
        stream = self.world.stream
        return stream.end(window) + stream.length / PAUSE

    def _measure(self) -> Measure:
        config = self.config
        pointer = registry(config).champion()
        assert pointer is not None
        positive = config.positive_label or registry(config).card(pointer.version).positive
        return config.measure(positive or "1")

    def _attempts(self, entries: Sequence[Entry[Event]]) -> list[Hindsight]:
        """Say of each attempt what came of it."""
        stream, found = self.world.stream, []
        began = [entry for entry in only(entries, Training) if not entry.event.bootstrap]
        ended = [max(window for window in self.world.windows if self._after(window) <= entry.at) for entry in began]
        following = [*ended[1:], len(stream.starts) - 1] if ended else []
        for entry, window, last in zip(began, ended, following, strict=True):
            own = [each for each in entries if each.run == entry.run]
            found.append(self._attempt(own, window, slice(window + 1, min(last, window + REACH) + 1)))
        return found

    def _attempt(self, own: Sequence[Entry[Event]], window: int, after: slice) -> Hindsight:
        promoted = only(own, Promoted)
        began = only(own, Training)[-1].event
        chosen = promoted[-1].event.pointer.version if promoted else began.champion
        best = closest(trial for each in (*only(own, Selected), *only(own, Compared)) for trial in each.event.trials)
        other = began.champion if promoted else best.version if best else None
        gain = self._gain(chosen, other, after)
        margin = 0.0 if promoted else self.config.promotion.margin
        return Hindsight(
            window=window - self.world.first,
            promoted=bool(promoted),
            gain=gain,
            wrong=gain is not None and gain < -margin,
        )

    def _gain(self, chosen: str | None, other: str | None, after: slice) -> float | None:
        if chosen is None or other is None or after.start >= after.stop:
            return None
        sealed, measure = registry(self.config), self._measure()
        own, others = (
            pooled(self._counts(self._said(sealed.model(version)))[after], measure) for version in (chosen, other)
        )
        gain = measure.sign * (own - others)
        return None if math.isnan(gain) else round(gain, 6)

    def _trainings(self) -> tuple[str, ...]:
        """Return the names in the cache of what was trained, from the logs of the trainings."""
        return (*self.trained, *(key for log in sorted(self._logs()) for key in cached.named(log)))

    def _logs(self) -> Iterator[Path]:
        yield from self.config.model.folder.glob("*/train.log")
        yield from self.folder.glob("plain/*/train.log")

    def _told(self, decided: str) -> str:
        """Return a decision without what is another each time it is played: the ids of runs, and where the files lie."""
        return _RUN.sub(r"\1", decided).replace(f"{self.folder}/", "")


def progress(world: World) -> list[str]:
    """Say how far the lives are that are being lived."""
    told = []
    for path in sorted(world.lives.glob(f"*/{PROGRESS}")):
        with suppress(OSError):
            told.append(path.read_text())
    return [each for each in told if each]


def forget_progress(world: World) -> None:
    """Forget how far lives were whose backtest was killed."""
    for path in world.lives.glob(f"*/{PROGRESS}"):
        files.remove(path)


def _unheard(_: str) -> None:
    pass
