"""Prepares the databases of the demo."""

from __future__ import annotations

from django.conf import settings
from django.core.management import call_command

from demo.host.accounts import create_accounts
from demo.host.content import get_course


def prepare() -> None:
    """Migrate the databases, create the accounts, and load the course, so that the first page is quick."""
    call_command("migrate_all", verbosity=0)
    create_accounts()
    get_course()


def where_new_entries_go() -> str:
    """Return the place of new history in words."""
    if not settings.XBLOCK_USER_STATE["EXTENDED_HISTORY"]:
        return "default history, beside the state"
    return f"extended history, in a separate database: {settings.DATABASES['student_module_history']['NAME']}"
