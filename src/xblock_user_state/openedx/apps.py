"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class OpenedxConfig(AppConfig):
    """An Open edX site that moves to this store."""

    name = "xblock_user_state.openedx"
    label = "xblock_user_state_openedx"
    verbose_name = "XBlock user state: Open edX"
    default_auto_field = "django.db.models.BigAutoField"
