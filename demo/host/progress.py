"""How far a learner is, told from what the client keeps: two statements for the whole course."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from demo.host.outline import Item
    from xblock_user_state.interface import BlockScore, XBlockUserStateClient

# A block that was only looked at has state too (a problem keeps its seed). These fields say that it was answered;
# for other types the score does.
ANSWERED_BY = {
    "feedback": "user_vote",
    "poll": "choice",
    "poll_question": "voted",
    "survey": "choices",
    "word_cloud": "submitted",
}


@dataclass(frozen=True)
class Activity:
    """What one learner did in one block; `updated` is ``None`` where there is nothing at all."""

    item: Item
    answered: bool
    score: BlockScore | None
    updated: datetime | None

    @property
    def complete(self) -> bool:
        """True when there is nothing left to gain."""
        return self.answered and (self.score is None or self.score.grade == self.score.max_grade)


def activities(client: XBlockUserStateClient, username: str, items: Iterable[Item]) -> list[Activity]:
    """Return the learner's activity in each of these blocks, in their order."""
    items = list(items)
    keys = [item.key for item in items]
    states = {found.block_key: found for found in client.get_many(username, keys)}
    scores = client.get_scores(username, keys)
    result = []
    for item in items:
        found, score = states.get(item.key), scores.get(item.key)
        times = [seen.updated for seen in (found, score) if seen]
        answered = score is not None or _is_answered(item, found.state or {} if found else {})
        result.append(Activity(item, answered, score, max(times, default=None)))
    return result


def _is_answered(item: Item, state: dict[str, Any]) -> bool:
    value = state.get(ANSWERED_BY.get(item.key.block_type, ""))
    # feedback counts its choices from 0, and -1 is none.
    return value >= 0 if type(value) is int else bool(value)
