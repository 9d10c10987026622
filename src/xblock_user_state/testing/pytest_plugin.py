"""Fixtures for hosts that test with pytest and pytest-django.

Load them in the ``conftest.py`` beside pytest's configuration::

    pytest_plugins = ["xblock_user_state.testing.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from xblock_user_state import testing

__all__ = ["learner_state_db", "transactional_learner_state_db"]

_FIXTURES = ("learner_state_db", "transactional_learner_state_db")


@pytest.fixture
def learner_state_db(db: None) -> None:
    """Opens all databases of learner state, in transactions that are rolled back after the test."""


@pytest.fixture
def transactional_learner_state_db(transactional_db: None) -> None:
    """Opens all databases of learner state, and empties them after the test. Commits happen, and history is shipped."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use these fixtures with their databases: pytest-django reads them from the marker."""
    for item in items:
        if any(name in _FIXTURES for name in getattr(item, "fixturenames", ())):
            marker = item.get_closest_marker("django_db")
            # Before the item's other markers: pytest-django takes the closest.
            item.add_marker(pytest.mark.django_db(**_with_databases(marker.kwargs if marker else {})), append=False)


def _with_databases(arguments: Mapping[str, Any]) -> dict[str, Any]:
    named = arguments.get("databases") or ()
    every = named if named == "__all__" else sorted({*named, *testing.learner_state_databases()})
    return {**arguments, "databases": every}
