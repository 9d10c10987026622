"""Packs: many entries of one learner and block in one body, exactly as they were. Needs no Django.

Each text follows from the text of the next revision, field by field: the lists of a problem lose their last items, and
the values of an attempt are the last items of these lists. The changes of all revisions are much alike, so zstd makes a
few bytes of each. A page of the newest entries makes no older text.

A body is a short header and a zstd frame with a checksum. The header has the number of entries, so that a reader can
name all revisions of a pack whose frame is damaged.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import accumulate
from operator import sub
from typing import NamedTuple

import msgspec

from xblock_user_state.history.splicing import common_ends
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.state import codec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MOST_ENTRIES = 128
"""The most entries of a pack. It bounds what one damaged body makes unreadable."""

MOST_CHARACTERS = 8_000_000
"""The most characters of all texts of a pack. It bounds the memory of a compaction."""

_LAYOUT = b"\1"
_COUNT_BYTES = 2
_HEADER_BYTES = len(_LAYOUT) + _COUNT_BYTES
# The packs of real problems are as small as with level 19, in a tenth of the time.
_OPTIONS: Mapping[int, int] = {
    zstd.CompressionParameter.compression_level: 12,
    zstd.CompressionParameter.checksum_flag: 1,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
# A shorter value takes no more bytes than its copy.
_SHORTEST_COPY = 9


class Packed(NamedTuple):
    """An entry of a pack. The id of an actor is a number, or the text of an id of another type."""

    revision: int
    created: datetime
    text: str | None
    grade: float | None
    max_grade: float | None
    version: str | None
    actor_id: int | str | None


Change = int | list[int]
"""The way from the value of a field in the next revision to its value. An empty value stands for no field.

0: it is the same. Three numbers: leave out so many bytes, keep so many after them, and put so many new ones in between.
Two numbers: it is the last item of a list, in the field with this number, and has so many bytes.
"""

_SAME = 0


class _Columns(msgspec.Struct, array_like=True):
    """The entries of a pack, newest first. New bytes of their texts follow in the frame."""

    times: list[int]
    """Microseconds since 1970 of the newest entry; then how much earlier each entry is than the next revision."""
    grades: list[float | None]
    max_grades: list[float | None]
    versions: list[str | None]
    actor_ids: list[int | str | None]
    names: list[str]
    """The names of the fields, in the order in which the texts have them."""
    texts: list[int | list[Change] | None]
    """For each entry ``None``, a change for each field, or the number of bytes of a text that has other fields."""


# JSON: zstd makes less of it than of MessagePack. It has no line break, so that one can end it.
_encode_columns = msgspec.json.Encoder().encode
_decode_columns = msgspec.json.Decoder(_Columns).decode
_END = b"\n"


def pack(entries: Sequence[Packed]) -> bytes | None:
    """Return the body of a pack of entries without gaps, oldest first.

    The body is read again. ``None`` if it would not give back the same entries: grades may be no numbers.
    """
    newest_first = entries[::-1]
    _, times, texts, grades, max_grades, versions, actor_ids = map(list, zip(*newest_first, strict=True))
    names, ways, new = _ways_to(texts)
    moments = [(created - _EPOCH) // _TICK for created in times]
    differences = [moments[0], *map(sub, moments, moments[1:])]
    columns = _Columns(differences, grades, max_grades, versions, actor_ids, names, ways)
    frame = zstd.compress(_encode_columns(columns) + _END + new, options=_OPTIONS)
    body = _LAYOUT + len(entries).to_bytes(_COUNT_BYTES, "big") + frame
    # By their texts: 1 and 1.0 differ, and NaN equals itself.
    return body if repr([*unpack(entries[-1].revision, body)]) == repr([*newest_first]) else None


def unpack(newest: int, body: bytes) -> Iterator[Packed]:
    """Return an iterator over the entries of a pack, newest first; `newest` is the revision of the first.

    Raises `DamagedHistory`, at once.
    """
    if not body:
        raise DamagedHistory("its pack is damaged")
    if body[: len(_LAYOUT)] != _LAYOUT:
        raise DamagedHistory("its pack has a layout that this version does not know")
    try:
        head, _, new = zstd.decompress(body[_HEADER_BYTES:]).partition(_END)
        columns = _decode_columns(head)
    except (zstd.ZstdError, msgspec.MsgspecError) as error:
        raise DamagedHistory(f"its pack is damaged: {error}") from error
    # Lazy, but for the columns: the frame's checksum has proved that the rest can be read.
    return map(
        Packed,
        range(newest, newest - len(columns.times), -1),
        (_EPOCH + moment * _TICK for moment in accumulate(columns.times, sub)),
        _texts(columns, BytesIO(new).read),
        columns.grades,
        columns.max_grades,
        columns.versions,
        columns.actor_ids,
    )


def count(body: bytes | None) -> int:
    """Return the number of entries of a pack by its header, also if the rest is damaged; at least 1."""
    return max(1, int.from_bytes((body or b"")[len(_LAYOUT) : _HEADER_BYTES], "big"))


def _ways_to(texts: Sequence[str | None]) -> tuple[list[str], list[int | list[Change] | None], bytes]:
    """Return the names of all fields, the way to each text, newest first, and the new bytes of all texts."""
    fields = [_split(text) for text in texts]
    names = list(dict.fromkeys(name for of_text in fields for name in of_text))
    labels = _labels(names)
    ways: list[int | list[Change] | None] = []
    new: list[bytes] = []
    later = [b""] * len(names)
    for text, of_text in zip(texts, fields, strict=True):
        values = [bytes(of_text.get(name, b"")) for name in names]
        if text is None:
            ways.append(None)
        elif _join(labels, values) != text:
            # Another order of the fields, or a text that the client did not write.
            new.append(text.encode())
            ways.append(len(new[-1]))
        else:
            ways.append([_change(old, value, values, new) for old, value in zip(later, values, strict=True)])
            later = values
    return names, ways, b"".join(new)


def _change(later: bytes, value: bytes, values: Sequence[bytes], new: list[bytes]) -> Change:
    """Return the change from the `later` value of a field to `value`, one of `values`; add its new bytes to `new`."""
    if value == later:
        return _SAME
    # A copy is no list and its source is one, so a source is never a copy itself.
    if len(value) >= _SHORTEST_COPY and not value.endswith(b"]"):
        item = value + b"]"
        for number, other in enumerate(values):
            if other.endswith(item):
                return [number, len(value)]
    head, tail = common_ends(later, value)
    new.append(value[head : len(value) - tail])
    return [len(later) - head - tail, tail, len(new[-1])]


def _texts(columns: _Columns, read: Callable[[int], bytes]) -> Iterator[str | None]:
    """Yield the texts, newest first; `read` returns the next new bytes."""
    labels = _labels(columns.names)
    values = [b""] * len(labels)
    for way in columns.texts:
        if way is None:
            yield None
        elif isinstance(way, int):
            yield read(way).decode()
        else:
            values = _changed(values, way, read)
            yield _join(labels, values)


def _changed(later: Sequence[bytes], changes: Sequence[Change], read: Callable[[int], bytes]) -> list[bytes]:
    values = []
    copies = []
    for number, (value, change) in enumerate(zip(later, changes, strict=True)):
        match change:
            case [left_out, kept, added]:
                end = len(value) - kept
                values.append(value[: end - left_out] + read(added) + value[end:])
            case [source, size]:
                copies.append((number, source, size))
                values.append(value)
            case _:
                values.append(value)
    for number, source, size in copies:
        values[number] = values[source][-1 - size : -1]
    return values


def _split(text: str | None) -> Mapping[str, msgspec.Raw]:
    try:
        return {} if text is None else codec.split(text)
    # Also for integers of more digits than Python converts.
    except (ValueError, RecursionError):
        return {}


def _labels(names: Sequence[str]) -> list[bytes]:
    return [codec.encode(name).encode() + b":" for name in names]


def _join(labels: Sequence[bytes], values: Sequence[bytes]) -> str:
    fields = [label + value for label, value in zip(labels, values, strict=True) if value]
    return (b"{" + b",".join(fields) + b"}").decode()
