"""The people of the demo."""

from __future__ import annotations

from typing import NamedTuple

from django.contrib.auth import get_user_model


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
# Printed and shown on the login page: these accounts guard nothing.
PASSWORD = "night-sky"


def create_accounts() -> None:
    """Create the accounts that do not exist yet."""
    users = get_user_model().objects
    for account in ACCOUNTS:
        if not users.filter(username=account.username).exists():
            users.create_user(**account._asdict(), password=PASSWORD, email=f"{account.username}@example.com")
