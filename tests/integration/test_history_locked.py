"""SQLite: a backup or a VACUUM locks the history's file; state is written anyway."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from io import StringIO
from threading import Thread

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from pytest_django import Settings

from tests.factories import make_block, make_learners
from tests.integration.interference import just_before
from tests.integration.outage import ALIAS, Outage
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import extended_model
from xblock_user_state.history.outbox.breaker import RETRY_SECONDS
from xblock_user_state.models import HistoryOutbox

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", ALIAS]),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="servers lock no files"),
]

BLOCK = make_block()


@pytest.fixture(autouse=True)
def _learner(settings: Settings, outage: Outage) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "HISTORY_TIMEOUT": 0.2}
    make_learners("ann")


@contextmanager
def locked(alias: str, seconds: float = 0.0) -> Iterator[None]:
    """Hold another process's lock on a database's file; `seconds` limits the wait for the lock."""
    with closing(sqlite3.connect(connections[alias].settings_dict["NAME"], timeout=seconds)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def set_numbers(*numbers: int) -> None:
    for number in numbers:
        DjangoXBlockUserStateClient().set("ann", BLOCK, {"number": number})


def extended_count() -> int:
    return extended_model()._base_manager.using(ALIAS).count()


def test_writes_commit_and_are_shipped_later(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    with locked(ALIAS):
        set_numbers(1, 2, 3)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "database is locked" in caplog.text
    assert HistoryOutbox.objects.count() == 3
    outage.wait(RETRY_SECONDS)
    set_numbers(4)
    assert (extended_count(), HistoryOutbox.objects.count()) == (4, 0)


def test_nobody_waits_for_the_state_meanwhile(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "HISTORY_TIMEOUT": 60}
    connections[ALIAS].ensure_connection()

    def write() -> None:
        try:
            set_numbers(1)
        finally:
            connections.close_all()

    writer = Thread(target=write)
    with locked(ALIAS):
        writer.start()
        while not HistoryOutbox.objects.exists():
            pass
        for _ in range(20):
            with locked("default", seconds=1):
                assert writer.is_alive()
    writer.join(30)
    assert (extended_count(), HistoryOutbox.objects.count()) == (1, 0)


def test_a_lock_that_comes_while_the_state_is_locked_too_is_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as stack:
        # The shipment's first statement on the outbox: the file was free just before.
        stack.enter_context(just_before("DELETE", HistoryOutbox, lambda: stack.enter_context(locked(ALIAS))))
        set_numbers(1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert HistoryOutbox.objects.count() == 1


def test_a_relay_says_what_it_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections[ALIAS].settings_dict["OPTIONS"], "timeout", 0.2)
    connections[ALIAS].close()
    with locked(ALIAS):
        set_numbers(1)
        with pytest.raises(CommandError, match=r"history database can't be written to.*locked"):
            call_command("relay_history", stdout=StringIO())
    call_command("relay_history", stdout=StringIO())
    assert (extended_count(), HistoryOutbox.objects.count()) == (1, 0)
    connections[ALIAS].close()
