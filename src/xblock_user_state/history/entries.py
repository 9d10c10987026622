"""History entries: their key and columns, the stores that hold them, and the tombstone rule.

**The tombstone rule.** A row of revision 0 in the outbox is a tombstone. It says that everything the extended history
holds of this learner and block is gone. Readers and maintenance honour it as soon as it is committed. The relay ships
it before the later revisions of the same learner and block, and removes it once the extended history has deleted the
old entries. `buried_in` and `buried_among` find tombstones; all other modules ask these two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar, cast

from django.apps import apps
from django.db import connections
from django.db.models import Q, QuerySet

from xblock_user_state import conf
from xblock_user_state.history.encoding import PLAIN
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces

TOMBSTONE = 0
"""The revision of a tombstone."""

KEY = ("student_id", "block_id", "revision")

Entry = TypeVar("Entry", bound=BaseStudentModuleHistory)

VALUE_COLUMNS = tuple(field.attname for field in HistoryOutbox._meta.concrete_fields if field.attname not in KEY)
"""All columns but the key."""

COLUMNS = (*KEY, *VALUE_COLUMNS)
"""All columns, the key first."""

KEYS_IN_A_STATEMENT = 250
"""Django writes a list of composite keys to SQLite as a chain of ORs, and SQLite's parser takes 1,000 of them."""

_EVERY_ROW = Q()


class Owner(NamedTuple):
    """A learner and a block: the key of a state row, and the owner of its history."""

    student_id: Any
    block_id: int


class Key(NamedTuple):
    """The primary key of a history entry."""

    student_id: Any
    block_id: int
    revision: int

    @property
    def owner(self) -> Owner:
        """The learner and block of the entry."""
        return Owner(self.student_id, self.block_id)

    def texts(self) -> tuple[str, str, str]:
        """Return the key as JSON files keep it."""
        return str(self.student_id), str(self.block_id), str(self.revision)

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> Key:
        """Return the key that `texts` gave; the learner's id has the type of the user model's key."""
        student = HistoryOutbox._meta.get_field("student").target_field
        student_id, block_id, revision = texts
        return cls(student.to_python(student_id), int(block_id), int(revision))


def owner_of(row: StudentModule | BaseStudentModuleHistory) -> Owner:
    """Return the owner of a state row or of a history entry."""
    return Owner(row.student_id, row.block_id)


def extended_model() -> type[BaseStudentModuleHistory]:
    """Return the model of the extended history. Raises ``LookupError`` where the host has not installed its app."""
    app = apps.get_app_config("xblock_user_state_extended_history")
    return cast("type[BaseStudentModuleHistory]", app.get_model("StudentModuleHistoryExtended"))


def stores(database: str) -> Iterator[tuple[type[BaseStudentModuleHistory], str]]:
    """Yield each store with its database alias, in the order in which entries move."""
    yield HistoryOutbox, database
    yield StudentModuleHistory, database
    if conf.has_extended_history():
        yield extended_model(), conf.history_database()


def store_name(model: type[BaseStudentModuleHistory]) -> str:
    """Return the name of a store for messages to people."""
    return {HistoryOutbox: "outbox", StudentModuleHistory: "default history"}.get(model, "extended history")


def shown_models() -> tuple[type[BaseStudentModuleHistory], ...]:
    """Return the models of the stores that the two flags show to readers, in the order in which entries move."""
    both = conf.reads_both_histories()
    has_extended = conf.has_extended_history()
    models: list[type[BaseStudentModuleHistory]] = [HistoryOutbox] if has_extended else []
    if both or not conf.value("EXTENDED_HISTORY"):
        models.append(StudentModuleHistory)
    if has_extended and (both or conf.value("EXTENDED_HISTORY")):
        models.append(extended_model())
    return tuple(models)


def buried_in(outbox: Iterable[BaseStudentModuleHistory]) -> set[Owner]:
    """Return the owners with a tombstone among these rows of the outbox."""
    return {owner_of(row) for row in outbox if row.revision == TOMBSTONE}


def buried_among(outbox: QuerySet[HistoryOutbox], owners: Collection[Owner]) -> set[Owner]:
    """Return those `owners` that have a tombstone in the outbox. A statement for each 250 owners."""
    keys = [(*owner, TOMBSTONE) for owner in sorted(set(owners))]
    return {
        Owner(*found)
        for some in pieces(outbox.db, keys, KEYS_IN_A_STATEMENT)
        for found in outbox.filter(pk__in=some).values_list("student_id", "block_id")
    }


def without_tombstones(rows: QuerySet[Entry]) -> QuerySet[Entry]:
    """Return the rows of a store that are entries."""
    return rows.filter(revision__gt=TOMBSTONE)


def leave_tombstones(database: str, student_id: Any, block_ids: Sequence[int]) -> None:
    """Put a tombstone for each of these blocks of a learner into the outbox. One statement."""
    now = datetime.now(UTC)
    tombstones = [
        HistoryOutbox(student_id=student_id, block_id=block_id, revision=TOMBSTONE, created=now, encoding=PLAIN)
        for block_id in block_ids
    ]
    # A relay may be shipping an older tombstone of the same block, with its row locked: the update waits for the relay.
    insert_or_replace(HistoryOutbox, database, tombstones, ["created"])


def take_write_lock(
    database: str, model: type[BaseStudentModuleHistory] = HistoryOutbox, which: Q = _EVERY_ROW
) -> None:
    """Take SQLite's write lock by a DELETE that matches no row; does nothing on databases that lock rows.

    A transaction on SQLite may begin without a lock. `which` narrows the DELETE to the caller's learner.
    """
    if not connections[database].features.has_select_for_update:
        model._base_manager.using(database).filter(which, revision__lt=TOMBSTONE)._raw_delete(database)


def following(rows: QuerySet[Entry], after: Key | None) -> QuerySet[Entry]:
    """Return the rows that follow the key `after`, in key order."""
    # The first condition follows from the second. MariaDB needs it: it makes no index range of a row comparison.
    return (rows if after is None else rows.filter(student_id__gte=after[0], pk__gt=after)).order_by(*KEY)


def insert_or_replace(model: type[Entry], alias: str, entries: Sequence[Entry], replaced: Sequence[str]) -> None:
    """Insert entries; where the key exists, set the columns `replaced` instead."""
    # MySQL's ON DUPLICATE KEY names no key, and the primary key is the only unique one.
    unique = KEY if connections[alias].features.supports_update_conflicts_with_target else None
    model._base_manager.using(alias).bulk_create(
        entries, update_conflicts=True, unique_fields=unique, update_fields=replaced
    )
