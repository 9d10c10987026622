"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class XBlockUserStateConfig(AppConfig):
    """Everything a learner does inside XBlocks."""

    name = "xblock_user_state"
    label = "xblock_user_state"
    verbose_name = "XBlock user state"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and the deletion of history with what it belongs to."""
        from django.conf import settings

        from xblock_user_state import checks
        from xblock_user_state.history import deletion

        # Of a setting that is not there Django finds that out anew at each look, and every call looks.
        if not hasattr(settings, "XBLOCK_USER_STATE"):
            settings.XBLOCK_USER_STATE = {}
        checks.register()
        deletion.connect()
