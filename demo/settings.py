"""Settings of the demo, a small site in one process.

``DATABASE_URL`` chooses a PostgreSQL or MariaDB database instead of the SQLite file in ``demo/var``. ``DEMO_VAR``
chooses another folder, and ``DEMO_COURSE`` another course file (see `demo.host.content`). With
``DEMO_EXTENDED_HISTORY=1`` new history goes to a second database: a SQLite file, or the database in
``HISTORY_DATABASE_URL``. With ``DEMO_SERVICE`` the service at this URL keeps learners' state. With ``DEMO_OLD_SITE=1``
there is an old Open edX database to import from, a SQLite file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dj_database_url
import django
from django.core.management.utils import get_random_secret_key

HERE = Path(__file__).parent
VAR = Path(os.environ.get("DEMO_VAR", HERE / "var"))
VAR.mkdir(parents=True, exist_ok=True)


def secret_key() -> str:
    """Return the key of this demo, created at the first start. With a new key, a restart would end all sessions."""
    file = VAR / "secret-key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(get_random_secret_key())
    return file.read_text()


def database(url: str | None, file: Path) -> dict[str, Any]:
    """Return the settings of the database at `url`; without a URL, of a SQLite `file`."""
    found: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": file}
    if url:
        found = dict(dj_database_url.parse(url))
    if found["ENGINE"].endswith("sqlite3"):
        # Requests run concurrently. A transaction that reads first and writes later fails as "locked" if another
        # request writes in between. IMMEDIATE waits for the lock and takes it first. With WAL, readers never wait.
        found["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
        }
    if found["ENGINE"].endswith("mysql"):
        found["OPTIONS"] = {"charset": "utf8mb4"}
    return found


SECRET_KEY = secret_key()
STATE = database(os.environ.get("DATABASE_URL"), VAR / "demo.sqlite3")
# The name follows the state's file, so that a copied or deleted demo keeps the two together.
HISTORY_FILE = (VAR / STATE["NAME"]).with_suffix(".history.sqlite3")
HISTORY_URL = os.environ.get("HISTORY_DATABASE_URL")
EXTENDED_HISTORY = os.environ.get("DEMO_EXTENDED_HISTORY") == "1"
# Earlier entries stay readable after DEMO_EXTENDED_HISTORY is turned off.
HAS_EXTENDED_HISTORY = EXTENDED_HISTORY or bool(HISTORY_URL) or HISTORY_FILE.exists()
OLD_SITE_FILE = VAR / "old-site.sqlite3"
# The tables of an import stay in use after it.
HAS_OLD_SITE = os.environ.get("DEMO_OLD_SITE") == "1" or OLD_SITE_FILE.exists()
# Learners' state is kept by the service over HTTP at this address, not by this process.
SERVICE = os.environ.get("DEMO_SERVICE")

DATABASES = {"default": STATE}
DATABASE_ROUTERS = []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "demo.host.urls"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_htmx",
    "xblock_user_state",
    "xblock_user_state.console",
    "demo.host",
    # Problems load their templates from this app.
    "xblocks_contrib.problem.capa",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "demo.host.middleware.same_origin_only",
    "demo.host.middleware.explain_refused_methods",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "demo.host.visits.for_templates",
            ]
        },
    }
]

# By default only problems have a history. The demo shows the history of every block type.
XBLOCK_USER_STATE = {
    "RECORDED_BLOCK_TYPES": "*",
    "EXTENDED_HISTORY": EXTENDED_HISTORY,
    "CONSOLE_HOST": "demo.host.console.Console",
    "CONSOLE_BASE_TEMPLATE": "host/console.html",
}
if SERVICE:
    # The keys of the service, which `demo.remote` has started.
    KEYS = {"SERVICE_PUBLIC_KEYS": {"demo": str(VAR / "service.public.pem")}}
    XBLOCK_USER_STATE |= {**KEYS, "SERVICE_SIGNING_KEY": str(VAR / "service.pem")}
if HAS_EXTENDED_HISTORY:
    DATABASES["student_module_history"] = database(HISTORY_URL, HISTORY_FILE)
    INSTALLED_APPS.append("xblock_user_state.extended_history")
    DATABASE_ROUTERS.append("xblock_user_state.extended_history.router.StudentModuleHistoryExtendedRouter")
if HAS_OLD_SITE:
    DATABASES["old_site"] = database(None, OLD_SITE_FILE)
    INSTALLED_APPS.append("xblock_user_state.openedx")
    DATABASE_ROUTERS.insert(0, "demo.host.routers.OldSiteRouter")

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "outline"
LOGOUT_REDIRECT_URL = "login"
LANGUAGE_CODE = "en"
# Not UTC, so that staff see local times with UTC beside them, as on most sites.
TIME_ZONE = "Europe/Berlin"
USE_TZ = True
# Without it, packages of Open edX say in the terminal that New Relic is not installed.
OPENEDX_TELEMETRY: list[str] = []

# Django's default prints exceptions of requests only with DEBUG.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"terminal": {"class": "logging.StreamHandler"}},
    # Each request with its status is in django.server's log, so 404 needs no second line.
    "loggers": {"django.request": {"handlers": ["terminal"], "level": "ERROR"}},
}

STATIC_URL = "static/"
# Old blocks need jQuery. Django's admin contains a copy.
STATICFILES_DIRS = [Path(django.__file__).parent / "contrib" / "admin" / "static"]

# The function that runs the Python scripts of problems.
ENABLE_CODEJAIL_REST_SERVICE = True
CODE_JAIL_REST_SERVICE_REMOTE_EXEC = "demo.host.scripts.run"

# With a pipeline, problems would request their files under Open edX's paths, which this host does not serve.
PIPELINE = {"PIPELINE_ENABLED": False}
REQUIRE_DEBUG = True
