"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class OpenedxConfig(AppConfig):
    """An Open edX site that moves to this store."""

    name = "xblock_user_state.openedx"
    label = "xblock_user_state_openedx"
    verbose_name = "XBlock user state: Open edX"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the receivers that number blocks, keep the view of the compatible model, and forget old ids."""
        from xblock_user_state.openedx.importing import forgetting
        from xblock_user_state.openedx.numbers import giving
        from xblock_user_state.openedx.views import own

        forgetting.connect()
        giving.connect()
        own.connect(self)
