"""What the pointer file says: the version in production."""

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from retrain_trigger.core.records import Json

SCHEMA = 1
_NAME = re.compile(r"\w[\w.+-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """What the pointer file says; `path` is relative to the pointer's own folder, `promoted_at` is ISO 8601 UTC."""

    generation: int
    version: str
    path: str
    sha256: str
    previous: str | None
    promoted_at: str
    run: str
    schema: int = SCHEMA

    def encoded(self) -> bytes:
        """Return the bytes of the pointer file."""
        return (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode()

    @classmethod
    def decoded(cls, document: Json) -> "Pointer":
        """Read back what `encoded` wrote. Raises ValueError, TypeError or OverflowError for anything else."""
        pointer = cls(**document)
        if pointer.schema != SCHEMA:
            raise ValueError(f"its schema is {pointer.schema!r}, not {SCHEMA}")
        texts = (pointer.version, pointer.path, pointer.sha256, pointer.promoted_at, pointer.run)
        if not all(isinstance(text, str) for text in texts) or not isinstance(pointer.generation, int):
            raise TypeError("a value is of the wrong type")
        if not isinstance(pointer.previous, str | None):
            raise TypeError("its previous version is no text")
        datetime.fromisoformat(pointer.promoted_at).astimezone(UTC)
        if not _NAME.fullmatch(pointer.version):
            raise ValueError(f"{pointer.version!r} is not the name of a version")
        return pointer
