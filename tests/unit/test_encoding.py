"""Encodings of history entries: plain, in full, and as deltas to the revision before."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
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
    SPLICE,
    Stored,
    checksum,
    close_off,
    closed_off,
    decode_all,
    decode_alone,
    encode_compact,
    encode_plain,
    is_delta,
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
    """Return texts with short changes, which are stored as splices."""
    return [f'{{"attempts":{number},"answers":[{",".join(map(str, range(number)))}]}}' for number in range(count)]


def essays(count: int) -> list[str]:
    """Return texts with long changes, which are stored as frames."""
    words = random.Random(count)
    return [f'{{"essay":"{" ".join(f"{words.random()}" for _ in range(20))}"}}' for _ in range(count)]


HISTORIES = pytest.mark.parametrize(("texts_of", "encoding"), [(attempts, SPLICE), (essays, DELTA)])
TextsOf = Callable[[int], list[str]]


def changed(entry: Stored, place: int, difference: int) -> Stored:
    """Return the entry with another byte at this place."""
    body = bytearray(entry.body or b"")
    body[place % len(body)] ^= difference
    return entry._replace(body=bytes(body))


@given(TEXTS)
def test_texts_are_read_back(texts: list[str | None]) -> None:
    assert [text for _, text in decode_all(stored(texts))] == texts


@given(st.one_of(st.none(), st.text(st.characters(codec="utf-8"))))
def test_a_plain_body_is_the_text_itself(text: str | None) -> None:
    encoding, body = encode_plain(text)
    assert (encoding, body) == (PLAIN, None if text is None else text.encode())
    assert decode_alone(Stored(1, encoding, body)) == text


@HISTORIES
def test_one_entry_in_a_chain_is_full(texts_of: TextsOf, encoding: int) -> None:
    encodings = [entry.encoding for entry in stored(texts_of(3 * MAX_CHAIN))]
    assert encodings == ([FULL] + [encoding] * (MAX_CHAIN - 1)) * 3
    assert is_delta(encoding)
    assert not is_delta(FULL)


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


@HISTORIES
def test_a_damaged_entry_is_named_and_takes_down_only_what_builds_on_it(texts_of: TextsOf, encoding: int) -> None:
    texts = texts_of(2 * MAX_CHAIN)
    entries = stored(texts)
    entries[9] = changed(entries[9], -1, 1)
    found = dict(decode_all(entries))
    damaged = [revision for revision, text in found.items() if isinstance(text, DamagedHistory)]
    assert damaged == list(range(10, MAX_CHAIN + 1))
    assert entries[9].encoding == encoding
    assert "revision 10 " in str(found[10])
    assert all(found[revision] == texts[revision - 1] for revision in found.keys() - set(damaged))


@HISTORIES
@given(place=st.integers(0, 10_000), difference=st.integers(1, 255))
def test_no_damage_gives_another_text(texts_of: TextsOf, encoding: int, place: int, difference: int) -> None:
    texts = texts_of(3)
    entries = stored(texts)
    entries[2] = changed(entries[2], place, difference)
    text = dict(decode_all(entries))[3]
    assert entries[2].encoding == encoding
    assert isinstance(text, DamagedHistory) or text == texts[2]


@HISTORIES
@given(length=st.integers(0, 10_000))
def test_a_body_that_was_cut_off_is_damaged(texts_of: TextsOf, encoding: int, length: int) -> None:
    entries = stored(texts_of(3))
    body = entries[2].body or b""
    entries[2] = entries[2]._replace(body=body[: length % len(body)])
    assert entries[2].encoding == encoding
    assert isinstance(dict(decode_all(entries))[3], DamagedHistory)


@HISTORIES
def test_a_missing_body_is_damaged(texts_of: TextsOf, encoding: int) -> None:
    entries = stored(texts_of(2))
    text = dict(decode_all([entries[0], Stored(2, encoding, None)]))[2]
    assert "its body is missing" in str(text)


@HISTORIES
def test_an_entry_on_another_base_is_damaged(texts_of: TextsOf, encoding: int) -> None:
    entries = stored(texts_of(3))
    assert entries[2].encoding == encoding
    # A plain body has no checksum of its own.
    entries[1] = Stored(2, *encode_plain(texts_of(2)[1].replace("{", "[")))
    assert isinstance(dict(decode_all(entries))[3], DamagedHistory)


@HISTORIES
def test_an_entry_without_its_base_is_damaged(texts_of: TextsOf, encoding: int) -> None:
    entries = stored(texts_of(5))
    found = dict(decode_all([entries[0], *entries[2:]]))
    assert entries[2].encoding == encoding
    assert "builds on revision 2, which is missing" in str(found[3])
    assert isinstance(decode_alone(entries[1]), DamagedHistory)


def test_entries_of_the_first_version_mix_with_later_ones() -> None:
    texts = attempts(4)
    frames = [
        Stored(revision, DELTA, encoding._compress(texts[revision - 1], texts[revision - 2])) for revision in (2, 4)
    ]
    splice = Stored(3, *encode_compact(texts[2], texts[1]))
    entries = [Stored(1, *encode_compact(texts[0], None)), frames[0], splice, frames[1]]
    assert [entry.encoding for entry in entries] == [FULL, DELTA, SPLICE, DELTA]
    assert [text for _, text in decode_all(entries)] == texts


def test_encodings_mix() -> None:
    first, second, third = attempts(3)
    entries = [
        Stored(1, *encode_plain(first)),
        Stored(2, *encode_compact(second, first)),
        Stored(3, *encode_plain(third)),
    ]
    assert [text for _, text in decode_all(entries)] == [first, second, third]


@pytest.mark.parametrize("encoding", [6, 200])
def test_an_unknown_encoding_is_refused(encoding: int) -> None:
    assert f"encoding {encoding}" in str(decode_alone(Stored(1, encoding, b"{}")))


@pytest.mark.parametrize("encoding", [PLAIN, FULL, DELTA, SPLICE, 32_767])
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
