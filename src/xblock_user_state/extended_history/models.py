"""The one table of the extended history."""

from __future__ import annotations

from xblock_user_state.history.models import BaseStudentModuleHistory

__all__ = ["StudentModuleHistoryExtended"]


class StudentModuleHistoryExtended(BaseStudentModuleHistory):
    """The extended history: entries that were shipped from the outbox, or moved from the default history.

    It refers to nothing in the state's database but by numbers that are the same everywhere.
    """
