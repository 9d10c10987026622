"""The model field of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.state.keys import MAX_KEY_LENGTH

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:
    _CharField = models.CharField


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
