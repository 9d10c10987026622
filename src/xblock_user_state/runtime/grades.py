"""Scores from the runtime's ``grade`` events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opaque_keys.edx.keys import UsageKey

from xblock_user_state.clients.arguments import new_score
from xblock_user_state.state.change import Score


def score_of(event: Mapping[str, Any], block_key: UsageKey) -> Score:
    """Return the score of an event; ``None`` for both values removes the score.

    Raises ``ValueError`` if one of the two values is missing: a score without its maximum can't be compared with
    others, and an invented maximum would pass for the block's own. Raises ``TypeError`` or ``ValueError`` for values
    that are not finite numbers.
    """
    try:
        value, max_value = event["value"], event["max_value"]
        return new_score(value, max_value).score or Score(None, None)
    except KeyError as error:
        raise ValueError(f"the grade event of {block_key} has no {error}; it needs value and max_value") from None
    except (TypeError, ValueError) as error:
        raise type(error)(f"the grade event of {block_key}: {error}") from error


def is_at_least(score: Score, other: Score) -> bool:
    """Tell whether `score` is at least `other`, as shares of their maxima. No score is less than any score."""
    if other.grade is None or score.grade is None:
        return other.grade is None
    # No share can be made of a maximum of 0, or of none: it counts as 1.
    return score.grade * (other.max_grade or 1) >= other.grade * (score.max_grade or 1)
