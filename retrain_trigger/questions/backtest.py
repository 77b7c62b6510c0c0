"""Backtest: would the policy have been worth it on these labelled rows? Played with the runs that cron would have started."""

import json
import math
import os
import select
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import numpy as np
from joblib import Parallel, delayed

from retrain_trigger import engines
from retrain_trigger.config import load as settings
from retrain_trigger.core.errors import UsageError
from retrain_trigger.core.records import Json
from retrain_trigger.counts.confusion import Confusion
from retrain_trigger.judge import policy
from retrain_trigger.judge.metrics import METRICS
from retrain_trigger.judge.worth import Gain, gain, pooled, worst
from retrain_trigger.pipeline.tick import Say
from retrain_trigger.process import cached, warm
from retrain_trigger.questions import lives
from retrain_trigger.questions.lives import Life, Player, World
from retrain_trigger.questions.tried import DEFAULTS, choices
from retrain_trigger.store import files, lock

POLICY = "as configured"
STRETCH = 10
"""The worst stretch is a part of all windows: one of so many, and at least five windows."""

PERIOD = 5.0
"""Seconds between two looks at how far the lives are."""

PATIENCE = 12
"""Looks after which it is told again where nothing has changed."""

LEAST_STRETCH = 5
CUTS = 2
LEAST_FIRST, SHARE_FIRST = 3, 10
"""The first champion is trained on one window of so many, and on at least so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of a backtest: labelled rows, settings to try, and how long labels take if the rows do not say it.

    `first` is how many windows the first champion is trained on, None for a tenth. `cache` is the folder in which models
    are kept, None for one beside the ledger. `baseline` trains the built-in model instead of the command.
    """

    data: Path
    tried: tuple[str, ...] = ()
    late: timedelta = timedelta(0)
    first: int | None = None
    cache: Path | None = None
    jobs: int = 1
    baseline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One life beside that of the policy: its score, and by how much the policy's was better."""

    name: str
    score: float
    trainings: int
    seconds: float
    gain: Gain


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a backtest came to.

    `score` is the metric over all rows of what was live, `others` are the plain rules, and `tried` other settings. The
    worst stretch is named by its first and last window's start and the metrics of live and never in it. `left_out`
    counts the rows that could not be played, by why.
    """

    metric: str
    windows: tuple[datetime, ...]
    length: timedelta
    live: Life
    score: float
    trainings: int
    seconds: float
    others: tuple[Beside, ...]
    tried: tuple[Beside, ...]
    stretch: tuple[datetime, datetime, float, float]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """Return the report as a JSON object."""
        start, end, own, never = self.stretch
        return _finite(
            {
                "metric": self.metric,
                "windows": len(self.windows),
                "from": self.windows[0].isoformat(),
                "to": (self.windows[-1] + self.length).isoformat(),
                "score": self.score,
                "trainings": self.trainings,
                "seconds": self.seconds,
                "attempts": [
                    {**asdict(each), "window": self.windows[each.window].isoformat()} for each in self.live.attempts
                ],
                "others": [asdict(each) for each in self.others],
                "tried": [asdict(each) for each in self.tried],
                "worst": {"from": start.isoformat(), "to": end.isoformat(), "live": own, "never": never},
                "decisions": list(self.live.decisions),
                "left_out": dict(self.left_out),
            }
        )


def backtest(path: Path | None, asked: Asked, *, say: Say, progress: Say | None = None) -> Report:
    """Live through labelled rows under the settings, those to try, and plain rules. Raises RetrainCheckError.

    `progress` hears every few seconds how far that has come.
    """
    with _opened(path, asked, say) as world, _telling(world, progress):
        return _played(world, asked, say)


def looked_ahead(path: Path | None, asked: Asked, *, say: Say, progress: Say | None = None) -> str | None:
    """Play the policy again on the first part of the windows, cut at random; say which decision was another then.

    None if all are the same, byte for byte: then none of them rests on rows that came later.
    """
    with _opened(path, asked, say) as world, _telling(world, progress):
        whole = _policy(world, POLICY, ()).decisions
        for cut in sorted(
            np.random.default_rng(0).choice(np.arange(1, len(whole)), min(CUTS, len(whole) - 1), replace=False)
        ):
            say(f"playing the first {cut} of {len(whole)} windows again")
            stream = replace(
                world.stream,
                starts=world.stream.starts[: world.first + cut],
                ends=world.stream.ends[: world.first + cut],
            )
            part = _policy(replace(world, stream=stream), f"{POLICY} until {cut}", ()).decisions
            for window, (early, late) in enumerate(zip(part, whole, strict=False)):
                if early != late:
                    at = world.stream.starts[world.first + window]
                    return f"the decision after the window of {at:%Y-%m-%d %H:%M}Z looks ahead: `{late}`, but without later rows `{early}`"
    return None


def _finite(document: Mapping[str, Json]) -> dict[str, Json]:
    """Return a document without NaN, which is no JSON: a metric or a bound that is undefined is null."""

    def finite(value: Json) -> Json:
        if isinstance(value, Mapping):
            return _finite(value)
        if isinstance(value, list | tuple):
            return [finite(each) for each in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    return {key: finite(value) for key, value in document.items()}


def built_in(label: str, features: Sequence[str]) -> str:
    """Return the command that trains the built-in model on these columns."""
    return f"{warm.BASELINE} {shlex.join([label, json.dumps(features)])}"


def left_out(rows: Mapping[str, int]) -> list[str]:
    """Say which rows could not be played; nothing if there are none.

    >>> left_out({"without a label": 1200, "dated later than now": 1})
    ['left out: 1,200 rows without a label, 1 dated later than now']
    """
    told = [
        f"{count:,} {'' if place else 'row ' if count == 1 else 'rows '}{why}"
        for place, (why, count) in enumerate(rows.items())
    ]
    return [f"left out: {', '.join(told)}"] if told else []


@contextmanager
def _opened(path: Path | None, asked: Asked, say: Say) -> Iterator[World]:
    """Hold the cache, and cut the rows into windows."""
    config = settings.load(path) if path else settings.defaults(DEFAULTS)
    if config.metric not in METRICS:
        raise UsageError(f"metric is {config.metric}, and a backtest needs one of {', '.join(METRICS)}")
    cache = (asked.cache or config.state / "backtest").absolute()
    files.make_folder(cache, mode=0o700)
    with lock.hold(cache / "lock", say=say):
        world = _world(path, config, asked, cache)
        with world.warmed(threads=max(1, (os.cpu_count() or 1) // asked.jobs)), world.served():
            yield world


def _world(path: Path | None, config: settings.Config, asked: Asked, cache: Path) -> World:
    rows = cache / "rows.parquet"
    stream = engines.stream.Stream.cut(
        str(asked.data.absolute()),
        rows,
        columns=config.logs.names,
        length=config.trigger.window,
        late=asked.late,
        now=datetime.now(UTC),
    )
    windows = len(stream.starts)
    first = asked.first or max(LEAST_FIRST, windows // SHARE_FIRST)
    if windows < first + LEAST_STRETCH:
        raise UsageError(
            f"{asked.data} has rows in {windows} {'window' if windows == 1 else 'windows'} of "
            f"{policy.length(config.trigger.window)}; the first {first} train the first champion, and at least "
            f"{LEAST_STRETCH} more must be played: give more rows, or a shorter trigger.window"
            f"{''.join(f'; {told}' for told in left_out(stream.left_out))}"
        )
    own = asked.baseline or path is None
    for name in ("models", "said", "lives"):
        files.make_folder(cache / name)
    return World(
        stream=stream,
        first=first,
        cache=cache,
        said=cache / "said" / files.sha256(rows)[:16],
        file=path.absolute() if path else None,
        overrides=() if path else DEFAULTS,
        command=built_in(config.logs.columns.label, stream.features) if own else config.train.command,
        output=None if own else config.train.output,
        baseline=own,
        owner=os.getpid(),
    )


def _played(world: World, asked: Asked, say: Say) -> Report:
    policies: dict[str, tuple[str, ...]] = {POLICY: (), **{", ".join(each): each for each in choices(asked.tried)}}
    for name, given in policies.items():
        _ = _player(world, name, given).config  # a mistake in a setting is said before anything is played
    never = _player(world, "never").never()
    playing = {name: (_policy, (world, name, given)) for name, given in policies.items()}
    played = _all({**playing, "every window": (_every, (world, "every window", never))}, asked.jobs, say)
    live, windows = played[POLICY], world.windows
    later = {
        "periodic": (_periodic, (world, "periodic", never, len(live.attempts))),
        "threshold": (_threshold, (world, "threshold", never, live.threshold)),
    }
    played |= _all(later, asked.jobs, say)
    length = max(LEAST_STRETCH, len(windows) // STRETCH)
    place, least = worst(live.windows, live.measure, length)
    starts = world.stream.starts
    begin, end = starts[windows[place]], world.stream.end(windows[min(place + length, len(windows)) - 1])
    others = [never, played["periodic"], played["every window"], played["threshold"]]
    return Report(
        metric=live.measure.metric,
        windows=starts[world.first :],
        length=world.stream.length,
        live=live,
        score=pooled(live.windows, live.measure),
        trainings=len(live.trainings),
        seconds=_seconds(world, live),
        others=tuple(_beside(world, live, other) for other in others),
        tried=tuple(_beside(world, live, played[name]) for name in policies if name != POLICY),
        stretch=(begin, end, least, pooled(never.windows[place : place + length], live.measure)),
        left_out=world.stream.left_out,
    )


def _beside(world: World, live: Life, other: Life) -> Beside:
    return Beside(
        name=other.name,
        score=pooled(other.windows, live.measure),
        trainings=len(other.trainings),
        seconds=_seconds(world, other),
        gain=gain(live.windows, other.windows, live.measure),
    )


def _seconds(world: World, life: Life) -> float:
    """Return how long the trainings of a life took when they were run, also where the cache spared them."""
    return round(sum(cached.seconds(world.models, name) for name in life.trainings), 1)


@contextmanager
def _telling(world: World, progress: Say | None) -> Iterator[None]:
    """Tell every few seconds how far the lives are that are being played, whichever processes play them."""
    if progress is None:
        yield
        return
    lives.forget_progress(world)
    over = Event()
    teller = Thread(target=_tell, args=(world, progress, over), daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _tell(world: World, progress: Say, over: Event) -> None:
    last, silent = "", 0
    while not over.wait(PERIOD):
        told = "; ".join(lives.progress(world))
        silent = silent + 1 if told == last else 0
        if told and silent % PATIENCE == 0:
            progress(told)
        last = told


Playing = tuple[Callable[..., Life], tuple[World, *tuple[object, ...]]]


def _all(playing: Mapping[str, Playing], jobs: int, say: Say) -> dict[str, Life]:
    """Play lives, several at a time; say which are over."""
    parallel = Parallel(n_jobs=jobs, return_as="generator")
    found = {}
    for name, life in zip(playing, parallel(delayed(_served)(*each) for each in playing.values()), strict=True):
        found[name] = life
        say(f"played: {name} ({len(life.attempts)} attempts)")
    return found


def _served(play: Callable[..., Life], given: tuple[World, *tuple[object, ...]]) -> Life:
    """Play a life, perhaps in a process of its own: that ends with this one, as the next backtest plays the life again."""
    world = given[0]
    if os.getppid() == world.owner:
        Thread(target=_end_with, args=(world.owner,), daemon=True).start()
    with world.served():
        return play(*given)


def _end_with(owner: int) -> None:
    select.select([os.pidfd_open(owner)], [], [])
    os._exit(1)


def _policy(world: World, name: str, given: tuple[str, ...]) -> Life:
    return _player(world, name, given).policy(name)


def _every(world: World, name: str, never: Life) -> Life:
    return _player(world, name).plain(name, never, lambda _window, _lived: True)


def _periodic(world: World, name: str, never: Life, attempts: int) -> Life:
    """Train as often as the policy, in even steps."""
    number = len(world.windows)
    at = {world.first + (each + 1) * number // (attempts + 1) - 1 for each in range(attempts)}
    return _player(world, name).plain(name, never, lambda window, _lived: window in at)


def _threshold(world: World, name: str, never: Life, threshold: float | None) -> Life:
    """Train whenever the metric of a window is on the wrong side of the threshold."""
    measure = never.measure

    def wrong(_window: int, lived: Sequence[Confusion]) -> bool:
        return threshold is not None and measure.sign * (measure.score(lived[-1]) - threshold) < 0

    return _player(world, name).plain(name, never, wrong)


def _player(world: World, name: str, given: tuple[str, ...] = ()) -> Player:
    folder = world.lives / "".join(letter if letter.isalnum() else "-" for letter in name)[:80]
    return Player(world, folder, given)
