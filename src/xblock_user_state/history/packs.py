"""Packs: many entries of one learner and block in one body, exactly as they were. Needs no Django.

Each text follows from the text of the next revision, field by field: the lists of a problem lose their last items, and
the values of an attempt are the last items of these lists. New values are arranged as columns (`history.columns`). A
page of the newest entries makes no older text.

A body is a short header and a zstd frame with a checksum. The header has the number of entries, so that a reader can
name all revisions of a pack whose frame is damaged. The frame has a dictionary (`history.dictionary`), which the layout
names: another dictionary is another layout.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from operator import sub
from typing import Literal, NamedTuple

import msgspec

from xblock_user_state.history.columns import (
    Column,
    column_of,
    extended,
    items_of,
    label_of,
    list_of,
    texts_of,
    trimmed,
    without_last,
)
from xblock_user_state.history.dictionary import DICTIONARY
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

# 1 was a layout before the first release.
_LAYOUT = 2
_LAYOUT_BYTES = 1
_COUNT_BYTES = 2
_HEADER_BYTES = _LAYOUT_BYTES + _COUNT_BYTES
# The packs of real problems are as small as with level 19, in a tenth of the time.
_OPTIONS: Mapping[int, int] = {
    zstd.CompressionParameter.compression_level: 12,
    zstd.CompressionParameter.checksum_flag: 1,
}
_DICTIONARY = zstd.ZstdDict(DICTIONARY, is_raw=True)
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


Step = bool | int | None
"""The way from the value of a field in the next revision to its value.

0: it is the same. -n: a list without its last n items. n: the last item of the list in the n-th field. ``True``: the
next new value. ``None``: there is no such field.
"""

_SAME: Literal[0] = 0


class _Field(msgspec.Struct, array_like=True):
    """A field, newest first."""

    revisions: int
    """The number of steps. No older revision has the field."""
    steps: list[Step]
    new: Column


class _Columns(msgspec.Struct, array_like=True):
    """The entries of a pack, newest first. In lists, the last item stands for all that follow (`columns.extended`)."""

    times: list[int]
    """Microseconds since 1970 of the newest entry; then how much earlier each entry is than the next revision."""
    grades: list[float | None]
    max_grades: list[float | None]
    versions: list[str | None]
    actor_ids: list[int | str | None]
    others: list[Literal[0] | str | None]
    """For each entry 0, or its text if that has other fields, such as ``None``."""
    fields: dict[str, _Field]
    """In the order in which the texts have them."""


# JSON: zstd makes less of it than of MessagePack.
_encode_columns = msgspec.json.Encoder().encode
_decode_columns = msgspec.json.Decoder(_Columns).decode


def pack(entries: Sequence[Packed]) -> bytes | None:
    """Return the body of a pack of entries without gaps, oldest first.

    The body is read again. ``None`` if it would not give back the same entries: grades may be no numbers.
    """
    newest_first = entries[::-1]
    _, times, texts, grades, max_grades, versions, actor_ids = map(list, zip(*newest_first, strict=True))
    moments = [(created - _EPOCH) // _TICK for created in times]
    differences = [moments[0], *map(sub, moments, moments[1:])]
    others, fields = _fields(texts)
    columns = _Columns(
        times=differences,
        grades=trimmed(grades),
        max_grades=trimmed(max_grades),
        versions=trimmed(versions),
        actor_ids=trimmed(actor_ids),
        others=trimmed(others),
        fields=fields,
    )
    frame = zstd.compress(_encode_columns(columns), options=_OPTIONS, zstd_dict=_DICTIONARY)
    body = bytes([_LAYOUT]) + len(entries).to_bytes(_COUNT_BYTES, "big") + frame
    # By their texts: 1 and 1.0 differ, and NaN equals itself.
    return body if repr([*unpack(entries[-1].revision, body)]) == repr([*newest_first]) else None


def unpack(newest: int, body: bytes) -> Iterator[Packed]:
    """Return an iterator over the entries of a pack, newest first; `newest` is the revision of the first.

    Raises `DamagedHistory`, at once.
    """
    if not body:
        raise DamagedHistory("its pack is damaged")
    if body[0] != _LAYOUT:
        raise DamagedHistory(f"its pack has the layout {body[0]}, which this version does not know")
    try:
        columns = _decode_columns(zstd.decompress(body[_HEADER_BYTES:], _DICTIONARY))
    except (zstd.ZstdError, msgspec.MsgspecError) as error:
        raise DamagedHistory(f"its pack is damaged: {error}") from error
    size = len(columns.times)
    # Lazy, but for the columns: the frame's checksum has proved that the rest can be read.
    return map(
        Packed,
        range(newest, newest - size, -1),
        (_EPOCH + moment * _TICK for moment in accumulate(columns.times, sub)),
        _texts(columns),
        extended(columns.grades, size),
        extended(columns.max_grades, size),
        extended(columns.versions, size),
        extended(columns.actor_ids, size),
    )


def count(body: bytes | None) -> int:
    """Return the number of entries of a pack by its header, also if the rest is damaged; at least 1."""
    return max(1, int.from_bytes((body or b"")[_LAYOUT_BYTES:_HEADER_BYTES], "big"))


def _fields(texts: Sequence[str | None]) -> tuple[list[Literal[0] | str | None], dict[str, _Field]]:
    """Return the texts that have other fields, and all fields."""
    split = [_split(text) for text in texts]
    labels = {name: label_of(name) for of_text in split for name in of_text}
    others: list[Literal[0] | str | None] = []
    steps: list[list[Step]] = []
    new: list[list[bytes]] = [[] for _ in labels]
    later = [b""] * len(labels)
    for text, of_text in zip(texts, split, strict=True):
        values = [bytes(of_text.get(name, b"")) for name in labels]
        # None, another order of the fields, or a text that the client did not write.
        is_other = text is None or _join(labels.values(), values) != text
        others.append(text if is_other else _SAME)
        values = later if is_other else values
        steps.append([_step(old, value, values) for old, value in zip(later, values, strict=True)])
        for number, step in enumerate(steps[-1]):
            if step is True:
                new[number].append(values[number])
        later = values
    by_field = zip(labels, zip(*steps, strict=True), new, strict=True) if labels else ()
    return others, {name: _field(of_field, values) for name, of_field, values in by_field}


def _field(steps: Sequence[Step], new: Sequence[bytes]) -> _Field:
    # Most fields appear once, and stay.
    revisions = max((number for number, step in enumerate(steps, 1) if step is not None), default=0)
    return _Field(revisions, trimmed(steps[:revisions]), column_of(new))


def _step(later: bytes, value: bytes, values: Sequence[bytes]) -> Step:
    """Return the step from the `later` value of a field to `value`, one of `values`."""
    if not value:
        return None
    if value == later:
        return _SAME
    if value.endswith(b"]"):
        items, all_items = items_of(value), items_of(later)
        is_shorter = len(items) < len(all_items) and list_of(all_items[: len(items)]) == value
        return len(items) - len(all_items) if is_shorter else True
    # A copy is no list and its source is one, so a source is never a copy itself.
    if len(value) >= _SHORTEST_COPY:
        for number, other in enumerate(values, 1):
            if other.endswith(value + b"]") and items_of(other)[-1:] == [value]:
                return number
    return True


def _texts(columns: _Columns) -> Iterator[str | None]:
    """Yield the texts, newest first."""
    size = len(columns.times)
    labels = [*map(label_of, columns.fields)]
    values = [_Value(field) for field in columns.fields.values()]
    for other, changes in zip(extended(columns.others, size), _changes(columns), strict=True):
        copies = [(values[number], step) for number, step in changes if not values[number].change(step)]
        # The lists of this revision are known now.
        for value, step in copies:
            value.text = values[(step or 1) - 1].items[-1]
        yield _join(labels, [value.text for value in values]) if other == _SAME else other


def _changes(columns: _Columns) -> list[list[tuple[int, Step]]]:
    """Return the fields that differ from the next revision, by number, with their steps, for each revision."""
    changes: list[list[tuple[int, Step]]] = [[] for _ in columns.times]
    for number, field in enumerate(columns.fields.values()):
        for revision, step in enumerate(extended(field.steps, field.revisions)):
            if step != _SAME:
                changes[revision].append((number, step))
        if field.revisions < len(changes):
            changes[field.revisions].append((number, None))
    return changes


class _Value:
    """The value of a field, in one revision after the other, newest first."""

    def __init__(self, field: _Field) -> None:
        new = sum(step is True for step in extended(field.steps, field.revisions))
        self._new = iter(texts_of(field.new, new))
        self._items: list[bytes] | None = None
        self.text = b""

    @property
    def items(self) -> list[bytes]:
        """The items of a list."""
        if self._items is None:
            self._items = items_of(self.text)
        return self._items

    def change(self, step: Step) -> bool:
        """Take a step; return ``False`` for the copy of an item of another field's list, which the caller makes."""
        if step is None or step is True:
            self.text = b"" if step is None else next(self._new)
            self._items = None
        elif step < _SAME:
            self.text = without_last(self.text, self.items[step:])
            del self.items[step:]
        else:
            return False
        return True


def _split(text: str | None) -> Mapping[str, msgspec.Raw]:
    try:
        return {} if text is None else codec.split(text)
    # Also for integers of more digits than Python converts.
    except (ValueError, RecursionError):
        return {}


def _join(labels: Iterable[bytes], values: Iterable[bytes]) -> str:
    fields = [label + value for label, value in zip(labels, values, strict=True) if value]
    return (b"{" + b",".join(fields) + b"}").decode()
