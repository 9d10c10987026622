"""The table of the extended history."""

from __future__ import annotations

from xblock_user_state.history.models import BaseStudentModuleHistory

__all__ = ["StudentModuleHistoryExtended"]


class StudentModuleHistoryExtended(BaseStudentModuleHistory):
    """The extended history: entries that were shipped from the outbox, or moved from the default history.

    It refers to learners and blocks by ids only. Ids of blocks are made from their keys, so they are the same in every
    database. Deleting a user deletes these rows too: through a tombstone in the outbox (`history.deletion`).

    .. pii: A learner's answers, scores and the times of each change, under the id of the learner and of the actor
    .. pii_types: id, other
    .. pii_retirement: local_api
    """
