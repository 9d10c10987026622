"""Maps the values of the old tables: states, scores and fields."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from xblock_user_state.openedx.old.reasons import Reason
from xblock_user_state.state import codec

_SHOWN = 200
"""Characters of a broken text in the report."""


def excerpt(text: str) -> str:
    """Return the beginning of a text, for the report."""
    return f"{text[:_SHOWN]!r}" + (f"… ({len(text):,} characters)" if len(text) > _SHOWN else "")


# The row repeats its newest entry, and until 2022 a submission was saved in two entries.
@lru_cache(2)
def state_text(text: str | None) -> tuple[str | None, Reason | None]:
    """Return the text of a state as the client writes it, and the reason if that is not what the old row says.

    NULL and ``{}`` stay apart: a state that never was, and one whose fields were all deleted.
    """
    if text is None:
        return None, None
    try:
        normal = codec.normal_text(text)
    # Nested more deeply than Python's stack.
    except (codec.NotAState, RecursionError):
        return None, Reason.BROKEN_STATE
    return normal, Reason.NAN_WORDS if has_nan_words(text) else None


def has_nan_words(text: str) -> bool:
    """Tell whether a JSON text has NaN or infinities, which are not JSON, outside of its strings."""
    if "NaN" not in text and "Infinity" not in text:
        return False
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return True
    return False


def number(value: Any) -> float | None:
    """Return a grade or a maximum. Raises ``ValueError`` if it is no finite number."""
    if value is None:
        return None
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{value!r} is not finite")
    return found


def higher_score(
    scores: Iterable[tuple[float | None, float | None]],
) -> tuple[float | None, float | None]:
    """Return the score with the most points; the first of several."""
    return max(scores, key=lambda score: -math.inf if score[0] is None else score[0])
