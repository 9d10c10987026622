"""The clock of the tests, on which waits between attempts take no time."""

from __future__ import annotations

import time

import pytest

from tests.unit.remote.scripted import SleepingClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SleepingClock:
    clock = SleepingClock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    return clock
