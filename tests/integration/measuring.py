"""Measurements of the client and the relay, collected for the test."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from tests.sinks import Measurements, keeping_sink


@pytest.fixture
def measured(settings: Settings) -> Measurements:
    """All measurements from here on."""
    seen = Measurements()
    settings.XBLOCK_USER_STATE = {**settings.XBLOCK_USER_STATE, "METRICS": keeping_sink(seen)}
    return seen
