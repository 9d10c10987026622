"""Columns of JSON values that are alike."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xblock_user_state.history.columns import (
    Choices,
    Column,
    Lists,
    Objects,
    Others,
    Strings,
    Tables,
    Values,
    column_of,
    texts_of,
)
from xblock_user_state.state import codec

SCALARS = st.one_of(st.none(), st.booleans(), st.sampled_from([0, 0.0, -0.0, 1e300, float("nan")]), st.text(max_size=3))
# Most objects of a list are alike.
OBJECTS = st.fixed_dictionaries(
    {"%b": SCALARS, 'quo"te': st.lists(st.sampled_from(["right", "wrong", "a|b"]), max_size=3)},
    optional={"ümlaut": st.fixed_dictionaries({"": SCALARS, "b": st.just("")})},
)
VALUES = st.one_of(SCALARS, OBJECTS, st.lists(OBJECTS, max_size=3), st.fixed_dictionaries({"x": OBJECTS, "y": OBJECTS}))
TEXTS = st.one_of(
    st.lists(VALUES, max_size=3).map(lambda values: [codec.encode(value).encode() for value in values]),
    st.lists(OBJECTS, max_size=5).map(lambda values: [codec.encode(value).encode() for value in values]),
    st.lists(st.sampled_from([b"[1, 2]", b"[]", b"[[]]", b'{"a":1,"a":2}', b'"\xc3\xbc"', b"1.0", b"1"]), max_size=5),
)


@given(TEXTS)
@settings(deadline=None)
def test_columns_give_back_the_same_texts(texts: list[bytes]) -> None:
    written = msgspec.json.encode(column_of(texts))
    assert texts_of(msgspec.json.decode(written, type=Column), len(texts)) == texts


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "1", "2", "2"], Choices),
        (["1", "2", "2"], Values),
        (['"a"', '"b"', '"b"'], Strings),
        (['"a|b"', '"b"', '"c"'], Values),
        (["[1]", "[]"], Lists),
        (['{"a":1,"b":2}', '{"a":3,"b":2}'], Objects),
        (['{"a":{"c":1},"b":{"c":2}}'], Tables),
        (['{"a":{},"b":{}}'], Tables),
        (['{"a":1}', '{"b":1}'], Values),
        (["NaN", "[ 1]"], Others),
    ],
)
def test_alike_values_are_arranged(texts: list[str], kind: type) -> None:
    column = column_of([text.encode() for text in texts])
    assert type(column) is kind
    assert texts_of(column, len(texts)) == [text.encode() for text in texts]
