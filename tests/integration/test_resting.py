"""SQLite has no queue for its lock: jobs leave it free between their steps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from django.db import connection
from pytest_django import Settings

from tests.factories import make_block, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.outbox.relay import Relay
from xblock_user_state.models import HistoryOutbox
from xblock_user_state.store import resting

BLOCK = make_block()

pytestmark = [
    pytest.mark.extended_history,
    pytest.mark.django_db(transaction=True, databases=["default", "student_module_history"]),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="servers have queues for their locks"),
]


@pytest.fixture
def other() -> Iterator[sqlite3.Connection]:
    """Another connection to the file, which does not wait for the lock."""
    with closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=0, isolation_level=None)) as other:
        yield other


def test_the_relay_leaves_the_lock_free_after_each_shipment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, other: sqlite3.Connection
) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    make_learners("ann")
    for number in range(6):
        DjangoXBlockUserStateClient().set("ann", BLOCK, {"n": number})
    left = []

    def rest(seconds: float) -> None:
        assert 0 < seconds <= resting.MOST_REST_SECONDS
        other.execute("BEGIN IMMEDIATE")
        other.execute("COMMIT")
        left.append(HistoryOutbox.objects.count())

    monkeypatch.setattr("xblock_user_state.store.resting.time.sleep", rest)
    assert list(Relay("default", 2).once()) == [2, 2, 2, 0]
    assert left == [4, 2, 0, 0]
