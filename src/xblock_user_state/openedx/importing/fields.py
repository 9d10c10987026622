"""Imports the other scopes: preferences, user info and summaries. Their old tables have a row for each field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from django.db import transaction
from django.db.utils import Error

from xblock_user_state.history.entries import all_rows, delete_rows
from xblock_user_state.openedx.importing.loading import load
from xblock_user_state.openedx.importing.models import ImportedFields
from xblock_user_state.openedx.importing.report import Report
from xblock_user_state.openedx.old.keys import Unmapped, block_of, block_type_of, context_of, course_of, usage_without_run
from xblock_user_state.openedx.old.merging import NO_TIME
from xblock_user_state.openedx.old.reading import OldSite
from xblock_user_state.openedx.old.reasons import Line, Reason
from xblock_user_state.openedx.old.tables import INFO, PREFERENCES, SUMMARIES, FieldRow
from xblock_user_state.openedx.old.values import excerpt, has_nan_words
from xblock_user_state.state import codec
from xblock_user_state.state.keys import BlockId, hash_key
from xblock_user_state.store.blocks import register, registered
from xblock_user_state.store.models import Preferences, UserInfo, UserStateRow, UserStateSummary
from xblock_user_state.store.statements import pieces
from xblock_user_state.store.users import usernames

Key = tuple[Any, ...]
"""The values of a row's key columns."""

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
        by_key: dict[Key, list[FieldRow]] = defaultdict(list)
        for row in self.site.field_rows(table, owners):
            for key in self._keys(row, lines):
                by_key[key].append(row)
        found = {key: _fields(rows, lines) for key, rows in sorted(by_key.items())}
        return {key: fields for key, fields in found.items() if fields is not None}

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

    def blocks_of_summary(self, row: FieldRow, lines: list[Line]) -> Iterator[BlockId]:
        """Yield the blocks of a summary: one, or one in each run of the course of an old-style key."""
        usage_id = str(row.owner)
        course = course_of(usage_id)
        courses: Sequence[str] = [course] if course else [""]
        without_run = usage_without_run(usage_id)
        if without_run:
            courses = self._runs.get(without_run, ())
            reason = Reason.SHARED_SUMMARY if courses else Reason.NO_RUN
            if len(courses) != 1:
                lines.append(Line(row.table, row.id, reason, f"{usage_id}: {', '.join(courses)}"))
        for each in courses:
            mapped = block_of(each, usage_id)
            if isinstance(mapped, Unmapped):
                lines.append(Line(row.table, row.id, mapped.reason, mapped.detail))
            elif self.course_id in (None, each):
                lines += [Line(row.table, row.id, *note) for note in mapped.notes]
                yield mapped.block

    def _keys(self, row: FieldRow, lines: list[Line]) -> Iterator[Key]:
        if row.table == INFO:
            yield (row.owner,)
        elif row.table == PREFERENCES:
            block_type = block_type_of(row.block_type)
            if isinstance(block_type, Unmapped):
                lines.append(Line(row.table, row.id, *block_type))
            else:
                yield row.owner, block_type
        else:
            for block in self.blocks_of_summary(row, lines):
                self._blocks.add(block)
                yield (block.id,)

    @cached_property
    def _runs(self) -> Mapping[tuple[str, str], Sequence[str]]:
        """The courses that have a state row, by organization and course."""
        runs: dict[tuple[str, str], list[str]] = defaultdict(list)
        for text in self.site.course_ids():
            context: Any = context_of(text)
            if context is not None and getattr(context, "run", None):
                runs[context.org, context.course].append(str(context))
        return {key: sorted(set(texts)) for key, texts in runs.items()}

    def _store(self, table: str, found: Mapping[Key, Fields], lines: list[Line]) -> None:
        place = PLACES[table]
        stored = self._stored(place, found)
        marks = {mark_of(place, key): key for key in found}
        left = {
            marks[id_]: revision
            for ids in pieces(self.database, sorted(marks), 1000)
            for id_, revision in all_rows(ImportedFields, self.database).filter(id__in=ids).values_list("id", "revision")
        }
        inserted, imported, replaced = [], [], []
        for key, fields in found.items():
            old = stored.get(key)
            if old is None:
                if key in left and not self.source_wins:
                    lines += _kept(table, fields, Reason.OURS_CHANGED, "deleted")
                    continue
                revision = 1
            elif old[1] == fields.text:
                if left.get(key) != old[0]:
                    imported.append((mark_of(place, key), old[0]))
                continue
            elif left.get(key) == old[0] or self.source_wins:
                revision = old[0] + 1
                replaced.append(key)
            else:
                reason = Reason.OURS_CHANGED if key in left else Reason.OURS_EXISTS
                lines += _kept(table, fields, reason, f"revision {old[0]}")
                continue
            inserted.append((*key, revision, fields.text, fields.created, fields.modified))
            imported.append((mark_of(place, key), revision))
        if self.dry_run:
            return
        self._register()
        self._delete(place, replaced)
        for ids in pieces(self.database, [id_ for id_, _ in imported], 1000):
            delete_rows(all_rows(ImportedFields, self.database).filter(id__in=ids))
        load(self.database, place.model, (*place.keys, *_VALUES), inserted)
        load(self.database, ImportedFields, ("id", "revision"), imported)

    def _stored(self, place: Place, found: Mapping[Key, Fields]) -> dict[Key, tuple[int, str | None]]:
        stored = {}
        for owners in pieces(self.database, sorted({key[0] for key in found}), 1000):
            rows = all_rows(place.model, self.database).filter(**{f"{place.keys[0]}__in": owners})
            rows = rows.order_by(*place.keys)
            rows = rows if self.dry_run else rows.select_for_update()
            for *key, revision, state in rows.values_list(*place.keys, "revision", "state"):
                stored[tuple(key)] = revision, state
        return stored

    def _delete(self, place: Place, keys: Sequence[Key]) -> None:
        for key in keys:
            which = dict(zip(place.keys, key, strict=True))
            delete_rows(all_rows(place.model, self.database).filter(**which))

    def _register(self) -> None:
        missing = self._blocks - registered(self.database, self._blocks)
        if missing:
            register(self.database, missing)
        self._blocks.clear()


def mark_of(place: Place, key: Key) -> int:
    """Return the id of the row of `ImportedFields` for a key."""
    return hash_key("\n".join([place.model.__name__, *map(str, key)]))


def _kept(table: str, fields: Fields, reason: Reason, detail: str) -> list[Line]:
    return [Line(table, id_, reason, detail) for id_ in fields.ids]


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
