"""One small module per vendor: how it writes many rows at once, and what its errors mean.

A dialect decides nothing. To support another vendor, write a module with a `Dialect` and name it here.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.store.dialects.base import Dialect, Failure
from xblock_user_state.store.dialects.mysql import MySQL
from xblock_user_state.store.dialects.postgresql import PostgreSQL
from xblock_user_state.store.dialects.sqlite import SQLite

_DIALECTS: dict[str, Dialect] = {dialect.vendor: dialect for dialect in (SQLite(), PostgreSQL(), MySQL())}


def dialect_of(connection: BaseDatabaseWrapper) -> Dialect:
    """Return the dialect of a connection. Raises ``NotImplementedError`` for a vendor that is not supported."""
    try:
        return _DIALECTS[connection.vendor]
    except KeyError:
        supported = ", ".join(_DIALECTS)
        raise NotImplementedError(
            f"xblock-user-state can't write to {connection.vendor}; supported are {supported}"
        ) from None


__all__ = ["Dialect", "Failure", "dialect_of"]
