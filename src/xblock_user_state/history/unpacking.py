"""Makes the entries of a pack out of its row. Every job that reads rows of history reads them through this module.

A pack is a row of the table, under the key of its newest entry and with the columns of that entry. So it is moved,
shipped and deleted as any row. Its entries are instances or tuples, as their row is, with plain bodies that need no
base.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any, TypeVar, cast

from xblock_user_state.history import packs
from xblock_user_state.history.encoding import PACK, encode_plain
from xblock_user_state.history.entries import COLUMNS, EntryRow
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, stored
from xblock_user_state.history.packs import Packed
from xblock_user_state.interface import DamagedHistory

Entry = TypeVar("Entry", bound=BaseStudentModuleHistory | EntryRow)
Instance = TypeVar("Instance", bound=BaseStudentModuleHistory)


def unpacked(rows: Iterable[Entry]) -> Iterator[Entry]:
    """Yield rows, and in the place of each pack its entries, oldest first."""
    for row in rows:
        if row.encoding == PACK:
            yield from [*entries_of_pack(row)][::-1]
        else:
            yield row


def unpacked_newest_first(rows: Iterable[Entry]) -> Iterator[Entry]:
    """Yield rows, and in the place of each pack its entries, newest first."""
    for row in rows:
        if row.encoding == PACK:
            yield from entries_of_pack(row)
        else:
            yield row


def unpacked_in_order(rows: Sequence[Entry]) -> Iterator[Entry]:
    """Yield rows in key order, and in the place of each pack its entries, in the order of their keys.

    Where a row has a revision that a pack has too (decision 30), the row comes first. Such rows are all in memory.
    """
    if all(row.encoding != PACK for row in rows):
        return iter(rows)
    if are_in_order(rows):
        return unpacked(rows)
    return iter(sorted(unpacked(rows), key=attrgetter("student_id", "block_id", "revision")))


def without_hidden(entries: Iterable[Instance]) -> Iterator[Instance]:
    """Yield the first entry of each revision of `unpacked_in_order`; it knows the other one, if there is one."""
    for _, copies in groupby(entries, key=attrgetter("student_id", "block_id", "revision")):
        entry, *others = copies
        entry.hidden = others[0] if others else None
        yield entry


def are_in_order(rows: Sequence[BaseStudentModuleHistory | EntryRow]) -> bool:
    """Tell whether no pack among rows in key order has the revision of another row."""
    starts = [(row.student_id, row.block_id, first_revision(row)) for row in rows]
    return all(one < other for one, other in pairwise(starts))


def first_revision(row: BaseStudentModuleHistory | EntryRow) -> int:
    """Return the revision of a row, or of the oldest entry of a pack."""
    # A damaged header may have any number.
    return max(1, row.revision - packs.count(stored(row).body) + 1) if row.encoding == PACK else row.revision


def entries_of_pack(row: Entry) -> Iterator[Entry]:
    """Yield the entries of a pack, newest first. Of a damaged pack only revisions are known; the newest is the row."""
    try:
        found = packs.unpack(row.revision, stored(row).body or b"")
    except DamagedHistory:
        yield _in_pack(row, tuple(getattr(row, column) for column in COLUMNS))
        for revision in range(row.revision - 1, first_revision(row) - 1, -1):
            yield _entry(row, Packed(revision, row.created, None, None, None, None, None), PACK, None)
    else:
        for packed in found:
            yield _entry(row, packed, *encode_plain(packed.text))


def as_packed(entry: BaseStudentModuleHistory, text: str | None) -> Packed:
    """Return an entry with its decoded text, as a pack holds it."""
    actor: Any = entry.actor_id
    actor_id = actor if isinstance(actor, int | None) else str(actor)
    return Packed(entry.revision, entry.created, text, entry.grade, entry.max_grade, entry.version, actor_id)


def _entry(row: Entry, packed: Packed, encoding: int, body: bytes | None) -> Entry:
    revision, created, _, grade, max_grade, version, actor = packed
    actor_id = _user_id(actor) if isinstance(actor, str) else actor
    values = (row.student_id, row.block_id, revision, created, encoding, body, grade, max_grade, version, actor_id)
    return _in_pack(row, values)


def _in_pack(row: Entry, values: tuple[Any, ...]) -> Entry:
    """Return an entry of the kind of its pack `row`, from the values of the columns."""
    entry: Any
    if isinstance(row, EntryRow):
        entry = EntryRow._make((*values, row.store, row.revision, None, False))
    else:
        # From values in the order of the columns: it takes half the time of an instance from keywords.
        entry = type(row).from_db(None, COLUMNS, values)
        entry.pack = row.revision
    return cast("Entry", entry)


def _user_id(text: str) -> Any:
    actor = HistoryOutbox._meta.get_field("actor").target_field
    return actor.to_python(text)
