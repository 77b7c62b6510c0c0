"""The champion, followed: what an inference service asks."""

import os
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from retrain_trigger.serving.follower import Follower
from retrain_trigger.serving.served_model import Answers, Rows, ServedModel, ServingError
from retrain_trigger.serving.shadow import Said, Shadow

CHECK_EVERY = 0.5
"""Seconds between two looks at the pointer."""
CHALLENGER = "challenger.json"
"""The pointer of the challenger in shadow mode, beside the champion's."""


def follow(pointer: str | os.PathLike[str], *, check_every: float = CHECK_EVERY, shadow: bool = False) -> "Champion":
    """Load the champion that a pointer names, and go on following the pointer.

    `check_every` is in seconds. With `shadow`, the challenger of `challenger.json` beside the pointer, while there is
    one, is asked as well. Raises ServingError if there is no model to begin with.
    """
    return Champion(Path(pointer), check_every=check_every, shadow=shadow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one version predicted for the rows of one request.

    `scores` are the positive label's probabilities, None if they were not asked for or the model has none.
    `shadow` will hold what the challenger said; None if it was not asked.
    """

    predictions: Answers
    version: str
    features: tuple[str, ...] | None = None
    scores: Sequence[float] | None = None
    shadow: "Future[Said | None] | None" = None


class Champion:
    """The model that the pointer names, whichever that is; safe to share among threads and to fork.

    `rows` are a list of mappings, a DataFrame, or whatever the model takes. Rows by name are put into the order of
    the very model that answers.
    """

    def __init__(self, pointer: Path, *, check_every: float, shadow: bool) -> None:
        if not check_every > 0:
            raise ValueError(f"check_every is {check_every!r} seconds; it must be above 0")
        self._follower = Follower(pointer, check_every=check_every, required=True)
        self.shadow = Shadow(pointer.with_name(CHALLENGER), check_every=check_every) if shadow else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def served(self) -> ServedModel:
        """The model of now with its version: take it once where several questions must go to the same model."""
        served = self._follower.current()
        if served is None:
            raise ServingError("this champion was closed")
        return served

    @property
    def version(self) -> str:
        """The version of now."""
        return self.served.version

    @property
    def error(self) -> str | None:
        """Why the version that the pointer names is not served, the last one is; None if all is well."""
        return self._follower.error

    def answer(self, rows: Rows, *, scores: bool = False) -> Answer:
        """Return predictions together with the version that made them; `scores` asks for probabilities as well."""
        served = self.served
        table = served.table(rows)
        predictions = served.model.predict(table)
        return Answer(
            predictions=predictions,
            version=served.version,
            features=served.features,
            scores=served.scores(table) if scores else None,
            shadow=self.shadow.ask(rows) if self.shadow else None,
        )

    def predict(self, rows: Rows) -> Answers:
        """Return the predictions alone; the challenger is not asked."""
        return self.served.predict(rows)

    def predict_proba(self, rows: Rows) -> Answers:
        """Return the probabilities of all classes. Raises AttributeError if the model gives none."""
        served = self.served
        return served.model.predict_proba(served.table(rows))

    def close(self) -> None:
        """Stop following and let the model files go; what is asked afterwards raises ServingError."""
        self._follower.close()
        if self.shadow:
            self.shadow.close()
