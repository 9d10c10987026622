"""How a history entry's body is stored. Its ``encoding`` says how, so that encodings mix in one table.

A capa problem keeps lists over all attempts, so full copies grow with the square of the attempts. A delta is the text
compressed with the text of the revision before as dictionary: it costs what has changed. Every `MAX_CHAIN` revisions
an entry is full, so that reading one entry takes a bounded number of others.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from xblock_user_state.interface import DamagedHistory

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN = 0
"""The JSON text of the state in UTF-8; NULL where there never was state."""

FULL = 1
"""The text as a zstd frame with a checksum."""

DELTA = 2
"""A zstd frame with a checksum, with the text of the entry of the revision before as its dictionary."""

MAX_CHAIN = 32
"""At least one in so many entries of a block is full."""

# On entries of real problems a third fewer bytes than the usual 3, for one or two microseconds; from 7 on no fewer.
_LEVEL = 6
# A dictionary is used only as far as the window reaches, and beyond it zstd's tables need help to find matches.
_USUAL_WINDOW_LOG, _MAX_WINDOW_LOG = 21, 27


class Stored(NamedTuple):
    """What is stored of one entry."""

    revision: int
    encoding: int
    body: bytes | None


Decoded = tuple[int, str | DamagedHistory | None]
"""Revision and text of an entry, or the error that stands for the text."""


def next_chain(chain: int) -> int:
    """Return an entry's place in its chain, given that of the entry of the revision before.

    1 is a full entry, one more than the one before is a delta against it; 0 stands for no entry to build on.
    """
    return chain + 1 if 0 < chain < MAX_CHAIN else 1


def encode_plain(text: str | None) -> tuple[int, bytes | None]:
    """Return encoding and body of `text` in the plain encoding."""
    return PLAIN, None if text is None else text.encode()


def encode_compact(text: str | None, before: str | None) -> tuple[int, bytes | None]:
    """Return encoding and body of `text`: a delta against the text `before`, or in full if that is ``None``."""
    if text is None:
        return encode_plain(text)
    return (FULL, _compress(text, None)) if before is None else (DELTA, _compress(text, before))


def decode_all(entries: Iterable[Stored]) -> Iterator[Decoded]:
    """Yield revision and text of each of the entries, which are given by rising revision.

    In place of the text of an entry that can't be decoded stands the error that says why; entries that do not depend
    on it are not affected.
    """
    before: Decoded = (0, None)
    for entry in entries:
        before = entry.revision, decode(entry, before)
        yield before


def decode_alone(entry: Stored) -> str | DamagedHistory | None:
    """Return the text of an entry that needs no other; ``DamagedHistory`` if it does, or can't be decoded."""
    return decode(entry, (0, None))


def decode(entry: Stored, before: Decoded) -> str | DamagedHistory | None:
    """Return the text of an entry, given what the one before it was decoded to; or the error that stands for it."""
    try:
        if entry.encoding == PLAIN:
            return None if entry.body is None else entry.body.decode()
        if entry.encoding == FULL:
            return _decompress(entry.body, None)
        if entry.encoding == DELTA:
            return _decompress(entry.body, _base(entry, before))
    except (zstd.ZstdError, UnicodeDecodeError, DamagedHistory) as error:
        return DamagedHistory(f"revision {entry.revision} can't be read: {error}")
    return DamagedHistory(f"revision {entry.revision} has the encoding {entry.encoding}, which this version can't read")


def _base(entry: Stored, before: Decoded) -> str:
    revision, text = before
    if revision != entry.revision - 1 or text is None:
        raise DamagedHistory(f"it builds on revision {entry.revision - 1}, which is missing")
    if isinstance(text, DamagedHistory):
        raise DamagedHistory(f"it builds on revision {revision}, which is damaged")
    return text


def _compress(text: str, before: str | None) -> bytes:
    data = text.encode()
    options = _options((len(data) + len(before or "")).bit_length())
    compressor = zstd.ZstdCompressor(options=options, zstd_dict=_dictionary(before))
    return compressor.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


@lru_cache(64)
def _options(window_log: int) -> Mapping[int, int]:
    """Return the parameters of a frame whose text and dictionary fit a window of so many bits."""
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: _LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    if window_log > _USUAL_WINDOW_LOG:
        options[zstd.CompressionParameter.window_log] = min(window_log, _MAX_WINDOW_LOG)
        options[zstd.CompressionParameter.enable_long_distance_matching] = 1
    return options


def _decompress(body: bytes | None, before: str | None) -> str:
    if body is None:
        raise DamagedHistory("its body is missing")
    return zstd.decompress(body, zstd_dict=_dictionary(before)).decode()


def _dictionary(text: str | None) -> zstd.ZstdDict | tuple[zstd.ZstdDict, int] | None:
    # A prefix is used once and needs no digesting; zstd refuses dictionaries of fewer than 8 bytes.
    if text is None:
        return None
    return zstd.ZstdDict(text.encode().ljust(8), is_raw=True).as_prefix
