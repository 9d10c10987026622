"""The SQL of each database: one module a vendor, behind the twelve verbs of `Dialect`.

A dialect decides nothing: it moves rows and classifies errors. The statements that it sends for each operation are in
``tests/integration/golden/``, one annotated file a database, which a test compares with the statements really sent. To
support another database, write a module with a `Dialect`, name it here, and let the test write its golden file.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.store.dialects.base import Dialect, Failure, Outcome, TooLarge
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


__all__ = ["Dialect", "Failure", "Outcome", "TooLarge", "dialect_of"]
