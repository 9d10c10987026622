"""The memory of lost races is bounded."""

from __future__ import annotations

from xblock_user_state.store import hot_rows


def test_when_there_are_too_many_rows_all_are_forgotten() -> None:
    hot_rows.mark(range(hot_rows.MAX_ROWS + 1))
    assert hot_rows.any_hot([0])
    hot_rows.mark(["one more"])
    assert not hot_rows.any_hot([0])
    assert hot_rows.any_hot([0, "one more"])
