"""The Django app."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from xblock_user_state.history.models import BaseStudentModuleHistory
    from xblock_user_state.store.models import StudentModule


class XBlockUserStateConfig(AppConfig):
    """Everything a learner does inside XBlocks."""

    name = "xblock_user_state"
    label = "xblock_user_state"
    verbose_name = "XBlock user state"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and the deletion of history together with its rows."""
        from xblock_user_state import checks
        from xblock_user_state.history import deletion

        checks.register()
        deletion.connect()

    @staticmethod
    def history_of(student_modules: Iterable[StudentModule]) -> list[BaseStudentModuleHistory]:
        """Return the history entries of state rows, newest first: ``BaseStudentModuleHistory.get_history``."""
        from xblock_user_state.history.reading import entries_of

        return entries_of(student_modules)
