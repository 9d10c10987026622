"""Columns: JSON values that are alike, arranged by their members, so that what repeats stands once. Needs no Django.

A problem's list over all attempts has the same objects again and again. As columns it has each name once, each constant
member once, and a digit for each answer that was one of a few. The values stay the texts that they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise, repeat
from typing import Any, TypeVar

import msgspec

from xblock_user_state.state import codec

Text = bytes
"""A JSON value."""

Item = TypeVar("Item")


class Values(msgspec.Struct, array_like=True, tag=0):
    """One value after another. The last one stands for all that follow."""

    values: list[msgspec.Raw]


class Choices(msgspec.Struct, array_like=True, tag=1):
    """A digit for each value: its place in the list of the different ones."""

    different: list[msgspec.Raw]
    digits: str


class Lists(msgspec.Struct, array_like=True, tag=2):
    """Lists: their lengths, of which the last one stands for all that follow, and the items of all."""

    lengths: list[int]
    items: Column


class Objects(msgspec.Struct, array_like=True, tag=3):
    """Objects with the same names: a column for each member."""

    names: list[str]
    members: list[Column]


class Tables(msgspec.Struct, array_like=True, tag=4):
    """Objects with the same names, whose members are equal, or objects of one kind: one column for all members."""

    names: list[str]
    members: Column


class Strings(msgspec.Struct, array_like=True, tag=5):
    """Strings, as one string with a separator between them. The last one stands for all that follow."""

    joined: msgspec.Raw


class Others(msgspec.Struct, array_like=True, tag=6):
    """Texts of which columns would make others, such as JSON with spaces."""

    values: list[str]


Column = Values | Choices | Lists | Objects | Tables | Strings | Others

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_SEPARATOR = b"|"
# Deeper values stay as they are: a reader may be deep in a host's calls.
_MOST_LEVELS = 10

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_NO_VALUES = (msgspec.DecodeError, RecursionError)
_write = msgspec.json.Encoder().encode
_read: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Column)


def column_of(texts: Sequence[Text]) -> Column:
    """Return the column of some values, or of none."""
    column = _arranged(texts, _MOST_LEVELS)
    try:
        is_right = texts_of(_read.decode(_write(column)), len(texts)) == [*texts]
    # NaN and lone surrogates are no JSON.
    except (*_NO_VALUES, UnicodeError):
        is_right = False
    return column if is_right else Others([text.decode() for text in texts])


def texts_of(column: Column, count: int) -> list[Text]:
    """Return the `count` values of a column."""
    texts: Iterable[Text]
    match column:
        case Values(values):
            texts = extended([*map(bytes, values)], count)
        case Strings(joined):
            strings = [b'"' + string + b'"' for string in bytes(joined)[1:-1].split(_SEPARATOR)]
            texts = extended(strings, count)
        case Choices(different, digits):
            choices = [*map(bytes, different)]
            texts = (choices[int(digit, len(_DIGITS))] for digit in digits)
        case Lists(lengths, items):
            texts = _lists_of(extended(lengths, count), items)
        case Objects(names, members):
            texts = _objects_of(names, [texts_of(member, count) for member in members])
        case Tables(names, together):
            found = texts_of(together, len(names) * count)
            texts = _objects_of(names, [found[start : start + count] for start in range(0, len(found), count)])
        case Others(others):
            texts = (other.encode() for other in others)
    return [*texts]


def items_of(text: Text) -> list[Text]:
    """Return the items of a list; none if it is another value."""
    try:
        return [*map(bytes, _items(text))]
    except _NO_VALUES:
        return []


def list_of(items: Sequence[Text]) -> Text:
    """Return the list that has these items."""
    return b"[" + b",".join(items) + b"]"


def without_last(text: Text, last: Sequence[Text]) -> Text:
    """Return a list without its last items. Joining the others would take longer, for each of many attempts."""
    end = len(text) - 1 - sum(map(len, last)) - len(last)
    # A list that loses its first item, too, has no comma in front of it.
    return text[: max(end, 1)] + b"]"


# The names of fields are few, and stand in every pack.
@lru_cache(1_000)
def label_of(name: str) -> Text:
    """Return the name of a member with its colon."""
    return codec.encode(name).encode() + b":"


def extended(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` items: these, and then the last one again and again."""
    return [*items, *(repeat(items[-1], count - len(items)) if len(items) < count else ())]


def trimmed(items: Sequence[Item]) -> list[Item]:
    """Return items of which `extended` makes these. Their texts decide: 0 and 0.0 differ."""
    end = len(items)
    while end > 1 and repr(items[end - 2]) == repr(items[-1]):
        end -= 1
    return [*items[:end]]


def _arranged(texts: Sequence[Text], levels: int) -> Column:
    objects = _alike(texts) if levels else None
    if objects:
        return _objects(objects, levels - 1)
    lists = _all_lists(texts) if levels else None
    if lists:
        return Lists(trimmed([*map(len, lists)]), _arranged([item for items in lists for item in items], levels - 1))
    # In one order everywhere: the answers of two inputs are often the same few.
    different = sorted(set(texts))
    if 1 < len(different) <= min(len(_DIGITS), len(texts) // 2):
        digits = {text: _DIGITS[number] for number, text in enumerate(different)}
        return Choices([*map(msgspec.Raw, different)], "".join(map(digits.__getitem__, texts)))
    values = trimmed(texts)
    if len(values) > 1 and all(text.startswith(b'"') and _SEPARATOR not in text for text in values):
        return Strings(msgspec.Raw(b'"' + _SEPARATOR.join(text[1:-1] for text in values) + b'"'))
    return Values([*map(msgspec.Raw, values)])


def _objects(objects: Sequence[dict[str, Text]], levels: int) -> Column:
    names = [*objects[0]]
    members = [[each[name] for each in objects] for name in names]
    together = [text for of_name in members for text in of_name]
    if len(names) > 1 and levels and (len(set(together)) == 1 or _alike(together)):
        return Tables(names, _arranged(together, levels))
    return Objects(names, [_arranged(texts, levels) for texts in members])


def _alike(texts: Sequence[Text]) -> list[dict[str, Text]] | None:
    """Return the members of values that are objects with the same names in the same order; else ``None``."""
    if not all(text.startswith(b'{"') for text in texts):
        return None
    try:
        objects = [{name: bytes(value) for name, value in _members(text).items()} for text in texts]
    except _NO_VALUES:
        return None
    return objects if all([*one] == [*other] for one, other in pairwise(objects)) else None


def _all_lists(texts: Sequence[Text]) -> list[list[Text]] | None:
    """Return the items of values that are lists, not all of them empty; else ``None``."""
    if not all(text.startswith(b"[") for text in texts):
        return None
    lists = [*map(items_of, texts)]
    return lists if any(lists) else None


def _lists_of(lengths: Sequence[int], items: Column) -> Iterator[Text]:
    texts = texts_of(items, sum(lengths))
    for start, end in pairwise(accumulate(lengths, initial=0)):
        yield list_of(texts[start:end])


def _objects_of(names: Sequence[str], members: Sequence[Sequence[Text]]) -> Iterator[Text]:
    template = b"{" + b",".join(label_of(name).replace(b"%", b"%%") + b"%b" for name in names) + b"}"
    return (template % values for values in zip(*members, strict=True))
