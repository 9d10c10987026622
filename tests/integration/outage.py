"""The history database as it is when it is down: for real, by connecting to where no server is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from django.db import connections

from xblock_user_state.history.breaker import READING, REFUSALS, SHIPPING

ALIAS = "student_module_history"
# Port 1 is nobody's; a file in a folder that is not there can't be opened.
NOWHERE = {"sqlite": {"NAME": "/nowhere/history.sqlite3"}, "postgresql": {"PORT": "1"}, "mysql": {"PORT": "1"}}
STRANGER = {"USER": "stranger", "PASSWORD": "wrong"}


@dataclass
class Outage:
    """The history database, which can be down, and a clock for what is said and tried once in a while."""

    monkeypatch: pytest.MonkeyPatch
    now: float = 0.0
    attempts: int = 0
    """How often a connection was tried while it was down."""

    @contextmanager
    def lasts(self, wrong: Mapping[str, str] | None = None) -> Iterator[None]:
        """Have it down for as long as the block runs, by `wrong` settings: without them, those of no server."""
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
        """Let time pass."""
        self.now += seconds


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    """The history database, up, and this process knowing nothing of it."""
    outage = Outage(monkeypatch)
    breakers = (SHIPPING, REFUSALS, READING)
    for breaker in breakers:
        monkeypatch.setattr(breaker, "clock", lambda: outage.now)
        breaker.forget()
    yield outage
    for breaker in breakers:
        breaker.forget()
