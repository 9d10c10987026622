"""The Django app."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from xblock_user_state.history.entries import Owner


class OpenedxConfig(AppConfig):
    """An Open edX site that moves to this store."""

    name = "xblock_user_state.openedx"
    label = "xblock_user_state_openedx"
    verbose_name = "XBlock user state: Open edX"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the receivers that number blocks, keep the view of the compatible model, delete copies and ids."""
        from xblock_user_state.openedx.decoded import copying
        from xblock_user_state.openedx.importing import forgetting
        from xblock_user_state.openedx.numbers import giving
        from xblock_user_state.openedx.views import own

        copying.connect()
        forgetting.connect()
        giving.connect()
        own.connect(self)

    @staticmethod
    def copy_history(owners: Collection[Owner]) -> int:
        """Copy the missing entries of these rows decoded; return their number. `relay_history` calls it by name."""
        from xblock_user_state.openedx.decoded.copying import Copying
        from xblock_user_state.store.databases import state_database

        return Copying(state_database()).copy_all(owners)
