"""The health of the store: databases, the backlog of the outbox, breakers, sizes, system checks and versions."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import django
from django.core import checks
from django.db import connections
from django.db.models import Model
from django.db.utils import Error

import xblock_user_state
from xblock_user_state import conf
from xblock_user_state.checks import TAG
from xblock_user_state.history.entries import lasting_stores, store_name
from xblock_user_state.history.outbox import last_pass
from xblock_user_state.history.outbox.breaker import READING, SHIPPING
from xblock_user_state.history.outbox.last_pass import LastPass
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
    last_pass: LastPass | None
    """The last pass of a relay, if this process shares a cache with it."""
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
    """Return the health. One statement for the outbox, one for the tables of a database, and those of the checks."""
    database = state_database()
    waiting, oldest = reports.backlog(database) if conf.has_extended_history() else (None, None)
    age = max(0.0, (datetime.now(UTC) - oldest).total_seconds()) if oldest else 0.0
    tables: list[tuple[str, type[Model], str]] = [("states", StudentModule, database)]
    tables += [(store_name(model), model, alias) for model, alias in lasting_stores(database)]
    return Health(
        waiting,
        age,
        not SHIPPING.is_open(),
        not READING.is_open(),
        last_pass.read(),
        list(_sizes(tables)),
        checks.run_checks(tags=[TAG], databases=sorted({alias for *_, alias in tables})),
        [
            ("xblock-user-state", xblock_user_state.__version__),
            ("Django", django.get_version()),
            ("Python", platform.python_version()),
            ("database", connections[database].display_name),
        ],
    )


def as_json(health: Health) -> dict[str, Any]:
    """Return the health as values of JSON. Without an extended history, ``outbox`` is ``None``."""
    passed = health.last_pass
    outbox = {
        "waiting": health.waiting,
        "oldest_seconds": health.oldest_seconds,
        "is_shipping": health.is_shipping,
        "is_reading": health.is_reading,
        "last_pass": passed.ended.isoformat() if passed else None,
        "refused": passed.refused if passed else None,
    }
    return {
        "outbox": None if health.waiting is None else outbox,
        "rows": [size._asdict() for size in health.sizes],
        "checks": [{"id": problem.id, "message": str(problem.msg)} for problem in health.problems],
        "versions": dict(health.versions),
    }


def _sizes(tables: Iterable[tuple[str, type[Model], str]]) -> Iterator[Size]:
    for alias, group in groupby(tables, key=itemgetter(2)):
        names, models, _ = zip(*group, strict=True)
        found: Sequence[tuple[int | None, bool]]
        try:
            found = reports.estimated_rows(alias, models)
        except Error:
            found = [(None, True)] * len(names)
        yield from (Size(name, *each) for name, each in zip(names, found, strict=True))
