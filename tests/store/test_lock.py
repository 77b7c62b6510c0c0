import fcntl
from pathlib import Path

import pytest

from retrain_trigger.core.errors import BusyError
from retrain_trigger.store import lock


def test_a_lock_is_held_by_one_and_asking_takes_it_from_nobody(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not lock.is_held(path)
    with lock.hold(path):
        assert lock.is_held(path)
        with pytest.raises(BusyError, match="another run is active"), lock.hold(path):
            pass
    assert not lock.is_held(path)
    assert path.exists(), "two runs would hold two locks of one name"


def test_two_that_ask_at_once_do_not_take_each_other_for_a_run(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not lock.is_held(path)
