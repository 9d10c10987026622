"""States and scores of the old tables, and one history from two tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import simplejson
from hypothesis import given, settings
from hypothesis import strategies as st

from xblock_user_state.openedx.old.merging import in_order, merged, places_from
from xblock_user_state.openedx.old.reasons import Reason
from xblock_user_state.openedx.old.tables import EXTENDED, HISTORY, Entry
from xblock_user_state.openedx.old.values import excerpt, higher_score, number, state_text
from xblock_user_state.state.codec import encode, encode_fields, join, normal_text

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("old", "text"),
    [
        (None, None),
        ("{}", "{}"),
        ('{"b": 1,  "a": 2}', '{"b":1,"a":2}'),
        ('{"a": "★"}', '{"a":"\\u2605"}'),
        ('{"a": "\\ud800"}', '{"a":"\\ud800"}'),
        ('{"a": 123456789012345678901234567890, "b": -0.0}', '{"a":123456789012345678901234567890,"b":-0.0}'),
        ('{"a": 1e2}', '{"a":100.0}'),
        ('{"a": "NaN"}', '{"a":"NaN"}'),
    ],
)
def test_a_state_is_written_as_the_client_writes_it(old: str | None, text: str | None) -> None:
    assert state_text(old) == (text, None)


@pytest.mark.parametrize(
    "old", ['{"a": 1, "b": [1.5, null, true, "x"], "c": {"d": "★"}}', '{"n": NaN, "i": -Infinity}']
)
def test_writing_an_imported_state_again_changes_nothing(old: str) -> None:
    text, _ = state_text(old)
    assert text is not None

    assert join(encode_fields(simplejson.loads(old, allow_nan=True), "a block")) == text


@pytest.mark.parametrize("old", ["", " ", "null", "[1]", '"text"', "{", '{"a": 1} {"a": 2}', "[" * 100_000])
def test_a_text_that_is_no_object_is_no_state(old: str) -> None:
    assert state_text(old) == (None, Reason.BROKEN_STATE)


def test_words_for_numbers_are_taken_and_reported() -> None:
    assert state_text('{"a": NaN, "b": Infinity}') == ('{"a":NaN,"b":Infinity}', Reason.NAN_WORDS)


def test_numbers() -> None:
    assert (number(None), number(1), number(0.5)) == (None, 1.0, 0.5)
    with pytest.raises(ValueError, match="not finite"):
        number(float("nan"))


def test_the_higher_score_of_two_rows() -> None:
    assert higher_score([(1.0, 2.0), (None, 9.0), (2.0, 4.0), (2.0, 5.0)]) == (2.0, 4.0)
    assert higher_score([(None, None), (None, 3.0)]) == (None, None)


def test_a_broken_text_is_cut_in_the_report() -> None:
    assert excerpt("short") == "'short'"
    assert excerpt("x" * 300).endswith("… (300 characters)")


def entry(table: str, id_: int, after: int, state: str = "{}", grade: float | None = None) -> Entry:
    return Entry(table, id_, 1, NOON + after * SECOND, state, grade, None, None)


def test_two_tables_become_one_history() -> None:
    first, second = entry(HISTORY, 9, 0), entry(EXTENDED, 1, 1)
    tied = [entry(HISTORY, 3, 2, "a"), entry(HISTORY, 4, 2, "b"), entry(EXTENDED, 2, 2, "c")]
    assert list(merged(sorted([*tied, second, first], key=in_order))) == [first, second, *tied]


def test_a_copy_is_left_out_and_two_equal_saves_are_not() -> None:
    saves = [entry(HISTORY, 1, 0, "a"), entry(HISTORY, 2, 0, "a")]
    copy = entry(EXTENDED, 1, 0, "a")
    assert list(merged([*saves, copy])) == saves
    others = [entry(EXTENDED, 2, 0, "a", grade=1.0), entry(EXTENDED, 3, 1, "a")]
    assert list(merged([*saves, copy, *others])) == [*saves, *others]


def test_places_from_a_revision_on() -> None:
    places = [in_order(entry(HISTORY, id_, id_)) for id_ in range(1, 4)]
    assert places_from(places, 1) == places
    assert places_from(places, 2) == places[1:]
    assert places_from(places, 3) is None
    assert places_from(places, 0) is None


def test_where_copies_may_stand_only_the_states_tell_revisions() -> None:
    pair = [entry(HISTORY, 1, 0, "a"), entry(EXTENDED, 1, 0, "a")]
    later = [entry(EXTENDED, id_, id_) for id_ in (2, 3)]
    assert places_from([in_order(each) for each in (*pair, *later)], 2) is None
    tied = [entry(HISTORY, 2, 2), entry(HISTORY, 3, 2), entry(EXTENDED, 9, 3)]
    assert places_from([in_order(each) for each in tied], 1) is None
    assert places_from([in_order(each) for each in tied], 2) == [in_order(each) for each in tied[1:]]


def test_an_entry_without_a_time_comes_first() -> None:
    timeless = entry(EXTENDED, 1, 0)._replace(created=None)
    assert sorted([entry(HISTORY, 2, 0), timeless], key=in_order)[0] is timeless


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), JSON))
def test_every_state_is_written_as_the_client_writes_it(state: dict[str, object]) -> None:
    text = simplejson.dumps(state, allow_nan=True)
    assert normal_text(text) == encode(state)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.characters(max_codepoint=127), st.text(st.characters(max_codepoint=127)) | st.integers()))
def test_every_character_of_ascii_is_written_as_the_client_writes_it(state: dict[str, object]) -> None:
    assert normal_text(simplejson.dumps(state, ensure_ascii=False)) == encode(state)


@settings(max_examples=500, deadline=None)
@given(st.floats(1, 10, exclude_max=True), st.integers(-12, 24), st.sampled_from((1, -1)))
def test_every_size_of_a_number_is_written_as_the_client_writes_it(digits: float, exponent: int, sign: int) -> None:
    state = {"a": [sign * digits * 10.0**exponent, {"b": sign * 10.0**exponent}]}
    assert normal_text(simplejson.dumps(state)) == encode(state)
