"""The demo's text for a change of one field."""

from __future__ import annotations

from typing import Any

import pytest

from demo.host.timeline import Line, ShownChange, readable, shown
from xblock_user_state.state import diff


def change(old: dict[str, Any] | None, new: dict[str, Any] | None) -> ShownChange:
    """Return the shown text of the one field that differs."""
    [found] = diff(old, new)
    return shown(found)


def test_short_values_stand_side_by_side() -> None:
    assert change({"attempts": 1}, {"attempts": 2}) == ShownChange("attempts", "changed", "1", "2", [])
    assert change(None, {"done": True}) == ShownChange("done", "added", "", "true", [])
    assert change({"words": ["stars"]}, {}) == ShownChange("words", "removed", '["stars"]', "", [])


def test_of_a_long_value_only_what_differs_is_shown() -> None:
    old = {"answers": {f"question {number}": "no" for number in range(40)}}
    new = {"answers": {**old["answers"], "question 20": "yes"}}
    found = change(old, new)
    assert found.counts == (1, 1)
    assert [line for line in found.lines if line.kind in {"added", "removed"}] == [
        Line("removed", '  "question 20": "no",'),
        Line("added", '  "question 20": "yes",'),
    ]
    assert len(found.lines) == 6


def test_places_far_apart_are_marked_as_such() -> None:
    old = {"answers": list(range(100, 140))}
    new = {"answers": [0, *old["answers"][1:-1], 0]}
    found = change(old, new)
    assert found.counts == (2, 2)
    assert [line.text for line in found.lines if line.kind == "skip"] == ["⋯"]


def test_a_long_value_that_is_new_is_shown_as_a_whole() -> None:
    found = change({}, {"answers": {"only": "x" * 80}})
    assert found.counts == (3, 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Bäume\u0000", '"Bäume\\u0000"'),
        ("\ud83d", '"\\ud83d"'),
        (float("nan"), "NaN"),
        ([1, [2]], "[1, [2]]"),
    ],
)
def test_any_value_can_be_shown(value: Any, text: str) -> None:
    assert readable(value) == text
    readable(value).encode()


def test_an_integer_longer_than_python_prints_can_be_shown() -> None:
    assert len(readable(10**5000)) == 5001
