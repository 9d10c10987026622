"""Differences between two states."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xblock_user_state.state import FieldChange, diff, encode

STATES = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from("abcd"), st.sampled_from([0, 1, 1.0, True, None, "1", [1], {"x": 1}, float("nan")]), max_size=4
    ),
)


def test_fields_that_were_added_changed_and_removed() -> None:
    assert diff({"a": 1, "b": 2, "c": 3}, {"d": 4, "b": 20, "a": 1}) == [
        FieldChange("d", "added", None, 4),
        FieldChange("b", "changed", 2, 20),
        FieldChange("c", "removed", 3, None),
    ]


def test_absent_state_has_no_fields() -> None:
    assert diff(None, None) == []
    assert diff(None, {"a": 1}) == [FieldChange("a", "added", None, 1)]
    assert diff({"a": None}, None) == [FieldChange("a", "removed", None, None)]


def test_values_differ_if_their_texts_do() -> None:
    nan = float("nan")
    assert diff({"a": nan}, {"a": float("nan")}) == []
    assert [change.field for change in diff({"a": 1, "b": 1, "c": [1]}, {"a": 1.0, "b": True, "c": [1.0]})] == [*"abc"]
    assert diff({"a": 1, "b": 2}, {"b": 2, "a": 1}) == []


@given(STATES, STATES)
def test_the_changes_lead_from_one_state_to_the_other(old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    state = dict(old or {})
    for change in diff(old, new):
        if change.kind == "removed":
            assert encode(state.pop(change.field)) == encode(change.old)
        else:
            assert (change.field in state) == (change.kind == "changed")
            assert encode(state.get(change.field)) == encode(change.old)
            state[change.field] = change.new
    assert {name: encode(value) for name, value in state.items()} == {
        name: encode(value) for name, value in (new or {}).items()
    }
