import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrain_trigger.core.card import Card
from retrain_trigger.core.errors import PromotionError
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.counts.histograms import Bins, Histogram, Watched
from retrain_trigger.counts.table import ColumnCounts, Profile
from retrain_trigger.store.registry import Registry

POINTER = Pointer(
    generation=7,
    version="v1",
    path="v1/model.joblib",
    sha256="ab",
    previous="v0",
    promoted_at="2026-03-01T12:00:00Z",
    run="r7",
)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models", tmp_path / "models/champion.json")


@pytest.fixture
def private_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


PROFILE = Profile(rows=3, columns={}, labels={})


def seal(registry: Registry, version: str, content: bytes = b"a model") -> str:
    model = registry.folder.parent / f"{version}.trained"
    model.write_bytes(content)
    log = registry.folder.parent / "train.log"
    log.write_text("trained\n")
    return registry.seal(Card(run="r", version=version), model=model, profile=PROFILE, log=log)


def test_a_sealed_version_is_whole_read_only_and_what_was_trained(registry: Registry) -> None:
    digest = seal(registry, "v1")
    folder = registry.folder / "v1"
    assert {path.name: oct(path.stat().st_mode)[-3:] for path in folder.iterdir()} == dict.fromkeys(
        ("model.joblib", "card.json", "profile.json", "train.log"), "444"
    )
    assert oct(folder.stat().st_mode)[-3:] == "555"
    assert registry.model("v1").read_bytes() == b"a model"
    assert registry.card("v1") == Card(run="r", version="v1", sha256=digest)
    assert registry.profile("v1") == PROFILE
    assert registry.verified("v1") == digest
    assert [path.name for path in registry.folder.iterdir()] == ["v1"]


@pytest.mark.usefixtures("private_umask")
def test_another_user_can_read_pointer_and_model_whatever_the_umask(registry: Registry) -> None:
    seal(registry, "v1")
    registry.point_at(POINTER)
    for path in registry.pointer, registry.model("v1"):
        assert path.stat().st_mode & 0o444 == 0o444
    assert registry.model("v1").parent.stat().st_mode & 0o555 == 0o555


def test_changed_bytes_are_noticed(registry: Registry) -> None:
    seal(registry, "v1")
    model = registry.model("v1")
    model.chmod(0o644)
    model.write_bytes(b"A model")
    with pytest.raises(PromotionError, match="model of v1 is not the file that was sealed"):
        registry.verified("v1")
    model.parent.chmod(0o755)
    model.unlink()
    with pytest.raises(PromotionError, match="model of v1 cannot be read"):
        registry.verified("v1")
    model.symlink_to("card.json")
    with pytest.raises(PromotionError, match="model of v1 cannot be read"):
        registry.verified("v1")


@pytest.mark.parametrize("version", ["../v1", "v1/../v1", "v1/", "/etc", ".", "..", "", "v2", ".staging-v3"])
def test_a_version_is_a_name_in_the_registry_and_no_path(registry: Registry, version: str) -> None:
    seal(registry, "v1")
    (registry.folder.parent / "v1").mkdir()
    (registry.folder.parent / "v1/card.json").write_text('{"sha256": ""}')
    (registry.folder / ".staging-v3").mkdir()
    (registry.folder / ".staging-v3/card.json").write_text('{"sha256": ""}')
    assert registry.versions() == ["v1"]
    with pytest.raises(PromotionError, match="there is no version"):
        registry.verified(version)


def test_a_version_is_sealed_once(registry: Registry) -> None:
    seal(registry, "v1")
    with pytest.raises(OSError, match="v1"):
        seal(registry, "v1", b"another model")
    assert registry.model("v1").read_bytes() == b"a model"


def test_what_a_crash_left_half_copied_is_no_version_and_is_cleared(registry: Registry) -> None:
    seal(registry, "v1")
    half = registry.folder / ".staging-v2"
    half.mkdir()
    (half / "model.joblib").write_bytes(b"hal")
    assert registry.versions() == ["v1"]
    assert seal(registry, "v2"), "and does not stop a second try"
    half.mkdir()
    for name in (".champion.json.1.tmp", "..champion.json.spare.1.tmp"):
        registry.pointer.with_name(name).write_bytes(b"hal")
    registry.clear_staging()
    assert sorted(path.name for path in registry.folder.iterdir()) == ["v1", "v2"]


def test_a_model_that_is_a_link_is_not_sealed(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "model").symlink_to("secret")
    with pytest.raises(OSError, match="model"):
        registry.seal(Card(version="v1"), model=tmp_path / "model", profile=None, log=None)
    assert registry.versions() == []


def test_an_adopted_model_has_neither_profile_nor_log(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "production").write_bytes(b"a model")
    registry.seal(Card(version="v1"), model=tmp_path / "production", profile=None, log=None)
    assert registry.profile("v1") is None
    assert sorted(path.name for path in (registry.folder / "v1").iterdir()) == ["card.json", "model.joblib"]


def test_the_pointer_is_the_documented_file(registry: Registry) -> None:
    assert registry.champion() is None
    registry.point_at(POINTER)
    assert json.loads(registry.pointer.read_text()) == {
        "schema": 1,
        "generation": 7,
        "version": "v1",
        "path": "v1/model.joblib",
        "sha256": "ab",
        "previous": "v0",
        "promoted_at": "2026-03-01T12:00:00Z",
        "run": "r7",
    }
    assert registry.champion() == POINTER
    registry.point_at(replace(POINTER, generation=8, previous=None))
    assert registry.champion() == replace(POINTER, generation=8, previous=None)


def test_the_path_in_the_pointer_is_relative_to_the_pointer(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "store/models", tmp_path / "service/champion.json")
    (tmp_path / "store").mkdir()
    seal(registry, "v1")
    registry.point_at(replace(POINTER, path=registry.relative_path("v1")))
    pointer = registry.champion()
    assert pointer is not None
    assert not Path(pointer.path).is_absolute()
    assert (registry.pointer.parent / pointer.path).read_bytes() == b"a model"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"generation": 7, "vers',
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"7",
        POINTER.encoded().replace(b'"run"', b'"runs"'),
        POINTER.encoded().replace(b'"schema": 1', b'"schema": 2'),
        POINTER.encoded().replace(b'"generation": 7', b'"generation": "7"'),
        POINTER.encoded().replace(b"2026-03-01T12:00:00Z", b"yesterday"),
        POINTER.encoded().replace(b'"v1"', b"null"),
    ],
)
def test_what_is_no_pointer_is_named_and_not_guessed_at(registry: Registry, content: bytes) -> None:
    registry.folder.mkdir()
    registry.pointer.write_bytes(content)
    with pytest.raises(PromotionError, match=r"pointer .*champion\.json cannot be read"):
        registry.champion()
    assert registry.pointer.read_bytes() == content


def test_every_document_says_its_schema_and_one_without_is_of_the_first(registry: Registry) -> None:
    seal(registry, "v1")
    card, profile = registry.folder / "v1/card.json", registry.folder / "v1/profile.json"
    assert [json.loads(path.read_text())["schema"] for path in (card, profile)] == [2, 2]
    card.chmod(0o644)
    card.write_text('{"run": "r"}')
    assert registry.card("v1") == Card(run="r")


def test_a_profile_of_the_first_schema_is_read(registry: Registry) -> None:
    seal(registry, "v1")
    profile = registry.folder / "v1/profile.json"
    profile.chmod(0o644)
    profile.write_text(
        '{"schema": 1, "rows": 9, "columns": {"a": {"type": "text", "missing": 1, "values": ["x"]}}, "labels": {"1": 9}, '
        '"watched": {"a": {"bins": {"kind": "category", "values": ["x"]}, "counts": [7, 1, 1]}, "b": {"bins": '
        '{"kind": "number", "edges": [1.0, 2.5], "atoms": [1.0], "low": 0.0, "high": 9.0}, "counts": [1, 2, 3, 3, 0]}}}'
    )
    assert registry.profile("v1") == Profile(
        rows=9,
        columns={"a": ColumnCounts("text", 1, values=("x",))},
        labels={"1": 9},
        watched={
            "a": Watched(Bins.categorical({"x": 1}), Histogram((7, 1, 1))),
            "b": Watched(Bins.numeric([2.5], [1.0], low=0.0, high=9.0), Histogram((1, 2, 3, 3, 0))),
        },
    )


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema": 3}', '{"seconds": 1, "trained_at": 7}'])
def test_a_broken_card_is_named(registry: Registry, content: str) -> None:
    seal(registry, "v1")
    card = registry.folder / "v1/card.json"
    card.chmod(0o644)
    card.write_text(content)
    with pytest.raises(PromotionError, match=r"v1/card\.json"):
        registry.verified("v1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"promoted_at": "0001-01-01T00:00:00+14:00"},
        {"promoted_at": "9999-12-31T23:59:59-14:00"},
        {"previous": {"version": "v0"}},
    ],
)
def test_a_pointer_with_a_value_that_cannot_be_is_said_to_be_unreadable(
    registry: Registry, wrong: dict[str, Any]
) -> None:
    registry.folder.mkdir()
    registry.pointer.write_text(json.dumps({**json.loads(POINTER.encoded()), **wrong}))
    with pytest.raises(PromotionError, match="cannot be read"):
        registry.champion()


def test_a_folder_that_takes_no_new_version_is_said_before_a_training(registry: Registry) -> None:
    registry.check_writable()  # it can still be made
    with tempfile.TemporaryDirectory() as own:  # where another user may go: root may write everywhere
        Path(own).chmod(0o555)
        locked = Registry(Path(own), Path(own) / "champion.json")
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                os.setuid(65534 if os.geteuid() == 0 else os.geteuid())
                locked.check_writable()
                os._exit(0)
            os._exit(6)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 6
        Path(own).chmod(0o700)
