"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class ExtendedHistoryConfig(AppConfig):
    """The history of learners' changes in a separate database."""

    name = "xblock_user_state.extended_history"
    label = "xblock_user_state_extended_history"
    verbose_name = "XBlock user state: extended history"
    default_auto_field = "django.db.models.BigAutoField"
