"""Secrets kept out of what is shown and recorded: values of the environment, and what looks like one in a text."""

import os
import re
from collections.abc import Mapping
from typing import Final

from retrain_trigger.core.records import Json

HIDDEN: Final = "***"
"""What stands in the place of a secret."""

SHORTEST: Final = 8
"""Characters; a shorter value of the environment is not looked for: it would be found in half of all texts."""

PROSE: Final = frozenset({"because", "command", "reason", "adopted_from"})
"""Keys of a record whose texts are for a person; all others are names, paths and hashes that the next run relies on."""


def redacted(text: str) -> str:
    """Return text without the secrets that can be recognised.

    >>> redacted("curl -H 'Authorization: Bearer abcdef123456' https://hooks.example.org/services/T0/B1/x9")
    "curl -H 'Authorization: Bearer ***' https://hooks.example.org/***"
    >>> redacted("postgres://churn:hunter22@db/rows?token=abcdef")
    'postgres://churn:***@db/rows?token=***'
    """
    known = known_secrets(os.environ)
    if known is not None:
        text = known.sub(HIDDEN.encode(), text.encode(errors="surrogatepass")).decode(errors="surrogatepass")
    for pattern, instead in _LOOKS:
        text = pattern.sub(instead, text)
    return text


def redacted_texts(document: Json, *, keys: frozenset[str] | None = None) -> Json:
    """Return a JSON value with its texts redacted; with `keys`, only the texts that stand below one of them."""
    if isinstance(document, Mapping):
        return {
            key: redacted_texts(value, keys=None if keys is None or key in keys else keys)
            for key, value in document.items()
        }
    if isinstance(document, list | tuple):
        return [redacted_texts(value, keys=keys) for value in document]
    return redacted(document) if keys is None and isinstance(document, str) else document


def known_secrets(environment: Mapping[str, str]) -> re.Pattern[bytes] | None:
    """Return the pattern of the values of the variables whose names say that they are secret; None if none is.

    >>> known_secrets({"API_TOKEN": "abcdefgh", "TOKEN_FILE": "/run/token"}).sub(b"-", b"it is abcdefgh")
    b'it is -'
    """
    values = {
        line.strip().encode(errors="surrogateescape")
        for name, value in environment.items()
        if _SECRET.search(name) and not _PLACE.search(name) and not value.startswith(("/", "~"))
        for line in value.splitlines()
    }
    longest_first = sorted((value for value in values if len(value) >= SHORTEST), key=len, reverse=True)
    return re.compile(b"|".join(map(re.escape, longest_first))) if longest_first else None


_SECRET = re.compile(r"SECRET|TOKEN|PASSW|PASSPHRASE|CREDENTIAL|KEY|HOOK|DSN|AUTH|COOKIE", re.IGNORECASE)
_PLACE = re.compile(r"(?:PATH|FILE|DIR|FOLDER|SOCK|AUTHORITY)$", re.IGNORECASE)
_LOOKS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"(https?://[^\s/'\"]*hook[^\s/'\"]*/)[^\s'\"]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(https?://[^\s/'\"]+/)[^\s'\"]*hook[^\s'\"]*", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(://[^/\s:@'\"]{0,200}:)[^@\s/'\"]+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"((?:token|secret|password|passwd|api[_-]?key|access[_-]?key)[\"']?\s?[=:]\s?[\"']?)[^\s\"'&;,)]{4,}",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)
