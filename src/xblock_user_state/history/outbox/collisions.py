"""Gives entries new revisions where two stores have different entries of the same keys.

A restored backup takes the rows of the state's database back, and the extended history keeps the entries of the life
that was lost. SQL deletes a row, or takes its revision back, and the default history keeps the entries while new ones
go to the extended history. An entry never replaces another: the entries of the life that the row continues, and the row
itself, continue after the newest entry of the others. The first of them becomes a full entry, so both lives stay
readable. A pack counts as another store than the rows beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import NamedTuple

from django.db import Error
from django.db.models import Q, QuerySet

from xblock_user_state import conf
from xblock_user_state.history.encoding import (
    MAX_CHAIN,
    PACK,
    Decoded,
    decode_all,
    decode_alone,
    encode_compact,
    is_delta,
)
from xblock_user_state.history.entries import (
    TOMBSTONE,
    EntryRow,
    Owner,
    all_rows,
    delete_rows,
    extended_model,
    take_write_lock,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory, stored
from xblock_user_state.history.outbox.deadline import answer_expected
from xblock_user_state.history.unpacking import unpacked_in_order, without_hidden
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import repeat

Store = type[BaseStudentModuleHistory]


class ExtendedUnread(Exception):
    """The history database did not tell its entries."""


Entries = Mapping[int, BaseStudentModuleHistory]
"""Entries of one learner and block, by revision."""

_Key = tuple[int, int]
_Entry = BaseStudentModuleHistory | EntryRow
_Text = str | DamagedHistory | None


class _Place(NamedTuple):
    """An entry of a local store, before its move."""

    revision: int
    model: Store


def is_same_entry(one: _Entry, other: _Entry) -> bool:
    """Tell whether two rows of one key are copies of one entry. Times are not compared: a transfer may cut them."""
    return _content(one) == _content(other)


def differing(some: Mapping[_Key, _Entry], others: Mapping[_Key, _Entry]) -> list[_Key]:
    """Return the keys, of block and revision, under which two stores have entries that are no copies of one entry."""
    keys = [key for key in sorted(some.keys() & others.keys()) if not is_same_entry(some[key], others[key])]
    # An entry of a pack is stored in another way than its copy, so their texts tell.
    packed = {key for key in keys if (some[key].pack is None) != (others[key].pack is None)}
    if not packed:
        return keys
    here, there = (_texts_by_key(entries) for entries in ({**others, **some}, {**some, **others}))
    return [key for key in keys if key not in packed or _tell_apart(here[key], there[key], some[key], others[key])]


def _tell_apart(text: _Text, other_text: _Text, entry: _Entry, other: _Entry) -> bool:
    """Tell whether two entries differ in score, or in texts that can both be read."""
    are_readable = not (isinstance(text, DamagedHistory) or isinstance(other_text, DamagedHistory))
    return _score(entry) != _score(other) or (are_readable and text != other_text)


def _texts_by_key(entries: Mapping[_Key, _Entry]) -> dict[_Key, _Text]:
    return {
        (block_id, revision): text
        for block_id, keys in groupby(sorted(entries), key=itemgetter(0))
        for revision, text in decode_all(stored(entries[key]) for key in keys)
    }


def settle(database: str, owner: Owner, seconds: float, *, dry_run: bool = False) -> int | None:
    """Give the entries of the owner's present life revisions that no other store has.

    Returns the first revision that was taken; ``None`` if there was nothing to do. With `dry_run` it changes nothing.

    One transaction, which locks the owner's row and local entries; the history database must answer within `seconds`.
    Raises `ExtendedUnread` if it does not, and errors of the state's database.
    """
    return repeat(database, partial(_attempt, database, owner, seconds, dry_run=dry_run))


def _attempt(database: str, owner: Owner, seconds: float, *, dry_run: bool) -> int | None:
    of_owner = Q(student_id=owner.student_id, block_id=owner.block_id)
    take_write_lock(database, which=of_owner)
    # The row first, as writers and deletions lock it.
    row = all_rows(StudentModule, database).filter(of_owner).select_for_update()
    revision, state = next(iter(row.values_list("revision", "state")), (0, None))
    outbox = _by_revision(all_rows(HistoryOutbox, database).filter(of_owner).select_for_update())
    if TOMBSTONE in outbox:
        # Whatever the extended history has of this owner is about to be deleted.
        return None
    # Entries of the default history may be of another life even where none wait; then all of them are compared.
    since = Q(revision__gte=min(outbox) - MAX_CHAIN if outbox else 0)
    default = _by_revision(all_rows(StudentModuleHistory, database).filter(of_owner, since).select_for_update())
    if any(entry.hidden and not entry.hidden.pack for each in (outbox, default) for entry in each.values()):
        # Two rows of one revision, in a table that is partitioned by time: SQL has added one. Moving would lose it.
        return None
    extended = _read_extended(Q(of_owner, since), seconds) if conf.has_extended_history() else {}
    local: dict[Store, Entries] = {HistoryOutbox: outbox, StudentModuleHistory: default}
    places = _plan_past_packs(revision, local) or _plan(revision, state, outbox, default, extended)
    if not places or dry_run:
        return places[0].revision if places else None
    _begin_chains(places, local, {**extended, **default, **outbox})
    stays = {each for model in local for each in local[model] if (each, model) not in places}
    packed = {entry.hidden.pack or 0 for entries in local.values() for entry in entries.values() if entry.hidden}
    numbers = _numbers(places, max([*stays, *packed, *extended]))
    for model, entries in local.items():
        moved = [entries[place.revision] for place in places if place.model is model]
        _renumber(all_rows(model, database).filter(of_owner), entries, moved, numbers)
    if revision >= places[0].revision:
        last = places[-1].revision
        # Entries have moved, so the next one begins a new chain. A row that is not recorded any more has gone on.
        new = numbers[revision] if revision in numbers else numbers[last] + max(0, revision - last)
        row.update(revision=new, history_chain=0, history_checksum=None)
    return places[0].revision


def _plan_past_packs(revision: int, local: Mapping[Store, Entries]) -> list[_Place]:
    """Return the places of rows that have revisions of other entries in a pack of their store, and of all after them.

    A pack has old entries. So these rows are of the life that the row continues.
    """
    rows = sorted(
        (_Place(each, model) for model, entries in local.items() for each, entry in entries.items() if not entry.pack),
        key=attrgetter("revision"),
    )
    taken: list[int] = []
    for entries in local.values():
        texts = _texts(entries, max(entries, default=0))
        for each, entry in entries.items():
            if entry.hidden and _tell_apart(texts[each], decode_alone(stored(entry.hidden)), entry, entry.hidden):
                taken.append(each)
    first = min(taken, default=None)
    if first is None:
        return []
    last = revision if revision >= first else rows[-1].revision
    return [place for place in rows if first <= place.revision <= last]


def _plan(revision: int, state: str | None, outbox: Entries, default: Entries, extended: Entries) -> list[_Place]:
    """Return the places of the entries to move, by revision, from the row and the entries of each store."""
    # An entry is of the life that the row continues, or of an earlier one. The row continues in the store that has its
    # newest entry; entries above its revision are of an earlier life.
    stores: dict[Store, Entries] = {StudentModuleHistory: default, HistoryOutbox: outbox}
    taken = _taken_by_other_life(default, outbox)
    if taken and _ends_in(default, outbox, revision, state) and not _ends_in(outbox, default, revision, state):
        del stores[HistoryOutbox]
    elif taken:
        del stores[StudentModuleHistory]
        taken += _taken_by(extended, outbox)
    else:
        taken = _taken_by(extended, outbox)
        if not taken and revision == max({**default, **outbox}, default=0):
            taken = _taken_by_other_life(extended, {**default, **outbox})
    if not taken:
        return []
    first = min(taken)
    last = revision if revision >= first else max([*default, *outbox])
    return sorted(
        (_Place(each, model) for model, entries in stores.items() for each in entries if first <= each <= last),
        key=attrgetter("revision"),
    )


def _numbers(places: Sequence[_Place], highest: int) -> dict[int, int]:
    """Return the new revision of each revision: they follow the highest revision of the entries that stay."""
    return {
        revision: number for number, revision in enumerate(sorted({place.revision for place in places}), highest + 1)
    }


def _ends_in(entries: Entries, others: Entries, revision: int, state: str | None) -> bool:
    """Tell whether the newest entry of a store has the row's revision and state."""
    return max(entries) == revision and _texts({**others, **entries}, revision)[revision] == state


def _taken_by(extended: Entries, waiting: Entries) -> list[int]:
    """Return the revisions of waiting entries under which the extended history has another entry."""
    both = ({(0, revision): entry for revision, entry in entries.items()} for entries in (waiting, extended))
    return [revision for _, revision in differing(*both)]


def _taken_by_other_life(others: Entries, entries: Entries) -> list[int]:
    """Return the revisions under which other stores have entries of another life.

    A back-fill leaves copies in both histories, and one of them may have been damaged or changed since. In two lives
    texts differ that can be read, or all scores to the end.
    """
    common = sorted(entries.keys() & others.keys())
    differing = [each for each in common if not is_same_entry(entries[each], others[each])]
    if not differing:
        return []
    here, there = (_texts(each, differing[-1]) for each in ({**others, **entries}, {**entries, **others}))
    readable = [
        each for each in differing if not any(isinstance(text, DamagedHistory) for text in (here[each], there[each]))
    ]
    to_the_end = readable == common[len(common) - len(readable) :]
    is_other = any(here[each] != there[each] for each in readable) or to_the_end
    changed = [
        each for each in readable if (here[each], *_score(entries[each])) != (there[each], *_score(others[each]))
    ]
    return changed if is_other else []


def _texts(entries: Entries, last: int) -> dict[int, str | DamagedHistory | None]:
    """Return the text of each entry up to the revision `last`."""
    decoded: list[Decoded] = list(decode_all(stored(entries[each]) for each in sorted(entries) if each <= last))
    return dict(decoded)


def _read_extended(which: Q, seconds: float) -> Entries:
    alias = conf.history_database()
    try:
        with answer_expected(alias, seconds):
            return _by_revision(all_rows(extended_model(), alias).filter(which))
    except Error as error:
        raise ExtendedUnread from error


def _begin_chains(places: Sequence[_Place], local: Mapping[Store, Entries], entries: Entries) -> None:
    """Make full entries of those whose base does not move with them. A damaged entry stays as it is."""
    moved = {place.revision: local[place.model][place.revision] for place in places}
    entries = {**entries, **moved}
    first = [each for each, entry in moved.items() if is_delta(entry.encoding) and each - 1 not in moved]
    texts = _texts(entries, max(first)) if first else {}
    for revision in first:
        text = texts[revision]
        if not isinstance(text, DamagedHistory):
            moved[revision].encoding, moved[revision].body = encode_compact(text, None)


def _renumber(
    rows: QuerySet[BaseStudentModuleHistory],
    entries: Entries,
    moved: Sequence[BaseStudentModuleHistory],
    numbers: Mapping[int, int],
) -> None:
    if not moved:
        return
    # Packs with entries to move fall apart: the rest of their entries become rows.
    opened = {entry.pack for entry in moved if entry.pack}
    left = [entry for each, entry in entries.items() if entry.pack in opened and entry not in moved]
    delete_rows(rows.filter(~Q(encoding=PACK), revision__gte=moved[0].revision, revision__lte=moved[-1].revision))
    delete_rows(rows.filter(revision__in=opened))
    for entry in moved:
        entry.revision = numbers[entry.revision]
    for entry in (*moved, *left):
        if entry.pack and entry.damage is None:
            entry.encoding, entry.body = encode_compact(entry.state, None)
    rows.bulk_create([*moved, *left])


def _by_revision(rows: QuerySet[BaseStudentModuleHistory]) -> Entries:
    return {entry.revision: entry for entry in without_hidden(unpacked_in_order(list(rows.order_by("revision"))))}


def _content(entry: _Entry) -> tuple[object, ...]:
    return *stored(entry), *_score(entry)


def _score(entry: _Entry) -> tuple[float | None, float | None]:
    return entry.grade, entry.max_grade
