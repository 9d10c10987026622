"""How a history entry's body is stored. Its ``encoding`` says how, so that encodings can mix in one table."""

from __future__ import annotations

PLAIN = 0
"""The body is the JSON text of the state in UTF-8; NULL where there never was state."""


def encode_body(text: str | None) -> bytes | None:
    """Return the body that stores `text` in the plain encoding."""
    return None if text is None else text.encode()


def decode_body(encoding: int, body: bytes | memoryview | None) -> str | None:
    """Return the text that a body stores. Raises ``ValueError`` for an encoding that this version doesn't know."""
    if encoding != PLAIN:
        raise ValueError(f"a history entry has the encoding {encoding}, which this version can't read; upgrade it")
    return None if body is None else bytes(body).decode()
