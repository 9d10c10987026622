"""The runtime's ``grade`` event: what a block says that the learner has earned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opaque_keys.edx.keys import UsageKey

from xblock_user_state.clients.arguments import new_score
from xblock_user_state.state.change import Score


def score_of(event: Mapping[str, Any], block_key: UsageKey) -> Score:
    """Return the score of an event; ``None`` twice takes a score away.

    ``ValueError`` where one of the two is missing: a score without its maximum can't be weighed against others, and a
    maximum that we make up would be taken for the block's. ``TypeError`` or ``ValueError`` for what is no finite
    number.
    """
    try:
        value, max_value = event["value"], event["max_value"]
        return new_score(value, max_value).score or Score(None, None)
    except KeyError as error:
        raise ValueError(f"the grade event of {block_key} has no {error}; it needs value and max_value") from None
    except (TypeError, ValueError) as error:
        raise type(error)(f"the grade event of {block_key}: {error}") from error


def is_at_least(score: Score, other: Score) -> bool:
    """Tell whether a score is as good as another, as the shares of their maxima; one that has none is the least."""
    if other.grade is None or score.grade is None:
        return other.grade is None
    return score.grade * (other.max_grade or 1) >= other.grade * (score.max_grade or 1)
