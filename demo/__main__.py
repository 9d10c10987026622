"""``python -m demo``: prepare the databases, print the accounts, and serve."""

from __future__ import annotations

import argparse
import os
import warnings

import django
from django.core.management import call_command


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    options = parser.parse_args()
    # The packages of the blocks call many deprecated functions, and their warnings would bury the output of the demo.
    warnings.simplefilter("ignore")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
    django.setup()
    prepare()
    announce(options.host, options.port)
    # DEBUG is off, so runserver serves static files only with insecure_serving.
    call_command("runserver", f"{options.host}:{options.port}", use_reloader=False, insecure_serving=True)


def prepare() -> None:
    """Migrate the databases, create the accounts, and load the course, so that the first page is quick."""
    from demo.host.accounts import create_accounts
    from demo.host.content import get_course

    call_command("migrate_all", verbosity=0)
    create_accounts()
    get_course()


def announce(host: str, port: int) -> None:
    from demo.host.accounts import ACCOUNTS, PASSWORD
    from demo.host.content import get_course
    from demo.host.timeline import where_new_entries_go

    print(f"\n  {get_course().title}: http://{host}:{port}/\n\n  Log in as")
    for account in ACCOUNTS:
        role = "staff" if account.is_staff else "learner"
        print(f"    {account.username:<8} ({role}), password {PASSWORD}")
    print(f"\n  New history goes to the {where_new_entries_go()}.")
    print("\n  Stop with Ctrl-C. Learners' state is kept for the next start.\n", flush=True)


if __name__ == "__main__":
    main()
