"""The settings of the stand-in, with learner state in a database apart from the platform's."""

from __future__ import annotations

import os
from typing import Any

from tests.openedx_platform import settings as _settings
from tests.openedx_platform.settings import *  # noqa: F403
from tests.settings import _database

APART = "learner_state"


class Router:
    """Sends the tables of learner state to their database, as the guide says."""

    apps = frozenset(("xblock_user_state", "xblock_user_state_openedx"))

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return APART if model._meta.app_label in self.apps else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        if app_label in self.apps:
            return db == APART
        return False if db == APART else None


DATABASES = {**_settings.DATABASES, APART: _database(os.environ.get("DATABASE_URL") or "sqlite://:memory:", APART)}
DATABASE_ROUTERS = [f"{__name__}.Router", *getattr(_settings, "DATABASE_ROUTERS", ())]
