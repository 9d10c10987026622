"""Settings are read at each call, not at start-up."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from tests.factories import make_block, make_learners
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import DoesNotExist, XBlockUserStateClient

pytestmark = pytest.mark.django_db
TYPES = ["problem", "video", "Problem", "problem2"]


@pytest.fixture
def client() -> XBlockUserStateClient:
    make_learners("ann")
    return DjangoXBlockUserStateClient()


def _recorded(client: XBlockUserStateClient) -> list[str]:
    """Write a block of each type, and return the types that have a history."""
    found = []
    for block_type in TYPES:
        key = make_block("some", block_type)
        client.set("ann", key, {"a": 1})
        client.set_score("ann", key, 1, 2)
        try:
            assert len(list(client.get_history("ann", key))) == 2
            found.append(block_type)
        except DoesNotExist:
            pass
    return found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, ["problem"]),
        ({"RECORDED_BLOCK_TYPES": ["problem"]}, ["problem"]),
        ({"RECORDED_BLOCK_TYPES": ("video", "problem2")}, ["video", "problem2"]),
        ({"RECORDED_BLOCK_TYPES": {"Problem"}}, ["Problem"]),
        ({"RECORDED_BLOCK_TYPES": []}, []),
        ({"RECORDED_BLOCK_TYPES": "*"}, TYPES),
        ({"RECORDED_BLOCK_TYPES": ["*"]}, TYPES),
    ],
    ids=repr,
)
def test_which_block_types_are_recorded(
    client: XBlockUserStateClient, value: dict[str, Any], expected: list[str]
) -> None:
    with override_settings(XBLOCK_USER_STATE=value):
        assert _recorded(client) == expected


def test_a_change_of_the_setting_counts_from_the_next_call(client: XBlockUserStateClient) -> None:
    key = make_block("some", "video")
    client.set("ann", key, {"a": 1})
    with override_settings(XBLOCK_USER_STATE={"RECORDED_BLOCK_TYPES": ["video"]}):
        client.set("ann", key, {"a": 2})
        client.set("ann", key, {"a": 3})
        assert [entry.state for entry in client.get_history("ann", key)] == [{"a": 3}, {"a": 2}]
    client.set("ann", key, {"a": 4})
    with override_settings(XBLOCK_USER_STATE={"RECORDED_BLOCK_TYPES": ["video"]}):
        assert [entry.state for entry in client.get_history("ann", key)] == [{"a": 3}, {"a": 2}]
