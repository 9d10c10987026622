"""Decodes the rows that one store has of a learner and block. Their bases may be in another store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

from xblock_user_state.history.encoding import Decoded, decode, is_delta
from xblock_user_state.history.entries import owner_of
from xblock_user_state.history.models import BaseStudentModuleHistory, stored
from xblock_user_state.history.unpacking import first_revision, unpacked
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.windows import entries_by_key

Entry = TypeVar("Entry", bound=BaseStudentModuleHistory)
Text = str | DamagedHistory | None

_ENTRIES = 250
"""Entries of each store in memory, while bases are read."""


def decoded(database: str, rows: Sequence[Entry]) -> Iterator[tuple[Entry, Text]]:
    """Yield the entries of rows in key order, of one owner, with their texts.

    A statement for each store and 250 entries more, only if an entry builds on one that is not among the rows.
    """
    bases = _texts(database, rows, _missing_bases(rows))
    before: Decoded = (0, None)
    for entry in unpacked(rows):
        base = entry.revision - 1
        text = decode(stored(entry), (base, bases[base]) if base in bases else before)
        before = entry.revision, text
        yield entry, text


def _missing_bases(rows: Sequence[BaseStudentModuleHistory]) -> set[int]:
    bases = {row.revision - 1 for row in rows if is_delta(row.encoding)}
    return bases.difference(*(range(first_revision(row), row.revision + 1) for row in rows))


def _texts(database: str, rows: Sequence[BaseStudentModuleHistory], revisions: Collection[int]) -> dict[int, Text]:
    """Return the texts that the stores have of some revisions."""
    found: dict[int, Text] = {}
    if not revisions:
        return found
    before: Decoded = (0, None)
    entries = entries_by_key(database, [owner_of(rows[0])], _ENTRIES)
    for revision, copies in groupby(entries, key=attrgetter("revision")):
        texts = [decode(stored(copy), before) for copy in copies]
        before = revision, next((text for text in texts if not isinstance(text, DamagedHistory)), texts[0])
        if revision in revisions:
            found[revision] = before[1]
    return found
