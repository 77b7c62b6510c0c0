"""What can break. A break is raised once and translated to an exit code once, in `cli`."""

import errno
from typing import ClassVar, Final

from retrain_trigger.core.outcomes import ExitCode

_NO_LOCKS = (
    "that file system keeps no locks, as some network disks: let `state` in config.yaml name a folder on a disk of this "
    "machine"
)
_REMEDIES: Final = {
    errno.EACCES: "run this as the user who owns it, or change its permissions",
    errno.EPERM: "run this as the user who owns it, or change its permissions",
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room within the quota",
    errno.EROFS: "make that file system writable",
    errno.EIO: "look after that disk",
    errno.ENOENT: "mount or make what should be there",
    errno.ENOLCK: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
    errno.ENOSYS: _NO_LOCKS,
    errno.EMFILE: "let it have more open files (ulimit -n)",
    errno.ENOTDIR: "move away what is there, or mount what should be",
}


def refused(error: OSError) -> str:
    """Say what the system refused, where, and what to do.

    >>> refused(PermissionError(errno.EACCES, "Permission denied", "models"))
    'models: Permission denied; run this as the user who owns it, or change its permissions'
    """
    seen = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{seen}; {remedy}" if remedy else seen


class RetrainCheckError(Exception):
    """A break with a message for the person who reads it: what was seen, and what to do."""

    code: ClassVar[ExitCode] = ExitCode.BUG


class UsageError(RetrainCheckError):
    """The command line or config.yaml is wrong."""

    code = ExitCode.USAGE


class ConfigError(UsageError):
    """Every mistake in config.yaml, in the order of its lines."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


class CannotJudgeError(RetrainCheckError):
    """A log is missing or unreadable."""

    code = ExitCode.CANNOT_JUDGE


class DataError(RetrainCheckError):
    """Labelled data cannot be read."""

    code = ExitCode.DATA_REFUSED


class TrainingError(RetrainCheckError):
    """The training command failed, timed out, or left no model."""

    code = ExitCode.TRAINING_FAILED


class PromotionError(RetrainCheckError):
    """Comparison or promotion could not be done; the champion is untouched."""

    code = ExitCode.NOT_PROMOTED


class LedgerError(PromotionError):
    """The ledger cannot be used: damaged, not to be written to, or of a newer version."""


class LiveModelError(PromotionError):
    """What is live is not what was promoted: the model or the pointer is gone, changed or unreadable."""


class ConflictError(LiveModelError):
    """The pointer is not what the ledger says: somebody moved it by hand."""


class BusyError(RetrainCheckError):
    """Another run, or a training that outlived its run, is active."""

    code = ExitCode.BUSY
