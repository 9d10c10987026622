"""Django's environment for a workload: the databases it can run on, and the set-up of a process."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import django
from django.core.management import call_command

SERVERS = ("postgresql", "mariadb")
DATABASES = (*SERVERS, "sqlite")


def set_up(folder: Path, url: str, settings: str) -> None:
    """Set up Django on an empty database and migrate it. The host keeps its files in `folder`."""
    # A developer's own demo may have left these in the environment.
    for name in ("HISTORY_DATABASE_URL", "DEMO_COURSE", "DEMO_EXTENDED_HISTORY"):
        os.environ.pop(name, None)
    os.environ |= {"DJANGO_SETTINGS_MODULE": settings, "DEMO_VAR": str(folder), "DATABASE_URL": url}
    # The packages of the XBlocks use deprecated functions, which can only be fixed there.
    warnings.simplefilter("ignore")
    django.setup()
    call_command("migrate", verbosity=0)
