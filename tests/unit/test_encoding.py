"""Encodings of history entries: plain, in full, and as a delta to the revision before."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xblock_user_state.history import encoding
from xblock_user_state.history.encoding import (
    DELTA,
    FULL,
    LOST,
    MAX_CHAIN,
    PLAIN,
    Stored,
    checksum,
    close_off,
    closed_off,
    decode_all,
    decode_alone,
    encode_compact,
    encode_plain,
    next_chain,
)
from xblock_user_state.interface import DamagedHistory

TEXTS = st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8"))), max_size=40)


def stored(texts: Sequence[str | None]) -> list[Stored]:
    """Encode texts as successive revisions of one row."""
    entries: list[Stored] = []
    chain, before = 0, None
    for revision, text in enumerate(texts, 1):
        chain = 0 if text is None else next_chain(chain)
        entries.append(Stored(revision, *encode_compact(text, before if chain > 1 else None)))
        before = text
    return entries


def attempts(count: int) -> list[str]:
    return [f'{{"attempts":{number},"answers":[{",".join(map(str, range(number)))}]}}' for number in range(count)]


@given(TEXTS)
def test_texts_are_read_back(texts: list[str | None]) -> None:
    assert [text for _, text in decode_all(stored(texts))] == texts


@given(st.one_of(st.none(), st.text(st.characters(codec="utf-8"))))
def test_a_plain_body_is_the_text_itself(text: str | None) -> None:
    encoding, body = encode_plain(text)
    assert (encoding, body) == (PLAIN, None if text is None else text.encode())
    assert decode_alone(Stored(1, encoding, body)) == text


def test_one_entry_in_a_chain_is_full() -> None:
    encodings = [entry.encoding for entry in stored(attempts(3 * MAX_CHAIN))]
    assert encodings == ([FULL] + [DELTA] * (MAX_CHAIN - 1)) * 3


def test_a_delta_costs_what_has_changed() -> None:
    entries = stored(attempts(30))
    assert all(len(entry.body or b"") < 60 for entry in entries[1:])


def test_full_entries_share_a_compressor(monkeypatch: pytest.MonkeyPatch) -> None:
    zstd: Any = vars(encoding)["zstd"]
    made: list[Any] = []

    class Counted:
        FLUSH_FRAME = zstd.ZstdCompressor.FLUSH_FRAME

        def __new__(cls, **options: Any) -> Any:
            made.append(options)
            return zstd_compressor(**options)

    zstd_compressor = zstd.ZstdCompressor
    texts = ["", "x" * 3_000_000, *attempts(20)]
    alone = []
    for text in texts:
        encoding._full_frames.cache_clear()
        alone.append(encode_compact(text, None))
    encoding._full_frames.cache_clear()
    monkeypatch.setattr(zstd, "ZstdCompressor", Counted)
    assert [encode_compact(text, None) for text in texts] == alone
    # One of them for the text beyond the usual window.
    assert len(made) == 2


def test_a_text_beyond_the_usual_window_is_stored_as_what_has_changed() -> None:
    long = "".join(random.Random(1).choices("abcdefghij", k=3_000_000))
    entries = stored([long, long + "k"])
    assert len(entries[1].body or b"") < 10_000
    assert [text for _, text in decode_all(entries)] == [long, long + "k"]


def test_a_damaged_entry_is_named_and_takes_down_only_what_builds_on_it() -> None:
    texts = attempts(2 * MAX_CHAIN)
    entries = stored(texts)
    body = entries[9].body or b""
    entries[9] = entries[9]._replace(body=body[:-1] + bytes([body[-1] ^ 1]))
    found = dict(decode_all(entries))
    damaged = [revision for revision, text in found.items() if isinstance(text, DamagedHistory)]
    assert damaged == list(range(10, MAX_CHAIN + 1))
    assert "revision 10 " in str(found[10])
    assert all(found[revision] == texts[revision - 1] for revision in found.keys() - set(damaged))


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_damage_gives_another_text(place: int, difference: int) -> None:
    texts = attempts(3)
    entries = stored(texts)
    body = bytearray(entries[2].body or b"")
    body[place % len(body)] ^= difference
    entries[2] = entries[2]._replace(body=bytes(body))
    text = dict(decode_all(entries))[3]
    assert isinstance(text, DamagedHistory) or text == texts[2]


def test_an_entry_without_its_base_is_damaged() -> None:
    entries = stored(attempts(5))
    found = dict(decode_all([entries[0], *entries[2:]]))
    assert "builds on revision 2, which is missing" in str(found[3])
    assert isinstance(decode_alone(entries[1]), DamagedHistory)


def test_encodings_mix() -> None:
    first, second, third = attempts(3)
    entries = [
        Stored(1, *encode_plain(first)),
        Stored(2, *encode_compact(second, first)),
        Stored(3, *encode_plain(third)),
    ]
    assert [text for _, text in decode_all(entries)] == [first, second, third]


@pytest.mark.parametrize("encoding", [4, 200])
def test_an_unknown_encoding_is_refused(encoding: int) -> None:
    assert f"encoding {encoding}" in str(decode_alone(Stored(1, encoding, b"{}")))


@pytest.mark.parametrize("encoding", [PLAIN, FULL, DELTA, 32_767])
@pytest.mark.parametrize("body", [b"", b"damaged", b"\x00" * 9])
def test_a_closed_entry_keeps_encoding_and_body(encoding: int, body: bytes) -> None:
    entry = Stored(7, encoding, body)
    closed = Stored(7, *close_off(entry))
    assert closed.encoding == LOST
    assert closed_off(closed) == entry
    with pytest.raises(DamagedHistory, match="revision 7 can't be read: it was lost, and is closed off"):
        raise decode_alone(closed)  # type: ignore[misc]


def test_an_entry_that_was_missing_has_nothing_inside() -> None:
    missing = Stored(7, LOST, None)
    assert closed_off(missing) is None
    assert isinstance(decode_alone(missing), DamagedHistory)
    assert closed_off(Stored(7, FULL, b"damaged")) is None


def test_what_builds_on_a_closed_entry_is_damaged_up_to_the_next_full_one() -> None:
    entries = stored(attempts(MAX_CHAIN + 2))
    entries[4] = Stored(5, *close_off(entries[4]))
    texts = [text for _, text in decode_all(entries)]
    assert [number for number, text in enumerate(texts, 1) if isinstance(text, DamagedHistory)] == [*range(5, 33)]


@given(st.integers(1, 2**40), st.integers(1, 2**40), st.text(st.characters(codec="utf-8")))
def test_checksums_tell_revisions_apart(one: int, other: int, text: str) -> None:
    assert -(2**31) <= checksum(one, text) < 2**31
    assert (checksum(one, text) == checksum(other, text)) == (one % 2**32 == other % 2**32)


def test_checksums_tell_texts_apart() -> None:
    assert len({checksum(1, text) for text in attempts(50)}) == 50
