"""Scores from the runtime's ``grade`` events."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from xblock.core import XBlock

from xblock_user_state.clients.arguments import new_score
from xblock_user_state.state.change import Score


class Grade(NamedTuple):
    """A grade event. `user_id` is ``None`` unless the event names a learner."""

    score: Score
    user_id: Any
    only_if_higher: bool


@dataclass(frozen=True)
class GradeGuard:
    """Refuses scores that a learner's browser may have chosen.

    `ungraded_handlers` are names of handlers that publish events which their page sends. While one of them runs, no
    grade is stored. With `needs_has_score`, neither are grades of blocks without XBlock's attribute ``has_score``.
    """

    ungraded_handlers: Collection[str] = ("publish_event",)
    """The default is the handler of XBlock's ``PublishEventMixin``."""
    needs_has_score: bool = True

    def __post_init__(self) -> None:
        # Each part of the one name would count as a name.
        if isinstance(self.ungraded_handlers, str):
            raise TypeError(f"ungraded_handlers must be a list of names, not {self.ungraded_handlers!r}")

    def reason_to_refuse(self, block: XBlock, running: Collection[str]) -> str | None:
        """Return the reason to refuse a grade of `block` while the `running` handlers run, or ``None``."""
        for name in running:
            if name in self.ungraded_handlers:
                return f"the handler {reprlib.repr(name)} passes on events of the browser"
        # A field of some blocks.
        if self.needs_has_score and not getattr(block, "has_score", False):
            return "the block has no has_score"
        return None


DEFAULT_GUARD = GradeGuard()


def grade_of(event: Any) -> Grade:
    """Read a grade event. ``None`` for both values removes the score.

    Raises ``TypeError`` or ``ValueError`` for a malformed event: one without both values, with a value that is not a
    finite number, or with a list or dict for an id. A score without its maximum can't be compared with others, and an
    invented maximum would pass for the block's own.
    """
    if not isinstance(event, Mapping):
        raise TypeError(f"it must be a dict, not {reprlib.repr(event)}")
    try:
        value, max_value = event["value"], event["max_value"]
    except KeyError as error:
        raise ValueError(f"it has no {error}; it needs value and max_value") from None
    if value is not None and max_value is None:
        raise ValueError(f"max_value is None but value is {reprlib.repr(value)}; give both, or None for both")
    # Callers of `set_score` keep a maximum without a grade. An event that lacks its value is a mistake of the block.
    if value is None and max_value is not None:
        raise ValueError(f"grade is None but max_value is {reprlib.repr(max_value)}; give both, or None for both")
    user_id = event.get("user_id")
    # A page may send any JSON. Other values are compared with the learner's id.
    if isinstance(user_id, list | dict):
        raise TypeError(f"user_id must be an id, not {reprlib.repr(user_id)}")
    score = new_score(value, max_value).score or Score(None, None)
    return Grade(score, user_id, bool(event.get("only_if_higher")))


def is_at_least(score: Score, other: Score) -> bool:
    """Tell whether `score` is at least `other`, as shares of their maxima. No score is less than any score."""
    if other.grade is None or score.grade is None:
        return other.grade is None
    # No share can be made of a maximum of 0, or of none: it counts as 1.
    return score.grade * (other.max_grade or 1) >= other.grade * (score.max_grade or 1)
