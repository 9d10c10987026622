"""A real outage of the history database: the connection points to a place without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from django.db import connections

from tests.integration.interference import kill_connection
from xblock_user_state.history.entries import extended_model
from xblock_user_state.history.outbox.breaker import READING, REFUSALS, SHIPPING

ALIAS = "student_module_history"
# No server listens on port 1; SQLite can't open a file in a missing folder.
NOWHERE = {"sqlite": {"NAME": "/nowhere/history.sqlite3"}, "postgresql": {"PORT": "1"}, "mysql": {"PORT": "1"}}
STRANGER = {"USER": "stranger", "PASSWORD": "wrong"}


@dataclass
class Outage:
    """The history database, which can be down, and the clock of the breakers."""

    monkeypatch: pytest.MonkeyPatch
    now: float = 0.0
    attempts: int = 0
    """Number of attempts to connect while it was down."""

    @contextmanager
    def lasts(self, wrong: Mapping[str, str] | None = None) -> Iterator[None]:
        """Keep it down while the block runs, by `wrong` settings; the default names no server."""
        connection = connections[ALIAS]
        connect = connection.connect
        settings = connection.settings_dict
        connection.close()

        def counted() -> None:
            self.attempts += 1
            connect()

        with self.monkeypatch.context() as patch:
            patch.setattr(connection, "connect", counted)
            for name, value in (wrong or NOWHERE[connection.vendor]).items():
                patch.setitem(settings, name, value)
            yield
            connection.close()

    def wait(self, seconds: float) -> None:
        """Let time pass on the breakers' clock."""
        self.now += seconds


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    """The history database, up, with breakers that have seen no failure."""
    outage = Outage(monkeypatch)
    breakers = (SHIPPING, REFUSALS, READING)
    for breaker in breakers:
        monkeypatch.setattr(breaker, "clock", lambda: outage.now)
        breaker.forget()
    yield outage
    for breaker in breakers:
        breaker.forget()


@contextmanager
def refusing_revision(revision: int) -> Iterator[None]:
    """Let the history database refuse entries of this revision."""
    table = extended_model()._meta.db_table
    if connections[ALIAS].vendor == "sqlite":
        condition = f"BEFORE INSERT ON {table} WHEN NEW.revision = {revision}"
        make = f"CREATE TRIGGER refuse {condition} BEGIN SELECT RAISE(ABORT, 'refused'); END"
        unmake = "DROP TRIGGER refuse"
    else:
        make = f"ALTER TABLE {table} ADD CONSTRAINT refuse CHECK (revision <> {revision})"
        unmake = f"ALTER TABLE {table} DROP CONSTRAINT refuse"
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(make)
    try:
        yield
    finally:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(unmake)


def refused(_: str) -> str:
    """In place of the statement that counts: one that fails, as a timeout makes it do."""
    return "SELECT counted FROM nowhere"


def lost(alias: str) -> str:
    """The same, on a connection that is gone, as the driver's timeout leaves it."""
    if connections[alias].vendor != "sqlite":
        kill_connection(alias)
    return refused(alias)


@contextmanager
def counting_fails(instead: Callable[[str], str]) -> Iterator[list[str]]:
    """Have no table counted; give the aliases where it was tried."""
    tried: list[str] = []

    def wrapper(alias: str, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not sql.startswith("SELECT COUNT(*)"):
            return execute(sql, params, many, context)
        tried.append(alias)
        return execute(instead(alias), None, many, context)

    with ExitStack() as stack:
        for alias in ("default", ALIAS):
            stack.enter_context(connections[alias].execute_wrapper(partial(wrapper, alias)))
        yield tried
