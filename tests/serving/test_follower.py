import math
from pathlib import Path

import pytest
from serving.test_serving import Models

from retrain_trigger.serving import follower
from retrain_trigger.serving.follower import Follower

LONG = 50.0  # seconds until its own thread looks: no test takes as long


def test_a_new_pointer_is_tried_soon_whatever_the_one_before_came_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("retrain_trigger.serving.follower.time.monotonic", lambda: now[0])
    monkeypatch.setattr(follower, "LONGEST_WAIT", math.inf)
    models = Models(tmp_path)
    models.promote("one")
    following = Follower(models.registry.pointer, check_every=LONG, required=True)
    try:

        def look(after: float) -> str | None:
            now[0] += after
            following.look()
            served = following.current()
            return served.version if served else None

        folder = models.registry.folder
        lost = models.seal("lost")
        (folder / "lost").rename(folder / "put-away")
        models.registry.point_at(lost)
        assert [look(after) for after in (1, LONG, 2 * LONG, 4 * LONG)] == ["one"] * 4
        late = models.seal("late")
        (folder / "late").rename(folder / "on-its-way")
        models.registry.point_at(late)
        assert look(1) == "one"
        (folder / "on-its-way").rename(folder / "late")
        assert look(LONG - 1) == "one"
        assert look(2) == "late"
    finally:
        following.close()
