"""The SQL of each database: one module a vendor, behind the thirteen verbs of `Dialect`.

A dialect decides nothing: it moves rows and classifies errors. The statements that it sends for each operation are in
``tests/integration/golden/``, one annotated file a database, which a test compares with the statements really sent. To
support another database, write a module with a `Dialect`, name it here, and let the test write its golden file.

PostgreSQL has a second dialect, for servers where Citus distributes the tables; `distribution` finds out.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.store.dialects import distribution
from xblock_user_state.store.dialects.base import Dialect, Failure, Outcome, TooLarge, TransactionLost

_CLASSES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "citus": "Citus", "mysql": "MySQL"}
"""The class of each dialect, in the module of its name."""


def dialect_of(connection: BaseDatabaseWrapper) -> Dialect:
    """Return the dialect of a connection. Raises ``NotImplementedError`` for a vendor that is not supported.

    A process may be told late that Citus distributes the tables, so callers ask for the dialect each time.
    """
    vendor = connection.vendor
    return _dialect("citus" if vendor == "postgresql" and distribution.is_distributed(connection) else vendor)


# A process loads the dialects of its databases only.
@cache
def _dialect(name: str) -> Dialect:
    if name not in _CLASSES:
        raise NotImplementedError(f"xblock-user-state can't write to {name}; supported are {', '.join(_CLASSES)}")
    return cast(Dialect, getattr(import_module(f"{__name__}.{name}"), _CLASSES[name])())


__all__ = ["Dialect", "Failure", "Outcome", "TooLarge", "TransactionLost", "dialect_of"]
