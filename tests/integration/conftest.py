"""Fixtures for every integration test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from django.conf import settings

from tests import citus
from tests.integration import shards
from tests.integration.pinning import watched
from xblock_user_state.history.entries import entries_deleted
from xblock_user_state.models import Block
from xblock_user_state.openedx.decoded import copying
from xblock_user_state.openedx.numbers import giving
from xblock_user_state.store.blocks import blocks_registered
from xblock_user_state.store.dialects import preparing


@pytest.fixture(autouse=True)
def law_7_offences(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fail each test in which a module outside the rooms of law 7 sends a statement without a learner."""
    with watched(monkeypatch) as offences:
        yield offences
    assert offences == []


@pytest.fixture(autouse=True)
def _without_openedx(request: pytest.FixtureRequest) -> Iterator[None]:
    """Register blocks and delete history as a host does without the app for Open edX, except in that app's tests.

    The app takes more statements, and many tests count them.
    """
    if "openedx" in request.path.parts:
        yield
        return
    blocks_registered.disconnect(sender=Block, dispatch_uid=giving.UID)
    entries_deleted.disconnect(dispatch_uid=copying.UID)
    yield
    giving.connect()
    copying.connect()


@pytest.fixture(params=["always", "never"] if citus.DIALECT == "postgresql" else ["never"])
def prepared_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with every statement of the client prepared, from the first, and with none."""
    monkeypatch.setitem(settings.XBLOCK_USER_STATE, "PREPARE_STATEMENTS", request.param)
    monkeypatch.setattr(preparing, "FIRST_STATEMENTS", 0)
    monkeypatch.setattr(preparing, "_SESSIONS", WeakKeyDictionary())


@pytest.fixture(scope="session")
def shards_made(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The partitioned tables of the stand-in for Citus, in the test database."""
    with ExitStack() as tables:
        with django_db_blocker.unblock():
            tables.enter_context(shards.made())
        yield
        with django_db_blocker.unblock():
            tables.close()


@pytest.fixture
def shards_used(shards_made: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-in for Citus instead of the tables, for a test with the database."""
    with shards.used(monkeypatch):
        yield
