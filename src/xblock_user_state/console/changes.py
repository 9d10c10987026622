"""Differences between two states, cut into pieces for a page: nested values by path, long texts word by word."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from xblock_user_state.state import FieldChange, diff, encode

SHORT = 60
"""The maximum length of small values, and of those that are shown whole beside each other."""

LINE = 200
"""Characters of a value, or of a comparison, that are shown before it is unfolded."""

FOLDED = 600
"""The length of a comparison from which on it is folded."""

COMPARED = 20_000
"""Characters of a value that are compared. Comparing takes the square of its length."""

_WORDS, _LINES = 8, 2
"""Words of a text, or lines of JSON, that are shown around a difference."""


class Piece(NamedTuple):
    """A part of a comparison: text of both sides, of one of them, or left out."""

    kind: Literal["same", "added", "removed", "skip"]
    text: str


class Shown(NamedTuple):
    """A value that differs: `old` and `new` on a line, or the `pieces` of a comparison of two long values."""

    path: str
    kind: Literal["added", "changed", "removed"]
    old: str
    new: str
    pieces: Sequence[Piece]
    whole: str = ""
    """The value that is too long for the line; empty if none is."""

    @property
    def field(self) -> str:
        """The field of the state."""
        return self.path.partition(" › ")[0]

    @property
    def is_small(self) -> bool:
        """Tell whether old and new value are short."""
        return not self.pieces and max(len(self.old), len(self.new)) <= SHORT

    @property
    def is_folded(self) -> bool:
        """Tell whether the page shows the beginning, and the rest when it is unfolded."""
        return bool(self.whole) or sum(len(piece.text) for piece in self.pieces) > FOLDED

    @property
    def beginning(self) -> Iterator[Piece]:
        """The first pieces."""
        left = LINE
        for piece in self.pieces:
            yield piece._replace(text=_cut(piece.text, left))
            left -= len(piece.text)
            if left <= 0:
                return


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
    """Yield the differences inside a dict, and the items by which a list grew or shrank, each with the path to it."""
    old, new = change.old, change.new
    if isinstance(old, dict) and isinstance(new, dict):
        for inner in diff(old, new):
            yield from _nested(inner._replace(field=f"{change.field} › {inner.field}"))
    elif isinstance(old, list) and isinstance(new, list) and old and new and (grown := _grown(old, new)):
        yield grown._replace(field=f"{change.field} › {grown.field}")
    else:
        yield change


def _grown(old: list[Any], new: list[Any]) -> FieldChange | None:
    """Return the items at the end of the longer list, if the lists are the same before it."""
    shorter, longer = sorted((old, new), key=len)
    rest = longer[len(shorter) :]
    # `diff` tells 1 from True.
    if not rest or diff({"": shorter}, {"": longer[: len(shorter)]}):
        return None
    path, items = (f"[{len(shorter)}]", rest[0]) if len(rest) == 1 else (f"[{len(shorter)}:]", rest)
    return FieldChange(path, "added", None, items) if longer is new else FieldChange(path, "removed", items, None)


def _shown(change: FieldChange) -> Shown:
    old, new = _sides(change, indent=None)
    path = printable(change.field)
    is_text = isinstance(change.old, str) and isinstance(change.new, str)
    if max(len(old), len(new)) <= SHORT or (min(len(old), len(new)) <= SHORT and not is_text):
        longer = change.new if len(new) > len(old) else change.old
        whole = _whole(longer) if max(len(old), len(new)) > LINE else ""
        return Shown(path, change.kind, _cut(old, LINE), _cut(new, LINE), [], whole)
    if is_text:
        sides = [re.findall(r"\s+|\w+|[^\w\s]", printable(text)) for text in (change.old, change.new)]
    else:
        sides = [side.splitlines(keepends=True) for side in _sides(change, indent=2)]
    return Shown(path, change.kind, "", "", _pieces(*sides, context=_WORDS if is_text else _LINES))


def _whole(value: Any) -> str:
    return _cut(printable(value) if isinstance(value, str) else _text(value, indent=2), COMPARED)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _pieces(old: Sequence[str], new: Sequence[str], *, context: int) -> list[Piece]:
    if max(sum(map(len, old)), sum(map(len, new))) > COMPARED:
        return [*_of_opcode("replace", "".join(old)[:COMPARED], "".join(new)[:COMPARED])]
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    if _is_rewritten(matcher, old, new):
        return [*_of_opcode("replace", "".join(old), "".join(new))]
    pieces: list[Piece] = []
    for groups in matcher.get_grouped_opcodes(context):
        if pieces:
            pieces.append(Piece("skip", " ⋯ "))
        for kind, *where in groups:
            pieces.extend(_of_opcode(kind, "".join(old[where[0] : where[1]]), "".join(new[where[2] : where[3]])))
    return pieces


def _is_rewritten(matcher: difflib.SequenceMatcher[str], old: Sequence[str], new: Sequence[str]) -> bool:
    """Tell whether less than half of the shorter side stays: single words in common would cut both to shreds."""
    kept = sum(_ink(old[block.a : block.a + block.size]) for block in matcher.get_matching_blocks())
    return 2 * kept < min(_ink(old), _ink(new))


def _ink(tokens: Sequence[str]) -> int:
    return sum(len(token.strip()) for token in tokens)


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
