"""Settings that the plugin adds to the platform's. The platform calls `plugin_settings` with its settings module."""

from __future__ import annotations

from typing import Any

MIDDLEWARE = "xblock_user_state.openedx.platform.middleware.RequestMiddleware"

# The platform has its own extended history on, under our default alias, where no router is right for both.
DEFAULTS = {"EXTENDED_HISTORY": False, "HISTORY_DATABASE": "xblock_user_state_history"}


def plugin_settings(settings: Any) -> None:
    """Install the package's app and middleware, and set the defaults of what ``XBLOCK_USER_STATE`` leaves open."""
    if "xblock_user_state" not in settings.INSTALLED_APPS:
        settings.INSTALLED_APPS.append("xblock_user_state")
    if MIDDLEWARE not in settings.MIDDLEWARE:
        settings.MIDDLEWARE.append(MIDDLEWARE)
    settings.XBLOCK_USER_STATE_PLUGIN_DEFAULTS = DEFAULTS
