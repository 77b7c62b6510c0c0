"""What an inference service sees: real models, real pointers, real threads and forks."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

import duckdb
import joblib
import numpy as np
import pandas as pd
import pytest
from projects import Project, day
from sklearn.dummy import DummyClassifier

from retrain_trigger import serving
from retrain_trigger.core.card import Card
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.serving import shadow as shadowing
from retrain_trigger.store import files
from retrain_trigger.store.registry import Registry

ROOT = Path(__file__).parents[2]
ROWS: list[dict[str, float | None]] = [{"b": 1.0, "a": 2.0}, {"a": 3.0, "b": None}]
QUICK = 0.02
"""Seconds between two looks at the pointer."""

MISCHIEF = '''
import sys, time

class Fussy:
    """A model that does what its name says."""
    feature_names_in_ = ["a", "b"]

    def __init__(self, kind):
        self.kind = kind

    def predict(self, table):
        if self.kind == "raises":
            raise RuntimeError("no idea")
        if self.kind == "exits":
            sys.exit(3)
        if self.kind == "waits":
            time.sleep(0.3)
        if self.kind == "sleeps":
            time.sleep(60)
        return [str(list(table.columns)) for _ in range(len(table))]

    def __setstate__(self, state):
        if state["kind"] == "explodes":
            raise RuntimeError("bang")
        if state["kind"] == "leaves":
            sys.exit(4)
        self.__dict__.update(state)

class Mute:
    pass
'''


class Models:
    """A folder of sealed models that predict their own version, and the two pointers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry(folder / "models", folder / "models" / "champion.json")
        self.challengers = replace(self.registry, pointer=folder / "models" / "challenger.json")
        self.generation = 0

    def seal(self, version: str, model: Any = None, **card: Any) -> Pointer:
        if model is None:
            table = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]})
            model = DummyClassifier(strategy="constant", constant=version).fit(table, [version, "another"])
        left = self.folder / "left"
        joblib.dump(model, left)
        digest = self.registry.seal(Card(version=version, **card), model=left, profile=None, log=None)
        self.generation += 1
        path = self.registry.relative_path(version)
        return Pointer(
            generation=self.generation,
            version=version,
            path=path,
            sha256=digest,
            previous=None,
            promoted_at="2026-01-01T00:00:00Z",
            run="r",
        )

    def promote(self, version: str, model: Any = None, **card: Any) -> Pointer:
        pointer = self.seal(version, model, **card)
        self.registry.point_at(pointer)
        return pointer

    def challenge(self, version: str, model: Any = None) -> None:
        self.challengers.point_at(self.seal(version, model))


@pytest.fixture
def models(tmp_path: Path) -> Models:
    found = Models(tmp_path)
    found.promote("one")
    return found


@pytest.fixture
def mischief(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    (tmp_path / "mischief.py").write_text(MISCHIEF)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = __import__("mischief")
    yield lambda kind: module.Mute() if kind == "mute" else module.Fussy(kind)
    del sys.modules["mischief"]


@contextmanager
def followed(models: Models, **options: Any) -> Iterator[serving.Champion]:
    with serving.follow(models.registry.pointer, check_every=QUICK, **options) as champion:
        yield champion


def comes(condition: Callable[[], Any], within: float = 10.0) -> bool:
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]


def test_a_flip_is_followed_without_a_request(models: Models) -> None:
    with followed(models) as champion:
        assert champion.version == "one"
        assert list(champion.predict(ROWS)) == ["one", "one"]
        models.promote("two")
        assert comes(lambda: "two" in str(champion._follower._served))  # noqa: SLF001  (no request looks)
        assert champion.answer(ROWS).version == "two"


def test_a_process_without_its_thread_looks_at_the_request(models: Models) -> None:
    with followed(models) as champion:
        champion._follower._over.set()  # noqa: SLF001  (the thread ends, as in a frozen process)
        time.sleep(5 * QUICK)
        champion._follower._over = threading.Event()  # noqa: SLF001  (as above)
        models.promote("two")
        assert champion.version == "two"


def test_rows_by_name_are_put_into_the_models_order(models: Models, mischief: Callable[[str], Any]) -> None:
    models.promote("named", mischief("predicts"))
    table = pd.DataFrame(ROWS)[["b", "a"]].assign(more=1)
    with followed(models) as champion:
        assert champion.predict(table) == champion.predict(ROWS) == ["['a', 'b']"] * 2
        with pytest.raises(ValueError, match="row 1 has no 'b', which version named needs"):
            champion.predict([ROWS[0], {"a": 1}])
        with pytest.raises(ValueError, match="no column 'a'"):
            champion.predict(table[["b"]])


def test_scores_are_the_positive_labels_probability(models: Models) -> None:
    table = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0]})
    prior = DummyClassifier(strategy="prior")
    models.promote("counted", prior.fit(table, [1, 0, 0, 0]))
    with followed(models) as champion:
        assert champion.answer(table, scores=True).scores == [0.25] * 4
        assert champion.answer(table).scores is None
        assert champion.predict_proba(table).tolist() == [[0.75, 0.25]] * 4
    models.promote("carded", prior.fit(table, ["yes", "no", "no", "no"]), positive="no")
    with followed(models) as champion:
        assert champion.answer(table, scores=True).scores == [0.75] * 4
    models.promote("texts", prior.fit(table, ["1.0", "0.0", "0.0", "0.0"]))
    with followed(models) as champion:
        assert champion.answer(table, scores=True).scores == [0.25] * 4
    models.promote("three", prior.fit(table, [0, 1, 2, 2]))
    with followed(models) as champion:
        assert champion.answer(table, scores=True).scores is None


def no_file(models: Models) -> None:
    models.registry.pointer.unlink()


def half_a_pointer(models: Models) -> None:
    text = models.registry.pointer.read_text()
    models.registry.pointer.write_text(text[: len(text) // 2])


def empty_pointer(models: Models) -> None:
    models.registry.pointer.write_text("")


def pointer_to_nothing(models: Models) -> None:
    models.registry.point_at(replace(models.seal("two"), path="three/model.joblib"))


def absolute_path(models: Models) -> None:
    two = models.seal("two")
    models.registry.point_at(replace(two, path=str(models.registry.model("two"))))


def other_bytes(models: Models) -> None:
    two = models.seal("two")
    path = models.registry.model("two")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    models.registry.point_at(two)


def linked_pointer(models: Models) -> None:
    models.registry.pointer.rename(models.folder / "elsewhere.json")
    models.registry.pointer.symlink_to(models.folder / "elsewhere.json")


def huge_pointer(models: Models) -> None:
    models.registry.pointer.write_text(" " * (1 << 17))


def deep_pointer(models: Models) -> None:
    models.registry.pointer.write_text("[" * 60_000)


def other_features(models: Models) -> None:
    table = pd.DataFrame({"b": [1.0, 2.0], "a": [1.0, 2.0]})
    models.promote("two", DummyClassifier().fit(table, [0, 1]))


def being_removed(models: Models) -> None:
    two = models.seal("two")
    models.held = models.registry.model("two").open("rb")  # type: ignore[attr-defined]
    flock(models.held, LOCK_EX | LOCK_NB)  # type: ignore[attr-defined]
    models.registry.point_at(two)


@pytest.mark.parametrize(
    ("mishap", "cause"),
    [
        (no_file, "cannot be read (FileNotFoundError"),
        (half_a_pointer, "is not a pointer"),
        (empty_pointer, "is not a pointer"),
        (pointer_to_nothing, "the model of two cannot be read (FileNotFoundError"),
        (absolute_path, "must be relative to the pointer"),
        (other_bytes, "and the pointer says"),
        (linked_pointer, "cannot be read (OSError"),
        (huge_pointer, "more than 65536 bytes"),
        (deep_pointer, "is not a pointer (RecursionError"),
        (other_features, "expects other features (b, a) than one (a, b)"),
        (being_removed, "is being removed"),
    ],
)
def test_whatever_is_wrong_the_model_goes_on_and_the_log_hears_it_once(
    models: Models, mishap: Callable[[Models], None], cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    with followed(models) as champion:
        mishap(models)
        assert comes(lambda: champion.error)
        assert cause in str(champion.error)
        time.sleep(5 * QUICK)
        assert champion.answer(ROWS).version == "one"
        said = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert [cause in record.getMessage() for record in said] == [True]
        assert "one goes on" in said[0].getMessage()
        if models.registry.pointer.is_symlink():
            models.registry.pointer.unlink()
        models.promote("better")
        assert comes(lambda: champion.version == "better")
        assert champion.error is None
    if hasattr(models, "held"):
        models.held.close()


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("explodes", "RuntimeError: bang"),
        ("leaves", "cannot be loaded (SystemExit: 4)"),
        ("mute", "is a Mute and has no predict"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_not_served(
    models: Models, mischief: Callable[[str], Any], kind: str, cause: str
) -> None:
    with followed(models) as champion:
        models.promote("bad", mischief(kind))
        assert comes(lambda: champion.error)
        assert cause in str(champion.error)
        assert champion.version == "one"


def test_a_model_that_arrives_after_its_pointer_is_tried_again(models: Models) -> None:
    two = models.seal("two")
    folder = models.registry.folder
    (folder / "two").rename(folder / "on-its-way")
    with followed(models) as champion:
        models.registry.point_at(two)
        assert comes(lambda: champion.error)
        (folder / "on-its-way").rename(folder / "two")
        assert comes(lambda: champion.version == "two")
        assert champion.error is None


def test_a_pointer_that_comes_back_is_an_error_no_longer(models: Models) -> None:
    with followed(models) as champion:
        text = models.registry.pointer.read_bytes()
        models.registry.pointer.unlink()
        assert comes(lambda: champion.error)
        time.sleep(20 * QUICK)
        files.write(models.registry.pointer, text)
        assert comes(lambda: champion.error is None, within=1)


def test_without_a_model_to_begin_with_it_says_so(models: Models) -> None:
    other_bytes(models)
    with pytest.raises(serving.ServingError, match="there is no model to serve: the bytes of"):
        serving.follow(models.registry.pointer)
    with pytest.raises(serving.ServingError, match=r"there is no model to serve: the pointer .*nowhere\.json cannot"):
        serving.follow(models.folder / "nowhere.json")


def test_the_model_file_is_locked_while_a_request_uses_it(models: Models) -> None:
    def in_use(version: str) -> bool:
        with models.registry.model(version).open("rb") as file:
            try:
                flock(file, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                return True
            return False

    with followed(models) as champion:
        request = champion.served
        models.promote("two")
        assert comes(lambda: champion.version == "two")
        assert in_use("one")
        assert in_use("two")
        del request
        assert not in_use("one")
    assert not in_use("two")
    with pytest.raises(serving.ServingError, match="closed"):
        champion.predict(ROWS)


FORKED = """
import os, sys, time
from pathlib import Path
from retrain_trigger import serving

champion = serving.follow(sys.argv[1], check_every=0.05, shadow=True)
log = serving.PredictionLog(sys.argv[2])
rows = [{"a": 1.0, "b": 2.0}]

def follows_on():  # by itself, without a request; each process looks in its own time
    end = time.monotonic() + 20
    while champion._follower._served.version != "two" and time.monotonic() < end:
        time.sleep(0.01)
    followed = champion._follower._served.version
    log.write(rows, champion.answer(rows))
    return followed == "two"

log.write(rows, champion.answer(rows))
children = []
for _ in range(2):
    if child := os.fork():
        children.append(child)
        continue
    os.write(1, b"forked\\n")
    os._exit(0 if follows_on() else 1)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
codes.append(0 if follows_on() else 1)
sys.exit(max(codes))
"""


def test_forked_workers_follow_on_and_log_to_files_of_their_own(models: Models, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKED, str(models.registry.pointer), str(tmp_path / "log")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline() for _ in range(2)] == ["forked\n"] * 2
        models.promote("two")
        assert parent.wait(timeout=60) == 0
    files_found = sorted((tmp_path / "log").iterdir())
    assert sorted(len(file.read_text().splitlines()) for file in files_found) == [1, 1, 2]
    assert sorted(row["model"] for row in logged(tmp_path / "log")) == ["one", "two", "two", "two"]


def test_importing_it_costs_nothing() -> None:
    heavy = {"numpy", "pandas", "joblib", "sklearn", "duckdb", "pydantic", "click", "yaml"}
    program = f"import sys; from retrain_trigger import serving; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"


def test_a_challenger_answers_beside_and_both_are_logged(models: Models, tmp_path: Path) -> None:
    log = serving.PredictionLog(tmp_path / "log")
    with followed(models, shadow=True) as champion:
        assert champion.shadow is not None
        assert champion.answer(ROWS).shadow is None
        log.write(ROWS, champion.answer(ROWS), ids=["before", "before"])
        models.challenge("rival")
        assert comes(lambda: champion.shadow and champion.shadow.version == "rival")
        rows = [dict(row) for row in ROWS]
        answer = champion.answer(rows)
        log.write(rows, answer, ids=["x", "y"])
        rows[0].clear()  # a service may do with its rows what it likes
        assert answer.shadow is not None
        assert answer.shadow.result(10) == serving.Said(["rival", "rival"], "rival")
        assert comes(lambda: len(logged(tmp_path / "log")) == 4)
        models.challengers.pointer.unlink()
        assert comes(lambda: champion.shadow and champion.shadow.version is None)
        assert champion.answer(ROWS).shadow is None
        assert (champion.shadow.dropped, champion.shadow.failed, champion.shadow.error) == (0, 0, None)
    rows_found = {row["id"]: row for row in logged(tmp_path / "log")}
    assert rows_found["x"]["features"] == {"a": 2.0, "b": 1.0}
    assert rows_found["x"]["model"] == rows_found["x"]["prediction"] == "one"
    assert rows_found["x"]["shadow_model"] == rows_found["y"]["shadow_prediction"] == "rival"
    assert "shadow_prediction" not in rows_found["before"]
    log.close()


@pytest.mark.parametrize("kind", ["raises", "exits"])
def test_a_challenger_that_fails_never_touches_the_answer(
    models: Models, mischief: Callable[[str], Any], tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    models.challenge("rival", mischief(kind))
    log = serving.PredictionLog(tmp_path / "log")
    with followed(models, shadow=True) as champion:
        assert champion.shadow is not None
        for _ in range(3):
            answer = champion.answer(ROWS)
            log.write(ROWS, answer)
            assert list(answer.predictions) == ["one", "one"]
            assert answer.shadow is not None
            assert answer.shadow.result(10) is None
        assert champion.shadow.failed == 3
        assert "the challenger rival could not be asked" in str(champion.shadow.error)
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
    assert comes(lambda: len(logged(tmp_path / "log")) == 6)
    log.close()


def test_a_challenger_that_hangs_costs_no_answer_and_no_row(
    models: Models, mischief: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadowing, "PATIENCE", 0.2)
    monkeypatch.setattr(shadowing, "QUEUE", 4)
    models.challenge("rival", mischief("sleeps"))
    log = serving.PredictionLog(tmp_path / "log")
    with followed(models, shadow=True) as champion:
        began = time.monotonic()
        for number in range(20):
            log.write(ROWS[:1], champion.answer(ROWS[:1]), ids=[str(number)])
        assert time.monotonic() - began < 5
        assert comes(lambda: len(logged(tmp_path / "log")) == 20)
        assert champion.shadow is not None
        assert champion.shadow.dropped == 20
        monkeypatch.setattr(shadowing, "PATIENCE", 60)
        while champion.answer(ROWS[:1]).shadow:
            pass
    assert {row["id"] for row in logged(tmp_path / "log")} == {str(number) for number in range(20)}
    log.close()


def test_closing_answers_what_still_waits_for_the_challenger(
    models: Models, mischief: Callable[[str], Any], tmp_path: Path
) -> None:
    models.challenge("rival", mischief("sleeps"))
    log = serving.PredictionLog(tmp_path / "log")
    with followed(models, shadow=True) as champion:
        for _ in range(3):
            log.write(ROWS, champion.answer(ROWS))
        assert logged(tmp_path / "log") == []
    assert len(logged(tmp_path / "log")) == 6
    log.close()


def test_a_log_that_cannot_be_written_fails_no_request(models: Models, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file, where a folder should be")
    log = serving.PredictionLog(tmp_path / "log")
    with followed(models) as champion:
        answer = champion.answer(ROWS)
        assert len(log.write(ROWS, answer)) == 2
        log.write(ROWS[:1], answer, ids=["one id for two predictions"])
        assert log.failed == 3
        assert "predictions could not be logged" in str(log.error)
        (tmp_path / "log").unlink()
        log.write(ROWS, answer)
        assert (log.failed, log.error, len(logged(tmp_path / "log"))) == (3, None, 2)
    log.close()


def test_a_line_that_the_disk_took_half_costs_only_itself(tmp_path: Path) -> None:
    program = """
import resource, signal, sys
from retrain_trigger import serving
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = serving.PredictionLog(sys.argv[1])
answer = serving.Answer(predictions=[1], version="v")
limit = lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))
log.write([{"a": 1}], answer, ids=["first"])
limit(200)
log.write([{"a": 1}], answer, ids=["half"])
log.write([{"a": 1}], answer, ids=["none"])
limit(-1)
log.write([{"a": 1}], answer, ids=["last"])
print(log.failed, log.error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "2 None\n"
    lines = next(tmp_path.glob("*.jsonl")).read_text().splitlines()
    assert len(lines) == 3
    assert [json.loads(lines[place])["id"] for place in (0, 2)] == ["first", "last"]


def test_threads_never_tear_a_line_or_mix_a_version(models: Models, tmp_path: Path) -> None:
    pointers = [models.seal(f"version-{number}") for number in range(10)]
    log = serving.PredictionLog(tmp_path / "log")
    mixed, stop = [], threading.Event()
    with followed(models) as champion:

        def ask() -> None:
            while not stop.is_set():
                answer = champion.answer(ROWS)
                log.write(ROWS, answer)
                if set(answer.predictions) != {answer.version}:
                    mixed.append(answer)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for pointer in pointers:
            models.registry.point_at(pointer)
            assert comes(
                lambda: champion.version == pointer.version  # noqa: B023  (called at once)
            )
        stop.set()
        for thread in threads:
            thread.join()
    rows = logged(tmp_path / "log")
    assert mixed == []
    assert {row["model"] for row in rows} >= {pointer.version for pointer in pointers[1:-1]}
    assert all(row["model"] == row["prediction"] for row in rows)
    log.close()


def test_an_answer_begun_before_a_flip_names_the_version_that_gave_it(
    models: Models, mischief: Callable[[str], Any]
) -> None:
    models.promote("slow", mischief("waits"))
    with followed(models) as champion:
        answers: list[serving.Answer] = []
        request = threading.Thread(target=lambda: answers.append(champion.answer(ROWS)))
        request.start()
        models.promote("two")
        assert comes(lambda: champion.version == "two")
        assert answers == []
        request.join()
        assert (answers[0].version, answers[0].predictions[0]) == ("slow", "['a', 'b']")


def test_rows_of_every_kind_are_logged_as_plain_json(tmp_path: Path) -> None:
    log = serving.PredictionLog(tmp_path / "log", sync=True)
    answer = serving.Answer(predictions=np.array([True]), version="v", scores=[np.float64(0.5)])
    odd = {"nan": float("nan"), "far": np.float32("inf"), "time": day(0), "whole": np.int8(3), "none": None}
    for rows in ([odd], pd.DataFrame([odd]), np.array([[1.5, 2]])):
        log.write(rows, answer, at=day(0.5))
    log.write([{}], answer)
    log.write(ROWS[:1], replace(answer, features=("a", "b"), scores=None), ids=["x"])
    assert (log.failed, log.error) == (0, None)
    plain = {"nan": None, "far": None, "time": str(day(0)), "whole": 3, "none": None}
    first, second, third, empty, last = logged(tmp_path / "log")
    assert first["features"] == second["features"] == plain
    assert third["features"] == {"x0": 1.5, "x1": 2.0}
    assert "features" not in empty
    assert last["features"] == ROWS[0]
    assert (first["prediction"], first["score"], first["model"]) == (True, 0.5, "v")
    assert first["timestamp"] == "2026-01-21T12:00:00.000Z"
    assert "score" not in last
    log.close()


def test_a_run_judges_what_a_service_logged(simple: Project) -> None:
    rows = [{"age": 20.0 + number % 60, "city": "north" if number % 3 else None} for number in range(400)]
    table = pd.DataFrame(rows)
    joblib.dump(DummyClassifier(strategy="constant", constant=1).fit(table, [0, 1] * 200), simple.folder / "live")
    simple.write(
        "config.yaml",
        "performance_threshold: 0.85\ndrift_threshold: 0.20\nlogs: {predictions: logs/predictions, labels: labels.jsonl}\n",
    )
    simple.run("--bootstrap", "--adopt", "live", day=0)
    log = serving.PredictionLog(simple.folder / "logs/predictions")
    with serving.follow(simple.folder / "models/champion.json") as champion:
        for number in (1, 2):
            ids = log.write(rows, champion.answer(rows, scores=True), at=day(number + 0.5))
            with simple.write_folder("labels.jsonl").open("a") as labels:
                labels.writelines(
                    json.dumps({"id": name, "label": int(place % 20 > 0), "labelled_at": day(number + 0.6).isoformat()})
                    + "\n"
                    for place, name in enumerate(ids)
                )
    log.close()
    assert sorted(file.name[:10] for file in (simple.folder / "logs/predictions").iterdir()) == [
        f"{day(number):%Y-%m-%d}" for number in (1, 2)
    ]
    report = json.loads(simple.run("--format", "json", day=3.5).stdout)
    assert report["outcome"] == "healthy"
    performance = report["findings"][0]
    assert performance["evidence"]["latest"] == pytest.approx(2 * 0.95 / 1.95, abs=1e-3)


def test_every_column_is_seen_by_who_counts(models: Models, tmp_path: Path) -> None:
    log = serving.PredictionLog(tmp_path / "log")
    with followed(models, shadow=True) as champion:
        for _ in range(25):
            log.write(ROWS[:1] * 1000, champion.answer(ROWS[:1] * 1000))
        models.challenge("rival")
        assert comes(lambda: champion.shadow and champion.shadow.version)
        answer = champion.answer(ROWS)
        log.write(ROWS, answer)
        assert answer.shadow is not None
        answer.shadow.result(10)
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT count(*), count(shadow_prediction), count(DISTINCT id) FROM read_json('{tmp_path}/log/*.jsonl', union_by_name = true)"
        ).fetchone()
    assert found == (25_002, 2, 25_002)
    log.close()


def test_the_example_service_under_load_neither_fails_nor_mixes_nor_stays_behind() -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "benchmarks/serving.py"), "--requests", "300", "--flips", "5"]
    done = subprocess.run([*command, "--calls", "0"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = [cell.strip() for cell in done.stdout.splitlines()[-1].split("|")]
    assert int(cells[1]) >= 300
    assert cells[4:7] == ["0", "0", "0"]
    assert cells[8] == "0, 0"
    assert "serves version-6, after version-5" in done.stderr


def test_the_example_service_says_what_is_wrong_with_a_request(models: Models, tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "examples/service"))
    from service import application  # noqa: PLC0415  (an example is no package)

    with followed(models, shadow=True) as champion:
        log = serving.PredictionLog(tmp_path / "log")
        client = application(champion, log).test_client()
        assert client.post("/predict", json={"rows": ROWS}).get_json()["predictions"] == ["one", "one"]
        assert client.post("/predict", json={"rows": [{"a": 1}]}).json == {
            "error": "row 0 has no 'b', which version one needs"
        }
        bodies: tuple[Any, ...] = ({"rows": []}, {"rows": [1]}, {}, [1], "text")
        for body in bodies:
            assert client.post("/predict", json=body).status_code == 400
        assert client.get("/health").json == {
            "version": "one",
            "error": None,
            "log_error": None,
            "shadow": {"version": None, "error": None},
        }
        log.close()


def test_readers_of_the_pointer_never_see_a_flip() -> None:
    command = [sys.executable, str(ROOT / "torture/pointer.py"), "--reads", "10000", "--flips", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("10,000 reads during 100 flips")
