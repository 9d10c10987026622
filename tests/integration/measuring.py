"""What the client and the relay report, kept for the test."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from tests.sinks import Measurements, kept_in
from xblock_user_state.history.outbox import backlog


@pytest.fixture
def measured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Measurements:
    """Everything that is reported from here on. This process's own report of the backlog is never due."""
    monkeypatch.setattr(backlog.REPORTS, "clock", lambda: 0.0)
    seen = Measurements()
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "METRICS": kept_in(seen)}
    return seen
