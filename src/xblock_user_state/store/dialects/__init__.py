"""The SQL of each database: one module a vendor, behind the twelve verbs of `Dialect`.

A dialect decides nothing: it moves rows and classifies errors. The statements that it sends for each operation are in
``tests/integration/golden/``, one annotated file a database, which a test compares with the statements really sent. To
support another database, write a module with a `Dialect`, name it here, and let the test write its golden file.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from django.db.backends.base.base import BaseDatabaseWrapper

from xblock_user_state.store.dialects.base import Dialect, Failure, Outcome, TooLarge

_CLASSES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL"}
"""The class of each vendor, in the module of its name."""


def dialect_of(connection: BaseDatabaseWrapper) -> Dialect:
    """Return the dialect of a connection. Raises ``NotImplementedError`` for a vendor that is not supported."""
    return _dialect(connection.vendor)


# A process loads the dialects of its databases only.
@cache
def _dialect(vendor: str) -> Dialect:
    if vendor not in _CLASSES:
        raise NotImplementedError(f"xblock-user-state can't write to {vendor}; supported are {', '.join(_CLASSES)}")
    return cast(Dialect, getattr(import_module(f"{__name__}.{vendor}"), _CLASSES[vendor])())


__all__ = ["Dialect", "Failure", "Outcome", "TooLarge", "dialect_of"]
