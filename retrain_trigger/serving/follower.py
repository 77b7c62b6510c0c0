"""A pointer, followed: the model that it names, loaded beside the requests and exchanged in one step."""

import math
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from retrain_trigger.serving.complaint import Complaint, in_words, log
from retrain_trigger.serving.served_model import ServedModel, ServingError, decoded, load, read_pointer, signature

OVERDUE = 3
"""Looks that may be missed before a request looks itself, where there must be a model (the process was frozen)."""
_NOTHING = object()
LONGEST_WAIT = 60.0
"""Seconds, at most, until a model that could not be loaded is tried again; the first time after one look, then twice that."""


class Follower:
    """The model that a pointer names; after any error, the last one that could be loaded.

    A thread of its own reads the pointer every `check_every` seconds. It reads the file, some hundred bytes, where a
    look at its time would do on most disks: network file systems answer such a look from memory, for a minute.
    `required`: a missing pointer is an error; otherwise it means that there is no model.
    """

    def __init__(self, pointer: Path, *, check_every: float, required: bool) -> None:
        self.pointer = pointer.absolute()  # a service may change its folder
        self._check_every, self._required = check_every, required
        self._served: ServedModel | None = None
        self._seen: Any = _NOTHING
        self._retry_at, self._wait = math.inf, check_every
        self._overdue = OVERDUE * check_every if required else math.inf
        self._complaint = Complaint()
        self._looked = -math.inf
        self._looking = threading.Lock()
        self._over = threading.Event()
        self.look()
        if required and self._served is None:
            raise ServingError(f"there is no model to serve: {self.error}")
        self._start()
        _followers.add(self)

    @property
    def error(self) -> str | None:
        """Why what the pointer names is not served; None if it is."""
        return self._complaint.cause

    def current(self) -> ServedModel | None:
        """Return the model of now, to answer one request with; never waits for another thread's loading."""
        if time.monotonic() - self._looked > self._overdue and not self._over.is_set():
            self.look()
        return self._served

    def look(self) -> None:
        """Look at the pointer, and load what it names if that is new; whatever is wrong becomes `error`."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._looked = time.monotonic()
            self._follow()
        except ServingError as error:
            self._failed(str(error))
        except Exception as error:  # whatever it is, the last model goes on
            self._failed(in_words(error))
        finally:
            self._looking.release()

    def close(self) -> None:
        """Stop looking, and let the model go."""
        self._over.set()
        self._served = None

    def after_fork(self) -> None:
        """Go on in a forked child, which has no threads but the one that forked and may have locks that nobody holds."""
        over = self._over.is_set()
        self._looking, self._over = threading.Lock(), threading.Event()
        if over:
            self._over.set()
        else:
            self._start()

    def _start(self) -> None:
        threading.Thread(
            target=_watch,
            args=(weakref.ref(self), self._over, self._check_every),
            name=f"retrain-check follows {self.pointer.name}",
            daemon=True,
        ).start()

    def _follow(self) -> None:
        seen = self._read()
        if seen == self._seen and time.monotonic() < self._retry_at:
            return
        if seen != self._seen:
            self._wait = self._check_every
        self._seen, self._retry_at = seen, math.inf
        pointer = None if seen is None else decoded(self.pointer, seen)
        same = pointer is not None and self._served is not None and self._served.pointer == pointer
        fresh = None if same or pointer is None else self._fitting(load(self.pointer, pointer))
        self._complaint.clear()  # before the exchange: whoever sees the new version sees no error of the old one
        if not same:
            self._exchange(fresh)

    def _read(self) -> bytes | None:
        try:
            return read_pointer(self.pointer)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not self._required:
                return None
            self._seen = _NOTHING
            raise ServingError(f"the pointer {self.pointer} cannot be read ({in_words(error)})") from error

    def _fitting(self, served: ServedModel) -> ServedModel:
        """Return a model that takes the rows of the one it replaces. Raises ServingError."""
        if self._required and self._served is not None and signature(served) != signature(self._served):
            raise ServingError(
                f"version {served.version} expects other features ({_features(served)}) than {self._served.version} "
                f"({_features(self._served)}), so it is not for the requests that come; restart the service to use it"
            )
        return served

    def _exchange(self, served: ServedModel | None) -> None:
        before, self._served = self._served, served
        if served is not before:
            names = [each.version if each else "nothing" for each in (served, before)]
            log.info("%s: serves %s, after %s", self.pointer.name, *names)

    def _failed(self, cause: str) -> None:
        self._retry_at = time.monotonic() + self._wait
        self._wait = min(2 * self._wait, LONGEST_WAIT)
        goes_on = f"{self._served.version} goes on" if self._served else "nothing is served"
        self._complaint.say(cause, f"{goes_on}, and {self.pointer} is looked at again")


def _watch(followed: "weakref.ref[Follower]", over: threading.Event, check_every: float) -> None:
    """Look again and again until the follower is closed or nobody has it any more."""
    while not over.wait(check_every):
        follower = followed()
        if follower is None:
            return
        follower.look()
        del follower


def _features(served: ServedModel) -> str:
    names, number = signature(served)
    return ", ".join(names) if names else f"{number} without names"


def _after_fork() -> None:
    for follower in list(_followers):
        follower.after_fork()


_followers: "weakref.WeakSet[Follower]" = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
