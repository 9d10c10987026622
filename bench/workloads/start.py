"""``python -m bench.workloads.start WITH``: a process that starts, makes its first call, and prints its processor time.

`bench.workloads.startup` starts it. Without the package it loads Django, XBlock and the keys, and connects.
"""

from __future__ import annotations

import os
import sys
import time

import dj_database_url
import django
from django.conf import settings

APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
BLOCK = "block-v1:StarfieldX+AST000+2026+type@problem+block@0d4a7be2f35c49d7b1c80e9f6a2d5c13"


def main() -> None:
    has_package = sys.argv[1] == "package"
    settings.configure(
        DATABASES={"default": dj_database_url.parse(os.environ["DATABASE_URL"])},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[*APPS, "xblock_user_state"] if has_package else APPS,
        SECRET_KEY="nobody signs anything here",  # noqa: S106 - it protects nothing
        USE_TZ=True,
    )
    django.setup()
    if has_package:
        _call()
    else:
        _connect()
    print(time.process_time() * 1000)


def _call() -> None:
    from opaque_keys.edx.keys import UsageKey  # noqa: PLC0415 - part of the start

    from xblock_user_state.client import DjangoXBlockUserStateClient  # noqa: PLC0415 - see above

    list(DjangoXBlockUserStateClient().get_many("learner1", [UsageKey.from_string(BLOCK)]))


def _connect() -> None:
    import xblock.fields  # noqa: F401, PLC0415 - see above
    from django.db import connection  # noqa: PLC0415 - see above
    from opaque_keys.edx.keys import UsageKey  # noqa: PLC0415 - see above

    UsageKey.from_string(BLOCK)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


if __name__ == "__main__":
    main()
