"""The platform's functions for scores, over this store."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from opaque_keys.edx.keys import UsageKey
from xblock.fields import Scope

from xblock_user_state.interface import DoesNotExist
from xblock_user_state.openedx.platform import copying, mirror
from xblock_user_state.openedx.platform.learners import store_of
from xblock_user_state.openedx.platform.mirror import address_of_block
from xblock_user_state.openedx.platform.served_table import on_the_platforms_tables
from xblock_user_state.openedx.platform.stages import stage_of


class Score(NamedTuple):
    """The columns of `StudentModule` that callers of `get_score` read."""

    grade: float | None
    max_grade: float | None
    modified: datetime


def set_score(
    original: Callable[..., datetime], user_id: Any, usage_key: UsageKey, score: float | None, max_score: float | None
) -> datetime | None:
    """Set a learner's score in a block, and return the row's time."""
    if stage_of(usage_key.context_key).is_served_here:
        return store_of(user_id).set_score(usage_key, score, max_score)
    with on_the_platforms_tables():
        modified = original(user_id, usage_key, score, max_score)
    step = copying.set_score(score, max_score)
    mirror.written_by_the_platform(partial(address_of_block, usage_key, user_id), step)
    return modified


def get_score(original: Callable[..., Any], user_id: Any, usage_key: UsageKey) -> Any:
    """Return a learner's score in a block, with the time of the row; ``None`` without a row."""
    if not stage_of(usage_key.context_key).is_served_here:
        return original(user_id, usage_key)
    store = store_of(user_id)
    found = store.get_score(usage_key)
    if found is not None:
        return Score(found.grade, found.max_grade, found.updated)
    try:
        return Score(None, None, store.client.get(store.username, usage_key, Scope.user_state, fields=()).updated)
    except DoesNotExist:
        return None


def fetch_scores(original: Callable[..., None], scores_client: Any, locations: Collection[UsageKey]) -> None:
    """Read the scores of one learner's blocks into a `ScoresClient`: one statement."""
    course_key = scores_client.course_key
    if not stage_of(course_key).is_served_here:
        original(scores_client, locations)
        return
    original(scores_client, [])
    store = store_of(scores_client.user_id)
    found = store.get_scores(location.map_into_course(course_key) for location in locations)
    known = scores_client._locations_to_scores  # noqa: SLF001 (the platform's class has no setter)
    for key, score in found.items():
        # The row of a collected score is created when the unit is committed. Without a time it would be no attempt.
        known[key] = scores_client.Score(score.grade, score.max_grade, score.created or score.updated)
