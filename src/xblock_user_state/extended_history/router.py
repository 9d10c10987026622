"""Router that sends the extended history, and nothing else, to its database."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from xblock_user_state import conf

__all__ = ["StudentModuleHistoryExtendedRouter"]

_APP_LABEL = "xblock_user_state_extended_history"


class StudentModuleHistoryExtendedRouter:
    """Routes the app `xblock_user_state.extended_history`; add its path to ``DATABASE_ROUTERS``, before all others.

    It decides by the app label alone. So data migrations that name no model are routed too: the app's run in the
    history database only, and migrations of other apps never run there.
    """

    def db_for_read(self, model: type[Model], **_: Any) -> str | None:
        """Return the history database for the app's model, ``None`` for other models."""
        return conf.history_database() if model._meta.app_label == _APP_LABEL else None

    def db_for_write(self, model: type[Model], **_: Any) -> str | None:
        """Return the history database for the app's model, ``None`` for other models."""
        return conf.history_database() if model._meta.app_label == _APP_LABEL else None

    def allow_relation(self, first: Model, second: Model, **_: Any) -> bool | None:
        """Refuse relations between the extended history and other models."""
        inside = {instance._meta.app_label == _APP_LABEL for instance in (first, second)}
        return None if inside == {False} else inside == {True}

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        """Allow the app's migrations in the history database only, and no other migrations there."""
        if app_label == _APP_LABEL or db == conf.history_database():
            return app_label == _APP_LABEL and db == conf.history_database()
        return None
