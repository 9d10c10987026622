"""Messages as bytes of JSON."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from types import UnionType
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Raw

from xblock_user_state.wire.http import VERSION
from xblock_user_state.wire.values import DamagedMessage

_encode = msgspec.json.Encoder().encode

Message = TypeVar("Message")


def encode(message: object) -> bytes:
    """Return the JSON of a message. Raises ``UnicodeEncodeError``, a ``ValueError``, for a key that no text can be."""
    return _encode(message)


def decode(kind: type[Message] | UnionType, body: bytes | str) -> Message:
    """Return the message of this class, or union of classes, in a body. Raises `DamagedMessage`."""
    try:
        # msgspec looks for no bytes that are not UTF-8 in the values that it leaves undecoded.
        text = body if isinstance(body, str) else str(body, "utf-8")
        found: Message = decoder(cast("Hashable", kind)).decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        name = "JSON" if kind is Raw else f"{getattr(kind, '__name__', 'line')} of version {VERSION}"
        raise DamagedMessage(f"the message is no {name}: {error}") from error
    return found


@lru_cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return the decoder of a class, or union of classes: one for all threads."""
    return msgspec.json.Decoder(kind)
