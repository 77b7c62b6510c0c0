import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrain_trigger.core.errors import BusyError
from retrain_trigger.store import files, lock


@pytest.fixture
def private_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "champion.json"
    files.write(path, b"old, and longer than the new")
    with path.open("rb") as reader:
        files.write(path, b"new")
        assert reader.read() == b"old, and longer than the new", "who has it open keeps reading the old one"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    (path / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        files.write(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]
    assert (path / "inside").is_dir()


def test_a_leftover_of_a_crash_does_not_stop_a_write(tmp_path: Path) -> None:
    (tmp_path / f".champion.json.{os.getpid()}.tmp").write_bytes(b"half")
    files.write(tmp_path / "champion.json", b"new")
    assert {each.name for each in tmp_path.iterdir()} == {"champion.json"}


def test_a_write_replaces_a_link_and_never_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"untouched")
    (tmp_path / "champion.json").symlink_to("elsewhere")
    files.write(tmp_path / "champion.json", b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"untouched"
    assert not (tmp_path / "champion.json").is_symlink()


@pytest.mark.usefixtures("private_umask")
def test_a_private_umask_does_not_hide_what_a_service_must_read(tmp_path: Path) -> None:
    files.write(tmp_path / "champion.json", b"{}")
    assert mode(tmp_path / "champion.json") == 0o644
    files.copy_hashing(tmp_path / "champion.json", tmp_path / "copy")
    assert mode(tmp_path / "copy") == 0o444


@pytest.mark.parametrize("size", [0, 1, files.CHUNK, files.CHUNK + 1])
def test_a_copy_is_hashed_as_it_is_written(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "model").write_bytes(content)
    digest = files.copy_hashing(tmp_path / "model", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert digest == files.sha256(tmp_path / "copy") == hashlib.sha256(content).hexdigest()


def test_a_copy_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"new")
    (tmp_path / "copy").write_bytes(b"old")
    (tmp_path / "link").symlink_to("nowhere")
    for taken in ("copy", "link"):
        with pytest.raises(FileExistsError):
            files.copy_hashing(tmp_path / "model", tmp_path / taken)
    assert (tmp_path / "copy").read_bytes() == b"old"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model"
    match kind:
        case "link":
            (tmp_path / "secret").write_bytes(b"secret")
            path.symlink_to("secret")
        case "pipe":
            os.mkfifo(path)
        case _:
            path.mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="model"):
        files.open_regular(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_published_folder_is_whole_and_read_only(tmp_path: Path) -> None:
    staged = tmp_path / ".staging-v1"
    files.make_folder(staged)
    files.write(staged / "card.json", b"{}")
    files.publish_folder(staged, tmp_path / "v1")
    assert [each.name for each in tmp_path.iterdir()] == ["v1"]
    assert (mode(tmp_path / "v1"), mode(tmp_path / "v1/card.json")) == (0o555, 0o444)


def test_a_published_folder_does_not_take_the_name_of_another(tmp_path: Path) -> None:
    for name in (".staging-v1", "v1"):
        files.make_folder(tmp_path / name)
        files.write(tmp_path / name / "card.json", name.encode())
    with pytest.raises(OSError, match="v1"):
        files.publish_folder(tmp_path / ".staging-v1", tmp_path / "v1")
    assert (tmp_path / "v1/card.json").read_bytes() == b"v1"


def test_a_folder_is_removed_read_only_or_not_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o750)
    (tmp_path / "kept/file").write_bytes(b"")
    (tmp_path / "gone/inner").mkdir(parents=True)
    (tmp_path / "gone/inner/file").write_bytes(b"")
    (tmp_path / "gone/link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "gone/inner").chmod(0o555)
    (tmp_path / "gone").chmod(0o555)
    for name in ("gone", "link", "never was"):
        files.remove_folder(tmp_path / name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["kept", "link"]
    assert (tmp_path / "kept/file").exists()
    assert mode(tmp_path / "kept") == 0o750


def test_folders_are_made_down_to_the_last(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a/b/c", mode=0o700)
    files.make_folder(tmp_path / "a/b/c", mode=0o755)
    assert mode(tmp_path / "a/b/c") == 0o700
    assert mode(tmp_path / "a/b") == 0o755


def test_a_lock_names_its_holder_and_is_free_again_after(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not lock.is_held(path)
    assert not path.exists(), "asking creates nothing"
    with lock.hold(path):
        assert lock.is_held(path)
        inode = path.stat().st_ino
        with pytest.raises(BusyError, match=f"process {os.getpid()}"), lock.hold(path):
            pass
        assert lock.is_held(path), "who was refused does not release it"
    assert not lock.is_held(path)
    with lock.hold(path):
        assert path.stat().st_ino == inode, "two runs would hold two locks of one name"
