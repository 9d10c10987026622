"""The model fields of keys and of times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.state.keys import MAX_KEY_LENGTH

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
    _DateTimeField = models.DateTimeField[datetime, datetime]
else:
    _CharField = models.CharField
    _DateTimeField = models.DateTimeField


class KeyField(_CharField):
    """The text of a key, compared byte by byte on every database."""

    # MySQL's default collation would find ``Unit`` for ``unit``. PostgreSQL's "C" also sorts an index as Python does.
    _COLLATIONS: ClassVar = {"mysql": "utf8mb4_bin", "postgresql": "C"}

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("max_length", MAX_KEY_LENGTH)
        super().__init__(*args, **options)

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        """Return the column's parameters with the vendor's binary collation."""
        return {**super().db_parameters(connection), "collation": self._COLLATIONS.get(connection.vendor)}


class UtcDateTimeField(_DateTimeField):
    """A time, in UTC whatever ``TIME_ZONE`` the database has.

    Python compares two times of one other zone by their wall clocks, which show an hour of autumn twice.
    """

    def from_db_value(self, value: datetime | None, *_: Any) -> datetime | None:
        """Return the time in UTC."""
        return value.astimezone(UTC) if value is not None and value.tzinfo is not None else value

    def deconstruct(self) -> Any:
        """Describe the field to migrations as Django's: its column is the same."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs
