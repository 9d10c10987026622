"""Differences between two states, cut into pieces for a page: nested values by path, long texts word by word."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from xblock_user_state.state import FieldChange, diff, encode

SHORT = 60
"""The maximum length of values that are shown on one line, old beside new."""

COMPARED = 20_000
"""Characters of a value that are compared. Comparing takes the square of its length."""

_CONTEXT = 8
"""Words, or lines, that are shown around a difference."""


class Piece(NamedTuple):
    """A part of a comparison: text of both sides, of one of them, or left out."""

    kind: Literal["same", "added", "removed", "skip"]
    text: str


class Shown(NamedTuple):
    """A value that differs: `old` and `new` if both are short, else the `pieces` of a comparison."""

    path: str
    kind: Literal["added", "changed", "removed"]
    old: str
    new: str
    pieces: Sequence[Piece]

    @property
    def field(self) -> str:
        """The field of the state."""
        return self.path.partition(" › ")[0]

    @property
    def is_small(self) -> bool:
        """Tell whether it fits on one line."""
        return not self.pieces


def compared(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[Shown]:
    """Return the values that differ between two states, short ones first: they would be lost between long ones."""
    found = [_shown(each) for change in diff(old, new) for each in _nested(change)]
    return sorted(found, key=lambda shown: not shown.is_small)


def readable(value: Any) -> str:
    """Return a value as JSON: one line if it is short, else indented."""
    line = _text(value, indent=None)
    return line if len(line) <= SHORT else _text(value, indent=2)


def printable(value: object) -> str:
    """Return the text of a value. Lone surrogates become escapes, because UTF-8 can't encode them."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _nested(change: FieldChange) -> Iterator[FieldChange]:
    """Yield the differences inside a changed dict, each with the path to it; any other change as it is."""
    if not isinstance(change.old, dict) or not isinstance(change.new, dict):
        yield change
        return
    for inner in diff(change.old, change.new):
        yield from _nested(inner._replace(field=f"{change.field} › {inner.field}"))


def _shown(change: FieldChange) -> Shown:
    old, new = _sides(change, indent=None)
    path = printable(change.field)
    if max(len(old), len(new)) <= SHORT:
        return Shown(path, change.kind, old, new, [])
    if isinstance(change.old, str) and isinstance(change.new, str):
        sides = [re.findall(r"\s+|\w+|[^\w\s]", printable(text)) for text in (change.old, change.new)]
    else:
        sides = [side.splitlines(keepends=True) for side in _sides(change, indent=2)]
    return Shown(path, change.kind, "", "", _pieces(*sides))


def _pieces(old: Sequence[str], new: Sequence[str]) -> list[Piece]:
    if max(sum(map(len, old)), sum(map(len, new))) > COMPARED:
        found = [Piece("removed", "".join(old)[:COMPARED]), Piece("added", "".join(new)[:COMPARED])]
        return [piece for piece in found if piece.text]
    pieces: list[Piece] = []
    for groups in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(_CONTEXT):
        if pieces:
            pieces.append(Piece("skip", " ⋯ "))
        for kind, *where in groups:
            pieces.extend(_of_opcode(kind, "".join(old[where[0] : where[1]]), "".join(new[where[2] : where[3]])))
    return pieces


def _of_opcode(kind: str, old: str, new: str) -> Iterator[Piece]:
    if kind == "equal":
        yield Piece("same", old)
        return
    if old:
        yield Piece("removed", old)
    if new:
        yield Piece("added", new)


def _sides(change: FieldChange, indent: int | None) -> tuple[str, str]:
    old = "" if change.kind == "added" else _text(change.old, indent)
    new = "" if change.kind == "removed" else _text(change.new, indent)
    return old, new


def _text(value: Any, indent: int | None) -> str:
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False)
    except ValueError:
        # Python refuses to print integers of more than 4,300 digits.
        text = encode(value)
    return printable(text)
