"""A learner's progress, computed from states and scores: two statements for the whole course."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xblock_user_state.state import decode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from demo.host.outline import Item
    from xblock_user_state.interface import BlockScore, XBlockUserStateClient

# A view alone can create state: a problem stores its seed. A value in one of these fields means that the learner has
# answered. For other block types a score means it.
ANSWERED_BY = {
    "feedback": "user_vote",
    "poll": "choice",
    "poll_question": "voted",
    "survey": "choices",
    "word_cloud": "submitted",
}


@dataclass(frozen=True)
class Activity:
    """The progress of one learner in one block."""

    item: Item
    answered: bool
    score: BlockScore | None
    is_readable: bool = True
    """False if the stored state is damaged."""

    @property
    def complete(self) -> bool:
        """True after an answer, with full points if the block has a score."""
        return self.answered and (self.score is None or self.score.grade == self.score.max_grade)


def activities(client: XBlockUserStateClient, username: str, items: Iterable[Item]) -> list[Activity]:
    """Return the learner's activity in each of `items`, in the same order."""
    items = list(items)
    keys = [item.key for item in items]
    # As texts: a state that can't be read must not hide the others.
    texts = client.get_encoded(username, keys)
    found_scores = client.get_scores(username, keys)
    # A maximum without a grade says how much a block is worth, and nothing of the learner.
    scores = {key: score for key, score in found_scores.items() if score.grade is not None}
    result = []
    for item in items:
        found, score = texts.get(item.key), scores.get(item.key)
        state = _state_of(found.text) if found and found.text else {}
        answered = score is not None or _is_answered(item, state or {})
        result.append(Activity(item, answered, score, is_readable=state is not None))
    return result


def _state_of(text: str) -> dict[str, Any] | None:
    """Return a stored state; ``None`` if it can't be read."""
    try:
        state = decode(text)
    except ValueError:
        return None
    return state if isinstance(state, dict) else None


def _is_answered(item: Item, state: dict[str, Any]) -> bool:
    value = state.get(ANSWERED_BY.get(item.key.block_type, ""))
    # The feedback block numbers its choices from 0; -1 means no choice.
    return value >= 0 if type(value) is int else bool(value)
