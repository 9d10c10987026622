"""The codec agrees with the replaced store's simplejson for any value (law 4)."""

from __future__ import annotations

import sys
from collections import namedtuple
from decimal import Decimal
from typing import Any

import pytest
import simplejson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.golden_values import is_same
from xblock_user_state.state.codec import decode, encode, encode_fields, join, split

Score = namedtuple("Score", ["raw_earned", "raw_possible"])
TEXT = st.text(st.characters(codec=None), max_size=8)  # lone surrogates and \u0000 among them
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    TEXT,
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9),
    st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity")]),
    TEXT.map(lambda text: text.encode("utf-8", "ignore")),
)
KEYS = st.one_of(TEXT, st.integers(), st.floats(), st.booleans(), st.none())


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.builds(Score, inner, inner),
    )


VALUES = st.recursive(SCALARS, _containers, max_leaves=15)
FIELDS = st.dictionaries(TEXT, VALUES, max_size=5)
# Integers around and beyond Python's print limit, as (sign, digits, rest): pytest and hypothesis could not print them.
BIG = st.tuples(st.sampled_from([1, -1]), st.integers(4295, 4320), st.integers(0, 99))
WITH_BIG = st.recursive(st.one_of(BIG.map(lambda parts: {"big": parts}), SCALARS), _containers, max_leaves=6)


def reference(value: Any) -> Any:
    """Return the value that the replaced store reads back."""
    return simplejson.loads(simplejson.dumps(value, allow_nan=True), allow_nan=True)


def text_of(fields: dict[str, Any]) -> str:
    """Return the text of a new state."""
    return join(encode_fields(fields, "block"))


@given(FIELDS)
def test_the_meaning_is_simplejsons(fields: dict[str, Any]) -> None:
    assert is_same(decode(text_of(fields)), reference(fields))


@given(FIELDS)
def test_writing_what_was_read_is_the_same_text(fields: dict[str, Any]) -> None:
    text = text_of(fields)
    assert text_of(decode(text)) == text
    assert encode(decode(text)) == text


@given(FIELDS)
def test_a_text_is_plain(fields: dict[str, Any]) -> None:
    text = text_of(fields)
    assert text.isascii()
    assert "\x00" not in text
    assert (text == "{}") == (not fields)


@given(FIELDS, FIELDS)
def test_fields_are_overlaid_as_values_would_be(before: dict[str, Any], fields: dict[str, Any]) -> None:
    text = text_of(before)
    assert join(split(text)) == text
    overlaid = join({**split(text), **encode_fields(fields, "block")})
    assert overlaid == encode({**reference(before), **reference(fields)})


def _grown(value: Any) -> Any:
    """Return `value` with real big integers in place of their descriptions."""
    if isinstance(value, dict) and [*value] == ["big"] and isinstance(value["big"], tuple) and len(value["big"]) == 3:
        sign, digits, rest = value["big"]
        return sign * (10**digits + rest)
    if isinstance(value, dict):
        return {key: _grown(item) for key, item in value.items()}
    if isinstance(value, Score):
        return Score(*map(_grown, value))
    return type(value)(map(_grown, value)) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """Return the JSON meaning of `value`, through a library that prints numbers of any size."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return reference(value)
    finally:
        sys.set_int_max_str_digits(limit)


@settings(max_examples=50)
@given(WITH_BIG)
@example([{"big": (1, 5000, 0)}, Score({"big": (-1, 5000, 1)}, True)])
@example([{"big": (1, 5000, 0)}, {"": "\x00\x1e\x7f\ud800é/\u2028"}])
def test_integers_are_kept_whatever_their_size(described: Any) -> None:
    value = _grown(described)
    text = text_of({"a": value})
    is_kept = is_same(decode(text), _plain({"a": value}))
    assert is_kept
    is_same_text = text_of(decode(text)) == text == join(split(text)) == encode(decode(text))
    assert is_same_text


@given(FIELDS)
def test_what_was_encoded_shares_nothing_with_what_was_given(fields: dict[str, Any]) -> None:
    texts = encode_fields(fields, "block")
    text = join(texts)
    for value in fields.values():
        if isinstance(value, dict | list):
            value.clear()
    assert join(texts) == text


@given(st.lists(st.one_of(st.integers(0, 3), st.sampled_from(["key", "other"])), max_size=6), st.booleans())
def test_an_error_names_the_path_to_the_value(steps: list[int | str], in_a_set: bool) -> None:
    value: Any = {1} if in_a_set else object()
    path = "field"
    for step in reversed(steps):
        value = [0] * step + [value] if isinstance(step, int) else {"before": 1, step: value}
    for step in steps:
        path += f"[{step!r}]"
    with pytest.raises(TypeError) as raised:
        encode_fields({"fine": 1, "field": value}, "the block")
    message = str(raised.value)
    assert message.startswith("the state of the block can't be written as JSON, field 'field'")
    assert f"{path} is a {'set' if in_a_set else 'object'}" in message


@given(st.text(st.sampled_from(list(' {}[]":,\\/bfnrtu0123456789.eE+-truefalsenNIyi\x00\x1e\x7f\ud800é')), max_size=40))
@example('{"a":1,"a":2}')
@example("[18446744073709551616,-9223372036854775809,123456789012345678901234567890,0.1e-400,1.7976931348623159e308]")
@example('"\\ud800\\udc00\\ud800"')
@example("[1e400,-0,-0.0,1E5,NaN,-Infinity]")
def test_what_is_no_json_or_odd_json_reads_as_simplejson_reads_it(text: str) -> None:
    try:
        expected = simplejson.loads(text, allow_nan=True)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 (whichever subclass)
            decode(text)
    else:
        assert is_same(decode(text), expected)
