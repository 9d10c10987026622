"""Differences between two states, cut into pieces."""

from __future__ import annotations

from typing import Any

import pytest

from xblock_user_state.console.changes import COMPARED, LINE, Piece, compared, readable
from xblock_user_state.console.converters import SlashedText


def test_short_values_are_shown_whole() -> None:
    [shown] = compared({"a": 1}, {"a": True})
    assert (shown.path, shown.kind, shown.old, shown.new, shown.pieces) == ("a", "changed", "1", "true", [])


def test_nested_values_are_shown_by_path_and_short_ones_first() -> None:
    old = {"long": "x " * 80, "map": {"a": {"b": 1, "c": 2}, "gone": 3}}
    new = {"long": "y " * 80, "map": {"a": {"b": 9, "c": 2}, "new": 4}}
    found = compared(old, new)
    assert [(shown.path, shown.kind) for shown in found] == [
        ("map › a › b", "changed"),
        ("map › new", "added"),
        ("map › gone", "removed"),
        ("long", "changed"),
    ]
    assert {shown.field for shown in found} == {"map", "long"}


def test_a_list_that_grew_shows_what_was_appended() -> None:
    tries = [{"answer": "a"}, {"answer": "b"}, {"answer": "c"}]
    [one] = compared({"tries": tries[:2]}, {"tries": tries})
    assert (one.path, one.kind, one.new) == ("tries › [2]", "added", '{"answer": "c"}')
    [two] = compared({"map": {"tries": tries[:1]}}, {"map": {"tries": tries}})
    assert (two.path, two.new) == ("map › tries › [1:]", '[{"answer": "b"}, {"answer": "c"}]')
    [gone] = compared({"tries": tries}, {"tries": tries[:2]})
    assert (gone.path, gone.kind, gone.old, gone.new) == ("tries › [2]", "removed", '{"answer": "c"}', "")
    [other] = compared({"tries": [1]}, {"tries": [True, 2]})
    assert (other.path, other.old, other.new) == ("tries", "[1]", "[true, 2]")


@pytest.mark.parametrize("value", [{"words": ["sky"] * 100}, "sky " * 100], ids=["nested", "text"])
def test_a_long_new_value_is_a_line_that_unfolds(value: Any) -> None:
    for old in ({}, {"a": None}):
        [shown] = compared(old, {"a": value})
        assert (shown.pieces, shown.is_small, shown.is_folded) == ([], False, True)
        assert (len(shown.new), shown.new[-1]) == (LINE + 1, "…")
        assert shown.whole == (value if isinstance(value, str) else readable(value))
    [middle] = compared({}, {"a": "x" * 100})
    assert (middle.is_small, middle.is_folded) == (False, False)


def test_a_long_comparison_begins_with_its_first_words() -> None:
    [shown] = compared({"a": "word " * 300}, {"a": "other " * 300})
    assert shown.is_folded
    assert LINE <= sum(len(piece.text) for piece in shown.beginning) <= LINE + 1


def test_a_long_text_keeps_the_words_around_a_difference() -> None:
    words = ["word"] * 100
    [shown] = compared({"a": " ".join(words)}, {"a": " ".join([*words[:50], "other", *words[51:]])})
    assert Piece("added", "other") in shown.pieces
    assert len("".join(piece.text for piece in shown.pieces)) < 120


def test_a_text_that_was_rewritten_is_shown_whole() -> None:
    old = "Clouds. I will try again next week, if the weather is any better then."
    new = "It was so clear that we stayed for two hours, and I saw the Plough, Polaris and Andromeda."
    [shown] = compared({"a": old}, {"a": new})
    assert shown.pieces == [Piece("removed", old), Piece("added", new)]


def test_pieces_make_up_both_sides() -> None:
    old, new = "the quick brown fox " * 4, "the slow brown fox " * 4
    [shown] = compared({"a": old}, {"a": new})
    assert "".join(piece.text for piece in shown.pieces if piece.kind != "added") == old
    assert "".join(piece.text for piece in shown.pieces if piece.kind != "removed") == new


def test_a_value_that_is_too_long_to_compare_is_cut() -> None:
    [shown] = compared({"a": "x " * COMPARED}, {"a": "y " * COMPARED})
    assert [(piece.kind, len(piece.text)) for piece in shown.pieces] == [("removed", COMPARED), ("added", COMPARED)]
    [new] = compared({}, {"a": "x " * COMPARED})
    assert len(new.whole) == COMPARED + 1


@pytest.mark.parametrize(
    "value", ["\ud800", 10**5000, float("nan"), {"a": ["\udfff"]}], ids=["text", "integer", "nan", "list"]
)
def test_every_value_of_a_state_can_be_printed(value: Any) -> None:
    assert readable(value).encode()
    [shown] = compared(None, {"a": value})
    assert (shown.new + "".join(piece.text for piece in shown.pieces)).encode()


@pytest.mark.parametrize("text", ["ann", "Astro/A101/2013", "i4x://a/b;c", ";_", ";;_/;", "block-v1:a+b+c"])
def test_a_text_with_slashes_is_one_part_of_a_path(text: str) -> None:
    part = SlashedText().to_url(text)
    assert "/" not in part
    assert SlashedText().to_python(part) == text
