"""The fastest JSON that keeps what learners' states may hold.

orjson alone would not: it writes NaN as null, reads integers of more than 64 bits as floats, and knows no tuples with
names. A text that it can't be trusted with is written by simplejson, and begins with a space, which JSON allows: so
reading needs no second look at the others.
"""

from __future__ import annotations

from typing import Any

import orjson
import simplejson

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def is_plain(fields: dict[str, Any]) -> bool:
    """Tell whether orjson writes these fields as they are."""
    try:
        text = orjson.dumps(fields, option=_OPTIONS)
    except TypeError:
        return False
    # Only what reads as null may have been NaN.
    return b"null" not in text or _has_no_nan(fields)


def encode(state: dict[str, Any], *, is_plain: bool) -> str:
    """Return the text of a state."""
    if is_plain:
        return orjson.dumps(state, option=_OPTIONS).decode()
    return " " + simplejson.dumps(state, allow_nan=True, separators=(",", ":"))


def decode(text: str | None) -> tuple[dict[str, Any], bool]:
    """Return the state, and whether orjson writes it as it was."""
    if text is None:
        return {}, True
    if text[0] == " ":
        return simplejson.loads(text, allow_nan=True), False
    return orjson.loads(text), True


def _has_no_nan(fields: dict[str, Any]) -> bool:
    text = simplejson.dumps(fields, allow_nan=True)
    return "NaN" not in text and "Infinity" not in text
