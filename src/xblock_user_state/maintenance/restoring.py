"""Brings entries back from the archive into the tables, for `archive_history --restore`, while the site runs.

Entries come back from the newest down, so that a history has no gap at any moment: each learner's part of a file is a
transaction that inserts them and lowers the watermark. The archive keeps them, too. A second run finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from django.db.models import Q

from xblock_user_state import conf
from xblock_user_state.history.archived.lookup import archived_id, user_id_of
from xblock_user_state.history.archived.manifest import manifest_of_archive
from xblock_user_state.history.archived.parts import Archived, read_part
from xblock_user_state.history.archived.places import Place
from xblock_user_state.history.encoding import encode_compact, encode_plain, next_chain
from xblock_user_state.history.entries import (
    Owner,
    all_rows,
    delete_rows,
    extended_model,
    replace_rows,
    take_write_lock,
)
from xblock_user_state.history.models import BaseStudentModuleHistory, HistoryOutbox, StudentModuleHistory
from xblock_user_state.history.outbox.sending import loads
from xblock_user_state.history.outbox.shipping import ship_after_commit
from xblock_user_state.history.watermarks import watermarks_in, write_watermarks
from xblock_user_state.maintenance.history_database import history_answers, reach
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import errors_translated, repeat


class Restored(NamedTuple):
    """Numbers of a step: entries that came back, and learners' blocks that they belong to."""

    entries: int = 0
    owners: int = 0


@dataclass(frozen=True)
class Restoring:
    """One pass over the archive at `place`: of all learners, of one, or of some blocks."""

    database: str
    place: Place
    student_id: Any = None
    block_ids: Collection[int] | None = None

    def steps(self) -> Iterator[Restored]:
        """Restore learner after learner of each file. Yields after each transaction.

        Call it while no other process writes to the archive. Raises `ArchiveError`, ``OSError``, `ServiceUnavailable`
        or a database error. Histories that came back stay.
        """
        # From the newest file to the oldest: a history comes back from its end to its beginning.
        for part in reversed(manifest_of_archive(self.place).parts):
            if self.student_id is None or part.may_have(archived_id(self.student_id)):
                wanted = filter(self._is_wanted, read_part(self.place, part))
                for student_id, entries in groupby(wanted, key=attrgetter("student_id")):
                    yield self._restore(user_id_of(student_id), [*entries])

    def _is_wanted(self, entry: Archived) -> bool:
        is_of_learner = self.student_id is None or entry.student_id == archived_id(self.student_id)
        return is_of_learner and (self.block_ids is None or entry.block_id in self.block_ids)

    def _restore(self, student_id: Any, entries: Sequence[Archived]) -> Restored:
        if conf.has_extended_history():
            reach()
        with errors_translated(self.database):
            return repeat(self.database, partial(self._attempt, student_id, entries))

    def _attempt(self, student_id: Any, entries: Sequence[Archived]) -> Restored:
        database = self.database
        take_write_lock(database, which=Q(student_id=student_id))
        histories = {block_id: [*group] for block_id, group in groupby(entries, key=attrgetter("block_id"))}
        rows = all_rows(StudentModule, database).filter(student_id=student_id, block_id__in=[*histories])
        locked = list(rows.order_by("block_id").select_for_update().values_list("block_id", flat=True))
        # Without a state row and a watermark the entries are of a life that was deleted for good.
        marks = {
            block_id: mark
            for block_id, mark in watermarks_in(database, student_id, locked).items()
            if mark.newest_archived
        }
        found = {block_id: _missing(histories[block_id], mark.first_kept) for block_id, mark in marks.items()}
        found = {block_id: missing for block_id, missing in found.items() if missing}
        for block_id, missing in found.items():
            _remove_rest(student_id, block_id, marks[block_id].first_kept)
            _insert(database, student_id, block_id, missing)
        if found:
            write_watermarks(
                database,
                {
                    Owner(student_id, block_id): marks[block_id]._replace(first_kept=missing[0].revision)
                    for block_id, missing in found.items()
                },
            )
            if _home() is HistoryOutbox and conf.ships_at_once():
                ship_after_commit(database, student_id, [*found])
        return Restored(sum(map(len, found.values())), len(found))


def _missing(entries: Sequence[Archived], first_kept: int) -> list[Archived]:
    """Return the entries that end before `first_kept`, without gaps, oldest first."""
    missing: list[Archived] = []
    for entry in reversed(entries):
        if entry.revision == first_kept - len(missing) - 1:
            missing.append(entry)
    return missing[::-1]


def _remove_rest(student_id: Any, block_id: int, first_kept: int) -> None:
    """Delete entries that an interrupted `archive_history` left in the extended history: the archive has them."""
    if conf.has_extended_history():
        # They may be encoded in another way than those that come back, and would count as those of another life.
        rows = all_rows(extended_model(), conf.history_database())
        with history_answers():
            delete_rows(rows.filter(student_id=student_id, block_id=block_id, revision__lt=first_kept))


def _home() -> type[BaseStudentModuleHistory]:
    """Return the store of new entries, from which they are shipped as all others."""
    return HistoryOutbox if conf.writes_extended_history() else StudentModuleHistory


def _insert(database: str, student_id: Any, block_id: int, entries: Sequence[Archived]) -> None:
    home = _home()
    for load in loads([*_encoded(home, student_id, block_id, entries)]):
        replace_rows(home, database, load)


def _encoded(
    home: type[BaseStudentModuleHistory], student_id: Any, block_id: int, entries: Sequence[Archived]
) -> Iterator[BaseStudentModuleHistory]:
    chain, before = 0, None
    for entry in entries:
        # A delta needs a text before, and full entries in between.
        chain = 0 if entry.state is None else next_chain(chain if before is not None else 0)
        if conf.writes_deltas():
            encoding, body = encode_compact(entry.state, before if chain > 1 else None)
        else:
            encoding, body = encode_plain(entry.state)
        before = entry.state
        yield home(
            student_id=student_id,
            block_id=block_id,
            revision=entry.revision,
            created=entry.created,
            encoding=encoding,
            body=body,
            grade=entry.grade,
            max_grade=entry.max_grade,
            version=entry.version,
            actor_id=user_id_of(entry.actor_id),
        )
