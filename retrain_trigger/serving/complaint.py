"""What goes wrong beside the requests, said to the log once."""

import logging

log = logging.getLogger("retrain_trigger.serving")


class Complaint:
    """The cause that something does not work at present; the log hears of it once, until it changes or is gone."""

    def __init__(self) -> None:
        self.cause: str | None = None

    def say(self, cause: str, then: str) -> None:
        """Take note of a cause; where it is another one than the last, log it with what happens then."""
        if cause != self.cause:
            self.cause = cause
            log.error("%s; %s", cause, then)

    def clear(self) -> None:
        """Take note that it works."""
        self.cause = None


def in_words(error: BaseException) -> str:
    """Say an error in one line of bounded length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
