"""Sequences of sets and deletes change a row as they change a plain dict, the model (laws 2 and 3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xblock_user_state.clients.arguments import new_score, overlay, removal
from xblock_user_state.state.change import Change, Condition, Row, Score, existing_state
from xblock_user_state.state.codec import NotAState, encode
from xblock_user_state.state.keys import is_among

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.sampled_from([0, 1, 1.0, True, None, "1", [], [1], {"x": 1}, float("nan"), float("nan")])
OVERLAYS = st.tuples(st.just("set"), st.dictionaries(NAMES, VALUES, max_size=3))
REMOVALS = st.tuples(st.just("delete"), st.one_of(st.none(), st.lists(NAMES, max_size=3)))
SCORES = st.tuples(st.just("score"), st.sampled_from([(None, None), (0, 1), (1, 1), (1, 2), (1, None)]))
OPERATIONS = st.lists(st.one_of(OVERLAYS, REMOVALS, SCORES), max_size=12)


class Model:
    """A row as the simplest model: a dict or nothing, a score or nothing, and the number of changes."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None
        self.score: tuple[float | None, float | None] = (None, None)
        self.revision = 0

    def do(self, kind: str, argument: Any) -> None:
        """Apply one operation without counting it."""
        if kind == "score":
            self.score = argument
        elif kind == "set" and argument:
            self.state = {**(self.state or {}), **argument}
        elif kind == "delete" and self.state is not None:
            gone = self.state if argument is None else argument
            self.state = {name: value for name, value in self.state.items() if name not in gone}

    def snapshot(self) -> tuple[str | None, tuple[float | None, float | None]]:
        """Return the parts whose equality means "no change": the text of the state, and the score."""
        return (None if self.state is None else encode(self.state), self.score)


def change_of(kind: str, argument: Any) -> Change:
    if kind == "score":
        return new_score(*argument)
    return overlay("block", argument) if kind == "set" else removal(argument)


def snapshot_of(row: Row | None) -> tuple[str | None, tuple[float | None, float | None]]:
    return (row.text, (row.grade, row.max_grade)) if row else (None, (None, None))


@given(OPERATIONS)
def test_a_row_follows_the_model(operations: list[tuple[str, Any]]) -> None:
    model, row = Model(), None
    for kind, argument in operations:
        before = model.snapshot()
        model.do(kind, argument)
        changed = change_of(kind, argument).apply(row, NOW)
        assert (changed is None) == (model.snapshot() == before)
        if changed:
            assert changed.revision == (row.revision if row else 0) + 1
            row = changed
        assert snapshot_of(row) == model.snapshot()


@given(OPERATIONS, OPERATIONS)
def test_a_change_for_new_rows_only_creates_a_row_and_leaves_existing_ones(
    operations: list[tuple[str, Any]], existing: list[tuple[str, Any]]
) -> None:
    change, row = Change(), None
    for operation in operations:
        change = change.then(change_of(*operation))
    for operation in existing:
        row = change_of(*operation).apply(row, NOW) or row
    only_new = Change(only_new=True).then(change)
    assert only_new.apply(None, NOW) == change.apply(None, NOW)
    assert row is None or only_new.apply(row, NOW) is None


@given(OPERATIONS, OPERATIONS)
def test_joined_changes_are_one_revision_with_the_same_outcome(
    first: list[tuple[str, Any]], second: list[tuple[str, Any]]
) -> None:
    row, model = None, Model()
    for operations in (first, second):
        joined = Change()
        before = model.snapshot()
        for kind, argument in operations:
            joined = joined.then(change_of(kind, argument))
            model.do(kind, argument)
        changed = joined.apply(row, NOW)
        assert (changed is None) == (model.snapshot() == before)
        if changed:
            assert changed.revision == (row.revision if row else 0) + 1
        row = changed or row
        assert snapshot_of(row) == model.snapshot()


@given(OPERATIONS, st.timedeltas(timedelta(hours=-2), timedelta(hours=2)))
def test_times_grow_with_revisions_and_creation_stays(operations: list[tuple[str, Any]], ahead: timedelta) -> None:
    created = datetime.now(UTC) + ahead
    row = Row(1, None, None, None, created, created)
    for kind, argument in operations:
        changed = change_of(kind, argument).apply(row, NOW)
        if changed:
            assert changed.modified > row.modified
            assert changed.created == created
            row = changed


def test_an_absent_and_a_deleted_state_do_not_exist() -> None:
    assert existing_state(None) is None
    assert existing_state("{}") is None
    assert existing_state("{}", ["a"]) is None
    assert existing_state('{"a":1}', []) == {}
    assert existing_state('{"a":1,"b":2}', ["b", "c"]) == {"b": 2}


def test_a_deleted_state_is_an_empty_object_and_an_absent_one_is_nothing() -> None:
    row = overlay("block", {"a": 1}).apply(None, NOW)
    for change in (removal(None), removal(["a"])):
        gone = change.apply(row, NOW)
        assert gone is not None
        assert (gone.text, gone.revision) == ("{}", 2)
        assert change.apply(gone, NOW) is None
    scored = new_score(1, 2).apply(None, NOW)
    assert scored is not None
    assert (scored.text, scored.revision) == (None, 1)
    assert removal(None).apply(scored, NOW) is None


def test_the_first_time_of_a_row_is_its_creation() -> None:
    row = overlay("block", {"a": 1}).apply(None, NOW)
    assert row is not None
    assert row.created == row.modified


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (["problem"], True),
        (("problem", "video"), True),
        ({"problem"}, True),
        ("*", True),
        (["*"], True),
        (["video", "*"], True),
        ([], False),
        (["video"], False),
        (["Problem"], False),
        (["problem2"], False),
    ],
)
def test_which_block_types_are_recorded(recorded: Any, expected: bool) -> None:
    assert is_among("problem", recorded) is expected


def test_a_score_is_two_numbers_or_none() -> None:
    assert new_score(None, None).score == Score(None, None)
    assert new_score(1, None).score == Score(1.0, None)
    assert new_score(0, 0).score == Score(0.0, 0.0)


def test_a_condition_is_the_revision_of_the_row_or_its_absence() -> None:
    row = Row(2, "{}", None, None, NOW, NOW)
    assert [Condition(None, revision).holds(row) for revision in (0, 1, 2, 3)] == [False, False, True, False]
    assert [Condition(None, revision).holds(None) for revision in (0, 1)] == [True, False]


def test_a_condition_with_a_time_of_creation_does_not_hold_for_a_row_that_was_created_again() -> None:
    row = Row(2, "{}", None, None, NOW, NOW)
    assert Condition(None, 2, NOW).holds(row)
    assert not Condition(None, 2, NOW - timedelta(microseconds=1)).holds(row)


def test_a_change_keeps_its_condition_when_another_follows() -> None:
    condition = Condition("key", 2)
    assert Change(condition=condition).then(new_score(1, 2)).condition == condition


@pytest.mark.parametrize("text", ["garbage", "[1]", "", "null", '{"a": 1', '{"a":' + "[" * 5000])
def test_a_text_that_is_no_state(text: str) -> None:
    row = Row(3, text, None, None, NOW, NOW)
    change = overlay("block", {"a": 1})
    with pytest.raises(NotAState, match="it is not "):
        change.apply(row, NOW)
    with pytest.raises(NotAState, match="it is not "):
        existing_state(text)
    with pytest.raises(NotAState, match="it is not "):
        existing_state(text, ["a"])
    mended = change.after_deletion().apply(row, NOW)
    assert mended is not None
    assert (mended.revision, mended.text) == (4, '{"a":1}')
    deleted = removal(None).apply(row, NOW)
    assert deleted is not None
    assert (deleted.revision, deleted.text) == (4, "{}")
