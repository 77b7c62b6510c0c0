"""A prediction log, written: one line a prediction, in the form that `logs.predictions` expects."""

import json
import math
import os
import secrets
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from retrain_trigger.serving.champion import Answer
from retrain_trigger.serving.complaint import Complaint, in_words
from retrain_trigger.serving.served_model import Rows
from retrain_trigger.serving.shadow import Said
from retrain_trigger.store import files


class PredictionLog:
    """Appends predictions to files in a folder, one for each day (UTC) and process; never raises into a request.

    Lines with a `shadow_prediction` go to a file of their own: who infers columns from the first thousands of lines
    would not see one that begins later. `failed` counts rows that could not be written. With `sync`, a row is on the
    disk when `write` returns; otherwise the last seconds may be lost when the machine (not the process) dies.
    """

    def __init__(self, folder: str | os.PathLike[str], *, sync: bool = False) -> None:
        self.folder = Path(folder).absolute()
        self._sync = sync
        self.failed = 0
        self._complaint = Complaint()
        self._open: dict[bool, _DayFile] = {}
        self.after_fork()
        _logs.add(self)

    @property
    def error(self) -> str | None:
        """Why the last rows could not be written; None if they were."""
        return self._complaint.cause

    def write(
        self, rows: Rows, answer: Answer, *, ids: Sequence[str] | None = None, at: datetime | None = None
    ) -> list[str]:
        """Log the rows of one answer, and return their ids: a label that arrives later is joined by them.

        `ids` None: random ones. `at` None: now. Where a challenger was asked, its answer is waited for, elsewhere.
        """
        names = [str(each) for each in ids] if ids is not None else [uuid4().hex for _ in answer.predictions]
        moment = (at or datetime.now(UTC)).astimezone(UTC)
        try:
            lines = _documents(rows, answer, names, moment)
        except Exception as error:  # no row is worth a failed request
            self._failed(len(names), error)
            return names
        if answer.shadow is None:
            self._append(lines, moment, shadow=None)
        else:
            answer.shadow.add_done_callback(lambda said: self._append(lines, moment, shadow=said.result()))
        return names

    def close(self) -> None:
        """Close the files; a later `write` opens new ones."""
        with self._writing:
            for file in self._open.values():
                file.close()
            self._open.clear()

    def after_fork(self) -> None:
        """Begin files of its own in a forked child."""
        self._writing = threading.Lock()
        self._token = f"{os.getpid()}-{secrets.token_hex(4)}"  # process numbers repeat: in each container it is 1
        for file in self._open.values():
            file.close()
        self._open = {}

    def _append(self, lines: Sequence[dict[str, object]], moment: datetime, *, shadow: Said | None) -> None:
        try:
            if shadow is not None:
                lines = [
                    {**line, "shadow_prediction": _plain(said), "shadow_model": shadow.version}
                    for line, said in zip(lines, shadow.predictions, strict=True)
                ]
            data = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode()
            with self._writing:
                self._file(moment, shadowed=shadow is not None).append(data, sync=self._sync)
        except Exception as error:  # no row is worth a failed request
            self._failed(len(lines), error)
        else:
            self._complaint.clear()

    def _file(self, moment: datetime, *, shadowed: bool) -> "_DayFile":
        day = f"{moment:%Y-%m-%d}"
        file = self._open.get(shadowed)
        if file is None or file.day != day:
            files.make_folder(self.folder)
            name = f"{day}-{self._token}{'-shadow' if shadowed else ''}.jsonl"
            opened = _DayFile(self.folder / name, day)
            if file is not None:
                file.close()
            self._open[shadowed] = file = opened
        return file

    def _failed(self, rows: int, error: Exception) -> None:
        self.failed += rows
        self._complaint.say(f"predictions could not be logged in {self.folder} ({in_words(error)})", "requests go on")


class _DayFile:
    """One file of one day, written by one process."""

    def __init__(self, path: Path, day: str) -> None:
        self.day = day
        self._descriptor = files.open_append(path)
        self._let_go = weakref.finalize(self, os.close, self._descriptor)
        self._torn = False

    def append(self, data: bytes, *, sync: bool) -> None:
        """Append whole lines in one write. Raises OSError if the disk took only a part; the next line begins anew."""
        data = b"\n" + data if self._torn else data
        written = os.write(self._descriptor, data)
        self._torn = 0 < written < len(data)
        if written < len(data):
            raise OSError(f"{written} of {len(data)} bytes were written")
        if sync:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Let the file go."""
        self._let_go()


def _documents(rows: Rows, answer: Answer, ids: Sequence[str], moment: datetime) -> list[dict[str, object]]:
    """Return one JSON object for each row. Raises ValueError if rows, predictions and ids are not as many."""
    at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    scores = answer.scores if answer.scores is not None else [None] * len(ids)
    return [
        {
            "timestamp": at,
            "id": name,
            "prediction": _plain(prediction),
            **({} if score is None else {"score": _plain(score)}),
            "model": answer.version,
            **({"features": {str(key): _plain(value) for key, value in row.items()}} if row else {}),
        }
        for name, row, prediction, score in zip(ids, _mappings(rows, answer), answer.predictions, scores, strict=True)
    ]


def _mappings(rows: Rows, answer: Answer) -> Iterable[Mapping[str, object]]:
    """Return rows as mappings; features without a name are x0, x1, ..."""
    if hasattr(rows, "to_dict"):
        return list(rows.to_dict("records"))
    listed = list(rows)
    if listed and isinstance(listed[0], Mapping):
        return listed
    names = answer.features or [f"x{number}" for number in range(len(listed[0]))] if listed else []
    return [dict(zip(names, row, strict=True)) for row in listed]


def _plain(value: object) -> object:
    """Return a value as JSON has it; NaN and infinity are null, and what JSON does not know is text."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _after_fork() -> None:
    for log in list(_logs):
        log.after_fork()


_logs: "weakref.WeakSet[PredictionLog]" = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
