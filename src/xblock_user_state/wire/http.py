"""Names and headers of the service over HTTP, and revisions as entity tags."""

from __future__ import annotations

VERSION = "v1"
"""The first part of each path. Messages of one version only ever gain fields that a reader may ignore."""
JSON = "application/json"
LINES = "application/x-ndjson"
PROBLEM = "application/problem+json"
IDEMPOTENCY_KEY = "Idempotency-Key"
"""The header that names a write: repeated with its key within a day, the write is done once."""
TIMEOUT = "X-Timeout-Ms"
"""The header with the milliseconds that the caller still waits for an answer, from the arrival of the request on."""


def etag(revision: int) -> str:
    """Return the entity tag of a row."""
    return f'"{revision}"'


def revision_of(tag: str) -> int:
    """Return the revision of an entity tag. Raises ``ValueError`` for any other text."""
    digits = tag.strip().removeprefix("W/").removeprefix('"').removesuffix('"')
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
        raise ValueError(f"{tag[:60]!r} is not the entity tag of a state, such as {etag(3)}")
    return int(digits)
