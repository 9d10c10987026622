"""Imports the other scopes: preferences, user info and summaries. Their old tables have a row for each field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from django.db import transaction
from django.db.utils import Error

from xblock_user_state.history.entries import all_rows, delete_rows, lockable
from xblock_user_state.openedx.importing.loading import load
from xblock_user_state.openedx.importing.models import ImportedFields
from xblock_user_state.openedx.importing.report import Report
from xblock_user_state.openedx.old.keys import Unmapped, block_of, block_type_of, context_of, course_of, lacks_run
from xblock_user_state.openedx.old.merging import NO_TIME
from xblock_user_state.openedx.old.reading import OldSite, Selection
from xblock_user_state.openedx.old.reasons import Line, Reason
from xblock_user_state.openedx.old.tables import INFO, PREFERENCES, SUMMARIES, FieldRow
from xblock_user_state.openedx.old.values import excerpt, has_nan_words
from xblock_user_state.state import codec
from xblock_user_state.state.keys import BlockId, hash_key
from xblock_user_state.store.blocks import register, registered
from xblock_user_state.store.dialects.rows import Values
from xblock_user_state.store.models import Preferences, UserInfo, UserStateRow, UserStateSummary
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.users import usernames

Key = tuple[Any, ...]
"""The values of a row's key columns."""

_PAGE = 500
_VALUES = ("revision", "state", "created", "modified")


class Place(NamedTuple):
    """The table of a scope, and its key columns: the first selects the rows of a page."""

    model: type[UserStateRow]
    keys: tuple[str, ...]


PLACES: Mapping[str, Place] = {
    PREFERENCES: Place(Preferences, ("student_id", "block_type")),
    INFO: Place(UserInfo, ("student_id",)),
    SUMMARIES: Place(UserStateSummary, ("block_id",)),
}


class Fields(NamedTuple):
    """The state of one key, from the rows of its fields."""

    text: str
    created: datetime
    modified: datetime
    ids: tuple[int, ...]


class Stored(NamedTuple):
    """A row of ours."""

    revision: int
    text: str | None


@dataclass
class FieldImport:
    """Imports fields from the old `site` to the state's `database`, in the caller's transaction."""

    site: OldSite
    database: str
    dry_run: bool = False
    source_wins: bool = False
    course_id: str | None = None
    _blocks: set[BlockId] = field(default_factory=set)

    def take(self, table: str, owners: Sequence[Any], lines: list[Line]) -> None:
        """Import all fields of some learners, or of some usage keys. Appends `lines` to the report."""
        if table not in self.site.fields or not owners:
            return
        found = self.mapped(table, owners, lines)
        if found:
            self._store(table, found, lines)

    def mapped(self, table: str, owners: Sequence[Any], lines: list[Line]) -> dict[Key, Fields]:
        """Return the states of some learners, or of some usage keys, by key."""
        if table not in self.site.fields:
            return {}
        courses: Mapping[str, Collection[str]] = {}
        if table == SUMMARIES:
            courses = self.site.courses_of([owner for owner in owners if lacks_run(owner)])
        by_key: dict[Key, list[FieldRow]] = defaultdict(list)
        for row in self.site.field_rows(table, owners):
            for key in self._keys(row, courses, lines):
                by_key[key].append(row)
        found = {key: _fields(rows, lines) for key, rows in sorted(by_key.items())}
        return {key: fields for key, fields in found.items() if fields is not None}

    def remove_gone(self, table: str, learners: Sequence[int], lines: list[Line]) -> None:
        """Remove imported rows of these learners of which no field is left in the old table."""
        place = PLACES[table]
        with nullcontext() if self.dry_run else transaction.atomic(using=self.database):
            found = self.mapped(table, learners, [])
            others = {key: row for key, row in self.stored(place, learners).items() if key not in found}
            self._remove_gone(table, others, lines)

    def remove_gone_summaries(self) -> Iterator[list[Line]]:
        """Remove imported summaries of which no field is left in the old table; yield lines for each page."""
        place = PLACES[SUMMARIES]
        for keys in self.summaries_only_here():
            lines: list[Line] = []
            with nullcontext() if self.dry_run else transaction.atomic(using=self.database):
                self._remove_gone(SUMMARIES, self.stored(place, [key[0] for key in keys]), lines)
            yield lines

    def summaries_only_here(self) -> Iterator[list[Key]]:
        """Yield pages of keys of our summaries that have no row in the old table. Holds all keys of summaries."""
        present: set[Key] = set()
        after = None
        while SUMMARIES in self.site.fields:
            owners = self.site.field_owners(SUMMARIES, after, _PAGE, Selection())
            if not owners:
                break
            present |= self.mapped(SUMMARIES, owners, []).keys()
            after = owners[-1]
        rows = all_rows(UserStateSummary, self.database).order_by("block_id")
        if self.course_id is not None:
            rows = rows.filter(block__context__key=self.course_id)
        page = list(rows.values_list("block_id")[:_PAGE])
        while page:
            yield [key for key in page if key not in present]
            page = list(rows.filter(block_id__gt=page[-1][0]).values_list("block_id")[:_PAGE])

    def _remove_gone(self, table: str, others: Mapping[Key, Stored], lines: list[Line]) -> None:
        place = PLACES[table]
        left = self._left(place, others)
        for key in left:
            is_ours = others[key].revision != left[key] and not self.source_wins
            lines.append(Line(table, str(key), Reason.OURS_CHANGED if is_ours else Reason.GONE, ""))
            if not is_ours and not self.dry_run:
                self._delete(place, key)
                delete_rows(all_rows(ImportedFields, self.database).filter(id=mark_of(place, key)))

    def take_one_by_one(self, tables: Iterable[str], learners: Sequence[int], report: Report) -> None:
        """Import each learner's fields in a transaction of its own, and report what the database refuses."""
        for table in tables:
            for learner in learners:
                lines: list[Line] = []
                try:
                    with transaction.atomic(using=self.database):
                        self.take(table, [learner], lines)
                except Error as error:
                    rows = self.site.field_rows(table, [learner])
                    lines = [Line(table, row.id, Reason.REFUSED, str(error)) for row in rows]
                report.add(lines)

    def without_user(self, tables: Iterable[str], learners: Sequence[int]) -> Iterator[Line]:
        """Yield a line for each field of learners who have no account."""
        for table in tables:
            if table in self.site.fields and learners:
                for row in self.site.field_rows(table, learners):
                    yield Line(table, row.id, Reason.NO_USER, f"learner {row.owner}")

    def with_account(self, table: str, owners: Sequence[Any]) -> list[Any]:
        """Return the owners without those learners who have no account."""
        if table == SUMMARIES:
            return list(owners)
        alive = usernames(owners)
        return [owner for owner in owners if owner in alive]

    def blocks_of_summary(self, row: FieldRow, courses: Collection[str], lines: list[Line]) -> Iterator[BlockId]:
        """Yield the blocks of a summary: one, or for a key without its run one in each of the courses."""
        usage_id = str(row.owner)
        contexts = [course_of(usage_id) or ""]
        if lacks_run(usage_id):
            contexts = sorted({str(context) for each in courses if (context := context_of(each))})
            if len(contexts) != 1:
                reason = Reason.SHARED_SUMMARY if contexts else Reason.NO_RUN
                lines.append(Line(row.table, row.id, reason, f"{usage_id}: {', '.join(contexts)}"))
        for each in contexts:
            mapped = block_of(each, usage_id)
            if isinstance(mapped, Unmapped):
                lines.append(Line(row.table, row.id, mapped.reason, mapped.detail))
            elif self.course_id in (None, each):
                lines += [Line(row.table, row.id, *note) for note in mapped.notes]
                yield mapped.block

    def _keys(self, row: FieldRow, courses: Mapping[str, Collection[str]], lines: list[Line]) -> Iterator[Key]:
        if row.table == INFO:
            yield (row.owner,)
        elif row.table == PREFERENCES:
            block_type = block_type_of(row.block_type)
            if isinstance(block_type, Unmapped):
                lines.append(Line(row.table, row.id, *block_type))
            else:
                yield row.owner, block_type
        else:
            for block in self.blocks_of_summary(row, courses.get(str(row.owner), ()), lines):
                self._blocks.add(block)
                yield (block.id,)

    def _store(self, table: str, found: Mapping[Key, Fields], lines: list[Line]) -> None:
        place = PLACES[table]
        stored, left = self.stored(place, [key[0] for key in found]), self._left(place, found)
        revisions = {key: self._revision(stored.get(key), left.get(key), fields) for key, fields in found.items()}
        inserted = []
        marks = {}
        for key, revision in revisions.items():
            fields, old = found[key], stored.get(key)
            if isinstance(revision, Reason):
                detail = f"revision {old.revision}" if old else "deleted"
                lines += [Line(table, id_, revision, detail) for id_ in fields.ids]
                continue
            if old is None or revision != old.revision:
                inserted.append((*key, revision, fields.text, fields.created, fields.modified))
            if revision != left.get(key):
                marks[mark_of(place, key)] = revision
        if not self.dry_run:
            self._register()
            self._replace(place, [row for row in inserted if row[: len(place.keys)] in stored], inserted, marks)

    def _delete(self, place: Place, key: Sequence[Any]) -> None:
        which = dict(zip(place.keys, key, strict=False))
        delete_rows(all_rows(place.model, self.database).filter(**which))

    def _revision(self, old: Stored | None, left: int | None, fields: Fields) -> int | Reason:
        """Return the revision that the row gets, or the reason to leave it alone."""
        if old is None:
            return 1 if left is None or self.source_wins else Reason.OURS_CHANGED
        if old.text == fields.text:
            return old.revision
        if left == old.revision or self.source_wins:
            return old.revision + 1
        return Reason.OURS_EXISTS if left is None else Reason.OURS_CHANGED

    def _replace(
        self, place: Place, replaced: Sequence[Values], inserted: Sequence[Values], marks: Mapping[int, int]
    ) -> None:
        for row in replaced:
            self._delete(place, row)
        for ids in pieces(self.database, sorted(marks), 1000):
            delete_rows(all_rows(ImportedFields, self.database).filter(id__in=ids))
        load(self.database, place.model, (*place.keys, *_VALUES), inserted)
        load(self.database, ImportedFields, ("id", "revision"), list(marks.items()))

    def _left(self, place: Place, found: Iterable[Key]) -> dict[Key, int]:
        """Return the revisions at which the import left rows, by key."""
        marks = {mark_of(place, key): key for key in found}
        rows = all_rows(ImportedFields, self.database)
        return {
            marks[id_]: revision
            for ids in pieces(self.database, sorted(marks), 1000)
            for id_, revision in rows.filter(id__in=ids).values_list("id", "revision")
        }

    def stored(self, place: Place, owners: Iterable[Any]) -> dict[Key, Stored]:
        """Return our rows of some owners by key, locked unless this is a dry run. One statement for 1,000."""
        stored: dict[Key, Stored] = {}
        for some in pieces(self.database, sorted(set(owners)), 1000):
            rows = all_rows(place.model, self.database).filter(**{f"{place.keys[0]}__in": some})
            rows = rows.order_by(*place.keys)
            parts = [rows] if self.dry_run else (rows.filter(which).select_for_update() for which in lockable(rows))
            columns = (*place.keys, "revision", "state")
            for *key, revision, state in chain.from_iterable(part.values_list(*columns) for part in parts):
                stored[tuple(key)] = Stored(revision, state)
        return stored

    def _register(self) -> None:
        missing = self._blocks - registered(self.database, self._blocks)
        if missing:
            register(self.database, missing)
        self._blocks.clear()


def mark_of(place: Place, key: Key) -> int:
    """Return the id of the row of `ImportedFields` for a key."""
    return hash_key("\n".join([place.model.__name__, *map(str, key)]))


def _fields(rows: Sequence[FieldRow], lines: list[Line]) -> Fields | None:
    """Return the state of the rows of one key; ``None`` if none of them can be read."""
    newest: dict[str, FieldRow] = {}
    for row in sorted(rows, key=lambda row: (row.modified or NO_TIME, row.id)):
        if row.field in newest:
            detail = f"field {row.field!r}: row {row.id} is newer"
            lines.append(Line(row.table, newest[row.field].id, Reason.TWO_ROWS, detail))
        newest[row.field] = row
    state = {}
    for name, row in sorted(newest.items(), key=lambda item: item[1].id):
        try:
            state[name] = codec.decode(row.value)
        except (ValueError, RecursionError):
            lines.append(Line(row.table, row.id, Reason.BROKEN_FIELD, f"field {name!r}: {excerpt(row.value)}"))
            continue
        if has_nan_words(row.value):
            lines.append(Line(row.table, row.id, Reason.NAN_WORDS, f"field {name!r}"))
        if row.created is None or row.modified is None:
            lines.append(Line(row.table, row.id, Reason.ZERO_DATE, f"created {row.created}, modified {row.modified}"))
    if not state:
        return None
    created = min(row.created or row.modified or NO_TIME for row in rows)
    modified = max(row.modified or row.created or NO_TIME for row in rows)
    return Fields(codec.encode(state), created, modified, tuple(row.id for row in rows))
