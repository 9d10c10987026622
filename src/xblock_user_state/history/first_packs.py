"""The first layout of packs, which is read and no longer written. Needs no Django.

Its frame has no dictionary. It says each change of a field by numbers of bytes, and has the new bytes as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO

import msgspec

from xblock_user_state.state import codec

Change = int | list[int]
"""The way from the value of a field in the next revision to its value. An empty value stands for no field.

0: it is the same. Three numbers: leave out so many bytes, keep so many after them, and put so many new ones in between.
Two numbers: it is the last item of a list, in the field with this number, and has so many bytes.
"""


class Columns(msgspec.Struct, array_like=True):
    """The entries of a pack, newest first. New bytes of their texts follow in the frame, after a line break."""

    times: list[int]
    grades: list[float | None]
    max_grades: list[float | None]
    versions: list[str | None]
    actor_ids: list[int | str | None]
    names: list[str]
    texts: list[int | list[Change] | None]
    """For each entry ``None``, a change for each field, or the number of bytes of a text that has other fields."""


def read(content: bytes) -> tuple[Columns, Iterator[str | None]]:
    """Return the columns and the texts of a frame. Raises an error of msgspec."""
    head, _, new = content.partition(b"\n")
    columns = _decode(head)
    return columns, _texts(columns, BytesIO(new).read)


_decode = msgspec.json.Decoder(Columns).decode


def _texts(columns: Columns, read: Callable[[int], bytes]) -> Iterator[str | None]:
    """Yield the texts, newest first; `read` returns the next new bytes."""
    labels = [codec.encode(name).encode() + b":" for name in columns.names]
    values = [b""] * len(labels)
    for way in columns.texts:
        if way is None:
            yield None
        elif isinstance(way, int):
            yield read(way).decode()
        else:
            values = _changed(values, way, read)
            fields = [label + value for label, value in zip(labels, values, strict=True) if value]
            yield (b"{" + b",".join(fields) + b"}").decode()


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
