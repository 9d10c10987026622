"""The history's server is stopped with SIGSTOP and keeps its connections open: every wait has a limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dj_database_url
import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.db.models import Q
from pytest_django import Settings

from scripts.database_servers import SERVERS, Server
from tests.factories import make_block, make_learners
from tests.integration.interference import needs_a_server
from tests.integration.outage import ALIAS, Outage
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import extended_model
from xblock_user_state.history.outbox.answers import HistoryUnavailable
from xblock_user_state.history.outbox.breaker import RETRY_SECONDS
from xblock_user_state.history.outbox.shipping import ship
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.models import HistoryOutbox

pytestmark = [
    needs_a_server,
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", ALIAS]),
    pytest.mark.timeout(120),
]

BLOCK = make_block()
# The limit on a busy machine: two timeouts and a new connection. The test settings' timeouts are longer.
PATIENCE_SECONDS = 20.0


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with SERVERS[{"mysql": "mariadb"}.get(connection.vendor, connection.vendor)]() as server:
        yield server


@pytest.fixture
def server(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A separate server for the history, with the connection timeout that the documentation recommends."""
    alias = connections[ALIAS]
    alias.close()
    with monkeypatch.context() as patch:
        place = dj_database_url.parse(own_server.url)
        for part in ("HOST", "PORT", "NAME"):
            patch.setitem(alias.settings_dict, part, str(place[part]))
        patch.setitem(alias.settings_dict["OPTIONS"], "connect_timeout", 2)
        call_command("migrate", "xblock_user_state_extended_history", database=ALIAS, verbosity=0)
        yield own_server
        extended_model()._base_manager.using(ALIAS).all()._raw_delete(ALIAS)
        alias.close()


@pytest.fixture(autouse=True)
def _learners(settings: Settings, outage: Outage) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "HISTORY_TIMEOUT": 1}
    make_learners("ann", "bob")


@contextmanager
def stalled(server: Server) -> Iterator[None]:
    server.pause()
    started = time.monotonic()
    try:
        yield
        assert time.monotonic() - started < PATIENCE_SECONDS
    finally:
        server.resume()


def set_numbers(*numbers: int, name: str = "ann") -> None:
    for number in numbers:
        DjangoXBlockUserStateClient().set(name, BLOCK, {"number": number})


def numbers_of(name: str = "ann") -> list[int]:
    return [(entry.state or {})["number"] for entry in DjangoXBlockUserStateClient().get_history(name, BLOCK)]


def extended_count() -> int:
    return extended_model()._base_manager.using(ALIAS).count()


@pytest.mark.parametrize("is_connected", [True, False], ids=["connected", "not connected"])
def test_writes_commit_and_are_shipped_later(server: Server, outage: Outage, is_connected: bool) -> None:
    set_numbers(1)
    if not is_connected:
        connections[ALIAS].close()
    with stalled(server):
        set_numbers(2, 3)
    assert HistoryOutbox.objects.count() == 2
    outage.wait(RETRY_SECONDS)
    set_numbers(4)
    assert (extended_count(), HistoryOutbox.objects.count()) == (4, 0)


@pytest.mark.parametrize("is_connected", [True, False], ids=["connected", "not connected"])
def test_readers_see_what_is_elsewhere_or_are_refused(
    server: Server, outage: Outage, settings: Settings, is_connected: bool
) -> None:
    set_numbers(1)
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "SHIP_HISTORY": "by_relay"}
    set_numbers(1, 2, name="bob")
    if not is_connected:
        connections[ALIAS].close()
    with stalled(server):
        assert numbers_of("bob") == [2, 1]
        for _ in range(5):
            with pytest.raises(ServiceUnavailable, match=ALIAS):
                numbers_of()
    outage.wait(RETRY_SECONDS)
    assert numbers_of() == [1]


def test_a_relay_does_not_keep_what_it_ships_locked_for_ever(server: Server, settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "SHIP_HISTORY": "by_relay"}
    set_numbers(1)
    ship("default", Q(), 100)
    set_numbers(2)
    with stalled(server), pytest.raises(HistoryUnavailable):
        ship("default", Q(), 100, seconds=1)
    assert HistoryOutbox.objects.count() == 1
    assert ship("default", Q(), 100).rows == 1
