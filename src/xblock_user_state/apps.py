"""The Django app."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.core import checks

if TYPE_CHECKING:
    from xblock_user_state.history.models import BaseStudentModuleHistory
    from xblock_user_state.store.models import StudentModule, UserStateRow


class XBlockUserStateConfig(AppConfig):
    """Learners' state, scores and history in XBlocks."""

    name = "xblock_user_state"
    label = "xblock_user_state"
    verbose_name = "XBlock user state"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and the signals that delete history together with its rows."""
        from xblock_user_state.history import deletion

        checks.register(_check_settings, self.label)
        checks.register(_check_service, self.label)
        checks.register(_check_databases, self.label, checks.Tags.database)
        deletion.connect()

    @staticmethod
    def history_of(student_modules: Iterable[StudentModule]) -> list[BaseStudentModuleHistory]:
        """Return the history entries of state rows, newest first; ``BaseStudentModuleHistory.get_history`` calls it.

        The app config stands between models and upper layers here and below, because models may not import these.
        """
        from xblock_user_state.history.reading import entries_of

        return entries_of(student_modules)

    @staticmethod
    def check_instance(
        instance: UserStateRow, using: str, insert: bool, update: bool, fields: Collection[str] | None
    ) -> None:
        """Raise ``TypeError`` or ``ValueError`` if an instance can't be saved; its ``save_base`` calls it."""
        from xblock_user_state import saving

        saving.check(instance, saving.Saving(using, insert, update, fields))

    @staticmethod
    def save_instance(
        instance: UserStateRow, using: str, insert: bool, update: bool, fields: Collection[str] | None
    ) -> bool:
        """Save an instance by the write path; return whether its row was created."""
        from xblock_user_state import saving

        return saving.save(instance, saving.Saving(using, insert, update, fields))


# Django runs the checks in commands only, so a process that serves requests does not load them.


def _check_settings(**options: Any) -> list[checks.CheckMessage]:
    from xblock_user_state.checks import check_all

    return check_all(**options)


def _check_service(**options: Any) -> list[checks.CheckMessage]:
    from xblock_user_state.service.checks import check_service

    return check_service(**options)


def _check_databases(**options: Any) -> list[checks.CheckMessage]:
    from xblock_user_state.checks import check_databases

    return check_databases(**options)
