"""What can break. A break is raised once and translated to an exit code once, in `cli`."""

from typing import ClassVar

from retrain_trigger.outcomes import ExitCode


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


class ConflictError(PromotionError):
    """The pointer is not what the ledger says: somebody moved it by hand."""


class BusyError(RetrainCheckError):
    """Another run, or a training that outlived its run, is active."""

    code = ExitCode.BUSY
