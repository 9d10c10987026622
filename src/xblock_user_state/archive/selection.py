"""Reads the history of many learners, decoded and merged from all stores that are read, for `export_history`.

Pages by key over the state rows, so memory is bounded and nothing is open between two pages. With the other maintenance
modules the only place whose statements do not pin a learner; the entries themselves are read learner by learner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from xblock_user_state.history.entries import Owner, stores
from xblock_user_state.history.models import BaseStudentModuleHistory, StudentModuleHistory
from xblock_user_state.history.reading import PAGE, BlockHistory
from xblock_user_state.interface import DamagedHistory
from xblock_user_state.maintenance.naming import BlockName, block_names
from xblock_user_state.maintenance.paging import pages, rows_of
from xblock_user_state.state import codec
from xblock_user_state.store.users import usernames

# Of a block that is not registered: its registry was lost, or restored from an older backup.
_UNKNOWN = BlockName(None, None, None)


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
        for page in pages(self.database, self.student_id, self.block_ids, begun):
            recorded = _with_history(self.database, page)
            yield from self._of_page([owner for owner in page if owner in recorded])

    def _of_page(
        self, owners: Sequence[Owner], before_revision: int | None = None
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        names: dict[Any, str | None] = dict(usernames({owner.student_id for owner in owners}))
        blocks = block_names(self.database, {owner.block_id for owner in owners})
        for owner in owners:
            history = BlockHistory(self.database, *owner).newest_first(before_revision=before_revision)
            entries = self._in_time(history)
            while some := list(islice(entries, PAGE)):
                unknown = {entry.actor_id for entry in some} - names.keys() - {None}
                names.update({**dict.fromkeys(unknown), **usernames(unknown)})
                for entry in some:
                    named = {"learner": names.get(owner.student_id), **blocks.get(owner.block_id, _UNKNOWN)._asdict()}
                    yield Key(*owner, entry.revision), {**named, **_described(entry, names)}

    def _in_time(self, entries: Iterator[BaseStudentModuleHistory]) -> Iterator[BaseStudentModuleHistory]:
        """Leave out what was not asked for. Times fall strictly with the revisions, so the rest need not be read."""
        for entry in entries:
            if self.since is not None and entry.created < self.since:
                return
            if self.until is None or entry.created < self.until:
                yield entry


def _with_history(database: str, owners: Sequence[Owner]) -> set[tuple[Any, int]]:
    """Return those of the owners that have history in any store. A statement a store: most blocks have none."""
    if not owners:
        return set()
    which = rows_of(owners)
    found: set[tuple[Any, int]] = set()
    for model, alias in stores(database):
        found.update(model._base_manager.using(alias).filter(which).values_list("student_id", "block_id").distinct())
    return found


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
    except DamagedHistory as error:
        return {**described, "damaged": str(error)}
    except ValueError as error:
        return {**described, "damaged": f"revision {entry.revision} is not JSON: {error}"}
