"""Django settings of the workload that opens the pages of the console."""

from __future__ import annotations

from bench.site.settings import *  # noqa: F403
from bench.site.settings import INSTALLED_APPS

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "xblock_user_state.console",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ROOT_URLCONF = "bench.workloads.console"
STATIC_URL = "static/"
