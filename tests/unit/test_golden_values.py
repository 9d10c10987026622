"""The codec agrees with the table of law 4."""

from __future__ import annotations

import pytest

from tests.golden_values import GOLDEN, Golden, is_same
from xblock_user_state.state.codec import decode, decode_field, encode_fields, join

EACH = pytest.mark.parametrize("golden", GOLDEN.values(), ids=GOLDEN.keys())


@EACH
def test_the_value_that_is_read_back(golden: Golden) -> None:
    [(name, text)] = encode_fields({"field": golden.value}, "block").items()
    assert name == "field"
    assert is_same(decode_field(text), golden.back)


@EACH
def test_the_text_in_the_database(golden: Golden) -> None:
    assert join(encode_fields({"field": golden.value}, "block")) == f'{{"field":{golden.text}}}'


@EACH
def test_the_text_is_ascii_without_a_null_character(golden: Golden) -> None:
    text = join(encode_fields({"field": golden.value}, "block"))
    assert text.isascii()
    assert "\x00" not in text


@EACH
def test_writing_again_what_was_read_is_the_same_text(golden: Golden) -> None:
    text = join(encode_fields({"field": golden.value}, "block"))
    assert join(encode_fields(decode(text), "block")) == text
