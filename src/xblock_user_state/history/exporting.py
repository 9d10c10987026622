"""Reads the history of many learners, decoded and merged from all stores that are read, for `export_history`.

Pages by key over the state rows, so memory is bounded and nothing is open between two pages. With the other maintenance
modules the only place whose statements do not pin a learner; the entries themselves are read learner by learner.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from xblock_user_state import conf
from xblock_user_state.history.reading import PAGE, BlockHistory
from xblock_user_state.history.shipping import extended_model
from xblock_user_state.models import (
    BaseStudentModuleHistory,
    Block,
    HistoryOutbox,
    StudentModule,
    StudentModuleHistory,
)
from xblock_user_state.state import codec
from xblock_user_state.state.encoding import DamagedEntry
from xblock_user_state.store.users import usernames

# How many learners and blocks are looked up at a time: SQLite's parser takes up to 1,000 alternatives.
_OWNERS = 200


class Owner(NamedTuple):
    """Whose history it is: one learner's in one block."""

    student_id: Any
    block_id: int


class Key(NamedTuple):
    """The key of an entry."""

    student_id: Any
    block_id: int
    revision: int

    def texts(self) -> tuple[str, str, str]:
        """Return the key as a manifest keeps it."""
        return str(self.student_id), str(self.block_id), str(self.revision)

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> Key:
        """Return the key that was kept as `texts`."""
        student = StudentModuleHistory._meta.get_field("student").target_field
        student_id, block_id, revision = texts
        return cls(student.to_python(student_id), int(block_id), int(revision))


@dataclass(frozen=True)
class Selection:
    """What to export from the state's `database`: all, or one learner, some blocks, and a time range."""

    database: str
    student_id: Any = None
    block_ids: Sequence[int] | None = None
    """Sorted."""
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is not exported any more."""

    def entries(self, after: Key | None = None) -> Iterator[tuple[Key, dict[str, Any]]]:
        """Yield keys and entries from the one that follows `after`: those of one owner together, newest first."""
        begun = None if after is None else Owner(after.student_id, after.block_id)
        if begun is not None and after is not None:
            yield from self._of_page([begun], before_revision=after.revision)
        for page in self._owners(begun):
            recorded = _with_history(self.database, page)
            yield from self._of_page([owner for owner in page if owner in recorded])

    def _rows(self) -> QuerySet[StudentModule]:
        rows = StudentModule._base_manager.using(self.database)
        return rows if self.student_id is None else rows.filter(student_id=self.student_id)

    def _owners(self, after: Owner | None) -> Iterator[list[Owner]]:
        if self.student_id is None and self.block_ids is not None:
            return self._by_block(self.block_ids, after)
        return self._by_learner(after)

    def _by_learner(self, after: Owner | None) -> Iterator[list[Owner]]:
        wanted = None if self.block_ids is None else set(self.block_ids)
        while True:
            rows = self._rows()
            if after is not None:
                rows = rows.filter(student_id__gte=after.student_id, pk__gt=after)
            page = _page(rows.order_by("student_id", "block_id"))
            yield [owner for owner in page if wanted is None or owner.block_id in wanted]
            if len(page) < _OWNERS:
                return
            after = page[-1]

    def _by_block(self, block_ids: Sequence[int], after: Owner | None) -> Iterator[list[Owner]]:
        for block_id in block_ids[bisect_left(block_ids, after.block_id) if after else 0 :]:
            rows = self._rows().filter(block_id=block_id).order_by("student_id")
            page = _page(rows.filter(student_id__gt=after.student_id) if after and after.block_id == block_id else rows)
            while page:
                yield page
                page = _page(rows.filter(student_id__gt=page[-1].student_id)) if len(page) == _OWNERS else []

    def _of_page(
        self, owners: Sequence[Owner], before_revision: int | None = None
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        names: dict[Any, str | None] = dict(usernames({owner.student_id for owner in owners}))
        blocks = _blocks(self.database, {owner.block_id for owner in owners})
        for owner in owners:
            history = BlockHistory(self.database, *owner).newest_first(before_revision=before_revision)
            entries = self._in_time(history)
            while some := list(islice(entries, PAGE)):
                unknown = {entry.actor_id for entry in some} - names.keys() - {None}
                names.update({**dict.fromkeys(unknown), **usernames(unknown)})
                for entry in some:
                    named = {"learner": names.get(owner.student_id), **blocks[owner.block_id]}
                    yield Key(*owner, entry.revision), {**named, **_described(entry, names)}

    def _in_time(self, entries: Iterator[BaseStudentModuleHistory]) -> Iterator[BaseStudentModuleHistory]:
        """Leave out what was not asked for. Times fall strictly with the revisions, so the rest need not be read."""
        for entry in entries:
            if self.since is not None and entry.created < self.since:
                return
            if self.until is None or entry.created < self.until:
                yield entry


def _page(rows: QuerySet[StudentModule]) -> list[Owner]:
    return [Owner(*row) for row in rows.values_list("student_id", "block_id")[:_OWNERS]]


def _with_history(database: str, owners: Sequence[Owner]) -> set[tuple[Any, int]]:
    """Return those of the owners that have history in any store. A statement a store: most blocks have none."""
    if not owners:
        return set()
    blocks: dict[Any, list[int]] = defaultdict(list)
    for student_id, block_id in owners:
        blocks[student_id].append(block_id)
    which = Q()
    if len({block_id for _, block_id in owners}) == 1:
        which = Q(block_id=owners[0].block_id, student_id__in=list(blocks))
    else:
        for student_id, block_ids in blocks.items():
            which |= Q(student_id=student_id, block_id__in=block_ids)
    found: set[tuple[Any, int]] = set()
    for model, alias in _stores(database):
        found.update(model._base_manager.using(alias).filter(which).values_list("student_id", "block_id").distinct())
    return found


def _stores(database: str) -> Iterator[tuple[type[BaseStudentModuleHistory], str]]:
    """Yield the stores in the order in which entries move."""
    yield HistoryOutbox, database
    yield StudentModuleHistory, database
    if conf.has_extended_history():
        yield extended_model(), conf.history_database()


def _blocks(database: str, block_ids: set[int]) -> dict[int, dict[str, str]]:
    rows = Block._base_manager.using(database).filter(id__in=block_ids)
    found = rows.values_list("id", "context__key", "usage_key", "block_type")
    return {
        id_: {"context_key": context, "usage_key": usage_key, "block_type": block_type}
        for id_, context, usage_key, block_type in found
    }


def _described(entry: BaseStudentModuleHistory, names: Mapping[Any, str | None]) -> dict[str, Any]:
    described = {
        "revision": entry.revision,
        "created": entry.created.astimezone(UTC).isoformat(timespec="microseconds"),
        "grade": entry.grade,
        "max_grade": entry.max_grade,
        "actor": names.get(entry.actor_id),
    }
    try:
        text = entry.state
        return {**described, "state": None if text is None else codec.decode(text)}
    except DamagedEntry as error:
        return {**described, "damaged": str(error)}
    except ValueError as error:
        return {**described, "damaged": f"revision {entry.revision} is not JSON: {error}"}
