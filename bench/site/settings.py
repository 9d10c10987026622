"""Django settings of the workloads that compare contenders, on the database of ``DATABASE_URL``."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import dj_database_url

DATABASE: dict[str, Any] = dict(dj_database_url.parse(os.environ.get("DATABASE_URL", "sqlite://:memory:")))
VENDOR = DATABASE["ENGINE"].rpartition(".")[2]
if VENDOR == "mysql":
    DATABASE["OPTIONS"] = {"charset": "utf8mb4"}

DATABASES = {"default": DATABASE}

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "xblock_user_state",
    # django-pghistory looks up the app of each tracked model.
    "bench",
    *(["simple_history"] if find_spec("simple_history") else []),
    *(["pgtrigger", "pghistory"] if VENDOR == "postgresql" and find_spec("pghistory") else []),
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = "nobody signs anything here"  # noqa: S105 - it protects nothing
USE_TZ = True
TIME_ZONE = "UTC"
