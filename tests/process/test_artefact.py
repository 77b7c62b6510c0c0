import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from retrain_trigger.core.errors import TrainingError
from retrain_trigger.process import artefact
from retrain_trigger.process.artefact import Expected


def expected(output: Path, named: Path | None = None) -> Expected:
    return Expected(output, named, artefact.identity(named), time.time_ns())


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


@pytest.mark.parametrize(
    ("leave", "said"),
    [
        (Path.exists, "no model at RETRAIN_OUTPUT"),
        (lambda path: path.touch(), "an empty file at"),
        (lambda path: path.mkdir(), "a folder at"),
        (lambda path: path.symlink_to("/etc/hostname"), "a symbolic link at"),
        (lambda path: path.symlink_to("nowhere"), "a symbolic link at"),
        (os.mkfifo, "a pipe at"),
        (bound, "a socket at"),
    ],
)
def test_what_is_no_model_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave: Callable[[Path], None], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    leave(tmp_path / "model")
    with pytest.raises(TrainingError, match=f"exited with 0 but left {said}"):
        artefact.found(expected(tmp_path / "model"), command="make", log=tmp_path / "log")


def test_a_link_that_the_settings_name_is_followed_to_a_new_model(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    link = tmp_path / "latest"
    link.symlink_to("old")
    where = expected(tmp_path / "output", link)
    with pytest.raises(TrainingError, match="latest is not newer than its start"):
        artefact.found(where, command="make", log=tmp_path / "log")
    (tmp_path / "new").write_text("new")
    link.unlink()
    link.symlink_to("new")
    assert artefact.found(where, command="make", log=tmp_path / "log") == tmp_path / "new"


def test_discarding_removes_whatever_it_is_and_not_what_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "folder" / "below").mkdir(parents=True)
    for name in ("file", "link", "folder"):
        artefact.discard(tmp_path / name)
        assert not os.path.lexists(tmp_path / name)
    assert (tmp_path / "kept").read_text() == "kept"
