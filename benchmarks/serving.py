"""What following the pointer costs, and whether a service under load ever fails, mixes versions or stays behind.

    python benchmarks/serving.py --requests 10000 --flips 100

The load: examples/service/ answers on this machine while the pointer is flipped among versions of which each predicts
its own name for every row. An answer whose predictions are not the version that it reports is mixed; one that is
given by a version replaced more than 2 s before the request began is stale. At the end comes a flip and 2 s without
any request, and then one request. The price: the same rows through the bare model (a scaled
logistic regression: one that is quick to answer, so that what is added shows) and through `serving`.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import joblib
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retrain_trigger import serving
from retrain_trigger.core.card import Card
from retrain_trigger.store import files
from retrain_trigger.store.registry import Pointer, Registry

ROOT = Path(__file__).resolve().parents[1]
STALE = 2.0
CLIENTS, ROWS = 4, 3
ROW = {"age": 40.0, "income": 1.5}


def main() -> None:
    """Print two tables: the load, and the price of a prediction."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=10_000, help="at least so many")
    parser.add_argument("--flips", type=int, default=100)
    parser.add_argument("--pause", type=float, default=0.25, help="seconds between two flips")
    parser.add_argument("--calls", type=int, default=300, help="of each kind, for the price; 0: leave it out")
    chosen = parser.parse_args()
    with _folder() as folder:
        good = _print_load(folder, chosen.requests, chosen.flips, chosen.pause)
        if chosen.calls:
            _print_price(folder / "price", chosen.calls)
    raise SystemExit(not good)


@dataclass
class Load:
    """What came of the requests of all clients."""

    wanted: int
    flipping: bool = True
    answers: list[tuple[float, float, str]] = field(default_factory=list)
    """When a request began, how many seconds it took, and which version answered."""
    failures: list[str] = field(default_factory=list)
    mixed: int = 0

    def ask(self, port: int) -> None:
        """Ask one request after the other until there were enough and the last flip is done."""
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            while self.flipping or len(self.answers) + len(self.failures) < self.wanted:
                self._ask_once(connection)

    def _ask_once(self, connection: http.client.HTTPConnection) -> None:
        """Ask for ROWS rows, and take note of the answer."""
        began = time.monotonic()
        try:
            connection.request(
                "POST", "/predict", json.dumps({"rows": [ROW] * ROWS}), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            answer = json.loads(response.read())
            version, predictions = answer["version"], answer["predictions"]
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            self.failures.append(repr(error))
            connection.close()
            return
        self.answers.append((began, time.monotonic() - began, version))
        self.mixed += predictions != [version] * ROWS


def _print_load(folder: Path, requests: int, flips: int, pause: float) -> bool:
    registry = Registry(folder / "models", folder / "models" / "champion.json")
    pointers = [_sealed(registry, number) for number in range(flips + 2)]
    registry.point_at(pointers[0])
    load = Load(requests)
    with _service(folder) as port:
        replaced, began = _flipped_under(load, port, registry, pointers[:-1], pause)
        seconds = time.monotonic() - began
        registry.point_at(pointers[-1])
        time.sleep(STALE)
        idle = Load(1, flipping=False)
        idle.ask(port)
    behind = [max(0.0, at - replaced[version]) for at, _, version in load.answers if version in replaced]
    stale = sum(each > STALE for each in behind) + ([version for *_, version in idle.answers] != [pointers[-1].version])
    rows, wrong = _logged(folder / "log")
    unlogged = ROWS * (len(load.answers) + len(idle.answers)) - rows
    took = statistics.quantiles((each for _, each, _ in load.answers), n=100)
    seen = len({version for *_, version in load.answers})
    print(
        "| requests | flips | versions seen | failures | mixed | stale after 2 s | longest behind | rows missing in the log, wrong | median, 99 % | a second |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {len(load.answers) + len(load.failures)} | {flips} | {seen} | {len(load.failures)} | {load.mixed} | {stale} "
        f"| {max(behind, default=0):.2f} s | {unlogged}, {wrong} | {1000 * took[49]:.1f} ms, {1000 * took[98]:.1f} ms "
        f"| {len(load.answers) / seconds:.0f} |"
    )
    for failure in load.failures[:10]:
        print(f"  {failure}", file=sys.stderr)
    return not (load.failures or load.mixed or stale or unlogged or wrong)


def _flipped_under(
    load: Load, port: int, registry: Registry, pointers: list[Pointer], pause: float
) -> tuple[dict[str, float], float]:
    """Flip under the requests of CLIENTS threads; return when each version was replaced, and when it began."""
    began = time.monotonic()
    clients = [threading.Thread(target=load.ask, args=(port,), daemon=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    replaced = {}
    for before, after in pairwise(pointers):
        time.sleep(pause)
        registry.point_at(after)
        replaced[before.version] = time.monotonic()
    time.sleep(STALE + pause)  # so that a version which stays too long is seen
    load.flipping = False
    for client in clients:
        client.join()
    return replaced, began


def _sealed(registry: Registry, number: int) -> Pointer:
    version = f"version-{number}"
    rows = pd.DataFrame([ROW, ROW])
    model = DummyClassifier(strategy="constant", constant=version).fit(rows, [version, "another"])
    return _seal(registry, version, model, number)


def _seal(registry: Registry, version: str, model: Any, number: int) -> Pointer:
    left = registry.folder.parent / "model"
    files.make_folder(left.parent)
    joblib.dump(model, left)
    return Pointer(
        generation=number + 1,
        version=version,
        sha256=registry.seal(Card(version=version), model=left, profile=None, log=None),
        path=registry.relative_path(version),
        previous=None,
        promoted_at="2026-01-01T00:00:00Z",
        run="benchmark",
    )


@contextmanager
def _service(folder: Path) -> Iterator[int]:
    """Start the example service; yield its port."""
    command = [sys.executable, ROOT / "examples/service/service.py", "--pointer", folder / "models/champion.json"]
    service = subprocess.Popen(
        [*command, "--log", folder / "log", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    try:
        assert service.stdout is not None
        yield int(service.stdout.readline().rpartition(":")[2])
    finally:
        service.terminate()
        service.wait(timeout=30)
        assert service.stdout is not None
        service.stdout.close()


def _logged(folder: Path) -> tuple[int, int]:
    """Return how many rows were logged, and on how many the prediction is not the version."""
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT count(*), count(*) FILTER (prediction <> model) FROM read_json('{folder}/*.jsonl')"
        ).fetchone()
    assert found is not None
    return found[0], found[1]


def _print_price(folder: Path, calls: int) -> None:
    data = duckdb.read_parquet(str(ROOT / "examples/housing/housing.parquet")).df()
    features = data.drop(columns=["t", "y"])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, data["y"])
    registry = Registry(folder / "models", folder / "models" / "champion.json")
    registry.point_at(_seal(registry, "version-0", model, 0))
    print("\n| rows | bare predict | serving's predict | ratio | answer | answer, from mappings | answer and log |")
    print("|---|---|---|---|---|---|---|")
    with serving.follow(registry.pointer) as champion:
        log = serving.PredictionLog(folder / "log")
        for rows in (1, 100, 1000):
            table = features.head(rows)
            mappings = table.to_dict("records")

            def logged(table: pd.DataFrame = table) -> None:
                log.write(table, champion.answer(table))

            kinds: list[Callable[[], Any]] = [
                lambda table=table: champion.served.model.predict(table),
                lambda table=table: champion.predict(table),
                lambda table=table: champion.answer(table),
                lambda mappings=mappings: champion.answer(mappings),
                logged,
            ]
            bare, followed, answer, mapped, written = (1000 * each for each in _medians(kinds, calls))
            print(
                f"| {rows} | {bare:.2f} ms | {followed:.2f} ms | {followed / bare:.2f} "
                f"| {answer:.2f} ms | {mapped:.2f} ms | {written:.2f} ms |"
            )
        log.close()


def _medians(kinds: list[Callable[[], Any]], calls: int) -> list[float]:
    """Return the median seconds of each kind of call, in an order that changes: what slows one slows all."""
    took: list[list[float]] = [[] for _ in kinds]
    order = Random(0)  # noqa: S311  (no secret)
    for number in range(calls + 3):
        for chosen in order.sample(range(len(kinds)), len(kinds)):
            began = time.perf_counter()
            kinds[chosen]()
            if number >= 3:  # noqa: PLR2004  (the first calls warm up)
                took[chosen].append(time.perf_counter() - began)
    return [statistics.median(times) for times in took]


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="retrain-check-serving-"))
    try:
        yield folder
    finally:
        files.remove_folder(folder)


if __name__ == "__main__":
    main()
