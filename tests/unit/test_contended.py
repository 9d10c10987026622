"""The memory of lost races is bounded."""

from __future__ import annotations

from xblock_user_state.store import contended


def test_when_there_are_too_many_rows_all_are_forgotten() -> None:
    contended.remember(range(contended.MAX_ROWS + 1))
    assert contended.is_among([0])
    contended.remember(["one more"])
    assert not contended.is_among([0])
    assert contended.is_among([0, "one more"])
    contended.forget()
    assert not contended.is_among(["one more"])
