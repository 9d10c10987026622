"""Deeply nested values are refused at once with a clear error, or stay readable for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.factories import make_block
from xblock_user_state.memory import InMemoryXBlockUserStateClient

BLOCK = make_block()


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def call_at_depth(frames: int, call: Callable[[], Any]) -> Any:
    """Call from deep in the stack, as behind a host's middleware."""
    return call() if frames == 0 else call_at_depth(frames - 1, call)


def accepted(depth: int) -> bool:
    client = InMemoryXBlockUserStateClient()
    try:
        client.set("ann", BLOCK, {"deep": nested(depth)})
    except ValueError as error:
        assert "deep" in str(error)  # noqa: PT017 (either outcome is right, but not a RecursionError)
        return False
    return True


@pytest.mark.parametrize("depth", [1, 50, 100])
def test_depths_that_blocks_really_store_are_kept(depth: int) -> None:
    assert accepted(depth)


@pytest.mark.parametrize("depth", [10**4, 10**5])
def test_depths_that_no_block_stores_are_refused(depth: int) -> None:
    assert not accepted(depth)


def test_every_depth_is_kept_or_refused_with_a_clear_error() -> None:
    outcomes = [accepted(depth) for depth in range(850, 1000)]
    assert outcomes == sorted(outcomes, reverse=True)


def test_what_was_accepted_can_be_read_and_written_from_anywhere() -> None:
    client = InMemoryXBlockUserStateClient()
    depth = max(depth for depth in range(1, 1000, 10) if accepted(depth))
    client.set("ann", BLOCK, {"deep": nested(depth)})
    assert call_at_depth(400, lambda: client.get("ann", BLOCK)).state == {"deep": nested(depth)}
    call_at_depth(400, lambda: client.set("ann", BLOCK, {"other": 1}))
