"""Fixtures for every integration test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.pinning import watched


@pytest.fixture(autouse=True)
def law_7_offences(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fail each test in which a module outside the rooms of law 7 sends a statement without a learner."""
    with watched(monkeypatch) as offences:
        yield offences
    assert offences == []
