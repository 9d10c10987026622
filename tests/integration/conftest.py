"""Fixtures for every integration test."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakKeyDictionary

import pytest
from django.conf import settings
from django.db import connection

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


@pytest.fixture(params=["always", "never"] if connection.vendor == "postgresql" else ["never"])
def prepared_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with every statement of the client prepared, from the first, and with none."""
    monkeypatch.setitem(settings.XBLOCK_USER_STATE, "PREPARE_STATEMENTS", request.param)
    monkeypatch.setattr(preparing, "FIRST_STATEMENTS", 0)
    monkeypatch.setattr(preparing, "_SESSIONS", WeakKeyDictionary())
