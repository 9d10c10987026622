"""How history entries are stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xblock_user_state.state.encoding import PLAIN, decode_body, encode_body


@given(st.one_of(st.none(), st.text(st.characters(codec="utf-8"))))
def test_a_text_is_read_back_from_its_body(text: str | None) -> None:
    body = encode_body(text)
    assert decode_body(PLAIN, body) == text
    assert decode_body(PLAIN, None if body is None else memoryview(body)) == text


def test_a_plain_body_is_the_text_itself() -> None:
    assert encode_body('{"a":1}') == b'{"a":1}'
    assert encode_body(None) is None


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="encoding 200"):
        decode_body(200, b"{}")
