"""Measurements of the client and the relay, collected for the test."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from tests.sinks import Measurements, keeping_sink
from xblock_user_state.history.outbox import backlog


@pytest.fixture
def measured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Measurements:
    """Keep all measurements from here on. This process's own report of the backlog is never due."""
    monkeypatch.setattr(backlog.REPORTS, "clock", lambda: 0.0)
    seen = Measurements()
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "METRICS": keeping_sink(seen)}
    return seen
