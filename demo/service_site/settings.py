"""Settings of a host whose only page is the service.

``DATABASE_URL`` chooses a PostgreSQL or MariaDB database instead of the SQLite file in ``demo/var``; ``DEMO_VAR``
chooses another folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from demo.settings import VAR, database, secret_key


def key_files() -> tuple[Path, Path]:
    """Return the files of a private and a public key, made at the first start. A guide shows the way with openssl."""
    private, public = VAR / "service.pem", VAR / "service.public.pem"
    if not public.exists():
        key = Ed25519PrivateKey.generate()
        private.touch(mode=0o600)
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


SECRET_KEY = secret_key()
DATABASES = {"default": {**database(os.environ.get("DATABASE_URL"), VAR / "service.sqlite3"), "CONN_MAX_AGE": None}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "demo.service_site.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "xblock_user_state"]
USE_TZ = True
TIME_ZONE = "UTC"

PRIVATE_KEY, PUBLIC_KEY = key_files()
XBLOCK_USER_STATE = {
    "RECORDED_BLOCK_TYPES": "*",
    "SERVICE_PUBLIC_KEYS": {"demo": str(PUBLIC_KEY)},
    "SERVICE_SIGNING_KEY": str(PRIVATE_KEY),
    "SERVICE_AUTHENTICATORS": ["xblock_user_state.service.authenticating.token"],
    "SERVICE_DRAIN_FILE": str(VAR / "service.draining"),
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {message}", "style": "{"}},
    "handlers": {"terminal": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"xblock_user_state": {"handlers": ["terminal"], "level": "INFO"}},
}
