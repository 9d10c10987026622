"""Encodes and decodes the bodies of history entries. Each entry names its encoding, so one table may mix them.

A capa problem keeps lists over all attempts, so full copies grow with the square of the attempts. A delta builds on the
text of the revision before, so its size depends on the change: a short change is a splice (`history.splicing`), another
one the text compressed with the text before as dictionary. At least one entry in `MAX_CHAIN` is full, so decoding an
entry needs a bounded number of others. Needs no Django.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple, Protocol

from xblock_user_state.history.splicing import apply, splice
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
"""A zstd frame with a checksum, whose dictionary is the text of the revision before."""

LOST = 3
"""No text: the text was lost, and `repair_history` has closed the entry off. The body holds encoding and body of the
damaged entry (`close_off`); NULL where there was no entry."""

SPLICE = 4
"""A splice of the text of the revision before (`history.splicing`)."""

PACK = 5
"""Entries up to this revision, in one body (`history.packs`). As an entry, the newest of them."""

DELTAS = (SPLICE, DELTA)
"""The encodings of entries that build on the revision before."""

MAX_CHAIN = 32
"""The longest chain of entries: one full entry and the deltas that follow it."""

# On entries of real problems a third fewer bytes than zstd's default 3, for one or two microseconds more. Higher levels
# save nothing more.
_LEVEL = 6
# zstd uses a dictionary only as far as its window reaches. The default of this level reaches 2 MB; in larger windows
# zstd finds distant matches only with long-distance matching.
_USUAL_WINDOW_LOG, _MAX_WINDOW_LOG = 21, 27
_ENCODING_BYTES = 4


class Encoded(Protocol):
    """An entry as far as decoding needs it."""

    @property
    def revision(self) -> int:
        """The revision of the row."""

    @property
    def encoding(self) -> int:
        """The encoding of the body."""

    @property
    def body(self) -> bytes | None:
        """The stored text."""


class Stored(NamedTuple):
    """The columns of an entry that decoding needs."""

    revision: int
    encoding: int
    body: bytes | None


Decoded = tuple[int, str | DamagedHistory | None]
"""Revision and text of an entry, or the error that stands for the text."""


def is_delta(encoding: int) -> bool:
    """Tell whether entries of an encoding build on the revision before."""
    return encoding in DELTAS


def next_chain(chain: int) -> int:
    """Return the place of an entry in its chain, from the place of the revision before.

    1 is a full entry; 2 and more are deltas. 0 means that there is no entry to build on.
    """
    return chain + 1 if 0 < chain < MAX_CHAIN else 1


def checksum(revision: int, text: str) -> int:
    """Return the checksum of a state's revision and text: CRC-32 that begins with the revision, less 2 ** 31."""
    return zlib.crc32(text.encode(), revision & 0xFFFFFFFF) - (1 << 31)


def encode_plain(text: str | None) -> tuple[int, bytes | None]:
    """Return encoding and body of `text` in the plain encoding."""
    return PLAIN, None if text is None else text.encode()


def encode_compact(text: str | None, before: str | None) -> tuple[int, bytes | None]:
    """Return encoding and body of `text`: a delta against the text `before`, or a full entry if that is ``None``."""
    if text is None:
        return encode_plain(text)
    if before is None:
        return FULL, _compress(text, None)
    short = splice(before, text)
    return (DELTA, _compress(text, before)) if short is None else (SPLICE, short)


def decode_all(entries: Iterable[Encoded]) -> Iterator[Decoded]:
    """Yield revision and text of each of the entries, which must come by rising revision.

    If an entry can't be decoded, yields a `DamagedHistory` in place of its text. Entries that do not build on it are
    not affected.
    """
    before: Decoded = (0, None)
    for entry in entries:
        before = entry.revision, decode(entry, before)
        yield before


def decode_alone(entry: Stored) -> str | DamagedHistory | None:
    """Return the text of an entry by itself, or a `DamagedHistory` if it is a delta or can't be decoded."""
    return decode(entry, (0, None))


def decode(entry: Encoded, before: Decoded) -> str | DamagedHistory | None:
    """Return the text of an entry, or a `DamagedHistory`; `before` is the decoded entry before it."""
    try:
        return _text(entry, before)
    except (zstd.ZstdError, UnicodeDecodeError, DamagedHistory) as error:
        return DamagedHistory(f"revision {entry.revision} can't be read: {error}")


def close_off(entry: Stored) -> tuple[int, bytes]:
    """Return encoding and body of a damaged entry that is closed off: its body inside, so that no byte is lost."""
    return LOST, entry.encoding.to_bytes(_ENCODING_BYTES, "big") + (entry.body or b"")


def closed_off(entry: Stored) -> Stored | None:
    """Return the damaged entry inside an entry that is closed off; ``None`` if there is none."""
    if entry.encoding != LOST or entry.body is None:
        return None
    encoding, body = entry.body[:_ENCODING_BYTES], entry.body[_ENCODING_BYTES:]
    return Stored(entry.revision, int.from_bytes(encoding, "big"), body)


def _text(entry: Encoded, before: Decoded) -> str | None:
    if entry.encoding == SPLICE:
        return apply(_body(entry), _base(entry, before))
    if entry.encoding == DELTA:
        return _decompress(_body(entry), _base(entry, before))
    if entry.encoding == FULL:
        return _decompress(_body(entry), None)
    if entry.encoding == PLAIN:
        return None if entry.body is None else entry.body.decode()
    if entry.encoding == PACK:
        # Late: the processes of a site that serve pages read no packs.
        from xblock_user_state.history import packs  # noqa: PLC0415

        return next(packs.unpack(entry.revision, entry.body or b"")).text
    if entry.encoding == LOST:
        raise DamagedHistory("it was lost, and is closed off")
    raise DamagedHistory(f"it has the encoding {entry.encoding}, which this version does not know")


def _body(entry: Encoded) -> bytes:
    if entry.body is None:
        raise DamagedHistory("its body is missing")
    return entry.body


def _base(entry: Encoded, before: Decoded) -> str:
    revision, text = before
    if revision != entry.revision - 1 or text is None:
        raise DamagedHistory(f"it builds on revision {entry.revision - 1}, which is missing")
    if isinstance(text, DamagedHistory):
        raise DamagedHistory(f"it builds on revision {revision}, which is damaged")
    return text


def _compress(text: str, before: str | None) -> bytes:
    data = text.encode()
    window_log = (len(data) + len(before or "")).bit_length()
    if before is None and window_log <= _USUAL_WINDOW_LOG:
        return _full_frames().compress(data, zstd.ZstdCompressor.FLUSH_FRAME)
    compressor = zstd.ZstdCompressor(options=_options(window_log), zstd_dict=_dictionary(before))
    return compressor.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


# A new compressor takes longer than the frame of a usual state: zstd asks the processor for its features, which a
# virtual machine answers slowly. A compressor with a prefix makes one frame only. Threads take turns, by its own lock.
@lru_cache(1)
def _full_frames() -> zstd.ZstdCompressor:
    """Return the compressor of full entries whose window is the usual one, for any number of frames."""
    return zstd.ZstdCompressor(options=_options(_USUAL_WINDOW_LOG))


@lru_cache(64)
def _options(window_log: int) -> Mapping[int, int]:
    """Return the parameters of a frame whose text and dictionary together fit a window of 2 ** `window_log` bytes."""
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: _LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    if window_log > _USUAL_WINDOW_LOG:
        options[zstd.CompressionParameter.window_log] = min(window_log, _MAX_WINDOW_LOG)
        options[zstd.CompressionParameter.enable_long_distance_matching] = 1
    return options


def _decompress(body: bytes, before: str | None) -> str:
    return zstd.decompress(body, zstd_dict=_dictionary(before)).decode()


def _dictionary(text: str | None) -> zstd.ZstdDict | tuple[zstd.ZstdDict, int] | None:
    # As a prefix: the dictionary is used for one frame only, so building zstd's tables for it would be wasted time.
    if text is None:
        return None
    # zstd refuses dictionaries of less than 8 bytes.
    return zstd.ZstdDict(text.encode().ljust(8), is_raw=True).as_prefix
