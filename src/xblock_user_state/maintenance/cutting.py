"""The place where a history may be cut: its early entries go to the archive or away, and the others stay readable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby, takewhile
from operator import attrgetter

from xblock_user_state.history.encoding import Decoded, decode, is_delta
from xblock_user_state.history.entries import COLUMNS, EntryRow
from xblock_user_state.history.models import BaseStudentModuleHistory, stored
from xblock_user_state.history.unpacking import are_in_order, first_revision, unpacked
from xblock_user_state.interface import DamagedHistory

Store = type[BaseStudentModuleHistory]
Rows = Mapping[Store, Sequence[EntryRow]]
"""The rows of a learner in a block by store, each store's in the order of their revisions."""


@dataclass(frozen=True)
class Revision:
    """The copies of an entry, and its text."""

    copies: Sequence[EntryRow]
    text: str | DamagedHistory | None
    is_sound: bool
    """It can be read, and all copies are the same."""
    can_be_first: bool
    """No copy needs an earlier row: each is a full entry, or the oldest one of a pack."""

    @property
    def revision(self) -> int:
        """The number of the revision."""
        return self.copies[0].revision


class UnclearHistory(Exception):
    """Early entries are damaged, missing in between, or there twice: nobody could tell what the archive must have."""


@dataclass(frozen=True)
class CutHistory:
    """A history in two: the early entries, and the first one that is kept."""

    early: Sequence[Revision]
    first: Revision


def cut(rows: Rows, older_than: datetime, *, keeps_early: bool) -> CutHistory | None:
    """Return the history of a learner in a block, cut in two; ``None`` if no entry can go.

    Entries from before `older_than` go, up to the last entry that needs no other. If all are that old, nobody is at
    work there: then all but the newest go, and the caller makes that one a full entry.

    Raises `UnclearHistory`; entries that will be dropped may be damaged (`keeps_early` is false).
    """
    if not all(map(are_in_order, rows.values())):
        raise UnclearHistory
    revisions = [*_revisions(rows)]
    old = takewhile(lambda each: all(copy.created < older_than for copy in each.copies), revisions)
    end = sum(1 for _ in old)
    if end == len(revisions):
        end -= 1
    else:
        while end and not revisions[end].can_be_first:
            end -= 1
    if end < 1:
        return None
    early, first = revisions[:end], revisions[end]
    has_gaps = first.revision - early[0].revision != end
    if not first.is_sound or (keeps_early and (has_gaps or not all(each.is_sound for each in early))):
        raise UnclearHistory
    return CutHistory(early, first)


def digest_of(rows: Iterable[EntryRow]) -> bytes:
    """Return a digest of the stored rows."""
    values = [[bytes(each) if isinstance(each, memoryview) else each for each in row[: len(COLUMNS)]] for row in rows]
    # By their texts, which keep 1, 1.0 and True apart.
    return hashlib.sha256(repr(values).encode()).digest()


def _revisions(rows: Rows) -> Iterator[Revision]:
    begins = {(row.store, row.revision): first_revision(row) for row in chain.from_iterable(rows.values())}
    # Stable: copies come in the order of the stores.
    entries = sorted(chain.from_iterable(map(unpacked, rows.values())), key=attrgetter("revision"))
    before: Decoded = (0, None)
    for revision, group in groupby(entries, key=attrgetter("revision")):
        copies = [*group]
        texts = [decode(stored(copy), before) for copy in copies]
        contents = {repr((text, *_values(copy))) for copy, text in zip(copies, texts, strict=True)}
        text = next((text for text in texts if not isinstance(text, DamagedHistory)), texts[0])
        can_be_first = all(
            begins[copy.store, copy.pack] == revision if copy.pack else not is_delta(copy.encoding) for copy in copies
        )
        yield Revision(copies, text, len(contents) == 1 and not isinstance(text, DamagedHistory), can_be_first)
        before = revision, text


def _values(copy: EntryRow) -> tuple[object, ...]:
    return copy.created, copy.grade, copy.max_grade, copy.version, copy.actor_id
