"""The health of the store: databases, the backlog of the outbox, breakers, sizes, system checks and versions."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import django
from django.core import checks
from django.db import connections
from django.db.models import Model
from django.db.utils import Error

import xblock_user_state
from xblock_user_state import conf
from xblock_user_state.checks import TAG
from xblock_user_state.history.entries import store_name, stores
from xblock_user_state.history.outbox.breaker import READING, SHIPPING
from xblock_user_state.maintenance import reports
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import StudentModule


class Size(NamedTuple):
    """The rows of a table."""

    name: str
    rows: int | None
    """``None`` if its database does not answer."""
    is_estimate: bool


class Health(NamedTuple):
    """The health as one process sees it."""

    waiting: int | None
    """Entries in the outbox; ``None`` without an extended history."""
    oldest_seconds: float
    is_shipping: bool
    """This process's last attempt to ship history succeeded."""
    is_reading: bool
    sizes: Sequence[Size]
    problems: Sequence[checks.CheckMessage]
    versions: Sequence[tuple[str, str]]


def is_alive() -> bool:
    """Tell whether the database of learner state answers. One statement."""
    try:
        with connections[state_database()].cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone())
    except Error:
        return False


def read_health() -> Health:
    """Return the health. One statement for the outbox, and one for each table."""
    database = state_database()
    waiting, oldest = reports.backlog(database) if conf.has_extended_history() else (None, None)
    age = max(0.0, (datetime.now(UTC) - oldest).total_seconds()) if oldest else 0.0
    tables: list[tuple[str, type[Model], str]] = [("states", StudentModule, database)]
    tables += [(store_name(model), model, alias) for model, alias in stores(database)][1:]
    return Health(
        waiting,
        age,
        not SHIPPING.is_open(),
        not READING.is_open(),
        [_size(*table) for table in tables],
        checks.run_checks(tags=[TAG]),
        [
            ("xblock-user-state", xblock_user_state.__version__),
            ("Django", django.get_version()),
            ("Python", platform.python_version()),
            ("database", connections[database].display_name),
        ],
    )


def _size(name: str, model: type[Model], alias: str) -> Size:
    try:
        return Size(name, *reports.estimated_rows(alias, model))
    except Error:
        return Size(name, None, True)
