"""Changes of a row to the values that code assigned to an instance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from xblock_user_state.state.assigned import (
    Creation,
    RowExists,
    RowIsGone,
    Update,
    checked_fields,
    checked_text,
    edits_between,
    replacement,
)
from xblock_user_state.state.change import DELETED, Change, Overlay, Removal, Row, Score
from xblock_user_state.state.codec import decode, encode

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)


def row(text: str | None = '{"a":1}', grade: float | None = 1.0, max_grade: float | None = 2.0) -> Row:
    return Row(3, text, grade, max_grade, NOW, NOW)


def text_after(change: Change, text: str | None) -> str | None:
    after = change.apply(row(text), LATER)
    return text if after is None else after.text


VALUES = some.recursive(
    some.sampled_from(
        [None, True, False, 0, 1, 1.0, -0.0, 2**70, 1e300, float("nan"), float("inf"), "", "é", "\0\ud800"]
    ),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from(["x", "ß"]), inner),
    max_leaves=5,
)
STATES = some.dictionaries(some.sampled_from(["a", "b", "c", "é"]), VALUES)


@given(STATES, STATES, STATES)
def test_edits_write_the_differences_and_keep_others(loaded: Any, assigned: Any, stored: Any) -> None:
    before, after = checked_text(encode(loaded), "it"), encode(assigned)
    edits = edits_between(before, after, "it")
    assert decode(text_after(Update(edits), before) or "{}").keys() == assigned.keys()
    # By texts: NaN equals NaN, and 1 is not 1.0.
    texts = {name: encode(value) for name, value in decode(encode(assigned)).items()}
    old = {name: encode(value) for name, value in decode(before or "{}").items()}
    kept = {name: encode(value) for name, value in decode(encode(stored)).items()}
    expected = {name: text for name, text in kept.items() if name in texts or name not in old}
    expected.update({name: text for name, text in texts.items() if old.get(name) != text})
    found = decode(text_after(Update(edits), checked_text(encode(stored), "it")) or "{}")
    assert {name: encode(value) for name, value in found.items()} == expected


@given(STATES)
def test_the_same_fields_need_no_edit(state: Any) -> None:
    text = checked_text(encode(state), "it")
    assert edits_between(text, encode(state), "it") == ()
    assert edits_between(text, text, "it") == ()


@pytest.mark.parametrize(("old", "new"), [("1", "1.0"), ("1", "true"), ("0", "false"), ("1", '"1"'), ("[]", "{}")])
def test_values_of_other_types_differ(old: str, new: str) -> None:
    [edit] = edits_between(f'{{"a":{old}}}', f'{{"a":{new}}}', "it")
    assert isinstance(edit, Overlay)
    assert [bytes(text) for text in edit.fields.values()] == [new.encode()]


def test_an_absent_state_has_no_fields() -> None:
    assert edits_between(None, None, "it") == ()
    assert edits_between(None, "{}", "it") == ()
    assert edits_between(DELETED, None, "it") == ()
    assert edits_between('{"a":1}', None, "it") == (Removal(frozenset("a")),)


def test_a_loaded_text_that_is_no_state_is_replaced() -> None:
    assert text_after(Update(edits_between("[1]", '{"a": 2}', "it")), None) == '{"a":2}'
    assert edits_between("no JSON", '{"a": 2}', "it") == replacement('{"a": 2}', "it")


@pytest.mark.parametrize(("text", "after"), [('{"b": 1}', '{"b":1}'), ("{}", DELETED), (None, DELETED)])
def test_a_replacement_leaves_no_other_field(text: str | None, after: str) -> None:
    assert text_after(Update(replacement(text, "it")), '{"a":1}') == after


def test_a_replacement_by_nothing_makes_no_state() -> None:
    assert text_after(Update(replacement("{}", "it")), None) is None


@pytest.mark.parametrize("text", ["", "{", "nothing", "1", "[{}]", "null", '{"a":' + "[" * 300 + "]" * 300 + "}"])
def test_texts_that_are_no_state(text: str) -> None:
    with pytest.raises(ValueError, match="the state of this row"):
        checked_fields(text, "this row")


@pytest.mark.parametrize("text", [{}, b"{}", 1])
def test_values_that_are_no_text(text: object) -> None:
    with pytest.raises(TypeError, match=r"the state of this row must be a JSON text, not a .*; use json.dumps"):
        checked_text(text, "this row")


def test_a_creation_needs_neither_state_nor_score() -> None:
    assert Creation().apply(None, NOW) == Row(1, None, None, None, NOW, NOW)
    assert Creation(text=DELETED, score=Score(1, 2)).apply(None, NOW) == Row(1, DELETED, 1, 2, NOW, NOW)
    with pytest.raises(RowExists):
        Creation(text=DELETED).apply(row(), NOW)


def test_an_update_needs_the_row_that_was_loaded() -> None:
    for created in (None, NOW):
        after = Update((Removal(None),), created=created).apply(row(), LATER)
        assert after == Row(4, DELETED, 1, 2, NOW, LATER)
    for found, created in ((None, None), (None, NOW), (row(), LATER)):
        with pytest.raises(RowIsGone):
            Update((Removal(None),), created=created).apply(found, LATER)


@pytest.mark.parametrize(
    ("points", "score"),
    [
        ({"grade": 5.0}, (5, 2)),
        ({"max_grade": 9.0}, (1, 9)),
        ({"grade": 5.0, "max_grade": None}, (5, None)),
        ({"grade": None}, (None, None)),
        ({"grade": None, "max_grade": 9.0}, (None, 9)),
    ],
)
def test_points(points: dict[str, float | None], score: tuple[float | None, float | None]) -> None:
    after = Update(points=points).apply(row(), LATER)
    assert after is not None
    assert (after.grade, after.max_grade, after.text) == (*score, '{"a":1}')


def test_an_update_to_the_stored_values_changes_nothing() -> None:
    assert Update(points={"grade": 1.0}).apply(row(), LATER) is None
    assert Update(replacement('{"a": 1}', "it")).apply(row(), LATER) is None
    # A maximum without points stays.
    assert Update((Overlay({}),)).apply(row(grade=None), LATER) is None
