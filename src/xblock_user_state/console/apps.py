"""The Django app of the console."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ConsoleConfig(AppConfig):
    """Pages for staff. It has no tables."""

    name = "xblock_user_state.console"
    label = "xblock_user_state_console"
    verbose_name = _("Learner state console")
