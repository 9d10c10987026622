"""Splices: short changes as edits of a text's bytes."""

from __future__ import annotations

import random
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xblock_user_state.history.encoding import DELTA, SPLICE, Stored, decode, encode_compact
from xblock_user_state.history.splicing import LIMIT, apply, splice
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.state import codec
from xblock_user_state.state.change import Overlay

ANY_TEXT = st.text(st.characters(codec="utf-8"))
# Few characters give many texts with equal pieces. 😀 and 😁 begin with the same three bytes.
ALIKE = st.text(',"aé😀😁')
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from([2**70, float("nan")]), st.floats(), ALIKE),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner)),
    max_leaves=3,
)
STATES = st.dictionaries(st.sampled_from(["one", "two", "drei,", '"vier"', "fünf", "😀"]), VALUES)
STATE = {
    "attempts": 1,
    "done": True,
    "score": {"raw_earned": 1, "raw_possible": 2},
    "time": "2026-08-25T14:00:00Z",
    "answers": {"first": "236.12", "second": "ß"},
}


def overlaid(**fields: Any) -> tuple[str, str]:
    """Return the texts of `STATE` before and after these fields were set."""
    before = codec.encode(STATE)
    after = Overlay(codec.encode_fields(fields, "a block")).apply(before)
    assert after is not None
    return before, after


def edits(body: bytes | None) -> list[Any]:
    """Return the edits of a splice."""
    assert body is not None
    found: list[Any] = msgspec.msgpack.decode(body[4:])
    return found


@given(ALIKE, ALIKE)
def test_a_splice_gives_the_text_back(before: str, after: str) -> None:
    body = splice(before, after)
    assert body is None or apply(body, before) == after


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_one_stretch_costs_its_bytes_and_a_few_more(head: str, one: str, other: str, tail: str) -> None:
    one, other = (text.replace(",", "")[:8] for text in (one, other))
    body = splice(head + one + tail, head + other + tail)
    assert body is not None
    assert apply(body, head + one + tail) == head + other + tail
    assert len(body) <= 4 + 1 + 2 * 3 + 3 + len(other.encode())


@given(STATES, STATES)
def test_overlays_are_read_back(state: dict[str, Any], fields: dict[str, Any]) -> None:
    before = codec.encode(state)
    after = Overlay(codec.encode_fields(fields, "a block")).apply(before) or ""
    entry = Stored(2, *encode_compact(after, before))
    assert entry.encoding in (SPLICE, DELTA)
    assert decode(entry, (1, before)) == after


def test_each_field_that_differs_is_an_edit() -> None:
    before, after = overlaid(attempts=2, score={"raw_earned": 0, "raw_possible": 2}, time="2026-08-26T09:00:00Z")
    body = splice(before, after)
    assert [(removed, inserted) for _, removed, inserted in edits(body)] == [(1, b"2"), (1, b"0"), (4, b"6T09")]
    assert apply(body or b"", before) == after


@pytest.mark.parametrize(
    ("before", "after", "edit"),
    [
        ('{"a":1}', '{"a":1,"b":2}', [6, 0, b',"b":2']),
        ('{"a":1,"b":2}', '{"a":1}', [6, 6, b""]),
        ('{"a":1,"b":"x","c":3}', "{}", [1, 19, b""]),
        ('{"a":NaN}', '{"a":-Infinity}', [5, 3, b"-Infinity"]),
        ('{"a":"😀"}', '{"a":"😁"}', [9, 1, b"\x81"]),
        ("", "x", [0, 0, b"x"]),
    ],
)
def test_a_change_of_one_stretch_is_one_edit(before: str, after: str, edit: list[Any]) -> None:
    body = splice(before, after)
    assert edits(body) == [edit]
    assert apply(body or b"", before) == after


def test_equal_texts_differ_by_no_edit() -> None:
    body = splice("same", "same")
    assert edits(body) == []
    assert apply(body or b"", "same") == "same"


def test_a_long_change_is_no_splice() -> None:
    before, after = overlaid(essay="x" * LIMIT)
    assert splice(before, after) is None
    before, after = overlaid(**{f"field{number}": number for number in range(5)})
    assert splice(before, after) is None
    assert splice(after, before) is not None
    assert splice("abcdefgh" * 20, "ijklmnop" * 20) is None


def test_a_long_text_is_spliced() -> None:
    text = "".join(random.Random(1).choices('abcdefghij,"', k=3_000_000))
    before, after = text + "1" + text, text + "22" + text
    body = splice(before, after)
    assert len(body or b"") < 20
    assert apply(body or b"", before) == after


def test_no_change_of_a_byte_gives_another_text() -> None:
    before, after = overlaid(attempts=2, time="2026-08-26T09:00:00Z")
    body = splice(before, after) or b""
    for place, byte in enumerate(body):
        for difference in range(1, 256):
            wrong = body[:place] + bytes([byte ^ difference]) + body[place + 1 :]
            text = decode(Stored(2, SPLICE, wrong), (1, before))
            assert isinstance(text, DamagedHistory) or text == after


@given(st.binary(max_size=80))
def test_any_body_gives_an_error_or_its_checksums_text(edits: bytes) -> None:
    before, _ = overlaid()
    text = decode(Stored(2, SPLICE, edits), (1, before))
    assert (
        isinstance(text, DamagedHistory) or zlib.crc32(text.encode() if text else b"").to_bytes(4, "big") == edits[:4]
    )


@pytest.mark.parametrize(
    "wrong", [[[-1, 0, b""]], [[0, -5, b""]], [[0, 0, "text"]], [[0, 0]], {"a": 1}, [[1.5, 0, b""]]]
)
def test_edits_that_no_splice_has_are_damage(wrong: object) -> None:
    body = zlib.crc32(b"text").to_bytes(4, "big") + msgspec.msgpack.encode(wrong)
    with pytest.raises(DamagedHistory, match="its edits are damaged"):
        apply(body, "text")


def test_bytes_that_are_no_text_are_damage() -> None:
    body = zlib.crc32(b"\xff").to_bytes(4, "big") + msgspec.msgpack.encode([[0, 4, b"\xff"]])
    assert isinstance(decode(Stored(2, SPLICE, body), (1, "text")), DamagedHistory)
