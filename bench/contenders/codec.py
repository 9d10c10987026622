"""The fastest JSON codec that keeps every value a state may hold.

orjson alone would lose values: it writes NaN as null, reads integers of more than 64 bits as floats, and does not know
named tuples. Such states are written by simplejson, with a leading space, which JSON allows. Decoding looks at that
space to choose the library.
"""

from __future__ import annotations

from typing import Any

import orjson
import simplejson

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def is_plain(fields: dict[str, Any]) -> bool:
    """Tell whether orjson writes these fields without loss."""
    try:
        text = orjson.dumps(fields, option=_OPTIONS)
    except TypeError:
        return False
    # orjson writes NaN as null, so a text without null had none.
    return b"null" not in text or _has_no_nan(fields)


def encode(state: dict[str, Any], *, is_plain: bool) -> str:
    """Return the JSON text of a state; `is_plain` says that orjson may write it."""
    if is_plain:
        return orjson.dumps(state, option=_OPTIONS).decode()
    return " " + simplejson.dumps(state, allow_nan=True, separators=(",", ":"))


def decode(text: str | None) -> tuple[dict[str, Any], bool]:
    """Return the state, and whether orjson may write it again."""
    if text is None:
        return {}, True
    if text[0] == " ":
        return simplejson.loads(text, allow_nan=True), False
    return orjson.loads(text), True


def _has_no_nan(fields: dict[str, Any]) -> bool:
    text = simplejson.dumps(fields, allow_nan=True)
    return "NaN" not in text and "Infinity" not in text
