"""``python -m demo.service_site``: prepare the database, make keys and accounts, print a token's command, and serve."""

from __future__ import annotations

import argparse
import os
import sys

import django
from django.conf import settings
from django.core.management import call_command

LEARNERS = ("ada", "ben")
TOOL = "tool"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.service_site", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8010, help="port to listen on (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.service_site.settings")
    django.setup()
    prepare()
    print(
        f"\n  The service: http://{options.host}:{options.port}/user-state/\n"
        f"  Its learners: {' and '.join(LEARNERS)}\n"
        f"  A token of the account {TOOL!r}, which may do everything:\n"
        f"    {sys.executable} -m django issue_token {TOOL} --scope state:read state:write report:read"
        f" --settings {settings.SETTINGS_MODULE}\n"
        "\n  Stop with Ctrl-C. Requests in progress are answered.\n",
        flush=True,
    )
    # In the place of this process, so that signals reach the server.
    os.execv(sys.executable, [sys.executable, *server(options.host, options.port, options.workers)])  # noqa: S606


def prepare() -> None:
    """Migrate the database, and create the accounts of two learners and of a tool."""
    from django.contrib.auth import get_user_model

    call_command("migrate_all", verbosity=0)
    users = get_user_model().objects
    for name in (*LEARNERS, TOOL):
        users.get_or_create(username=name, defaults={"is_superuser": name == TOOL, "password": "!"})


def server(host: str, port: int, workers: int) -> list[str]:
    """Return the command of the server. Each thread has a connection to the database."""
    where = ["--host", host, "--port", str(port)]
    size = ["--workers", str(workers), "--blocking-threads", "4", "--workers-kill-timeout", "30"]
    return ["-m", "granian", "--interface", "wsgi", *where, *size, "demo.service_site.wsgi:application"]


if __name__ == "__main__":
    main()
