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
        """Create a user without a password, and the rows that its primary key refers to."""
        key = self.model._meta.pk
        # Django creates the parent's row of a child by itself.
        refers = key.is_relation and not key.remote_field.parent_link
        return self.create(login=username, **({key.name: key.remote_field.model.make()} if refers else {}))


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


class Record(models.Model):
    """A row of another table, whose key is the key of users. It has another unique column too."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    badge = Prefixed(unique=True, max_length=40, default=_staff_number)

    @classmethod
    def make(cls) -> Any:
        """Create a row."""
        return cls._base_manager.create()


class RecordOfRecord(models.Model):
    """A row whose key is the key of a record."""

    record = models.OneToOneField(Record, on_delete=models.CASCADE, primary_key=True)

    @classmethod
    def make(cls) -> Any:
        """Create a row, and its record."""
        return cls._base_manager.create(record=Record.make())


class BadgePerson(Person):
    """A user whose key refers to a column that is not the key of its table."""

    record = models.OneToOneField(Record, on_delete=models.CASCADE, primary_key=True, to_field="badge")


class ChainedPerson(Person):
    """A user whose key refers to a key that refers to a UUID."""

    record = models.OneToOneField(RecordOfRecord, on_delete=models.CASCADE, primary_key=True)


class UuidChild(UuidPerson):
    """A user whose name and key are in the table of a parent, where the key is a UUID."""

    title = models.CharField(max_length=20, default="")


class TextChild(TextPerson):
    """A user whose key is in the table of a parent, a text with a conversion."""


class TextGrandchild(TextChild):
    """A user whose key is in the table of a parent's parent."""


class Tutor(UuidPerson):
    """A row of a user beside the user's own, with another key."""

    person = models.OneToOneField(UuidPerson, on_delete=models.CASCADE, parent_link=True)
    number = models.UUIDField(primary_key=True)


class Member(UuidPerson):
    """Another name of a model: both may be a host's user model, and both delete a user."""

    class Meta:
        proxy = True
