"""Sealed model versions, and the pointer that names the champion."""

import errno
import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from retrain_trigger.core.card import Card
from retrain_trigger.core.errors import PromotionError
from retrain_trigger.core.pointer import Pointer
from retrain_trigger.core.records import Record, decoded, encoded
from retrain_trigger.counts.table import Profile
from retrain_trigger.store import files

MODEL = "model.joblib"
SCHEMA = 2
"""Of a version's card and profile."""
_READABLE = {1, 2}
_STAGING = ".staging-"
_LARGEST = 1 << 20  # bytes of a pointer
_SPARE = 1 << 12
"""Bytes that are kept free for a pointer; its names and paths together are shorter."""
_REMOVED = ".removed-"


@dataclass(frozen=True, slots=True)
class Registry:
    """The folder of sealed versions and the pointer file."""

    folder: Path
    pointer: Path

    def champion(self) -> Pointer | None:
        """Read the pointer; None if there is none. Raises PromotionError when it is torn or not a pointer."""
        try:
            return self._read_pointer()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise PromotionError(f"the pointer {self.pointer} cannot be read ({error})") from error

    def _read_pointer(self) -> Pointer:
        with files.open_regular(self.pointer) as file:
            pointer = Pointer.decoded(json.loads(file.read(_LARGEST)))
        if pointer.path != self.relative_path(pointer.version):
            raise ValueError(f"its path {pointer.path!r} is not that of {pointer.version}")
        return pointer

    def point_at(self, pointer: Pointer) -> None:
        """Flip the pointer in one rename; a full disk has room for it: the spare file is written over instead."""
        files.make_folder(self.pointer.parent)
        if self.pointer.is_dir() and not self.pointer.is_symlink():  # no file takes a folder's name
            self.pointer.rename(self.pointer.with_name(f"{self.pointer.name}.was-a-folder-{pointer.run}"))
        try:
            files.write(self.pointer, pointer.encoded())
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT} or not self._spare.is_file():
                raise
            files.overwrite(self._spare, pointer.encoded())
            files.publish(self._spare, self.pointer)
        self.reserve()

    def reserve(self) -> None:
        """Keep room for one more pointer on the disk; if there is none now, a later promotion tries again."""
        with suppress(OSError):
            if not self._spare.exists():
                files.write(self._spare, b"\n" * _SPARE)

    @property
    def _spare(self) -> Path:
        return self.pointer.with_name(f".{self.pointer.name}.spare")

    def check_writable(self) -> None:
        """Raise PromotionError if no version could be sealed, or the pointer not be replaced."""
        for folder in (self.folder, self.pointer.parent):
            if not files.is_writable(folder):
                raise PromotionError(
                    f"{folder} cannot be written to by this user, or is on a read-only file system; nothing was "
                    f"trained. Run this as the user who owns it, or make it writable"
                )

    def model(self, version: str) -> Path:
        """Return the path of a sealed model."""
        return self.folder / version / MODEL

    def relative_path(self, version: str) -> str:
        """Return the model's path as the pointer writes it."""
        return os.path.relpath(self.model(version), self.pointer.parent)

    def card(self, version: str) -> Card:
        """Read a version's card. Raises PromotionError if it is none."""
        return self._read(Card, version, "card.json")

    def profile(self, version: str) -> Profile | None:
        """Read what is known of the version's training data; None if it was not known (an adopted model)."""
        if not (self.folder / version / "profile.json").exists():
            return None
        return self._read(Profile, version, "profile.json")

    def versions(self) -> list[str]:
        """Return the sealed versions, oldest first; what a link leads to was not sealed here."""
        if not self.folder.is_dir():
            return []
        return sorted(card.parent.name for card in self.folder.glob("[!.]*/card.json") if not card.parent.is_symlink())

    def verified(self, version: str) -> str:
        """Return the hash of a sealed model's bytes; raises PromotionError when it is missing or not what was sealed."""
        if version not in self.versions():
            raise PromotionError(f"there is no version {version!r} in {self.folder}; it has {self.versions()}")
        try:
            found = files.sha256(self.model(version))
        except OSError as error:
            raise PromotionError(f"the model of {version} cannot be read: {error}") from error
        if found != self.card(version).sha256:
            raise PromotionError(f"the model of {version} is not the file that was sealed: its bytes have changed")
        return found

    def is_whole(self, version: str) -> bool:
        """Say whether the model of a version is there, and the file that was sealed."""
        try:
            self.verified(version)
        except PromotionError:
            return False
        return True

    def card_digest(self, version: str) -> str | None:
        """Return the hash that a version's card has for its model, None if the card cannot tell."""
        try:
            return self.card(version).sha256 or None
        except PromotionError:
            return None

    def seal(self, card: Card, *, model: Path, profile: Profile | None, log: Path | None) -> str:
        """Copy a trained model into a version of its own, which the card names, whole or not at all; return its SHA-256."""
        files.make_folder(self.folder)
        staged = self.folder / f"{_STAGING}{card.version}"
        files.remove_folder(staged)
        try:
            return self._sealed(card, staged, model=model, profile=profile, log=log)
        except OSError:
            files.remove_folder(staged)  # a disk that is full needs the room
            raise

    def _sealed(self, card: Card, staged: Path, *, model: Path, profile: Profile | None, log: Path | None) -> str:
        files.make_folder(staged)
        digest = files.copy_hashing(model, staged / MODEL)
        documents = {"card.json": replace(card, sha256=digest), "profile.json": profile}
        for name, document in documents.items():
            if document is not None:
                files.write(staged / name, _written(document))
        if log is not None and log.is_file():  # a training may have removed it
            files.copy_hashing(log, staged / "train.log")
        files.publish_folder(staged, self.folder / card.version)
        return digest

    def rewrite(self, card: Card) -> None:
        """Replace the card of a sealed version, in a registry that no service uses."""
        folder = self.folder / card.version
        folder.chmod(0o755)
        files.write(folder / "card.json", _written(card), mode=0o444)
        folder.chmod(0o555)

    def remove(self, version: str) -> None:
        """Remove a sealed version: out of sight at once, then bit by bit; goes on where it was cut off. Raises OSError.

        When this returns, a power loss does not bring it back.
        """
        hidden = self.folder / f"{_REMOVED}{version}"
        if version in self.versions():
            files.remove_folder(hidden)
            files.rename_folder(self.folder / version, hidden)
        else:
            self.sync()  # the run that hid it may have been killed before that was safe
        files.remove_folder(hidden)
        if hidden.exists():
            raise OSError(f"{hidden} is still there")
        self.sync()

    def sync(self) -> None:
        """Make the names of the versions durable."""
        if self.folder.is_dir():
            files.sync_folder(self.folder)

    def clear_staging(self) -> None:
        """Remove what a crash left half-copied or half-written."""
        for staged in self.folder.glob(f"{_STAGING}*"):
            files.remove_folder(staged)
        for path in (self.pointer, self._spare):
            files.clear_beside(path)

    def _read(self, kind: type[Record], version: str, name: str) -> Record:
        path = self.folder / version / name
        try:
            document = json.loads(path.read_text())
            schema = document.get("schema", SCHEMA)  # the first versions wrote none
            if schema not in _READABLE:
                raise PromotionError(f"{path} is of another retrain-check (schema {schema!r}); upgrade this one")
            return decoded(kind, document)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise PromotionError(f"{path} cannot be read: {error}") from error


def _written(document: Card | Profile) -> bytes:
    text = json.dumps({"schema": SCHEMA, **encoded(document)}, indent=2, sort_keys=True)
    return f"{text}\n".encode()
