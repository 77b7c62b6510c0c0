"""A challenger in the shadow of the champion: it is asked what the champion was asked, after the answer was given."""

import atexit
import copy
import os
import queue
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from pathlib import Path

from retrain_trigger.serving.complaint import Complaint, in_words
from retrain_trigger.serving.follower import Follower
from retrain_trigger.serving.served_model import Rows

QUEUE = 256
"""Requests that may wait for the challenger; for what comes while they do, it is not asked."""
PATIENCE = 5.0
"""Seconds that a request waits for the challenger before it is logged without."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a challenger said, and its version."""

    predictions: Sequence[object]
    version: str


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    rows: Rows
    answer: "Future[Said | None]"
    deadline: float


class Shadow:
    """Asks the challenger in a thread of its own; neither its errors nor its slowness reach an answer.

    It does share the process with the champion: processor, memory, and a crash of the interpreter.
    `dropped` counts requests that it was not asked for or did not answer in time, `failed` those where it raised.
    """

    def __init__(self, pointer: Path, *, check_every: float) -> None:
        self._follower = Follower(pointer, check_every=check_every, required=False)
        self._complaint = Complaint()
        self.dropped = self.failed = 0
        self._open = True
        self.after_fork()
        _shadows.add(self)

    @property
    def version(self) -> str | None:
        """The challenger's version; None if there is none."""
        served = self._follower.current()
        return served.version if served else None

    @property
    def error(self) -> str | None:
        """Why the challenger cannot be loaded or asked; None if it can, or there is none."""
        return self._follower.error or self._complaint.cause

    def ask(self, rows: Rows) -> "Future[Said | None] | None":
        """Ask for a prediction; None if there is no challenger, or it has too much to do.

        The future is always fulfilled: with None if the challenger raised or took longer than PATIENCE.
        """
        if self._follower.current() is None:
            return None
        try:
            question = _Question(_copied(rows), Future(), time.monotonic() + PATIENCE)
            with self._asking:
                return self._hand_over(question)
        except Exception as error:  # no challenger is worth a failed request
            self._failed(error)
            return None

    def close(self) -> None:
        """Answer what still waits with None, and let the challenger go."""
        self._follower.close()
        with self._asking:
            self._open = False
            for question in list(self._pending):
                self._give_up(question)
            self._waiting.put(None)  # the threads that read these end
            if not self._asked.full():
                self._asked.put_nowait(None)

    def after_fork(self) -> None:
        """Begin anew, in a forked child too: what waits is the parent's, and so are the threads."""
        self._asking = threading.Lock()
        self._asked: queue.Queue[_Question | None] = queue.Queue(QUEUE)
        self._waiting: queue.Queue[_Question | None] = queue.Queue()
        self._pending: set[_Question] = set()
        self._running = False

    def _hand_over(self, question: _Question) -> "Future[Said | None] | None":
        if not self._open:
            return None
        if not self._running:
            self._start()
        if self._asked.full():
            self.dropped += 1
            return None
        self._pending.add(question)
        question.answer.add_done_callback(lambda _: self._pending.discard(question))
        self._asked.put_nowait(question)
        self._waiting.put(question)
        return question.answer

    def _start(self) -> None:
        for work, source in ((self._answer_all, self._asked), (self._await_all, self._waiting)):
            threading.Thread(target=work, args=(source,), name="retrain-check shadow", daemon=True).start()
        self._running = True

    def _answer_all(self, asked: "queue.Queue[_Question | None]") -> None:
        while question := asked.get():
            if not question.answer.done():
                _fulfil(question, self._said(question.rows))

    def _await_all(self, waiting: "queue.Queue[_Question | None]") -> None:
        """Give up what the other thread, stuck in a prediction, cannot give up itself."""
        while question := waiting.get():
            try:
                question.answer.result(max(0.0, question.deadline - time.monotonic()))
            except TimeoutError:
                self._give_up(question)

    def _said(self, rows: Rows) -> Said | None:
        served = self._follower.current()
        if served is None:
            return None
        try:
            predictions = list(served.predict(rows))
        except (Exception, SystemExit) as error:  # a challenger may do anything
            self._failed(error)
            return None
        self._complaint.clear()
        return Said(predictions, served.version)

    def _failed(self, error: BaseException) -> None:
        self.failed += 1
        self._complaint.say(f"the challenger {self.version} could not be asked ({in_words(error)})", "requests go on")

    def _give_up(self, question: _Question) -> None:
        if _fulfil(question, None):
            self.dropped += 1


def _copied(rows: Rows) -> Rows:
    """Return rows that stay as they are when the service goes on working with its own."""
    if isinstance(rows, list):
        return [dict(row) if isinstance(row, Mapping) else copy.copy(row) for row in rows]
    return copy.copy(rows)


def _fulfil(question: _Question, said: Said | None) -> bool:
    """Answer a question unless it has been answered; say whether it had not."""
    try:
        question.answer.set_result(said)
    except InvalidStateError:
        return False
    return True


def _after_fork() -> None:
    for shadow in list(_shadows):
        shadow.after_fork()


def _close_all() -> None:
    """Let what waits be logged before the process ends."""
    for shadow in list(_shadows):
        shadow.close()


_shadows: "weakref.WeakSet[Shadow]" = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
atexit.register(_close_all)
