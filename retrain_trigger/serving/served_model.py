"""A model that answers requests, with the version that it is; they never come apart."""

import fcntl
import hashlib
import io
import json
import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain_trigger.core.pointer import Pointer
from retrain_trigger.counts.words import word
from retrain_trigger.serving.complaint import in_words
from retrain_trigger.store import files

_BINARY = 2  # a score is for two classes

POINTER_SIZE = 1 << 16
"""Bytes that a pointer file may have."""


Model = Any
"""An unpickled model: whatever predicts."""

Rows = Any
"""What a service is asked: a DataFrame, a list of mappings from feature to value, or what else the model takes."""

Answers = Any
"""What a model gives: an array, a list, a frame."""


class ServingError(Exception):
    """A model cannot be served; the message says what was seen and what was expected."""


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True)
class ServedModel:
    """A loaded model and the pointer that named it; while this lives, its file is locked (shared).

    `features` are the names that the model expects, in order; None if it does not say. `positive` is the place of
    the positive label in `model.classes_`; None if there are not two classes or it is not known.
    """

    pointer: Pointer
    model: Model
    features: tuple[str, ...] | None
    positive: int | None

    @property
    def version(self) -> str:
        """The version, as the pointer and the prediction log call it."""
        return self.pointer.version

    def predict(self, rows: Rows) -> Answers:
        """Return what the model predicts; `rows` as in `table`."""
        return self.model.predict(self.table(rows))

    def scores(self, rows: Rows) -> list[float] | None:
        """Return the positive label's probability of each row; None if the model does not give it."""
        if self.positive is None or not hasattr(self.model, "predict_proba"):
            return None
        return [float(each[self.positive]) for each in self.model.predict_proba(self.table(rows))]

    def table(self, rows: Rows) -> Rows:
        """Return rows as the model expects them: columns by name, in its order.

        A list of mappings becomes a DataFrame, a DataFrame is cut to the model's columns; anything else is handed on
        as it is. Raises ValueError if a row lacks a feature (`None` is how to say that a value is missing).
        """
        if _are_mappings(rows):
            return self._frame(rows)
        if self.features is not None and hasattr(rows, "columns") and tuple(rows.columns) != self.features:
            absent = [name for name in self.features if name not in rows.columns]
            if absent:
                raise ValueError(f"the rows have no column {absent[0]!r}, which version {self.version} needs")
            return rows[list(self.features)]
        return rows

    def _frame(self, rows: Sequence[Mapping[str, object]]) -> Rows:
        import pandas as pd  # noqa: PLC0415  (a service that sends arrays does without)

        names = self.features or tuple(rows[0])
        for number, row in enumerate(rows):
            if absent := [name for name in names if name not in row]:
                raise ValueError(f"row {number} has no {absent[0]!r}, which version {self.version} needs")
        return pd.DataFrame([[row[name] for name in names] for row in rows], columns=list(names))


def read_pointer(path: Path) -> bytes:
    """Read the bytes of a pointer file. Raises OSError, and ServingError if they cannot be those of a pointer."""
    with files.open_regular(path) as file:
        found = file.read(POINTER_SIZE + 1)
    if len(found) > POINTER_SIZE:
        raise ServingError(f"{path} has more than {POINTER_SIZE} bytes: it is no pointer")
    return found


def decoded(path: Path, found: bytes) -> Pointer:
    """Return the pointer that these bytes are. Raises ServingError."""
    try:
        return Pointer.decoded(json.loads(found))
    except (ValueError, TypeError, RecursionError) as error:
        raise ServingError(f"{path} is not a pointer ({in_words(error)})") from error


def load(path: Path, pointer: Pointer) -> ServedModel:
    """Load the model that a pointer names, from bytes that were hashed before they are trusted.

    `path` is the pointer's own. The model is read into memory once, and the same bytes are hashed and unpickled:
    nobody can exchange them in between. What decides is the hash, so the model may lie outside of the pointer's
    folder (`model.folder`). Whoever may write the pointer decides what runs in the service. Raises ServingError.
    """
    if Path(pointer.path).is_absolute():
        raise ServingError(f"{path} names the absolute path {pointer.path!r}; it must be relative to the pointer")
    place = path.parent / pointer.path
    try:
        lock, data = _locked_bytes(place)
    except (OSError, ValueError, MemoryError) as error:
        raise ServingError(f"the model of {pointer.version} cannot be read ({in_words(error)})") from error
    try:
        served = _unpickled(place, pointer, data)
    except BaseException:
        os.close(lock)
        raise
    weakref.finalize(served, os.close, lock).atexit = False  # the last request that uses it lets the file go
    return served


def signature(served: ServedModel) -> tuple[Any, ...]:
    """Return what the rows of a request must be like for this model: its feature names, in order, and their number."""
    names = served.features
    return names, len(names) if names else getattr(served.model, "n_features_in_", None)


def _are_mappings(rows: Rows) -> bool:
    return isinstance(rows, Sequence) and not isinstance(rows, str) and bool(rows) and isinstance(rows[0], Mapping)


def _locked_bytes(place: Path) -> tuple[int, bytes]:
    """Read a model file; its descriptor stays open with a shared lock, so that it counts as in use."""
    with files.open_regular(place) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"{place} is being removed") from None
        except OSError:  # a file system without locks
            pass
        data = file.read()
        return os.dup(file.fileno()), data


def _unpickled(place: Path, pointer: Pointer, data: bytes) -> ServedModel:
    found = hashlib.sha256(data).hexdigest()
    if found != pointer.sha256:
        raise ServingError(f"the bytes of {place} have SHA-256 {found}, and the pointer says {pointer.sha256}")
    try:
        import joblib  # noqa: PLC0415  (importing this module must cost nothing)

        model = joblib.load(io.BytesIO(data))
        names = getattr(model, "feature_names_in_", None)
        features = None if names is None else tuple(str(name) for name in names)
        positive = _positive(model, _card(place))
    except (Exception, SystemExit) as error:
        raise ServingError(f"the model of {pointer.version} cannot be loaded ({in_words(error)})") from error
    if not callable(getattr(model, "predict", None)):
        raise ServingError(f"the model of {pointer.version} is a {type(model).__name__} and has no predict")
    return ServedModel(pointer=pointer, model=model, features=features, positive=positive)


def _card(place: Path) -> Mapping[str, object]:
    with suppress(OSError, ValueError), files.open_regular(place.with_name("card.json")) as file:
        card = json.load(file)
        return card if isinstance(card, dict) else {}
    return {}


def _positive(model: Model, card: Mapping[str, object]) -> int | None:
    """Return the place of the positive label: what the card says, else 1 or true."""
    classes = [word(str(label)) for label in getattr(model, "classes_", ())]
    positive = card.get("positive") or "1"
    return classes.index(positive) if len(classes) == _BINARY and positive in classes else None
