"""The accounts of the demo."""

from __future__ import annotations

from typing import NamedTuple

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission


class Account(NamedTuple):
    username: str
    first_name: str
    last_name: str
    is_staff: bool = False


ACCOUNTS = (
    Account("ada", "Ada", "Lindqvist"),
    Account("ben", "Ben", "Okafor"),
    Account("chen", "Chen", "Mei"),
    Account("staff", "Sam", "Ferreira", is_staff=True),
)
# The demo prints this password and shows it on the login page: the accounts protect nothing.
PASSWORD = "night-sky"
# The permissions of staff: the console's pages, and all actions.
STAFF = (
    "view_studentmodule",
    "change_studentmodule",
    "delete_studentmodule",
    "view_studentmodulehistory",
    "view_historyoutbox",
)


def create_accounts() -> None:
    """Create missing accounts. Existing accounts stay unchanged."""
    users = get_user_model().objects
    for account in ACCOUNTS:
        if not users.filter(username=account.username).exists():
            user = users.create_user(**account._asdict(), password=PASSWORD, email=f"{account.username}@example.com")
            if account.is_staff:
                user.user_permissions.set(Permission.objects.filter(codename__in=STAFF))
