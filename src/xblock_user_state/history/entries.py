"""History entries: their key and columns, the stores that hold them, and the tombstone rule.

**The tombstone rule.** A row of revision 0 in the outbox is a tombstone. It says that everything the extended history
holds of this learner and block is gone. Readers and maintenance honour it as soon as it is committed. Shipping sends
it before the later revisions of the same learner and block, and removes it once the extended history has deleted the
old entries. `tombstoned_in` and `tombstoned_among` tell the owners whose entries are gone; all other modules ask these
two, and compare a revision with `TOMBSTONE` only to leave tombstones out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar, cast

from django.apps import apps
from django.db import connections
from django.db.models import Model, Q, QuerySet
from django.dispatch import Signal

from xblock_user_state import conf
from xblock_user_state.history.encoding import PLAIN
from xblock_user_state.history.models import (
    BaseStudentModuleHistory,
    HistoryOutbox,
    HistoryWatermark,
    StudentModuleHistory,
)
from xblock_user_state.store.databases import is_distributed
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.statements import pieces

entries_deleted = Signal()
"""Sent with ``database`` and ``which``, a condition on learners and blocks, in the transaction that deletes history.

For apps that keep a copy; an error of a receiver fails the deletion.
"""

TOMBSTONE = 0
"""The revision of a tombstone."""

KEY = ("student_id", "block_id", "revision")

Entry = TypeVar("Entry", bound=BaseStudentModuleHistory)
AnyModel = TypeVar("AnyModel", bound=Model)

COLUMNS = (*KEY, *(field.attname for field in HistoryOutbox._meta.concrete_fields if field.attname not in KEY))
"""All columns, the key first."""

KEYS_IN_A_STATEMENT = 250
"""Limit of a list of composite keys. Django sends SQLite a chain of ORs, and SQLite's parser takes 1,000 terms."""

_LEARNERS_IN_A_READ = 500

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


class EntryRow(NamedTuple):
    """The row of a history entry as a store has it: the columns in the order of `COLUMNS`, and the store.

    A tuple in the place of a model's instance, for readers: an instance takes many times as long.
    """

    student_id: Any
    block_id: int
    revision: int
    created: datetime
    encoding: int
    body: bytes | None
    grade: float | None
    max_grade: float | None
    version: str | None
    actor_id: Any
    store: type[BaseStudentModuleHistory]
    pack: int | None = None
    """As in `BaseStudentModuleHistory`."""
    hidden: EntryRow | None = None
    """As in `BaseStudentModuleHistory`."""
    is_archived: bool = False
    """As in `BaseStudentModuleHistory`."""

    @property
    def owner(self) -> Owner:
        """The learner and block of the entry."""
        return Owner(self[0], self[1])

    @property
    def key(self) -> Key:
        """The primary key of the entry."""
        return Key(self[0], self[1], self[2])


def owner_of(row: StudentModule | BaseStudentModuleHistory | EntryRow) -> Owner:
    """Return the owner of a state row or of a history entry."""
    return Owner(row.student_id, row.block_id)


def extended_model() -> type[BaseStudentModuleHistory]:
    """Return the model of the extended history. Raises ``LookupError`` if its app is not installed."""
    # By name: the app imports `history.models`, and a host without an extended history does not install it.
    app = apps.get_app_config("xblock_user_state_extended_history")
    return cast("type[BaseStudentModuleHistory]", app.get_model("StudentModuleHistoryExtended"))


def has_extended_table() -> bool:
    """Tell whether the history database has the table of the extended history. Raises errors of the database."""
    tables = connections[conf.history_database()].introspection.table_names()
    return extended_model()._meta.db_table in tables


def stores(database: str) -> Iterator[tuple[type[BaseStudentModuleHistory], str]]:
    """Yield each store with its database alias, in the order in which entries move."""
    yield HistoryOutbox, database
    yield StudentModuleHistory, database
    if conf.has_extended_history():
        yield extended_model(), conf.history_database()


def lasting_stores(database: str) -> Iterator[tuple[type[BaseStudentModuleHistory], str]]:
    """Yield the stores as `stores` does, without the outbox: it is short, and its rows are on their way."""
    _, *lasting = stores(database)
    yield from lasting


def store_name(model: type[BaseStudentModuleHistory]) -> str:
    """Return the name of a store, for messages."""
    return {HistoryOutbox: "outbox", StudentModuleHistory: "default history"}.get(model, "extended history")


def shown_models() -> tuple[type[BaseStudentModuleHistory], ...]:
    """Return the models of the stores that the two flags show to readers, in the order in which entries move.

    Reading in this order misses no entry: an entry that moves between two reads is found in its old or in its new
    store (law 9).
    """
    both = conf.reads_both_histories()
    has_extended = conf.has_extended_history()
    models: list[type[BaseStudentModuleHistory]] = [HistoryOutbox] if has_extended else []
    if both or not conf.value("EXTENDED_HISTORY"):
        models.append(StudentModuleHistory)
    if has_extended and (both or conf.value("EXTENDED_HISTORY")):
        models.append(extended_model())
    return tuple(models)


def all_rows(model: type[AnyModel], alias: str) -> QuerySet[AnyModel]:
    """Return all rows of a table in a database."""
    # The default manager may filter, or refuse bulk calls; the base manager never does.
    return model._base_manager.using(alias)


def delete_rows(rows: QuerySet[Any]) -> int:
    """Delete rows by one DELETE, without signals; return their number."""
    # `QuerySet.delete` selects the rows first, to find related objects, and sends two signals for each row. Our own
    # receiver of these signals would delete history row by row. Django has no public call for a plain DELETE.
    deleted: int = rows._raw_delete(rows.db)
    return deleted


def delete_of_keys(rows: QuerySet[Any], keys: Collection[Key]) -> int:
    """Delete the rows with these keys as `delete_rows` does. At most `KEYS_IN_A_STATEMENT` keys fit into a statement.

    Waits for no other row. MariaDB would scan a table that is small beside the list, and wait for every lock there.
    """
    connection = connections[rows.db]
    if connection.vendor != "mysql":
        return delete_rows(of_keys(rows, keys))
    table = connection.ops.quote_name(rows.model._meta.db_table)

    def by_key(execute: Callable[..., Any], sql: str, *others: Any) -> Any:
        # Only the form for several tables takes an index, and Django has no call for it.
        by_index = sql.replace(f"FROM {table}", f"{table} FROM {table} FORCE INDEX (PRIMARY)", 1)
        return execute(by_index, *others)

    with connection.execute_wrapper(by_key):
        return delete_rows(of_keys(rows, keys))


def replace_rows(
    model: type[BaseStudentModuleHistory], alias: str, entries: Sequence[BaseStudentModuleHistory]
) -> None:
    """Insert entries in the place of those with their keys, in the caller's transaction."""
    # No upsert: the key of a table that is partitioned by time has the time too.
    for keys in pieces(alias, [Key(*entry.pk) for entry in entries], KEYS_IN_A_STATEMENT):
        delete_of_keys(all_rows(model, alias), keys)
    all_rows(model, alias).bulk_create(entries)


def of_keys(rows: QuerySet[Entry], keys: Collection[Key]) -> QuerySet[Entry]:
    """Return the rows with these keys. At most `KEYS_IN_A_STATEMENT` keys fit into a statement."""
    # The list of composite keys alone gives the same rows. MariaDB finds no index range in it in a DELETE, nor SQLite
    # before 3.41 in row values: they would scan the table, and MariaDB would wait for every lock on the way.
    learners = sorted({key.student_id for key in keys})
    of_learners = {"student_id": learners[0]} if len(learners) == 1 else {"student_id__in": learners}
    return rows.filter(**of_learners, pk__in=keys)


def tombstoned_in(outbox: Iterable[BaseStudentModuleHistory | EntryRow]) -> set[Owner]:
    """Return the owners with a tombstone among these rows of the outbox."""
    return {owner_of(row) for row in outbox if row.revision == TOMBSTONE}


def tombstoned_among(outbox: QuerySet[HistoryOutbox], owners: Collection[Owner]) -> set[Owner]:
    """Return the owners among `owners` that have a tombstone in the outbox. One statement for each 250 owners."""
    keys = [Key(*owner, TOMBSTONE) for owner in sorted(set(owners))]
    return {
        Owner(*found)
        for some in pieces(outbox.db, keys, KEYS_IN_A_STATEMENT)
        for found in of_keys(outbox, some).values_list("student_id", "block_id")
    }


def without_tombstones(rows: QuerySet[Entry]) -> QuerySet[Entry]:
    """Return the rows that are history entries."""
    return rows.filter(revision__gt=TOMBSTONE)


def delete_local_entries(database: str, which: Q) -> None:
    """Delete the selected entries from the default history and from the outbox, and bury those of the archive.

    One statement for each. `which` is a condition on ``student_id`` and ``block_id``.
    """
    for model in (StudentModuleHistory, HistoryOutbox):
        # An older tombstone stays: its deletion has not been shipped to the extended history yet.
        delete_rows(without_tombstones(all_rows(model, database).filter(which)))
    bury_archived(database, which)
    entries_deleted.send(None, database=database, which=which)


def bury_archived(database: str, which: Q) -> None:
    """Make tombstones of the selected watermarks (`history.watermarks`). One statement."""
    all_rows(HistoryWatermark, database).filter(which, first_kept__gt=TOMBSTONE).update(first_kept=TOMBSTONE)


def leave_tombstones(database: str, owners: Iterable[Owner]) -> None:
    """Insert a tombstone for each of these owners into the outbox. One statement; on SQLite one for each 90 owners."""
    now = datetime.now(UTC)
    tombstones = [
        HistoryOutbox(student_id=student_id, block_id=block_id, revision=TOMBSTONE, created=now, encoding=PLAIN)
        for student_id, block_id in owners
    ]
    # A relay that ships an older tombstone of the same block holds the row's lock. Updating waits for it; ignoring the
    # duplicate would not, and the relay would then delete the only tombstone.
    # ON DUPLICATE KEY of MySQL and MariaDB names no key. The primary key is the only unique key of the table.
    unique = KEY if connections[database].features.supports_update_conflicts_with_target else None
    all_rows(HistoryOutbox, database).bulk_create(
        tombstones, update_conflicts=True, unique_fields=unique, update_fields=["created"]
    )


def take_write_lock(
    database: str, model: type[BaseStudentModuleHistory] = HistoryOutbox, which: Q = _EVERY_ROW
) -> None:
    """Take SQLite's write lock by a DELETE that matches no row. Does nothing on databases that lock rows.

    A deferred transaction on SQLite begins without a lock, and fails if another connection writes between its first
    read and its first write. `which` narrows the DELETE to the caller's learner.
    """
    if not connections[database].features.has_select_for_update:
        # SQLite knows that the column has no NULL and reads no row. Another condition could scan the table.
        delete_rows(all_rows(model, database).filter(which, student_id__isnull=True))


def lockable(rows: QuerySet[Any], which: Q = _EVERY_ROW) -> Iterator[Q]:
    """Yield a condition for each statement that it takes to lock the rows of `which`, in the order of their learners.

    `which` itself, on most databases. Citus locks rows of one learner in a statement. So where tables are distributed,
    an unlocked read finds the learners, and `which` is yielded for one after the other; their rows may be gone by then.
    """
    is_of_learners = hasattr(rows.model, "student_id")
    if not (is_of_learners and is_distributed(rows.db)) or _names_learner(which):
        yield which
        return
    learners = rows.filter(which).order_by("student_id").values_list("student_id", flat=True).distinct()
    found = list(learners[:_LEARNERS_IN_A_READ])
    while found:
        for student_id in found:
            yield which & Q(student_id=student_id)
        is_last = len(found) < _LEARNERS_IN_A_READ
        found = [] if is_last else list(learners.filter(student_id__gt=found[-1])[:_LEARNERS_IN_A_READ])


def _names_learner(which: Q) -> bool:
    names = {each[0] for each in which.children if isinstance(each, tuple)}
    return which.connector == Q.AND and not which.negated and "student_id" in names


def following(rows: QuerySet[Entry], after: Key | None) -> QuerySet[Entry]:
    """Return the rows that follow the key `after`, in key order."""
    # The row comparison alone gives the same rows. MariaDB does not turn it into an index range, and would scan the
    # table from its beginning for each page.
    return (rows if after is None else rows.filter(student_id__gte=after[0], pk__gt=after)).order_by(*KEY)
