"""Prepares the databases of the demo."""

from __future__ import annotations

from django.core.management import call_command

from demo.host.accounts import create_accounts
from demo.host.content import get_course


def prepare() -> None:
    """Migrate the databases, create the accounts, and load the course, so that the first page is quick."""
    call_command("migrate_all", verbosity=0)
    create_accounts()
    get_course()
