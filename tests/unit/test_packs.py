"""Packs: many entries of one learner and block in one body."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xblock_user_state.history import packs
from xblock_user_state.history.dictionary import DICTIONARY
from xblock_user_state.history.encoding import encode_compact
from xblock_user_state.history.packs import Packed, count, pack, unpack
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.state import codec

START = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
NAMES = st.sampled_from(["a", "b", "correct_map", 'quo"te', "ümlaut", ""])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(codec="utf-8"), max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
TEXTS = st.one_of(
    st.none(),
    st.dictionaries(NAMES, VALUES, max_size=4).map(codec.encode),
    # Texts that the client does not write.
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(['{"a": 1}', "[]", "{}", "", '{"a":1,"a":2}', '{"b":[1],"a":1}', "{", '{"a":' + "9" * 5000 + "}"]),
)
GRADES = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
ENTRIES = st.tuples(
    st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(fold=0)),
    TEXTS,
    GRADES,
    GRADES,
    st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=5)),
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.just("0b9f7d1c-6a0e-4c63-9a54-1fb1f6a1a001")),
)


def numbered(columns: Sequence[tuple[Any, ...]], first: int = 1) -> list[Packed]:
    return [Packed(revision, *each) for revision, each in enumerate(columns, first)]


def history(texts: Sequence[str | None], first: int = 1) -> list[Packed]:
    """Return entries with these texts, a minute after each other."""
    return numbered(
        [(START + timedelta(minutes=n), text, float(n), 10.0, None, 7) for n, text in enumerate(texts)], first
    )


def attempts(number: int) -> list[str]:
    """Return states like those of a problem: lists over all attempts, and the last items of these lists."""
    answers = [{f"input_{each}": f"answer {each * attempt}" for each in range(5)} for attempt in range(number)]
    return [
        codec.encode({"seed": 1, "answers": answers[n], "answers_history": answers[: n + 1], "attempts": n})
        for n in range(number)
    ]


def packed(entries: Sequence[Packed]) -> bytes:
    body = pack(entries)
    assert body is not None
    return body


@given(st.lists(ENTRIES, min_size=1, max_size=12), st.integers(1, 2**62))
@example([(START, '{"a":1}', -0.0, 1.0, "", 0), (START, None, None, None, None, None)], 5)
@settings(deadline=None)
def test_a_pack_holds_exactly_its_entries(columns: list[tuple[Any, ...]], first: int) -> None:
    entries = numbered(columns, first)
    body = packed(entries)
    assert repr(list(unpack(entries[-1].revision, body))) == repr(entries[::-1])
    assert count(body) == len(entries)


def test_a_pack_is_much_smaller_than_deltas() -> None:
    texts = attempts(100)
    pairs = zip(texts, [None, *texts[:-1]], strict=True)
    deltas = sum(len(encode_compact(text, before)[1] or b"") for text, before in pairs)
    body = packed(history(texts))
    assert len(body) < deltas / 4
    assert len(body) < sum(map(len, texts)) / 100


def test_the_newest_entries_are_read_without_the_older_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = attempts(50)
    body = packed(history(texts))
    join = Mock(wraps=packs._join)
    monkeypatch.setattr(packs, "_join", join)
    assert [entry.text for entry in islice(unpack(50, body), 3)] == texts[:-4:-1]
    assert join.call_count == 3


def test_fields_may_come_and_go() -> None:
    texts = ['{"b":1}', '{"b":1,"c":2}', '{"c":2}', None, '{"c":2,"b":3}', "{}"]
    assert [entry.text for entry in unpack(6, packed(history(texts)))] == texts[::-1]


@pytest.mark.parametrize("grade", [float("nan"), float("inf")])
def test_entries_that_would_change_are_not_packed(grade: float) -> None:
    assert pack([Packed(1, START, "{}", grade, 1.0, None, 7)]) is None


def entries_or_error(body: bytes) -> list[Packed] | str:
    try:
        return list(unpack(5, body))
    except DamagedHistory as error:
        return str(error)


def test_no_damage_gives_other_entries() -> None:
    entries = history(attempts(5))
    body = packed(entries)
    for place in range(packs._HEADER_BYTES, len(body)):
        for bit in range(8):
            found = entries_or_error(body[:place] + bytes([body[place] ^ 1 << bit]) + body[place + 1 :])
            # The header of a frame has a bit that means nothing.
            assert found == entries[::-1] or str(found).startswith("its pack is damaged")
    for size in range(len(body)):
        with pytest.raises(DamagedHistory):
            unpack(5, body[:size])


def test_a_damaged_pack_tells_its_number_of_entries() -> None:
    assert count(packed(history(attempts(5)))[:4] + b"damage") == 5
    assert count(b"") == count(None) == 1


def test_the_frame_is_right_where_the_header_is_not() -> None:
    entries = history(attempts(5))
    body = packed(entries)
    assert list(unpack(5, body[:1] + b"\0\1" + body[3:])) == entries[::-1]


def test_a_layout_of_a_later_version_is_named() -> None:
    with pytest.raises(DamagedHistory, match="its pack has the layout 3, which this version does not know"):
        unpack(5, b"\3" + packed(history(attempts(5)))[1:])


def test_a_frame_with_other_content_is_damage() -> None:
    _, frame = encode_compact('{"not":"a pack"}', None)
    with pytest.raises(DamagedHistory, match="its pack is damaged"):
        unpack(1, b"\2\0\1" + (frame or b""))


def test_the_dictionary_is_the_one_of_all_stored_packs() -> None:
    assert (len(DICTIONARY), zlib.crc32(DICTIONARY)) == (2_087, 2_304_537_918)
