"""How a history entry's body is stored. Its ``encoding`` says how, so that encodings mix in one table.

A capa problem keeps lists over all attempts, so full copies grow with the square of the attempts. A delta is the text
compressed with the text of the revision before as dictionary: it costs what has changed. Every `MAX_CHAIN` revisions
an entry is full, so that reading one entry takes a bounded number of others.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

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

_LEVEL = 3
# A dictionary is used only as far as the window reaches, and beyond it zstd's tables need help to find matches.
_USUAL_WINDOW_LOG, _MAX_WINDOW_LOG = 21, 27


class DamagedEntry(ValueError):
    """A history entry's body can't be decoded: it is damaged, or the entry that it builds on is, or is missing."""


class Stored(NamedTuple):
    """What is stored of one entry."""

    revision: int
    encoding: int
    body: bytes | None


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


def decode_all(entries: Iterable[Stored]) -> Iterator[tuple[int, str | DamagedEntry | None]]:
    """Yield revision and text of each of the entries, which are given by rising revision.

    In place of the text of an entry that can't be decoded stands the error that says why; entries that do not depend
    on it are not affected.
    """
    before: tuple[int, str | DamagedEntry | None] = (0, None)
    for entry in entries:
        before = entry.revision, _decoded(entry, before)
        yield before


def decode_alone(entry: Stored) -> str | DamagedEntry | None:
    """Return the text of an entry that needs no other; ``DamagedEntry`` if it does, or can't be decoded."""
    return _decoded(entry, (0, None))


def _decoded(entry: Stored, before: tuple[int, str | DamagedEntry | None]) -> str | DamagedEntry | None:
    try:
        if entry.encoding == PLAIN:
            return None if entry.body is None else entry.body.decode()
        if entry.encoding == FULL:
            return _decompress(entry.body, None)
        if entry.encoding == DELTA:
            return _decompress(entry.body, _base(entry, before))
    except (zstd.ZstdError, UnicodeDecodeError, DamagedEntry) as error:
        return DamagedEntry(f"revision {entry.revision} can't be read: {error}")
    return DamagedEntry(f"revision {entry.revision} has the encoding {entry.encoding}, which this version can't read")


def _base(entry: Stored, before: tuple[int, str | DamagedEntry | None]) -> str:
    revision, text = before
    if revision != entry.revision - 1 or text is None:
        raise DamagedEntry(f"it builds on revision {entry.revision - 1}, which is missing")
    if isinstance(text, DamagedEntry):
        raise DamagedEntry(f"it builds on revision {revision}, which is damaged")
    return text


def _compress(text: str, before: str | None) -> bytes:
    data = text.encode()
    window_log = (len(data) + len(before or "")).bit_length()
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: _LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    if window_log > _USUAL_WINDOW_LOG:
        options[zstd.CompressionParameter.window_log] = min(window_log, _MAX_WINDOW_LOG)
        options[zstd.CompressionParameter.enable_long_distance_matching] = 1
    return zstd.compress(data, options=options, zstd_dict=_dictionary(before))


def _decompress(body: bytes | None, before: str | None) -> str:
    if body is None:
        raise DamagedEntry("its body is missing")
    return zstd.decompress(body, zstd_dict=_dictionary(before)).decode()


def _dictionary(text: str | None) -> zstd.ZstdDict | tuple[zstd.ZstdDict, int] | None:
    # A prefix is used once and needs no digesting; zstd refuses dictionaries of fewer than 8 bytes.
    if text is None:
        return None
    return zstd.ZstdDict(text.encode().ljust(8), is_raw=True).as_prefix
