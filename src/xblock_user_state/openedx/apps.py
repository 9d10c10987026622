"""The Django app, which is a plugin of the Open edX platform too."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, ClassVar

from django.apps import AppConfig, apps

if TYPE_CHECKING:
    from xblock_user_state.history.entries import Owner

_SETTINGS = {name: {"relative_path": "platform.settings"} for name in ("common", "production", "devstack", "test")}


class OpenedxConfig(AppConfig):
    """An Open edX site that moves to this store."""

    name = "xblock_user_state.openedx"
    label = "xblock_user_state_openedx"
    verbose_name = "XBlock user state: Open edX"
    default_auto_field = "django.db.models.BigAutoField"

    plugin_app: ClassVar[dict[str, Any]] = {"settings_config": {"lms.djangoapp": _SETTINGS, "cms.djangoapp": _SETTINGS}}
    """The platform's description of a plugin: the functions that add settings."""

    def ready(self) -> None:
        """Connect receivers, keep the compatible model's view, and replace parts of the platform if this runs in it.

        A stage that is off when the process starts stays off until its end: nothing is replaced.
        """
        from xblock_user_state.openedx import checks
        from xblock_user_state.openedx.decoded import copying
        from xblock_user_state.openedx.importing import forgetting
        from xblock_user_state.openedx.numbers import giving
        from xblock_user_state.openedx.platform import replacements, stages
        from xblock_user_state.openedx.views import own

        checks.register()
        copying.connect()
        forgetting.connect()
        giving.connect()
        own.connect(self)
        if "courseware" in apps.app_configs and stages.site_stage() is not stages.Stage.OFF:
            replacements.install()

    @staticmethod
    def copy_of(database: str) -> Callable[[Collection[Owner]], object]:
        """Return a function that copies the history of some owners decoded; the relay calls it."""
        from xblock_user_state.openedx.decoded.copying import Copying

        return Copying(database).copy_all
