"""Scores from the runtime's ``grade`` events."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from xblock_user_state.clients.arguments import new_score
from xblock_user_state.state.change import Score


class Grade(NamedTuple):
    """A grade event. `user_id` is ``None`` unless the event names a learner."""

    score: Score
    user_id: Any
    only_if_higher: bool


def grade_of(event: Any) -> Grade:
    """Read a grade event. ``None`` for both values removes the score.

    Raises ``TypeError`` or ``ValueError`` for a malformed event: one without both values, or with a value that is not a
    finite number. A score without its maximum can't be compared with others, and an invented maximum would pass for the
    block's own.
    """
    if not isinstance(event, Mapping):
        raise TypeError(f"it must be a dict, not {reprlib.repr(event)}")
    try:
        value, max_value = event["value"], event["max_value"]
    except KeyError as error:
        raise ValueError(f"it has no {error}; it needs value and max_value") from None
    if value is not None and max_value is None:
        raise ValueError(f"max_value is None but value is {reprlib.repr(value)}; give both, or None for both")
    score = new_score(value, max_value).score or Score(None, None)
    return Grade(score, event.get("user_id"), bool(event.get("only_if_higher")))


def is_at_least(score: Score, other: Score) -> bool:
    """Tell whether `score` is at least `other`, as shares of their maxima. No score is less than any score."""
    if other.grade is None or score.grade is None:
        return other.grade is None
    # No share can be made of a maximum of 0, or of none: it counts as 1.
    return score.grade * (other.max_grade or 1) >= other.grade * (score.max_grade or 1)
