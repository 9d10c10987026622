"""Django settings of the import from an old site: those of the comparisons, with the app that imports."""

from __future__ import annotations

from bench.site.settings import DATABASES, DEFAULT_AUTO_FIELD, INSTALLED_APPS, SECRET_KEY, TIME_ZONE, USE_TZ

__all__ = ["DATABASES", "DEFAULT_AUTO_FIELD", "INSTALLED_APPS", "SECRET_KEY", "TIME_ZONE", "USE_TZ"]

INSTALLED_APPS = [*INSTALLED_APPS, "xblock_user_state.openedx"]
