"""User models as hosts have them. ``AUTH_USER_MODEL`` names one of them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
    _Manager = BaseUserManager[Any]
else:
    _CharField = models.CharField
    _Manager = BaseUserManager


class Users(_Manager):
    """Django's manager, with the method that the tests' factories call."""

    def create_user(self, username: str) -> Any:
        """Create a user without a password."""
        return self.create(login=username)


class Person(AbstractBaseUser):
    """Base of the models: the username is in another column than Django's."""

    login = models.CharField(max_length=150, unique=True, db_column="account_name")
    USERNAME_FIELD = "login"
    objects = Users()

    class Meta:
        abstract = True


class UuidPerson(Person):
    """A user with a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)


def _staff_number() -> str:
    # Small and capital letters, which databases sort in other orders than Python.
    number = uuid.uuid4().hex
    return "".join(letter.upper() if index % 3 else letter for index, letter in enumerate(number))


class Prefixed(_CharField):
    """A text that the database keeps with a prefix: a field with a conversion of its own."""

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        """Convert the driver's value."""
        return value and value.removeprefix("number:")

    def get_prep_value(self, value: Any) -> Any:
        """Convert Python's value. Django may do so twice to the value of a foreign key."""
        return value and f"number:{str(value).removeprefix('number:')}"


class TextPerson(Person):
    """A user with a text as key, with a conversion and in a column of another name."""

    number = Prefixed(primary_key=True, max_length=40, default=_staff_number, db_column="staff number")
